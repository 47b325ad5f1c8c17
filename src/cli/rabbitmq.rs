//! A node of RabbitMQ, asked over its management API, and over AMQP where messages move.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::amqp::json::from_table;
use crate::amqp::json::to_table;
use crate::amqp::table::Table;
use crate::broker::definition::Hex;
use crate::cli::args::ApiArgs;
use crate::cli::client;
use crate::cli::client::api::Answer;
use crate::cli::client::api::Api;
use crate::cli::client::target;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::live::PATIENCE;
use crate::controller::moving;
use crate::controller::moving::MoveError;
use crate::controller::moving::Until;
use crate::topology;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::observed::Binding;
use crate::topology::observed::Observed;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::observe::Answers;
use crate::topology::rabbitmq::observe::MOVING_SUFFIX;
use crate::topology::rabbitmq::observe::Seen;
use crate::topology::rabbitmq::observe::observe;
use crate::topology::rabbitmq::policy::PRIORITY;
use crate::topology::rabbitmq::policy::Policy;
use crate::topology::rabbitmq::rollout::Agenda;
use crate::topology::rabbitmq::rollout::Anew;
use crate::topology::rabbitmq::rollout::Course;
use crate::topology::rabbitmq::rollout::KEPT_PREFIX;
use crate::topology::rabbitmq::rollout::Kept;
use crate::topology::rabbitmq::rollout::Leaving;
use crate::topology::rabbitmq::rollout::NewExchange;
use crate::topology::rabbitmq::rollout::NewQueue;
use crate::topology::rabbitmq::rollout::Next;
use crate::topology::rabbitmq::rollout::Replaced;
use crate::topology::rabbitmq::rollout::Stage;
use crate::topology::rabbitmq::rollout::USUAL_TYPE;
use crate::topology::rabbitmq::rollout::applied;
use crate::topology::rabbitmq::rollout::course;
use crate::topology::rabbitmq::rollout::is_begun;
use crate::topology::rabbitmq::rollout::nexts;
use crate::topology::rabbitmq::translate;
use crate::topology::rollout;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::present;

/// RabbitMQ's AMQP port is so many below that of its API.
const BELOW_API: u16 = 10_000;

/// How often a list that RabbitMQ fails to make is asked for again, and after what wait.
const LISTED_AGAIN: u32 = 5;
const LISTED_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// A node to talk to.
#[derive(Debug)]
pub(in crate::cli) struct Rabbitmq {
    api: Api,
    url: String,
}

/// What is there, as files know it.
struct State {
    seen: Seen,
    /// By vhost.
    kept: BTreeMap<String, Kept>,
    /// What the files that are kept amount to.
    applied: Topology,
}

/// How many things were done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::cli) struct Done {
    pub(in crate::cli) created: u64,
    pub(in crate::cli) changed: u64,
    pub(in crate::cli) removed: u64,
}

impl Rabbitmq {
    /// # Errors
    /// When its address is none.
    pub(in crate::cli) fn new(args: &ApiArgs) -> Result<Rabbitmq, Exit> {
        let target = target::of_api(&args.api).map_err(|it| client::report(&it))?;
        let (user, password) = (escape(&target.user), escape(&target.password));
        let (host, port) = (&target.host, target.port.saturating_sub(BELOW_API));
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let usual = format!("amqp://{user}:{password}@{host}:{port}");
        let url = args.url.clone().unwrap_or(usual);
        Ok(Rabbitmq { api: Api::patient(target, PATIENCE), url })
    }

    pub(in crate::cli) fn plan(
        &self,
        sources: &[Source],
        options: &Options,
    ) -> Result<Rollout, Exit> {
        let state = self.state(Some(&nexts(sources, options)))?;
        Ok(course_of(&state, sources, options)?.rollout)
    }

