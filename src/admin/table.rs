//! What can be asked for below `/api`, and by whom: what is not here is not answered.

use crate::admin::caller::Caller;
use crate::admin::request::Method;
use crate::admin::request::Problem;
use crate::admin::request::Request;

use Method::Delete;
use Method::Get;
use Method::Post;
use Method::Put;

/// The tag a caller needs at least. What they may do in a vhost is looked at besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Any tag.
    Management,
    Monitoring,
    Policymaker,
    Administrator,
}

/// One thing that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub need: Need,
    pub method: Method,
    /// `{name}` stands for one part, `{*}` at the end for any number.
    pub path: &'static str,
}

impl Row {
    pub fn is_for(&self, caller: &Caller) -> Result<(), Problem> {
        match self.need {
            Need::Management => caller.check_management(),
            Need::Monitoring => caller.check_monitoring(),
            Need::Policymaker => caller.check_policymaker(),
            Need::Administrator => caller.check_administrator(),
        }
    }
}

const fn of(need: Need, method: Method, path: &'static str) -> Row {
    Row { need, method, path }
}

const ANY: Need = Need::Management;
const MONITOR: Need = Need::Monitoring;
const POLICY: Need = Need::Policymaker;
const ADMIN: Need = Need::Administrator;

/// COMPAT: paths, methods and tags are RabbitMQ's.
pub const TABLE: &[Row] = &[
    of(ANY, Get, "whoami"),
    of(ANY, Get, "overview"),
    of(ANY, Get, "version"),
    of(ANY, Get, "cluster-name"),
    of(ADMIN, Put, "cluster-name"),
    of(MONITOR, Get, "nodes"),
    of(MONITOR, Get, "nodes/{node}"),
    of(MONITOR, Get, "nodes/{node}/memory"),
    of(ANY, Get, "feature-flags"),
    of(ADMIN, Put, "feature-flags/{flag}/enable"),
    of(MONITOR, Get, "auth/attempts/{node}"),
    of(ANY, Get, "deprecated-features/{*}"),
    of(ANY, Get, "extensions"),
    of(ANY, Get, "shovels/{*}"),
    of(ANY, Get, "federation-links/{*}"),
    of(ANY, Get, "stream/connections/{*}"),
    of(ANY, Get, "stream/publishers/{*}"),
    of(ANY, Get, "stream/consumers/{*}"),
    of(POLICY, Get, "global-parameters/{*}"),
    of(POLICY, Put, "global-parameters/{name}"),
    of(POLICY, Get, "parameters"),
    of(POLICY, Get, "parameters/{component}"),
    of(POLICY, Get, "parameters/{component}/{vhost}"),
    of(POLICY, Put, "parameters/{component}/{vhost}/{name}"),
    of(POLICY, Delete, "parameters/{component}/{vhost}/{name}"),
    of(ADMIN, Post, "rebalance/queues"),
    of(ANY, Get, "aliveness-test/{vhost}"),
    of(ANY, Get, "health/checks/{*}"),
    of(ANY, Get, "healthchecks/node/{*}"),
    of(ADMIN, Get, "users"),
    of(ADMIN, Get, "users/without-permissions"),
    of(ADMIN, Post, "users/bulk-delete"),
    of(ADMIN, Get, "users/{user}"),
    of(ADMIN, Put, "users/{user}"),
    of(ADMIN, Delete, "users/{user}"),
    of(ADMIN, Get, "users/{user}/permissions"),
    of(ADMIN, Get, "users/{user}/topic-permissions"),
    of(ADMIN, Get, "user-limits"),
    of(ADMIN, Get, "user-limits/{user}"),
    of(ADMIN, Put, "user-limits/{user}/{limit}"),
    of(ADMIN, Delete, "user-limits/{user}/{limit}"),
    of(ADMIN, Get, "permissions"),
    of(ADMIN, Get, "permissions/{vhost}/{user}"),
    of(ADMIN, Put, "permissions/{vhost}/{user}"),
    of(ADMIN, Delete, "permissions/{vhost}/{user}"),
    of(ADMIN, Get, "topic-permissions"),
    of(ADMIN, Get, "topic-permissions/{vhost}/{user}"),
    of(ADMIN, Put, "topic-permissions/{vhost}/{user}"),
    of(ADMIN, Delete, "topic-permissions/{vhost}/{user}"),
    of(ADMIN, Delete, "topic-permissions/{vhost}/{user}/{exchange}"),
    of(ANY, Get, "vhosts"),
    of(ANY, Get, "vhosts/{vhost}"),
    of(ADMIN, Put, "vhosts/{vhost}"),
    of(ADMIN, Delete, "vhosts/{vhost}"),
    of(ADMIN, Post, "vhosts/{vhost}/deletion/protection"),
    of(ADMIN, Delete, "vhosts/{vhost}/deletion/protection"),
    of(ADMIN, Get, "vhosts/{vhost}/permissions"),
    of(ADMIN, Get, "vhosts/{vhost}/topic-permissions"),
    of(ANY, Get, "vhosts/{vhost}/connections"),
    of(ANY, Get, "vhosts/{vhost}/channels"),
    of(ANY, Get, "vhost-limits"),
    of(ANY, Get, "vhost-limits/{vhost}"),
    of(POLICY, Put, "vhost-limits/{vhost}/{limit}"),
    of(POLICY, Delete, "vhost-limits/{vhost}/{limit}"),
    of(POLICY, Get, "policies"),
    of(POLICY, Get, "policies/{vhost}"),
    of(POLICY, Get, "policies/{vhost}/{policy}"),
    of(POLICY, Put, "policies/{vhost}/{policy}"),
    of(POLICY, Delete, "policies/{vhost}/{policy}"),
    of(POLICY, Get, "operator-policies"),
    of(POLICY, Get, "operator-policies/{vhost}"),
    of(POLICY, Get, "operator-policies/{vhost}/{policy}"),
    of(ADMIN, Put, "operator-policies/{vhost}/{policy}"),
    of(ADMIN, Delete, "operator-policies/{vhost}/{policy}"),
    of(ANY, Get, "exchanges"),
    of(ANY, Get, "exchanges/{vhost}"),
    of(ANY, Get, "exchanges/{vhost}/{exchange}"),
    of(ANY, Put, "exchanges/{vhost}/{exchange}"),
    of(ANY, Delete, "exchanges/{vhost}/{exchange}"),
    of(ANY, Get, "exchanges/{vhost}/{exchange}/bindings/source"),
    of(ANY, Get, "exchanges/{vhost}/{exchange}/bindings/destination"),
    of(ANY, Post, "exchanges/{vhost}/{exchange}/publish"),
    of(ANY, Get, "queues"),
    of(ANY, Get, "queues/detailed"),
    of(ANY, Get, "queues/detailed/{vhost}"),
    of(ANY, Get, "queues/{vhost}"),
    of(ANY, Get, "queues/{vhost}/{queue}"),
    of(ANY, Put, "queues/{vhost}/{queue}"),
    of(ANY, Delete, "queues/{vhost}/{queue}"),
    of(ANY, Get, "queues/{vhost}/{queue}/bindings"),
    of(ANY, Post, "queues/{vhost}/{queue}/get"),
    of(ANY, Delete, "queues/{vhost}/{queue}/contents"),
    of(ANY, Post, "queues/{vhost}/{queue}/actions"),
    of(ANY, Get, "bindings"),
    of(ANY, Get, "bindings/{vhost}"),
    of(ANY, Get, "bindings/{vhost}/e/{source}/q/{queue}"),
    of(ANY, Post, "bindings/{vhost}/e/{source}/q/{queue}"),
    of(ANY, Get, "bindings/{vhost}/e/{source}/q/{queue}/{binding}"),
    of(ANY, Delete, "bindings/{vhost}/e/{source}/q/{queue}/{binding}"),
    of(ANY, Get, "bindings/{vhost}/e/{source}/e/{exchange}"),
    of(ANY, Post, "bindings/{vhost}/e/{source}/e/{exchange}"),
    of(ANY, Get, "bindings/{vhost}/e/{source}/e/{exchange}/{binding}"),
    of(ANY, Delete, "bindings/{vhost}/e/{source}/e/{exchange}/{binding}"),
    of(ANY, Get, "connections"),
    of(ANY, Get, "connections/username/{user}"),
    of(ANY, Delete, "connections/username/{user}"),
    of(ANY, Get, "connections/{connection}"),
    of(ANY, Delete, "connections/{connection}"),
    of(ANY, Get, "connections/{connection}/channels"),
    of(ANY, Get, "channels"),
    of(ANY, Get, "channels/{channel}"),
    of(ANY, Get, "consumers"),
    of(ANY, Get, "consumers/{vhost}"),
    of(ADMIN, Get, "definitions"),
    of(POLICY, Get, "definitions/{vhost}"),
    of(ADMIN, Post, "definitions"),
    of(POLICY, Post, "definitions/{vhost}"),
    of(ADMIN, Get, "all-configuration"),
    of(ADMIN, Post, "all-configuration"),
];

