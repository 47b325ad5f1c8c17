//! Requests to a broker's HTTP API, and what its answers mean.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use crate::cli::client::args::TargetArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::target::Target;
use crate::cli::client::target::escape;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const ANSWER_BYTES: u64 = 256 << 20;

/// A broker that is asked.
#[derive(Debug)]
pub(in crate::cli) struct Api {
    agent: Agent,
    pub(in crate::cli) target: Target,
}

/// What a broker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Answer {
    pub(in crate::cli) status: u16,
    pub(in crate::cli) body: Value,
}

impl Api {
    pub(super) fn new(args: &TargetArgs) -> Result<Api, Failure> {
        Ok(Api::patient(Target::of(args)?, PATIENCE))
    }

    /// Gives up on an answer after `patience`.
    pub(in crate::cli) fn patient(target: Target, patience: Duration) -> Api {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_PATIENCE.min(patience)))
            .timeout_global(Some(patience))
            .max_redirects(0)
            .proxy(None)
            .build();
        Api { agent: config.into(), target }
    }

    pub(super) fn vhost(&self) -> &str {
        self.target.vhost()
    }

    /// `/v1/queues/VHOST/QUEUE` and what follows.
    pub(super) fn queue_path(&self, api: &str, queue: &str, rest: &str) -> String {
        format!("{api}/queues/{}/{}{rest}", escape(self.vhost()), escape(queue))
    }

    /// How a failure names a queue.
    pub(super) fn queue_name(&self, queue: &str) -> String {
        format!("queue `{queue}` in vhost `{}`", self.vhost())
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send("GET", path, None, path).map(|it| it.body)
    }

    /// `what` is not there when the broker says 404.
    pub(super) fn get_of(&self, path: &str, what: &str) -> Result<Value, Failure> {
        self.send("GET", path, None, what).map(|it| it.body)
    }

    /// The items of a list, however many pages it has.
    pub(super) fn list(&self, path: &str, what: &str) -> Result<Vec<Value>, Failure> {
        items(self.get_of(path, what)?)
    }

    /// Calls with a body; without one, an empty object is sent.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, Failure> {
        self.call(method, path, body, None, what)
    }

    /// Calls and gives a reason, which the API takes as a header.
    pub(super) fn send_with_reason(
        &self,
        method: &str,
        path: &str,
        reason: Option<&str>,
        what: &str,
    ) -> Result<Answer, Failure> {
        self.call(method, path, None, reason, what)
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        reason: Option<&str>,
        what: &str,
    ) -> Result<Answer, Failure> {
        let answer = self.ask(method, path, body, reason)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(self.failure(answer.status, &answer.body, what))
    }

    /// Sends a request; the answer may be a refusal.
    pub(in crate::cli) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        reason: Option<&str>,
    ) -> Result<Answer, Failure> {
        let Target { user, password, .. } = &self.target;
        let login = STANDARD.encode(format!("{user}:{password}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.base()))
            .header("authorization", format!("Basic {login}"))
            .header("content-type", "application/json");
        if let Some(reason) = reason {
            request = request.header("x-reason", reason);
        }
        let wrong = |error: ureq::http::Error| Failure::usage(error.to_string());
        let sent = match body {
            Some(body) => {
                let text = body.to_string();
                self.agent.run(request.body(text).map_err(wrong)?)
            }
            None if method == "POST" || method == "PUT" => {
                self.agent.run(request.body("{}").map_err(wrong)?)
            }
            None => self.agent.run(request.body(()).map_err(wrong)?),
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Ok(Answer { status, body })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let cause =
            if let ureq::Error::Io(error) = error { error.to_string() } else { error.to_string() };
        Failure::Unreachable { address: self.target.base(), cause }
    }

    fn failure(&self, status: u16, body: &Value, what: &str) -> Failure {
        let user = self.target.user.clone();
        let reason = body["reason"].as_str();
        let reason = reason.map_or_else(|| body.to_string(), str::to_owned);
        match status {
            // COMPAT: who may not do something is answered like who is nobody.
            401 if body["error"] == "not_authorised" => Failure::NotAllowed { user, reason },
            401 if body.is_null() => Failure::Login { user, reason: "Login failed".to_owned() },
            401 => Failure::Login { user, reason },
            403 => Failure::NotAllowed { user, reason },
            404 if reason == "Not Found" => Failure::NotFound(what.to_owned()),
            404 => Failure::NotFound(format!("{what}: {reason}")),
            400 | 405 | 409 | 413 | 415 => Failure::Refused(reason),
            status => Failure::Broken { status, text: reason },
        }
    }
}

/// The items of what must be a list.
pub(super) fn items(value: Value) -> Result<Vec<Value>, Failure> {
    if let Value::Array(items) = value {
        return Ok(items);
    }
    Err(Failure::Broken { status: 200, text: format!("no list, but {value}") })
}
