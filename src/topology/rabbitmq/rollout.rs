//! From a node of RabbitMQ to what files declare: the plan, and what has to be asked of the node.
//!
//! The files that were applied are kept on the node itself, as a global parameter for each vhost, so
//! that everybody who plans knows what was made by files and what by clients. While a plan is
//! carried out, both the old and the new files are there: whoever comes next can end what was
//! begun. Vhosts that the files at hand do not name are somebody else's.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::load;
use crate::topology::observed::Binding;
use crate::topology::observed::Observed;
use crate::topology::observed::declared_bindings;
use crate::topology::plan::Action;
use crate::topology::plan::Kind;
use crate::topology::rabbitmq::detour;
use crate::topology::rabbitmq::detour::Detour;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;
use crate::topology::rabbitmq::observe::Policies;
use crate::topology::rabbitmq::observe::Seen;
use crate::topology::rabbitmq::policy;
use crate::topology::rabbitmq::policy::Policy;
use crate::topology::rabbitmq::translate::Loss;
use crate::topology::rabbitmq::translate::translate;
use crate::topology::rabbitmq::translate::unroutable_name;
use crate::topology::rollout;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::Stake;
use crate::topology::rollout::StepAction;
use crate::topology::rollout::removal;
use crate::topology::rollout::removal::Removals;
use crate::topology::source::Source;

/// What a global parameter is called in which the files of a vhost are kept, before its name.
pub const KEPT_PREFIX: &str = "railpost-topology:";

/// The type of queues that say none, in vhosts that are made here.
pub const USUAL_TYPE: &str = "quorum";
/// From this version on a vhost's usual type counts.
const HAS_USUAL_TYPES: Version = Version(3, 11);

/// What is kept of one vhost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub format: u32,
    /// The files that were applied last.
    pub sources: Vec<Source>,
    /// What is being applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
}

/// A rollout that was begun.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Next {
    pub sources: Vec<Source>,
    pub options: Options,
}

/// A plan, with all that is needed to carry it out.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    pub rollout: Rollout,
    pub vhosts: BTreeMap<String, Agenda>,
}

/// What is to be done in one vhost. Lists are in the order in which they are done, and doing any of
/// it twice does no harm.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Agenda {
    /// The vhost is to be made.
    pub is_new: bool,
    pub exchanges: Vec<NewExchange>,
    pub queues: Vec<NewQueue>,
    /// Those of failed messages first: a queue may fail a message as soon as it has one.
    pub bindings: Vec<Binding>,
    /// Of objects that are there.
    pub policies: Vec<Policy>,
    /// Deleted with what is in them, and made anew with all their bindings.
    pub anew: Vec<Anew>,
    /// Made anew without losing what is in them.
    pub replaced: Vec<Replaced>,
    /// Policies of objects that stay and need none any more.
    pub delete_policies: Vec<String>,
    pub unbind: Vec<Binding>,
    /// What others need to run empty comes before them.
    pub delete_queues: Vec<Leaving>,
    pub last: Last,
}

/// What goes when all queues are gone that had to: messages that wait need it to come back.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Last {
    pub unbind: Vec<Binding>,
    pub delete_exchanges: Vec<String>,
    pub delete_policies: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct NewExchange {
    pub name: String,
    pub kind: &'static str,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
    pub policy: Option<Policy>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct NewQueue {
    pub name: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub arguments: Table,
    pub policy: Option<Policy>,
}

/// An object that is another one afterwards.
#[derive(Clone, PartialEq, Debug)]
pub enum Anew {
    Exchange(NewExchange, Vec<Binding>),
    Queue(NewQueue, Vec<Binding>),
}

/// A queue that is another one afterwards, with the same messages.
#[derive(Clone, PartialEq, Debug)]
pub struct Replaced {
    pub queue: NewQueue,
    /// What it is bound to, then.
    pub bindings: Vec<Binding>,
    /// What it is bound to now.
    pub bindings_before: Vec<Binding>,
    pub stage: Stage,
}

/// How far a replacement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The old queue is there, with messages in it.
    Old,
    /// Neither is; the messages are aside.
    Neither,
    /// The new one is there, and does not have all messages yet.
    New,
}

