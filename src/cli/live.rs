//! A running broker, asked over its HTTP API.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::cli::args::ApiArgs;
use crate::cli::args::EngineName;
use crate::cli::client;
use crate::cli::client::api::Answer;
use crate::cli::client::api::Api;
use crate::cli::client::target;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::rabbitmq::Done;
use crate::cli::rabbitmq::Rabbitmq;
use crate::topology;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::lint::subject::Live as Seen;
use crate::topology::observed::Observed;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::present;

/// Applying goes through every queue there is.
pub(in crate::cli) const PATIENCE: Duration = Duration::from_secs(120);

/// A broker to talk to.
#[derive(Debug)]
pub(in crate::cli) enum Live {
    Railpost(Railpost),
    Rabbitmq(Rabbitmq),
}

/// One that this program is, with its own API.
#[derive(Debug)]
pub(in crate::cli) struct Railpost {
    api: Api,
}

impl Live {
    /// # Errors
    /// When its address is none.
    pub(in crate::cli) fn new(args: &ApiArgs) -> Result<Live, Exit> {
        if args.engine == EngineName::Rabbitmq {
            return Rabbitmq::new(args).map(Live::Rabbitmq);
        }
        let target = target::of_api(&args.api).map_err(|it| client::report(&it))?;
        Ok(Live::Railpost(Railpost { api: Api::patient(target, PATIENCE) }))
    }

    pub(in crate::cli) fn plan(
        &self,
        sources: &[Source],
        options: &Options,
    ) -> Result<Rollout, Exit> {
        match self {
            Live::Railpost(it) => it.plan(sources, options),
            Live::Rabbitmq(it) => it.plan(sources, options),
        }
    }

    /// Carries out a plan as it is; returns how much was created, changed and removed.
    pub(in crate::cli) fn apply(&self, plan: &Rollout) -> Result<Done, Exit> {
        match self {
            Live::Railpost(it) => it.apply(plan),
            Live::Rabbitmq(it) => it.apply(plan),
        }
    }

    /// What the broker has, and the way from there to these files; for RabbitMQ with what it can.
    pub(in crate::cli) fn look(&self, sources: &[Source]) -> Result<(Seen, Option<Node>), Exit> {
        match self {
            Live::Railpost(it) => {
                let rollout = it.plan(sources, &Options::default())?;
                Ok((Seen { observed: it.observed()?, rollout }, None))
            }
            Live::Rabbitmq(it) => {
                let (observed, rollout, node) = it.look(sources)?;
                Ok((Seen { observed, rollout }, Some(node)))
            }
        }
    }

    /// What applying a topology makes of it on this broker.
    pub(in crate::cli) fn as_made(&self, topology: Topology) -> Result<Topology, Exit> {
        match self {
            Live::Railpost(_) => Ok(topology),
            Live::Rabbitmq(it) => it.as_made(&topology),
        }
    }

    /// What the broker has.
    pub(in crate::cli) fn observed(&self) -> Result<Observed, Exit> {
        match self {
            Live::Railpost(it) => it.observed(),
            Live::Rabbitmq(it) => it.observed(),
        }
    }

    /// What the broker has, in the words of files.
    pub(in crate::cli) fn topology(&self) -> Result<Topology, Exit> {
        match self {
            Live::Railpost(it) => it.topology(),
            Live::Rabbitmq(it) => it.topology(),
        }
    }

    /// RabbitMQ's definitions of everything.
    pub(in crate::cli) fn definitions(&self) -> Result<Value, Exit> {
        match self {
            Live::Railpost(it) => it.get("/api/definitions"),
            Live::Rabbitmq(it) => it.definitions(),
        }
    }
}

impl Railpost {
    fn plan(&self, sources: &[Source], options: &Options) -> Result<Rollout, Exit> {
        let body = json!({ "sources": sources, "options": options });
        let answer = self.post("/v1/plan", &body)?;
        serde_json::from_value(answer).map_err(|error| self.broken(&error.to_string()))
    }

    fn apply(&self, plan: &Rollout) -> Result<Done, Exit> {
        let body = json!({
            "sources": plan.sources,
            "options": plan.options,
            "fingerprint": plan.fingerprint,
            "broker": plan.broker,
        });
        let answer = self.post("/v1/apply", &body)?;
        let number = |key: &str| answer[key].as_u64().unwrap_or_default();
        Ok(Done {
            created: number("created"),
            changed: number("changed"),
            removed: number("removed"),
        })
    }

    fn topology(&self) -> Result<Topology, Exit> {
        let observed = self.observed()?;
        let applied = topology::check(&observed.sources, files::today()).topology;
        Ok(present::topology(&observed, &applied))
    }

    fn observed(&self) -> Result<Observed, Exit> {
        let answer = self.get("/v1/topology/live")?;
        serde_json::from_value(answer["observed"].clone())
            .map_err(|error| self.broken(&error.to_string()))
    }

    fn get(&self, path: &str) -> Result<Value, Exit> {
        self.answer("GET", path, None)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        self.answer("POST", path, Some(body))
    }

    fn answer(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Exit> {
        let answer = self.api.ask(method, path, body, None).map_err(|it| client::report(&it))?;
        let Answer { status, body } = answer;
        let base = self.api.target.base();
        let text = body.to_string();
        let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
        let reason = body["reason"].as_str().unwrap_or(&text);
        match status {
            200..=299 => return Ok(body),
            401 => eprintln!("error: {base} refuses the login: {reason}"),
            409 => {
                for it in reasons.iter().filter_map(Value::as_str) {
                    eprintln!("refused: {it}");
                }
            }
            404 => eprintln!("error: {base} is no railpost that can plan"),
            status => eprintln!("error: {base} answers {status}: {reason}"),
        }
        Err(match status {
            401 | 404 | 500.. => Exit::Unreachable,
            409 => Exit::Refused,
            _ => Exit::Unusable,
        })
    }

    fn broken(&self, why: &str) -> Exit {
        let base = self.api.target.base();
        eprintln!("error: {base} answers what this version does not understand: {why}");
        Exit::Unreachable
    }
}
