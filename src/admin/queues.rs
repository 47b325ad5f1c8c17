//! Queues.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::permission::Right;
use crate::admin::bindings;
use crate::admin::caller::Caller;
use crate::admin::connections;
use crate::admin::estate::Estate;
use crate::admin::exchanges::check_vhost;
use crate::admin::exchanges::refused;
use crate::admin::list;
use crate::admin::rates;
use crate::admin::rates::History;
use crate::admin::rates::Moment;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::flag_of;
use crate::amqp::argument::QueueArguments;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::QueueId;
use crate::amqp::json;
use crate::amqp::name::ExchangeName;
use crate::broker::declare;
use crate::broker::declare::DeclareQueue;
use crate::broker::delete;
use crate::broker::host::Host;
use crate::broker::vhost::QueueRecord;
use crate::queue::Queue;

/// No client has this id: what it asks for is asked for by a person.
pub const NOBODY: ConnectionId = ConnectionId(0);

pub fn queues<E: Estate>(estate: &E, caller: &Caller, request: &Request, rest: &[&str]) -> Outcome {
    match (request.method, rest) {
        (Method::Get, [] | ["detailed"]) => all(estate, caller, request, None),
        (Method::Get, [vhost] | ["detailed", vhost]) => all(estate, caller, request, Some(vhost)),
        (Method::Get, [vhost, name]) => one(estate, caller, request, vhost, name),
        (Method::Put, [vhost, name]) => {
            check_vhost(estate, caller, vhost)?;
            caller.check_right(estate, vhost, Right::Configure, name)?;
            put(estate, vhost, name, request.fields()?)
        }
        (Method::Delete, [vhost, name]) => {
            check_vhost(estate, caller, vhost)?;
            remove(estate, caller, request, vhost, name)
        }
        (Method::Get, [vhost, name, "bindings"]) => {
            bindings::of_queue(estate, caller, request, vhost, name)
        }
        (Method::Delete, [vhost, name, "contents"]) => {
            check_vhost(estate, caller, vhost)?;
            caller.check_right(estate, vhost, Right::Read, name)?;
            let purged = estate.in_vhost(vhost, |turn| delete::purge_queue(turn, name, NOBODY));
            let purged = purged.ok_or(Problem::NotFound)?;
            purged.map_err(|error| refused(estate, &error, vhost))?;
            Ok(Response::no_content())
        }
        // COMPAT: queues have no copies to bring in step here.
        (Method::Post, [_, _, "actions"]) => Ok(Response::no_content()),
        (_, _) => Err(Problem::NotFound),
    }
}

fn all<E: Estate>(estate: &E, caller: &Caller, request: &Request, vhost: Option<&str>) -> Outcome {
    let vhosts = caller.vhosts(estate, vhost)?;
    let (node, history) = (estate.vitals().node, estate.history());
    let mut all = Vec::new();
    for vhost in &vhosts {
        let views = estate.in_vhost(vhost, |turn| {
            let records: Vec<QueueRecord> = turn.vhost().queues().cloned().collect();
            let views = records.iter().filter_map(|it| view(turn, it, &node, &history));
            views.collect::<Vec<_>>()
        });
        all.extend(views.unwrap_or_default());
    }
    list::paged(all, request)
}

fn one<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    name: &str,
) -> Outcome {
    caller.vhost(estate, vhost)?;
    let (node, history) = (estate.vitals().node, estate.history());
    let found = estate.in_vhost(vhost, |turn| {
        let record = turn.vhost().queue(name)?.clone();
        let mut view = view(turn, &record, &node, &history)?;
        view["incoming"] = incoming(turn, &record, vhost, &history);
        Some((view, connections::consumers_of(turn, &record)))
    });
    let (mut view, consumers) = found.flatten().ok_or(Problem::NotFound)?;
    let connections = estate.connections();
    let consumers = consumers.into_iter().map(|it| it.view(&connections, &node));
    view["consumer_details"] = consumers.collect();
    view["deliveries"] = json!([]);
    list::single(view, request)
}

/// What a queue took, by exchange.
fn incoming<H: Host>(turn: &mut H, record: &QueueRecord, vhost: &str, history: &History) -> Value {
    let all = turn.queue(record.id, |queue, _| queue.incoming().clone()).unwrap_or_default();
    let view = |(at, (exchange, n)): (usize, (&ExchangeName, u64))| {
        json!({
            "exchange": { "name": exchange.as_str(), "vhost": vhost },
            "stats": rates::taken(history, record.id, at, n),
        })
    };
    all.iter().enumerate().map(view).collect()
}