    /// What is there, the way from there to these files, and what the node can do.
    pub(in crate::cli) fn look(
        &self,
        sources: &[Source],
    ) -> Result<(Observed, Rollout, Node), Exit> {
        let options = Options::default();
        let state = self.state(Some(&nexts(sources, &options)))?;
        let rollout = course_of(&state, sources, &options)?.rollout;
        Ok((state.seen.observed, rollout, state.seen.node))
    }

    pub(in crate::cli) fn as_made(&self, topology: &Topology) -> Result<Topology, Exit> {
        Ok(translate(topology, &self.state(None)?.seen.node).topology)
    }

    pub(in crate::cli) fn observed(&self) -> Result<Observed, Exit> {
        Ok(self.state(None)?.seen.observed)
    }

    /// What is there, in the words of files.
    pub(in crate::cli) fn topology(&self) -> Result<Topology, Exit> {
        let state = self.state(None)?;
        Ok(present::topology(&state.seen.observed, &state.applied))
    }

    pub(in crate::cli) fn definitions(&self) -> Result<Value, Exit> {
        self.get("/api/definitions")
    }

    /// Carries out a plan as it is, or ends one that was interrupted.
    pub(in crate::cli) fn apply(&self, plan: &Rollout) -> Result<Done, Exit> {
        let mine = nexts(&plan.sources, &plan.options);
        let runtime = Runtime::new().map_err(|error| {
            eprintln!("error: cannot start threads: {error}");
            Exit::Unusable
        })?;
        let _alone = self.alone(&runtime, mine.keys())?;
        let state = self.state(Some(&mine))?;
        if let Some(why) = rollout::not_for(&plan.broker, &state.seen.node.name) {
            eprintln!("refused: {why}");
            return Err(Exit::Refused);
        }
        let course = course_of(&state, &plan.sources, &plan.options)?;
        if is_begun(&state.kept, &mine) {
            eprintln!("this was begun before, and is ended now");
        } else if plan.fingerprint != course.rollout.fingerprint && !course.is_empty() {
            eprintln!("refused: the broker has changed since the plan was made: plan again");
            return Err(Exit::Refused);
        }
        if !course.rollout.refusals.is_empty() {
            course.rollout.refusals.iter().for_each(|it| eprintln!("refused: {it}"));
            return Err(Exit::Refused);
        }
        let kept = |name: &String| state.kept.get(name).cloned().unwrap_or_else(Kept::nothing);
        let is_ended = mine.iter().all(|(name, next)| kept(name).is_ended(next));
        if course.is_empty() && is_ended {
            return Ok(Done::default());
        }
        for (name, next) in &mine {
            self.keep(name, &Kept { next: Some(next.clone()), ..kept(name) })?;
        }
        let done = self.carry_out(&course, &runtime)?;
        for (name, next) in mine {
            self.keep(&name, &Kept { sources: next.sources, ..Kept::nothing() })?;
        }
        Ok(done)
    }

