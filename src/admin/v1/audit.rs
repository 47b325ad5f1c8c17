//! Who changed what over HTTP, lately.

use serde_json::Value;
use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
use crate::amqp::name::UserName;
use crate::amqp::time::Timestamp;

/// Entries of an answer, when nothing is said.
const LIMIT: usize = 100;

/// A request that was made to change something, whether it did or was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    pub at: Timestamp,
    pub peer: String,
    pub user: UserName,
    pub method: String,
    /// As it was sent, without the query: bodies and queries may hold secrets.
    pub path: String,
    pub status: u16,
}

/// The newest first. For administrators.
pub fn audit<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    caller.check_administrator()?;
    let limit = request.query("limit").map_or(Ok(LIMIT), str::parse);
    let limit = limit.map_err(|_| Problem::bad("`limit` is no number"))?;
    let user = request.query("user");
    let entries = estate.audit();
    let wanted = entries.iter().rev().filter(|it| user.is_none_or(|user| it.user == *user));
    Ok(Response::ok(wanted.take(limit).map(view).collect()))
}

fn view(entry: &AuditEntry) -> Value {
    json!({
        "at_ms": entry.at.as_millis(),
        "peer": entry.peer,
        "user": entry.user.as_str(),
        "method": entry.method,
        "path": entry.path,
        "status": entry.status,
    })
}
