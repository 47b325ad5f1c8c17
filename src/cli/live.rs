//! A running broker, asked over its HTTP API.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use ureq::Agent;

use crate::cli::args::ApiArgs;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::topology;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::observed::Observed;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::present;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Applying goes through every queue there is.
const PATIENCE: Duration = Duration::from_secs(120);
const ANSWER_BYTES: u64 = 256 << 20;

/// A broker to talk to.
#[derive(Debug)]
pub(in crate::cli) struct Live {
    agent: Agent,
    /// Without login and without a slash at its end.
    base: String,
    login: String,
}

impl Live {
    /// Reads `http://USER:PASSWORD@HOST:PORT`.
    pub(in crate::cli) fn new(args: &ApiArgs) -> Result<Live, Exit> {
        let wrong = || {
            eprintln!("error: --api is no address such as http://guest:guest@localhost:15672");
            Exit::Unusable
        };
        let (scheme, rest) = args.api.split_once("://").ok_or_else(wrong)?;
        let (login, host) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
        if scheme != "http" || host.trim_end_matches('/').is_empty() {
            return Err(wrong());
        }
        let login: Vec<String> = login.splitn(2, ':').map(decoded).collect();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_PATIENCE))
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Live {
            agent: config.into(),
            base: format!("http://{}", host.trim_end_matches('/')),
            login: STANDARD.encode(login.join(":")),
        })
    }

    pub(in crate::cli) fn plan(
        &self,
        sources: &[Source],
        options: &Options,
    ) -> Result<Rollout, Exit> {
        let body = json!({ "sources": sources, "options": options });
        let answer = self.post("/v1/plan", &body)?;
        serde_json::from_value(answer).map_err(|error| self.broken(&error.to_string()))
    }

    /// Carries out a plan as it is; returns how much was created, changed and removed.
    pub(in crate::cli) fn apply(&self, plan: &Rollout) -> Result<(u64, u64, u64), Exit> {
        let body = json!({
            "sources": plan.sources,
            "options": plan.options,
            "fingerprint": plan.fingerprint,
        });
        let answer = self.post("/v1/apply", &body)?;
        let number = |key: &str| answer[key].as_u64().unwrap_or_default();
        Ok((number("created"), number("changed"), number("removed")))
    }

    /// What the broker has, in the words of files.
    pub(in crate::cli) fn topology(&self) -> Result<Topology, Exit> {
        let answer = self.get("/v1/topology/live")?;
        let observed: Observed = serde_json::from_value(answer["observed"].clone())
            .map_err(|error| self.broken(&error.to_string()))?;
        let applied = topology::check(&observed.sources, files::today()).topology;
        Ok(present::topology(&observed, &applied))
    }

    /// RabbitMQ's definitions of everything.
    pub(in crate::cli) fn definitions(&self) -> Result<Value, Exit> {
        self.get("/api/definitions")
    }

    fn get(&self, path: &str) -> Result<Value, Exit> {
        let request = self.agent.get(format!("{}{path}", self.base));
        self.answer(request.header("authorization", format!("Basic {}", self.login)).call())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request
            .header("authorization", format!("Basic {}", self.login))
            .header("content-type", "application/json");
        self.answer(request.send(body.to_string()))
    }

    fn answer(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Exit> {
        let unreachable = |error: &ureq::Error| {
            eprintln!("error: cannot reach {}: {error}", self.base);
            Exit::Unreachable
        };
        let mut response = sent.map_err(|it| unreachable(&it))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_string();
        let text = text.map_err(|it| unreachable(&it))?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
        let reason = body["reason"].as_str().unwrap_or(&text);
        match status {
            200..=299 => return Ok(body),
            401 => eprintln!("error: {} refuses the login: {reason}", self.base),
            409 => {
                for it in reasons.iter().filter_map(Value::as_str) {
                    eprintln!("refused: {it}");
                }
            }
            404 => eprintln!("error: {} is no railpost that can plan", self.base),
            status => eprintln!("error: {} answers {status}: {reason}", self.base),
        }
        Err(match status {
            401 | 404 | 500.. => Exit::Unreachable,
            409 => Exit::Refused,
            _ => Exit::Unusable,
        })
    }

    fn broken(&self, why: &str) -> Exit {
        eprintln!("error: {} answers what this version does not understand: {why}", self.base);
        Exit::Unreachable
    }
}

/// Percent-decoding of a user or a password.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match (*first, hex.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
