//! Exchanges.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::permission::Right;
use crate::admin::bindings;
use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::list;
use crate::admin::rates;
use crate::admin::rates::History;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::flag_of;
use crate::admin::request::text_of;
use crate::amqp::json;
use crate::broker::declare;
use crate::broker::declare::DeclareError;
use crate::broker::declare::DeclareExchange;
use crate::broker::delete;
use crate::broker::host::Host;
use crate::broker::vhost::Vhost;
use crate::routing::Exchange;

/// COMPAT: the default exchange, which has no name, has one in paths.
pub fn real_name(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

pub fn exchanges<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    match (request.method, rest) {
        (Method::Get, [] | [_]) => {
            let vhosts = caller.vhosts(estate, rest.first().copied())?;
            let all = vhosts.iter().flat_map(|it| {
                let views = estate.in_vhost(it, |turn| all_of(turn.vhost()));
                views.unwrap_or_default()
            });
            list::paged(all.collect(), request)
        }
        (Method::Get, [vhost, name]) => {
            caller.vhost(estate, vhost)?;
            let history = estate.history();
            let found = estate.in_vhost(vhost, |turn| one(turn, real_name(name), &history));
            list::single(found.flatten().ok_or(Problem::NotFound)?, request)
        }
        (Method::Put, [vhost, name]) => {
            check_vhost(estate, caller, vhost)?;
            if !name.starts_with("amq.") {
                caller.check_right(estate, vhost, Right::Configure, name)?;
            }
            put(estate, vhost, real_name(name), request.fields()?)
        }
        (Method::Delete, [vhost, name]) => {
            check_vhost(estate, caller, vhost)?;
            remove(estate, caller, request, vhost, real_name(name))
        }
        (Method::Get, [vhost, name, "bindings", end @ ("source" | "destination")]) => {
            bindings::of_exchange(estate, caller, request, vhost, real_name(name), end)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// COMPAT: something put into a vhost that is not there is told so in words.
pub fn check_vhost<E: Estate>(estate: &E, caller: &Caller, vhost: &str) -> Result<(), Problem> {
    match caller.vhost(estate, vhost) {
        Err(Problem::NotFound) => Err(Problem::Missing("vhost_not_found")),
        other => other.map(|_| ()),
    }
}

/// A refusal of the broker's, in the words a client would read.
pub fn refused<E: Estate>(estate: &E, error: &DeclareError, vhost: &str) -> Problem {
    let is_missing =
        matches!(error, DeclareError::NoSuchExchange(_) | DeclareError::NoSuchQueue(_));
    let is_reserved = matches!(
        error,
        DeclareError::DefaultExchange
            | DeclareError::ReservedName(_)
            | DeclareError::SystemExchange(_)
    );
    match (is_missing, is_reserved) {
        (true, _) => Problem::NotFound,
        (false, true) => Problem::NotAllowed("Access refused."),
        (false, false) => Problem::bad(estate.declare_text(error, vhost).text),
    }
}

fn all_of(vhost: &Vhost) -> Vec<Value> {
    let default = default_view(vhost);
    let others = vhost.table.exchanges();
    [default].into_iter().chain(others.into_iter().map(|it| view(vhost, it))).collect()
}

fn one<H: Host>(turn: &mut H, name: &str, history: &History) -> Option<Value> {
    let vhost = turn.vhost();
    let mut view = match name {
        "" => default_view(vhost),
        name => view(vhost, vhost.table.exchange(name)?),
    };
    view["incoming"] = json!([]);
    view["outgoing"] = outgoing(turn, name, history);
    Some(view)
}

/// What queues took that was published to an exchange.
fn outgoing<H: Host>(turn: &mut H, exchange: &str, history: &History) -> Value {
    let vhost = turn.vhost().name.to_string();
    let queues: Vec<_> = turn.vhost().queues().map(|it| (it.id, it.name.clone())).collect();
    let mut all = Vec::new();
    for (id, queue) in queues {
        let taken = turn.queue(id, |queue, _| {
            let mut incoming = queue.incoming().iter().enumerate();
            incoming.find(|(_, (name, _))| **name == *exchange).map(|(at, (_, n))| (at, n))
        });
        if let Some((at, n)) = taken.flatten() {
            all.push(json!({
                "queue": { "name": queue.as_str(), "vhost": vhost },
                "stats": rates::taken(history, id, at, n),
            }));
        }
    }
    Value::Array(all)
}

fn default_view(vhost: &Vhost) -> Value {
    json!({
        "name": "", "vhost": vhost.name.as_str(), "type": "direct", "durable": true,
        "auto_delete": false, "internal": false, "arguments": {},
        "user_who_performed_action": "railpost",
    })
}

/// The fields of an exchange.
pub fn view(vhost: &Vhost, exchange: &Exchange) -> Value {
    let mut view = definition(exchange);
    view["vhost"] = Value::from(vhost.name.as_str());
    view["user_who_performed_action"] = Value::from("railpost");
    let policy = vhost.governing_exchange(&exchange.name).policy;
    if let Some(policy) = policy {
        view["policy"] = Value::from(policy.name.as_str());
    }
    view
}

/// What definitions say of an exchange.
pub fn definition(exchange: &Exchange) -> Value {
    json!({
        "name": exchange.name.as_str(),
        "type": exchange.kind.as_str(),
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": json::from_table(&exchange.arguments),
    })
}

/// Declares an exchange as a request or an import says.
pub fn put<E: Estate>(estate: &E, vhost: &str, name: &str, fields: &Map<String, Value>) -> Outcome {
    let declare = DeclareExchange {
        name: name.to_owned(),
        kind: text_of(fields, "type")?.unwrap_or("direct").to_owned(),
        passive: false,
        durable: flag_of(fields, "durable")?,
        auto_delete: flag_of(fields, "auto_delete")?,
        internal: flag_of(fields, "internal")?,
        arguments: json::to_table(fields.get("arguments"))?,
    };
    let declared = estate.in_vhost(vhost, |turn| {
        let existed = turn.vhost().table.exchange(name).is_some();
        declare::declare_exchange(turn, &declare).map(|after| (existed, after))
    });
    let declared = declared.ok_or(Problem::Missing("vhost_not_found"))?;
    let (existed, after) = declared.map_err(|error| refused(estate, &error, vhost))?;
    Ok(Response::put(existed, after))
}

fn remove<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    name: &str,
) -> Outcome {
    if !name.is_empty() {
        caller.check_right(estate, vhost, Right::Configure, name)?;
    }
    let if_unused = request.is_set("if-unused");
    let deleted = estate.in_vhost(vhost, |turn| {
        let missing = turn.vhost().table.exchange(name).is_none() && !name.is_empty();
        (!missing).then(|| delete::delete_exchange(turn, name, if_unused))
    });
    let deleted = deleted.flatten().ok_or(Problem::NotFound)?;
    deleted.map(Response::done).map_err(|error| refused(estate, &error, vhost))
}