/// A queue that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaving {
    pub name: String,
    /// With whatever is in it.
    pub given_up: bool,
    /// Messages in it come out by themselves: it stays until then.
    pub runs_empty: bool,
    /// The queue whose failed messages are in it: it stays as long.
    pub of: Option<String>,
}

impl Leaving {
    /// Only controllers consume it.
    pub fn is_inbox(&self) -> bool {
        self.of.is_some() && !self.runs_empty
    }
}

/// What a queue is there for, in the order in which queues go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Role {
    /// Only controllers consume it.
    Inbox,
    Wait,
    Declared,
}

/// Queues of detours, by vhost and name, each with the queue that it is there for.
type Roles = BTreeMap<(String, String), (Role, String)>;

impl Kept {
    /// Nothing was ever applied.
    pub fn nothing() -> Kept {
        Kept { format: 1, sources: Vec::new(), next: None }
    }

    /// Whether this very rollout was begun and not ended.
    fn is_begun(&self, mine: &Next) -> bool {
        self.next.as_ref() == Some(mine)
    }

    /// Whether there is nothing to be done for these files any more.
    pub fn is_ended(&self, mine: &Next) -> bool {
        self.next.is_none() && self.sources == mine.sources
    }
}

/// Files by the vhost that each of them belongs to.
fn by_vhost(sources: &[Source]) -> BTreeMap<String, Vec<Source>> {
    let mut all: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for it in sources {
        for name in load(std::slice::from_ref(it)).topology.vhosts.keys() {
            all.entry(name.to_string()).or_default().push(it.clone());
        }
    }
    all
}

/// What is to be kept of each vhost when files are applied.
pub fn nexts(sources: &[Source], options: &Options) -> BTreeMap<String, Next> {
    let next = |sources| Next { sources, options: options.clone() };
    by_vhost(sources).into_iter().map(|(name, sources)| (name, next(sources))).collect()
}

/// Whether this very rollout was begun and not ended, in some vhost of it.
pub fn is_begun(kept: &BTreeMap<String, Kept>, mine: &BTreeMap<String, Next>) -> bool {
    let of = |name: &String| kept.get(name).cloned().unwrap_or_else(Kept::nothing);
    let mut any = false;
    let goes_on = mine.iter().all(|(name, next)| {
        let kept = of(name);
        any |= kept.is_begun(next);
        kept.is_begun(next) || kept.next.is_none()
    });
    any && goes_on
}

/// What the topologies of applied files amount to on a node. `begun` are files whose rollout was
/// interrupted: what they declare was made by files, too.
pub fn applied(kept: &Topology, begun: Option<&Topology>, node: &Node) -> Topology {
    let mut all = translate(kept, node).topology;
    let Some(begun) = begun else { return all };
    for (name, more) in translate(begun, node).topology.vhosts {
        let Some(vhost) = all.vhosts.get_mut(&name) else {
            all.vhosts.insert(name, more);
            continue;
        };
        for (name, it) in more.exchanges {
            vhost.exchanges.entry(name).or_insert(it);
        }
        for (name, it) in more.queues {
            match vhost.queues.get_mut(&name) {
                Some(there) => there.bindings.extend(it.bindings),
                None => {
                    vhost.queues.insert(name, it);
                }
            }
        }
    }
    all
}