    /// Keeps others from applying to these vhosts as long as the result is there. Where AMQP is not to
    /// be had, nobody is kept: only what moves messages needs it.
    fn alone<'n>(
        &self,
        runtime: &Runtime,
        vhosts: impl Iterator<Item = &'n String>,
    ) -> Result<Vec<moving::Alone>, Exit> {
        let mut all = Vec::new();
        for vhost in vhosts {
            match runtime.block_on(moving::alone(&self.url, vhost)) {
                Ok(it) => all.push(it),
                Err(MoveError::Taken) => {
                    eprintln!("refused: somebody else is applying to the vhost `{vhost}`");
                    return Err(Exit::Refused);
                }
                Err(error) => eprintln!("note: a second apply would not be kept out: {error}"),
            }
        }
        Ok(all)
    }

    fn carry_out(&self, course: &Course, runtime: &Runtime) -> Result<Done, Exit> {
        let mut carrier = Carrier { of: self, runtime, done: Done::default(), left: Vec::new() };
        for (vhost, agenda) in &course.vhosts {
            carrier.carry_out(vhost, agenda)?;
        }
        if carrier.left.is_empty() {
            return Ok(carrier.done);
        }
        carrier.left.iter().for_each(|it| eprintln!("left: {it}"));
        eprintln!("apply again to do the rest");
        Err(Exit::Partial)
    }

    /// What is in these vhosts, or in all.
    fn state(&self, of: Option<&BTreeMap<String, Next>>) -> Result<State, Exit> {
        let answers = Answers {
            overview: self.get("/api/overview")?,
            vhosts: self.get("/api/vhosts")?,
            exchanges: self.get("/api/exchanges")?,
            queues: self.get("/api/queues")?,
            bindings: self.get("/api/bindings")?,
            policies: self.get("/api/policies")?,
        };
        let mut seen = observe(answers).map_err(|error| {
            eprintln!("error: {} is no RabbitMQ as it is known: {error}", self.api.target.base());
            Exit::Unreachable
        })?;
        let mut kept = self.kept()?;
        if let Some(of) = of {
            seen.observed.vhosts.retain(|name, _| of.contains_key(name));
            kept.retain(|name, _| of.contains_key(name));
        }
        let sources = |of: &dyn Fn(&Kept) -> Vec<Source>| -> Vec<Source> {
            kept.values().flat_map(of).collect()
        };
        let ended = sources(&|it| it.sources.clone());
        let begun = sources(&|it| it.next.clone().map(|it| it.sources).unwrap_or_default());
        let read = |sources: &[Source]| topology::check(sources, files::today()).topology;
        let begun = (!begun.is_empty()).then(|| read(&begun));
        let applied = applied(&read(&ended), begun.as_ref(), &seen.node);
        seen.observed.sources = ended;
        Ok(State { seen, kept, applied })
    }

    fn kept(&self) -> Result<BTreeMap<String, Kept>, Exit> {
        let all = self.get("/api/global-parameters")?;
        let mut kept = BTreeMap::new();
        for it in all.as_array().into_iter().flatten() {
            let name = it["name"].as_str().unwrap_or_default();
            let Some(vhost) = name.strip_prefix(KEPT_PREFIX) else { continue };
            let value = serde_json::from_value::<Kept>(it["value"].clone());
            let Some(value) = value.ok().filter(|it| it.format == 1) else {
                eprintln!("error: the global parameter `{name}` is of no version known here");
                return Err(Exit::Unusable);
            };
            kept.insert(vhost.to_owned(), value);
        }
        Ok(kept)
    }

    fn keep(&self, vhost: &str, kept: &Kept) -> Result<(), Exit> {
        let value = serde_json::to_value(kept).expect("strings and numbers only");
        let name = format!("{KEPT_PREFIX}{vhost}");
        let path = format!("/api/global-parameters/{}", escape(&name));
        self.send("PUT", &path, Some(&json!({ "name": name, "value": value })))
    }

    fn get(&self, path: &str) -> Result<Value, Exit> {
        let mut n_tried = 0;
        loop {
            let answer = self.api.ask("GET", path, None, None).map_err(|it| client::report(&it))?;
            match answer.status {
                200..=299 => return Ok(answer.body),
                // COMPAT: a list of what is just being deleted fails once in a while.
                500.. if n_tried < LISTED_AGAIN => std::thread::sleep(LISTED_AGAIN_AFTER),
                _ => return Err(self.refused("GET", path, &answer)),
            }
            n_tried += 1;
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(), Exit> {
        let answer = self.ask(method, path, body)?;
        // What is to go and is gone already is no mistake.
        match (answer.status, method) {
            (404, "DELETE") => Ok(()),
            (404, _) => Err(self.refused(method, path, &answer)),
            _ => Ok(()),
        }
    }

    /// Asks; answers other than "done" and "not there" are failures.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Exit> {
        let answer = self.api.ask(method, path, body, None).map_err(|it| client::report(&it))?;
        match answer.status {
            200..=299 | 404 => Ok(answer),
            _ => Err(self.refused(method, path, &answer)),
        }
    }

    fn refused(&self, method: &str, path: &str, answer: &Answer) -> Exit {
        let base = self.api.target.base();
        let text = answer.body.to_string();
        let reason = answer.body["reason"].as_str().unwrap_or(&text);
        eprintln!("error: {base} answers {} to {method} {path}: {reason}", answer.status);
        match answer.status {
            // COMPAT: who may not do something is answered like who is nobody.
            401 if reason != "Login failed" => {
                eprintln!(
                    "hint: the user needs the tag `policymaker`, and `administrator` for new vhosts"
                );
                Exit::Refused
            }
            401 | 403 | 404 | 500.. => Exit::Unreachable,
            _ => Exit::Unusable,
        }
    }
}