/// The fields of a queue; `None` when it went meanwhile.
fn view<H: Host>(
    turn: &mut H,
    record: &QueueRecord,
    node: &str,
    history: &History,
) -> Option<Value> {
    let mut view = definition(record);
    let vhost = turn.vhost();
    view["vhost"] = Value::from(vhost.name.as_str());
    let governing = vhost.governing(record.subject());
    view["effective_policy_definition"] = Value::Object(governing.definition());
    view["policy"] = json!(governing.policy.map(|it| it.name.as_str()));
    view["operator_policy"] = json!(governing.operator.map(|it| it.name.as_str()));
    view["exclusive"] = Value::from(record.exclusive.is_some());
    view["internal"] = Value::from(false);
    view["internal_owner"] = Value::from(false);
    view["node"] = Value::from(node);
    if view["type"] == "quorum" {
        view["leader"] = Value::from(node);
        view["members"] = json!([node]);
        view["online"] = json!([node]);
    }
    view["state"] = Value::from("running");
    let numbers = turn.queue(record.id, |queue, _| numbers(queue, record.id, history))?;
    if let (Value::Object(view), Value::Object(numbers)) = (&mut view, numbers) {
        view.extend(numbers);
    }
    Some(view)
}

/// What definitions say of a queue.
pub fn definition(record: &QueueRecord) -> Value {
    let typed = QueueArguments::parse(&record.arguments).unwrap_or_default();
    json!({
        "name": record.name.as_str(),
        "type": typed.queue_type.as_str(),
        "durable": record.durable,
        "auto_delete": record.auto_delete,
        "arguments": json::from_table(&record.arguments),
    })
}

/// What changes all the time.
fn numbers(queue: &Queue, id: QueueId, history: &History) -> Value {
    let depth = queue.depth();
    let limit = queue.settings().deliveries_max;
    let count = |it: &Moment| it.queues.get(&id).copied();
    let stats = rates::message_stats(queue.totals(), history, |it| Some(count(it)?.totals));
    let totals = rates::queue_totals(&depth, history, |it| Some(count(it)?.depth));
    let messages = depth.ready + depth.unacked + depth.delayed;
    let exclusive = queue.consumers().find(|(it, _)| it.spec.exclusive);
    let single = queue.settings().single_active;
    let active = queue.consumers().find(|(_, active)| *active && single);
    let mut numbers = json!({
        "messages_delayed": depth.delayed,
        "message_bytes": depth.ready_bytes,
        "message_bytes_ready": depth.ready_bytes,
        "message_bytes_unacknowledged": 0,
        "message_bytes_persistent": if queue.settings().durable { depth.ready_bytes } else { 0 },
        "message_bytes_ram": 0,
        "messages_persistent": if queue.settings().durable { messages } else { 0 },
        "messages_ram": 0,
        "consumers": depth.consumers,
        "active_consumers": queue.consumers().filter(|(_, active)| *active).count(),
        "consumer_capacity": capacity(queue),
        "consumer_utilisation": capacity(queue),
        "delivery_limit": limit.map_or(Value::from("unlimited"), |it| Value::from(it - 1)),
        "exclusive_consumer_tag": exclusive.map(|(it, _)| it.spec.tag.as_str()),
        "single_active_consumer_tag": active.map(|(it, _)| it.spec.tag.as_str()),
        "head_message_timestamp": null,
        "memory": 0,
        "message_stats": stats,
    });
    if let Value::Object(numbers) = &mut numbers {
        numbers.extend(totals);
    }
    numbers
}

/// The part of its consumers that would take a message now; 0.0 without any.
///
/// COMPAT: where tools expect a share of time, this is a share of consumers.
#[allow(clippy::cast_precision_loss, reason = "there are far fewer consumers than 2^53")]
fn capacity(queue: &Queue) -> f64 {
    let active = queue.consumers().filter(|(_, active)| *active);
    let active: Vec<bool> = active.map(|(it, _)| it.is_ready()).collect();
    let n_free = active.iter().filter(|it| **it).count();
    if active.is_empty() { 0.0 } else { n_free as f64 / active.len() as f64 }
}

/// Declares a queue as a request or an import says.
///
/// COMPAT: without a word on it, a queue is not durable.
pub fn put<E: Estate>(estate: &E, vhost: &str, name: &str, fields: &Map<String, Value>) -> Outcome {
    if name.is_empty() {
        return Err(Problem::bad("a queue needs a name"));
    }
    let declare = DeclareQueue {
        name: name.to_owned(),
        passive: false,
        durable: flag_of(fields, "durable")?,
        exclusive: false,
        auto_delete: flag_of(fields, "auto_delete")?,
        arguments: json::to_table(fields.get("arguments"))?,
        connection: NOBODY,
        generated: false,
    };
    let declared = estate.in_vhost(vhost, |turn| {
        let existed = turn.vhost().queue(name).is_some();
        declare::declare_queue(turn, &declare).map(|it| (existed, it.after))
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
    caller.check_right(estate, vhost, Right::Configure, name)?;
    let (if_unused, if_empty) = (request.is_set("if-unused"), request.is_set("if-empty"));
    let deleted = estate.in_vhost(vhost, |turn| {
        let there: Option<QueueId> = turn.vhost().queue(name).map(|it| it.id);
        there.map(|_| delete::delete_queue(turn, name, if_unused, if_empty, NOBODY))
    });
    let deleted = deleted.flatten().ok_or(Problem::NotFound)?;
    let (_, after) = deleted.map_err(|error| refused(estate, &error, vhost))?;
    Ok(Response::done(after))
}