/// Plans the way from what was seen to what `new` declares; `applied` is translated, `new` is not.
pub fn course(
    seen: &Seen,
    applied: &Topology,
    new: &Topology,
    sources: &[Source],
    options: &Options,
) -> Course {
    let mut translated = translate(new, &seen.node);
    let wanted = translated.topology;
    let mut observed = seen.observed.clone();
    translated.losses.extend(without_others(&mut observed, seen, &wanted));
    let observed = &observed;
    let mut rollout = Rollout::new(observed, applied, &wanted, sources, options);
    let (removals, _) = removal::all(observed, applied, &wanted, options);
    rollout.losses = translated.losses.iter().map(ToString::to_string).collect();
    rollout.steps.retain(|it| it.action != StepAction::Hold);
    // What is moved is not at stake.
    rollout.stakes.retain(|it| {
        let gone = removals.get(&it.vhost);
        let is_moved = gone.is_some_and(|gone| gone.replaced.contains(&it.queue));
        !is_moved || options.delete.contains(&it.queue)
    });
    let own = generated(applied, &wanted);
    rollout.plan.flows.retain(|it| !own.contains(&(it.vhost.clone(), it.exchange.clone())));
    let roles = roles(applied);
    let again: BTreeSet<(String, String)> = detour::all(applied)
        .iter()
        .map(|it| (it.vhost.to_string(), it.again().to_string()))
        .collect();
    rollout.refusals = refusals(observed, &removals, &roles, options, new);
    rollout.refusals.extend(exchanges_replaced(&rollout, options));
    rollout.refusals.extend(overruled(seen, &wanted));
    rollout.refusals.extend(rollout::protected(applied, &rollout.plan));
    rollout.refusals.extend(rollout::held_back(observed, &rollout.plan));
    let fatal = translated.losses.iter().filter(|it| it.is_fatal);
    rollout.refusals.extend(fatal.map(ToString::to_string));
    let mut vhosts = BTreeMap::new();
    let names = wanted.vhosts.keys().map(|it| it.as_str()).chain(removals.keys().map(|it| &**it));
    for name in names.collect::<BTreeSet<&str>>() {
        let gone = removals.get(name).cloned().unwrap_or_default();
        let work =
            Work { seen, rollout: &rollout, name, options, roles: &roles, again: &again, new };
        vhosts.insert(name.to_owned(), work.agenda(wanted.vhost(name), gone));
    }
    Course { rollout, vhosts }
}

impl Course {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rollout.is_empty() && self.vhosts.values().all(|it| *it == Agenda::default())
    }
}

/// Exchanges that only detours have, by vhost and name. What goes through them is no message of
/// anybody's.
fn generated(applied: &Topology, wanted: &Topology) -> BTreeSet<(String, String)> {
    let of = |it: &Detour| {
        [it.failed(), it.wait_exchange(), it.again()]
            .map(|name| (it.vhost.to_string(), name.to_string()))
    };
    let mut all: BTreeSet<(String, String)> = BTreeSet::new();
    for topology in [applied, wanted] {
        all.extend(detour::all(topology).iter().flat_map(of));
        for vhost in topology.vhosts.values() {
            let parks = vhost.exchanges.values().filter(|it| it.parking_name().is_some());
            let alternates = parks.map(|it| unroutable_name(&it.name));
            all.extend(alternates.map(|it| (vhost.name.to_string(), it.to_string())));
        }
    }
    all
}

fn roles(applied: &Topology) -> Roles {
    let mut roles = Roles::new();
    for it in detour::all(applied) {
        let mut add = |name: &str, role| {
            let key = (it.vhost.to_string(), name.to_owned());
            roles.insert(key, (role, it.queue.to_string()));
        };
        add(&it.inbox(), Role::Inbox);
        it.waits.iter().for_each(|wait| add(&it.wait_queue(*wait), Role::Wait));
    }
    roles
}