fn course_of(state: &State, sources: &[Source], options: &Options) -> Result<Course, Exit> {
    let new = crate::cli::sound::load(sources)?;
    Ok(course(&state.seen, &state.applied, &new, sources, options))
}

/// Carries agendas out.
struct Carrier<'a> {
    of: &'a Rabbitmq,
    runtime: &'a Runtime,
    done: Done,
    /// What could not be done yet.
    left: Vec<String>,
}

impl Carrier<'_> {
    fn carry_out(&mut self, vhost: &str, agenda: &Agenda) -> Result<(), Exit> {
        let of = self.of;
        let v = escape(vhost);
        if agenda.is_new {
            let body = json!({ "default_queue_type": USUAL_TYPE });
            of.send("PUT", &format!("/api/vhosts/{v}"), Some(&body))?;
            self.done.created += 1;
        }
        for it in &agenda.exchanges {
            self.add_exchange(&v, it)?;
        }
        // All of them first: with every policy, RabbitMQ goes through all queues that are there.
        let mut policies = agenda.queues.iter().filter_map(|it| it.policy.as_ref());
        policies.try_for_each(|it| self.put_policy(&v, it))?;
        for it in &agenda.queues {
            self.add_queue(&v, it)?;
        }
        for it in &agenda.bindings {
            self.bind(&v, it)?;
            self.done.created += 1;
        }
        for it in &agenda.policies {
            self.put_policy(&v, it)?;
            self.done.changed += 1;
        }
        for name in &agenda.delete_policies {
            self.delete_policy(&v, name)?;
        }
        for it in &agenda.anew {
            self.make_anew(&v, it)?;
        }
        for it in &agenda.replaced {
            self.replace(vhost, it)?;
        }
        for it in &agenda.unbind {
            self.unbind(&v, it)?;
            self.done.removed += 1;
        }
        let n_left = self.left.len();
        let mut busy: BTreeSet<&str> = BTreeSet::new();
        for it in &agenda.delete_queues {
            let of = it.of.as_deref().unwrap_or(&it.name);
            if !it.given_up && busy.contains(of) {
                self.left.push(format!("the queue `{}` stays until then", it.name));
            } else if !self.delete_queue(vhost, it)? {
                busy.insert(of);
            }
        }
        // What waits still needs its way back.
        if self.left.len() > n_left {
            return Ok(());
        }
        for it in &agenda.last.unbind {
            self.unbind(&v, it)?;
            self.done.removed += 1;
        }
        for name in &agenda.last.delete_exchanges {
            of.send("DELETE", &format!("/api/exchanges/{v}/{}", escape(name)), None)?;
            self.done.removed += 1;
        }
        agenda.last.delete_policies.iter().try_for_each(|it| self.delete_policy(&v, it))
    }

    fn delete_policy(&self, v: &str, name: &str) -> Result<(), Exit> {
        self.of.send("DELETE", &format!("/api/policies/{v}/{}", escape(name)), None)
    }

    fn add_exchange(&mut self, v: &str, it: &NewExchange) -> Result<(), Exit> {
        it.policy.iter().try_for_each(|policy| self.put_policy(v, policy))?;
        let body = json!({
            "type": it.kind,
            "durable": it.durable,
            "auto_delete": it.auto_delete,
            "internal": it.internal,
            "arguments": from_table(&it.arguments),
        });
        self.done.created += 1;
        self.of.send("PUT", &format!("/api/exchanges/{v}/{}", escape(&it.name)), Some(&body))
    }

    /// Its policy is there, so that it is never without one.
    fn add_queue(&mut self, v: &str, it: &NewQueue) -> Result<(), Exit> {
        let body = json!({
            "durable": it.durable,
            "auto_delete": it.auto_delete,
            "arguments": from_table(&it.arguments),
        });
        self.done.created += 1;
        self.of.send("PUT", &format!("/api/queues/{v}/{}", escape(&it.name)), Some(&body))
    }

    fn put_policy(&self, v: &str, it: &Policy) -> Result<(), Exit> {
        let body = json!({
            "pattern": it.pattern,
            "apply-to": it.apply_to,
            "priority": PRIORITY,
            "definition": it.definition,
        });
        self.of.send("PUT", &format!("/api/policies/{v}/{}", escape(&it.name)), Some(&body))
    }

    fn bind(&self, v: &str, it: &Binding) -> Result<(), Exit> {
        let path = binding_path(v, it);
        let arguments = it.arguments.table().unwrap_or_default();
        let body = json!({ "routing_key": it.key, "arguments": from_table(&arguments) });
        self.of.send("POST", &path, Some(&body))
    }

    fn unbind(&self, v: &str, it: &Binding) -> Result<(), Exit> {
        let path = binding_path(v, it);
        let answer = self.of.ask("GET", &path, None)?;
        for there in answer.body.as_array().into_iter().flatten() {
            let arguments = to_table(there.get("arguments")).unwrap_or_default();
            let same = there["routing_key"] == *it.key && Hex::new(&arguments) == it.arguments;
            if let (true, Some(key)) = (same, there["properties_key"].as_str()) {
                self.of.send("DELETE", &format!("{path}/{}", escape(key)), None)?;
            }
        }
        Ok(())
    }

    fn make_anew(&mut self, v: &str, it: &Anew) -> Result<(), Exit> {
        let bindings = match it {
            Anew::Exchange(it, bindings) => {
                let path = format!("/api/exchanges/{v}/{}", escape(&it.name));
                self.of.send("DELETE", &path, None)?;
                self.add_exchange(v, it)?;
                bindings
            }
            Anew::Queue(it, bindings) => {
                self.of.send("DELETE", &format!("/api/queues/{v}/{}", escape(&it.name)), None)?;
                it.policy.iter().try_for_each(|policy| self.put_policy(v, policy))?;
                self.add_queue(v, it)?;
                bindings
            }
        };
        bindings.iter().try_for_each(|it| self.bind(v, it))
    }

    /// Removes a queue, unless something is in it that nobody has given up; whether it is gone.
    fn delete_queue(&mut self, vhost: &str, it: &Leaving) -> Result<bool, Exit> {
        let v = escape(vhost);
        let path = format!("/api/queues/{v}/{}", escape(&it.name));
        if !it.given_up {
            let stake = self.amqp(moving::stake(&self.of.url, vhost, &it.name))?;
            let Some((n_ready, n_consumers)) = stake else { return Ok(true) };
            // Dead letters that their target has not taken yet are no ready messages.
            let told = self.of.ask("GET", &path, None)?.body;
            let n_letters = told["messages_dlx"].as_u64().unwrap_or_default();
            let n_messages = u64::from(n_ready) + n_letters;
            if n_messages > 0 && it.runs_empty {
                let name = &it.name;
                self.left
                    .push(format!("the queue `{name}` runs empty: {n_messages} messages wait"));
                return Ok(false);
            }
            if n_messages > 0 || (n_consumers > 0 && !it.is_inbox()) {
                self.left.push(format!(
                    "the queue `{}` stays: {n_messages} messages and {n_consumers} consumers came \
                     meanwhile",
                    it.name
                ));
                return Ok(false);
            }
        }
        self.done.removed += 1;
        self.of.send("DELETE", &path, None).map(|()| true)
    }

    /// Makes a queue anew without losing what is in it: its messages go aside, in order, while new
    /// ones still come to it; then its bindings, and the rest; and back.
    ///
    /// Whoever ends this after an interruption begins at the stage that it finds.
    fn replace(&mut self, vhost: &str, it: &Replaced) -> Result<(), Exit> {
        let v = &escape(vhost);
        let name = &it.queue.name;
        let aside = format!("{name}{MOVING_SUFFIX}");
        let aside_path = format!("/api/queues/{v}/{}", escape(&aside));
        let own = |queue: &str| Binding {
            source: aside.clone(),
            to_exchange: false,
            destination: queue.to_owned(),
            key: String::new(),
            arguments: Hex::new(&Table::default()),
        };
        let to_aside = |it: &Binding| Binding { destination: aside.clone(), ..it.clone() };
        if it.stage == Stage::Old {
            let exchange = json!({ "type": "fanout", "durable": true });
            let path = format!("/api/exchanges/{v}/{}", escape(&aside));
            self.of.send("PUT", &path, Some(&exchange))?;
            let kind = it.queue.arguments.get("x-queue-type").cloned();
            let arguments =
                Table(kind.map(|it| ("x-queue-type".to_owned(), it)).into_iter().collect());
            let body = json!({ "durable": true, "arguments": from_table(&arguments) });
            self.of.send("PUT", &aside_path, Some(&body))?;
            self.bind(v, &own(&aside))?;
            let moved = self.drain(vhost, name, &aside, Until::CaughtUp)?;
            it.bindings.iter().try_for_each(|it| self.bind(v, &to_aside(it)))?;
            it.bindings_before.iter().try_for_each(|it| self.unbind(v, it))?;
            let rest = self.drain(vhost, name, &aside, Until::Empty)?;
            println!("moved aside what was in `{name}`: {} messages", moved + rest);
            let gone = Leaving { name: name.clone(), given_up: false, runs_empty: false, of: None };
            if !self.delete_queue(vhost, &gone)? {
                return Ok(());
            }
        }
        if it.stage != Stage::New {
            it.queue.policy.iter().try_for_each(|policy| self.put_policy(v, policy))?;
            self.add_queue(v, &it.queue)?;
        }
        self.unbind(v, &own(&aside))?;
        self.bind(v, &own(name))?;
        let moved = self.drain(vhost, &aside, &aside, Until::CaughtUp)?;
        it.bindings.iter().try_for_each(|it| self.bind(v, it))?;
        it.bindings.iter().try_for_each(|it| self.unbind(v, &to_aside(it)))?;
        let rest = self.drain(vhost, &aside, &aside, Until::Empty)?;
        println!("moved back to `{name}`: {} messages", moved + rest);
        self.done.changed += 1;
        self.of.send("DELETE", &aside_path, None)?;
        self.of.send("DELETE", &format!("/api/exchanges/{v}/{}", escape(&aside)), None)
    }

    fn drain(&self, vhost: &str, from: &str, to: &str, until: Until) -> Result<u64, Exit> {
        self.amqp(moving::drain(&self.of.url, vhost, from, to, until))
    }

    fn amqp<T>(&self, work: impl Future<Output = Result<T, MoveError>>) -> Result<T, Exit> {
        self.runtime.block_on(work).map_err(|error| {
            eprintln!("error: {error}");
            if error.is_unreachable() { Exit::Unreachable } else { Exit::Partial }
        })
    }
}

fn binding_path(v: &str, it: &Binding) -> String {
    let kind = if it.to_exchange { "e" } else { "q" };
    format!("/api/bindings/{v}/e/{}/{kind}/{}", escape(&it.source), escape(&it.destination))
}
