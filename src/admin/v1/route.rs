//! Where a message would go, and why.

use serde_json::Value;
use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::exchanges::real_name;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::PropertyList;
use crate::amqp::table;
use crate::broker::host::Host;
use crate::broker::vhost::Vhost;
use crate::routing::explain;
use crate::routing::explain::Hop;
use crate::routing::explain::Verdict;
use crate::routing::route::Publication;
use crate::routing::table::Destination;

/// Walks the live routing table; sends nothing.
pub fn explain<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    let vhost = request.query("vhost").unwrap_or("/");
    caller.vhost(estate, vhost)?;
    let exchange = real_name(request.query("exchange").unwrap_or_default());
    let key = request.query("key").unwrap_or_default();
    let properties = headers(request)?.to_bytes();
    let publication = Publication {
        exchange,
        routing_key: RoutingKey(key),
        properties: Properties::from_checked(&properties),
        copies: true,
    };
    let found = estate.in_vhost(vhost, |turn| {
        let explained = explain::explain(&turn.vhost().table, publication).ok()?;
        let vhost = turn.vhost();
        let hops: Vec<Value> = explained.hops.iter().map(|it| hop(vhost, it)).collect();
        let queues: Vec<Value> =
            explained.queues.iter().filter_map(|it| queue(turn, *it)).collect();
        Some((hops, queues))
    });
    let found = found.ok_or(Problem::NotFound)?;
    let (hops, queues) = found.ok_or(Problem::Missing("there is no such exchange"))?;
    Ok(Response::ok(json!({
        "vhost": vhost,
        "exchange": exchange,
        "routing_key": key,
        "routed": !queues.is_empty(),
        "hops": hops,
        "queues": queues,
    })))
}

/// Headers of the query: texts, but for numbers and truth values.
fn headers(request: &Request) -> Result<PropertyList, Problem> {
    let mut list = PropertyList::default();
    for (name, value) in &request.query {
        let (name, value) = match (name.as_str(), name.strip_prefix("h.")) {
            (_, Some(name)) => (name, value.as_str()),
            ("header", None) => value
                .split_once('=')
                .ok_or_else(|| Problem::bad("`header` must be `name=value`"))?,
            (_, None) => continue,
        };
        let value = match (value, value.parse()) {
            (_, Ok(number)) => table::Value::I64(number),
            ("true", _) => table::Value::Bool(true),
            ("false", _) => table::Value::Bool(false),
            (text, Err(_)) => table::Value::text(text),
        };
        list.headers_mut().set(name, value);
    }
    Ok(list)
}

fn hop(vhost: &Vhost, hop: &Hop) -> Value {
    let bindings = hop.bindings.iter().map(|(binding, verdict)| {
        let (kind, destination) = match &binding.destination {
            Destination::Queue(id) => ("queue", vhost.table.queue_name(*id).map(|it| it.as_str())),
            Destination::Exchange(name) => ("exchange", Some(name.as_str())),
        };
        json!({
            "destination": destination,
            "destination_type": kind,
            "routing_key": &*binding.key,
            "matched": verdict.is_match(),
            "why": why(verdict),
        })
    });
    let rule = vhost.rules.exchanges.get(&hop.exchange);
    json!({
        "exchange": hop.exchange.as_str(),
        "type": hop.kind.as_str(),
        "declared_at": rule.map(|it| &*it.origin),
        "bindings": bindings.collect::<Vec<_>>(),
        "alternate": hop.alternate.as_ref().map(|it| it.as_str()),
    })
}

fn why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Matched => "matched".to_owned(),
        Verdict::KeyDiffers => "the routing key is another".to_owned(),
        Verdict::WordDiffers { at, wanted, found } => {
            format!("word {at} is `{found}`, not `{wanted}`")
        }
        Verdict::KeyTooShort => "the routing key has too few words".to_owned(),
        Verdict::KeyTooLong => "the routing key has too many words".to_owned(),
        Verdict::HeaderDiffers(name) => format!("the header `{name}` is absent or another"),
        Verdict::NoHeaderMatches => "no header fits".to_owned(),
        Verdict::NotChosen => "the hash chose another".to_owned(),
        Verdict::Possible => "chosen by chance".to_owned(),
    }
}

fn queue<H: Host>(turn: &mut H, id: crate::amqp::id::QueueId) -> Option<Value> {
    let record = turn.vhost().record(id)?.clone();
    let (consumers, paused) =
        turn.queue(id, |it, _| (it.depth().consumers, it.is_paused())).unwrap_or_default();
    let vhost = turn.vhost();
    let rule = vhost.rules.queues.get(&record.name);
    let lot = record.parked.and_then(|it| vhost.record(it));
    Some(json!({
        "queue": record.name.as_str(),
        "consumers": consumers,
        "paused": paused,
        "declared_at": rule.map(|it| &*it.origin),
        "service": rule.and_then(|it| it.service.as_ref()).map(|it| it.as_str()),
        "retry_attempts": record.settings.retry.map(|it| it.attempts),
        "parking_lot": lot.map(|it| it.name.as_str()),
    }))
}