fn refusals(
    observed: &Observed,
    removals: &BTreeMap<String, Removals>,
    roles: &Roles,
    options: &Options,
    new: &Topology,
) -> Vec<String> {
    let mut all = Vec::new();
    for (vhost, gone) in removals {
        let live = |name: &String| {
            let it = observed.vhosts.get(vhost)?.queues.get(name)?;
            Some((it.n_messages, it.n_consumers))
        };
        let mut stakes = Vec::new();
        for name in &gone.queues {
            let (n_messages, n_consumers) = live(name).unwrap_or_default();
            let stake = |n_messages, n_consumers| Stake {
                vhost: vhost.clone(),
                queue: name.clone(),
                n_messages,
                n_consumers,
            };
            let role = roles.get(&(vhost.clone(), name.clone())).map(|it| it.0);
            match role.unwrap_or(Role::Declared) {
                Role::Declared => stakes.push(stake(n_messages, n_consumers)),
                Role::Inbox => stakes.push(stake(n_messages, 0)),
                Role::Wait => {}
            }
        }
        all.extend(rollout::refusals(&stakes, options));
        for name in gone.replaced.iter().filter(|it| !options.delete.contains(*it)) {
            let (_, n_consumers) = live(name).unwrap_or_default();
            if n_consumers > 0 {
                all.push(format!(
                    "the queue `{name}` is another one afterwards and has {n_consumers} consumers; \
                     stop them while it is replaced, or say --delete {name}, which also loses its \
                     messages"
                ));
            }
            let by_name = new.vhost(vhost).and_then(|it| it.queues.get(name.as_str()));
            if by_name.is_none_or(|it| it.bindings.is_empty() || !it.messages.is_empty()) {
                all.push(format!(
                    "the queue `{name}` is another one afterwards, and messages published by its \
                     name alone have nowhere to go meanwhile; bind it to an exchange, or say \
                     --delete {name}, which also loses its messages"
                ));
            }
        }
    }
    all
}

/// Leaves out what the policies of others say of queues that have none of ours: it is theirs to
/// say, and nothing that files could change. Says so, and which of theirs do not count.
fn without_others(observed: &mut Observed, seen: &Seen, wanted: &Topology) -> Vec<Loss> {
    let policies = Policies::new(&seen.policies);
    let mut all = Vec::new();
    for (vhost, live) in &mut observed.vhosts {
        let Some(declared) = wanted.vhost(vhost) else { continue };
        for (name, queue) in &mut live.queues {
            let Some(it) = declared.queues.get(name.as_str()) else { continue };
            let kind = seen.node.queue_type(vhost, name).unwrap_or("classic");
            let theirs = policies.foreign(vhost, name, kind);
            let Some(theirs) = theirs else { continue };
            let keys: Vec<&str> = theirs.definition.keys().map(String::as_str).collect();
            let keys = keys.join("`, `");
            let mut lose = |text: String| {
                let (origin, name) = (it.origin, name.clone());
                all.push(Loss { origin, kind: "queue", name, text, is_fatal: false });
            };
            if policy::of_queue(it).is_some() {
                lose(format!(
                    "the policy `{}` does not give it `{keys}`: ours counts",
                    theirs.name
                ));
                continue;
            }
            let own = queue.declared_with.clone().unwrap_or_else(|| queue.arguments.clone());
            if own != queue.arguments {
                queue.arguments = own;
                lose(format!("the policy `{}` gives it `{keys}`", theirs.name));
            }
        }
    }
    all
}

/// COMPAT: an object is under one policy. Ours give way to nobody's below their priority.
fn overruled(seen: &Seen, wanted: &Topology) -> Vec<String> {
    let policies = Policies::new(&seen.policies);
    let mut all = Vec::new();
    for (vhost, it) in &wanted.vhosts {
        for ours in policy::all(it) {
            let Some(name) = policy::object(&ours.name) else { continue };
            let declared = it.queues.get(name).filter(|_| ours.apply_to == "queues");
            let kind = match declared {
                Some(queue) => {
                    let kind = queue.arguments.get("x-queue-type").and_then(Value::as_text);
                    kind.unwrap_or("classic")
                }
                None => "exchanges",
            };
            let foreign = policies.foreign(vhost, name, kind);
            if let Some(theirs) = foreign.filter(|it| it.priority >= policy::PRIORITY) {
                let (theirs, priority) = (&theirs.name, theirs.priority);
                all.push(format!(
                    "the policy `{theirs}` of priority {priority} counts for `{name}` in place of \
                     what files say; give it one below {}",
                    policy::PRIORITY
                ));
            }
        }
    }
    all
}