/// The row a request is for.
///
/// # Errors
/// [`Problem::NotFound`], or [`Problem::WrongMethod`] when only the method has no row.
pub fn find(request: &Request) -> Result<&'static Row, Problem> {
    let mut known = false;
    for row in TABLE.iter().filter(|it| matched(it.path, &request.path).is_some()) {
        if row.method == request.method {
            return Ok(row);
        }
        known = true;
    }
    Err(if known { Problem::WrongMethod } else { Problem::NotFound })
}

/// The parts of a path that stand for something, when it is as the template has it.
pub fn matched<'a>(template: &str, path: &'a [String]) -> Option<Vec<&'a str>> {
    let mut rest = path.iter();
    let mut parts = Vec::new();
    for wanted in template.split('/') {
        if wanted == "{*}" {
            parts.extend(rest.map(String::as_str));
            return Some(parts);
        }
        let found = rest.next()?;
        if wanted.starts_with('{') {
            parts.push(found.as_str());
        } else if wanted != found {
            return None;
        }
    }
    rest.next().is_none().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Result<&'static str, Problem> {
        let path = path.split('/').map(str::to_owned).collect();
        let body = serde_json::json!({});
        let request = Request { method, path, query: Vec::new(), body, reason: None };
        find(&request).map(|it| it.path)
    }

    #[test]
    fn paths_and_methods_have_rows_or_are_refused() {
        assert_eq!(found(Get, "queues/a b/c"), Ok("queues/{vhost}/{queue}"));
        assert_eq!(found(Get, "queues/detailed/x"), Ok("queues/detailed/{vhost}"));
        assert_eq!(found(Get, "shovels"), Ok("shovels/{*}"));
        assert_eq!(found(Get, "shovels/a/b"), Ok("shovels/{*}"));
        assert_eq!(found(Post, "queues/a/b"), Err(Problem::WrongMethod));
        assert_eq!(found(Get, "queues/a/b/c/d"), Err(Problem::NotFound));
        assert_eq!(found(Get, ""), Err(Problem::NotFound));
    }

    #[test]
    fn the_manual_has_the_table() {
        let manual = include_str!("../../docs/http-api.md");
        let rows = TABLE.iter().map(|it| {
            let needs = format!("{:?}", it.need).to_lowercase();
            let method = format!("{:?}", it.method).to_uppercase();
            format!("| {method} | `/api/{}` | {needs} |\n", it.path)
        });
        let rows: String = rows.collect();
        assert!(manual.contains(&rows), "docs/http-api.md must have\n{rows}");
    }
}
