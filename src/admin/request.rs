//! Requests and responses as values.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::amqp::id::BatchId;
use crate::amqp::json::JsonError;

/// What is to be done. HEAD is a GET whose body is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

/// A request, its path split and decoded.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    pub method: Method,
    /// What follows `/api/`; without the empty segment of a trailing slash.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    /// `{}` when there was none.
    pub body: Value,
    /// The header `X-Reason`.
    pub reason: Option<String>,
}

/// An answer, to be sent once [`Response::after`] is on disk.
#[derive(Clone, PartialEq, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Option<Value>,
    pub location: Option<String>,
    /// Objects of an import that could not be made what it says.
    pub n_conflicts: usize,
    pub after: BatchId,
}

pub type Outcome = Result<Response, Problem>;

/// Why a request is not answered as it wants to be.
#[derive(Clone, PartialEq, Debug)]
pub enum Problem {
    /// COMPAT: 401, although the caller is known.
    NotAllowed(&'static str),
    NotFound,
    /// A thing the request depends on is not there.
    Missing(&'static str),
    BadRequest(String),
    /// 400 with an error word of its own.
    Invalid {
        error: &'static str,
        reason: String,
    },
    WrongMethod,
    /// COMPAT: 412.
    Protected(String),
    /// What is to be imported contradicts what is there.
    Conflict(Value),
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Problem {
        Problem::bad(error.to_string())
    }
}

impl Problem {
    pub fn bad(reason: impl Into<String>) -> Problem {
        Problem::BadRequest(reason.into())
    }

    /// What is wrong, for people.
    pub fn reason(self) -> String {
        let body = self.response().body.unwrap_or_default();
        body["reason"].as_str().map_or_else(|| body.to_string(), str::to_owned)
    }

    pub fn response(self) -> Response {
        let of = |status, error: &str, reason: String| Response {
            status,
            ..Response::ok(json!({ "error": error, "reason": reason }))
        };
        match self {
            Problem::NotAllowed(reason) => of(401, "not_authorised", reason.to_owned()),
            Problem::NotFound => of(404, "Object Not Found", "Not Found".to_owned()),
            Problem::Missing(what) => of(404, "not_found", what.to_owned()),
            Problem::BadRequest(reason) => of(400, "bad_request", reason),
            Problem::Invalid { error, reason } => of(400, error, reason),
            Problem::Protected(reason) => of(412, "precondition_failed", reason),
            Problem::WrongMethod => Response { status: 405, ..Response::no_content() },
            Problem::Conflict(body) => Response { status: 409, ..Response::ok(body) },
        }
    }
}

impl Response {
    pub fn ok(body: Value) -> Response {
        Response { status: 200, body: Some(body), ..Response::no_content() }
    }

    pub fn no_content() -> Response {
        Response { status: 204, body: None, location: None, n_conflicts: 0, after: BatchId(0) }
    }

    /// COMPAT: 201 for what is new, 204 for what was there.
    pub fn put(existed: bool, after: BatchId) -> Response {
        let status = if existed { 204 } else { 201 };
        Response { status, after, ..Response::no_content() }
    }

    /// 204, once `after` is on disk.
    pub fn done(after: BatchId) -> Response {
        Response { after, ..Response::no_content() }
    }
}

impl Request {
    /// A value of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    pub fn is_set(&self, key: &str) -> bool {
        self.query(key) == Some("true")
    }

    /// The body as an object.
    pub fn fields(&self) -> Result<&Map<String, Value>, Problem> {
        self.body.as_object().ok_or_else(|| Problem::bad("the body is no JSON object"))
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>, Problem> {
        text_of(self.fields()?, key)
    }

    /// COMPAT: a text that must be there.
    pub fn required_text(&self, key: &str) -> Result<&str, Problem> {
        self.text(key)?.ok_or_else(|| Problem::bad(format!("[{{key_missing,{key}}}]")))
    }

    pub fn flag(&self, key: &str) -> Result<bool, Problem> {
        flag_of(self.fields()?, key)
    }

    pub fn integer(&self, key: &str) -> Result<Option<i64>, Problem> {
        integer_of(self.fields()?, key)
    }
}

pub fn text_of<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, Problem> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Problem::bad(format!("`{key}` is {other}; it must be a string"))),
    }
}

/// COMPAT: old tools send `"true"`.
pub fn flag_of(fields: &Map<String, Value>, key: &str) -> Result<bool, Problem> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(Problem::bad(format!("`{key}` is {other}; it must be true or false"))),
    }
}

/// COMPAT: old tools send `"1"`.
pub fn integer_of(fields: &Map<String, Value>, key: &str) -> Result<Option<i64>, Problem> {
    let number = match fields.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_i64(),
    };
    let wrong = || Problem::bad(format!("`{key}` must be an integer"));
    number.map(Some).ok_or_else(wrong)
}