/// RabbitMQ cannot put one exchange in the place of another in one moment.
fn exchanges_replaced(rollout: &Rollout, options: &Options) -> Vec<String> {
    let is_one = |it: &&crate::topology::plan::Change| {
        it.kind == Kind::Exchange
            && it.action == Action::Replace
            && !options.delete.contains(&it.name)
    };
    let text = |it: &crate::topology::plan::Change| {
        format!(
            "the exchange `{0}` is another one afterwards, and what is published to it meanwhile \
             has nowhere to go; declare it under another name, move its publishers and delete it \
             then, or say --delete {0}",
            it.name
        )
    };
    rollout.plan.changes.iter().filter(is_one).map(text).collect()
}

/// One vhost of a course.
struct Work<'a> {
    seen: &'a Seen,
    rollout: &'a Rollout,
    name: &'a str,
    options: &'a Options,
    roles: &'a Roles,
    /// What brings back messages that have waited.
    again: &'a BTreeSet<(String, String)>,
    /// As the files say, not translated.
    new: &'a Topology,
}

impl Work<'_> {
    fn agenda(&self, wanted: Option<&Vhost>, gone: Removals) -> Agenda {
        let live = self.seen.observed.vhosts.get(self.name);
        let mut agenda = Agenda { is_new: live.is_none(), ..Agenda::default() };
        if let Some(wanted) = wanted {
            self.make(wanted, &gone, &mut agenda);
        }
        let brings_back =
            |it: &Binding| self.again.contains(&(self.name.to_owned(), it.source.clone()));
        (agenda.last.unbind, agenda.unbind) = gone.bindings.into_iter().partition(brings_back);
        agenda.delete_queues = gone.queues.into_iter().map(|it| self.leaving(it)).collect();
        agenda
            .delete_queues
            .sort_by_key(|it| self.role(&it.name).map_or(Role::Declared, |it| it.0));
        agenda.last.delete_exchanges = gone.exchanges;
        agenda
    }

    fn make(&self, wanted: &Vhost, gone: &Removals, agenda: &mut Agenda) {
        let empty = crate::topology::observed::Vhost::default();
        let live = self.seen.observed.vhosts.get(self.name).unwrap_or(&empty);
        let mut bindings = declared_bindings(wanted);
        let own: BTreeSet<&str> = self
            .new
            .vhost(self.name)
            .map(|it| it.exchanges.keys().map(|it| it.as_str()).collect())
            .unwrap_or_default();
        bindings.sort_by_key(|it| own.contains(it.source.as_str()));
        let to = |name: &str, to_exchange: bool| -> Vec<Binding> {
            let is = |it: &&Binding| it.destination == name && it.to_exchange == to_exchange;
            bindings.iter().filter(is).cloned().collect()
        };
        for it in wanted.exchanges.values() {
            let new = new_exchange(it);
            if self.is_replaced(Kind::Exchange, &it.name) {
                let mut all = to(&it.name, true);
                let stays = |it: &&Binding| !gone.bindings.contains(it);
                let live = live.bindings.iter().filter(stays).chain(&bindings);
                all.extend(live.filter(|from| *from.source == *it.name).cloned());
                agenda.anew.push(Anew::Exchange(new, all));
            } else if live.exchanges.contains_key(it.name.as_str()) {
                agenda.policies.extend(new.policy);
            } else {
                agenda.exchanges.push(new);
            }
        }
        // COMPAT: where queues are of another type by default, a classic one has to say so.
        let says_type = self.seen.node.version >= HAS_USUAL_TYPES
            && (agenda.is_new || self.seen.usual_types.contains_key(self.name));
        for it in wanted.queues.values() {
            let mut new = new_queue(it);
            if says_type && new.arguments.get("x-queue-type").is_none() {
                new.arguments.set("x-queue-type", Value::text("classic"));
            }
            let is_there = live.queues.contains_key(it.name.as_str());
            let is_old = gone.replaced.iter().any(|name| *it.name == **name);
            let was_begun = self.seen.moving.contains(&(self.name.to_owned(), it.name.to_string()));
            if is_old || was_begun {
                let own = |all: &[Binding]| -> Vec<Binding> {
                    let is = |b: &&Binding| *b.destination == *it.name && !b.to_exchange;
                    all.iter().filter(is).cloned().collect()
                };
                let bindings_before = own(&live.bindings);
                let mut bindings = to(&it.name, false);
                let stays = |it: &&Binding| !gone.bindings.contains(it) && !bindings.contains(it);
                let more: Vec<Binding> = bindings_before.iter().filter(stays).cloned().collect();
                bindings.extend(more);
                let stage = match (is_old, is_there) {
                    (true, _) => Stage::Old,
                    (false, true) => Stage::New,
                    (false, false) => Stage::Neither,
                };
                let replaced = Replaced { queue: new, bindings, bindings_before, stage };
                // What a replacement that was interrupted has put aside is not given up.
                if !was_begun && self.options.delete.contains(it.name.as_str()) {
                    agenda.anew.push(Anew::Queue(replaced.queue, replaced.bindings));
                } else {
                    agenda.replaced.push(replaced);
                }
            } else if is_there {
                agenda.policies.extend(new.policy);
            } else {
                agenda.queues.push(new);
            }
        }
        let replaced: BTreeSet<&str> =
            agenda.replaced.iter().map(|it| it.queue.name.as_str()).collect();
        bindings.retain(|it| {
            let is_replaced = !it.to_exchange && replaced.contains(it.destination.as_str());
            !is_replaced && live.bindings.binary_search(it).is_err()
        });
        agenda.bindings = bindings;
        let own = self.seen.policies.iter().filter(|it| it.vhost == self.name);
        let there: BTreeMap<&str, _> = own.map(|it| (it.name.as_str(), it)).collect();
        let is_there = |it: &Policy| {
            let same = |live: &&crate::topology::rabbitmq::observe::Policy| {
                live.pattern == it.pattern
                    && live.apply_to == it.apply_to
                    && live.priority == policy::PRIORITY
                    && live.definition == it.definition
            };
            there.get(it.name.as_str()).is_some_and(same)
        };
        agenda.policies.retain(|it| !is_there(it));
        let needed: BTreeSet<String> = policy::all(wanted).into_iter().map(|it| it.name).collect();
        let stale = self.seen.policies.iter().filter(|it| {
            it.vhost == self.name && policy::is_ours(&it.name) && !needed.contains(&it.name)
        });
        let kept: BTreeSet<String> = {
            let queues = wanted.queues.keys().map(|it| policy::name("queue", it));
            queues.chain(wanted.exchanges.keys().map(|it| policy::name("exchange", it))).collect()
        };
        (agenda.delete_policies, agenda.last.delete_policies) =
            stale.map(|it| it.name.clone()).partition(|it| kept.contains(it));
    }

    fn is_replaced(&self, kind: Kind, name: &str) -> bool {
        self.rollout.plan.changes.iter().any(|it| {
            it.kind == kind
                && it.action == Action::Replace
                && it.name == name
                && it.vhost == self.name
        })
    }

    fn role(&self, name: &str) -> Option<&(Role, String)> {
        self.roles.get(&(self.name.to_owned(), name.to_owned()))
    }

    fn leaving(&self, name: String) -> Leaving {
        let role = self.role(&name);
        let given_up = self.options.delete.contains(&name);
        let runs_empty = role.is_some_and(|it| it.0 == Role::Wait);
        Leaving { given_up, runs_empty, of: role.map(|it| it.1.clone()), name }
    }
}

fn new_exchange(it: &crate::topology::declared::Exchange) -> NewExchange {
    NewExchange {
        name: it.name.to_string(),
        kind: it.type_name(),
        durable: it.durable,
        auto_delete: it.auto_delete,
        internal: it.internal,
        arguments: it.arguments.clone(),
        policy: policy::of_exchange(it),
    }
}

fn new_queue(it: &crate::topology::declared::Queue) -> NewQueue {
    NewQueue {
        name: it.name.to_string(),
        durable: it.durable,
        auto_delete: it.auto_delete,
        arguments: policy::fixed_arguments(it),
        policy: policy::of_queue(it),
    }
}
