//! What of a queue or exchange RabbitMQ has from a policy, so that it can change while it lives, and
//! what from its declaration.
//!
//! COMPAT: an object is under one policy at a time, the matching one of the highest priority, and
//! its own arguments count before it.

use serde_json::Map;
use serde_json::Value as Json;

use crate::access::pattern;
use crate::amqp::json;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::topology::compile;
use crate::topology::declared::Exchange;
use crate::topology::declared::Queue;
use crate::topology::declared::Vhost;

/// Arguments of queues that policies can give them.
pub const FLEXIBLE: [&str; 11] = [
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-max-age",
];

/// Above what people usually give theirs.
pub const PRIORITY: i64 = 1000;

/// Names of policies begin with this.
const OURS: &str = "railpost:";

/// A policy for one object.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    pub name: String,
    /// Matches the object's name and no other.
    pub pattern: String,
    /// `queues` or `exchanges`.
    pub apply_to: &'static str,
    pub definition: Map<String, Json>,
}

/// The arguments a queue is declared with.
pub fn fixed_arguments(queue: &Queue) -> Table {
    split(queue).0
}

/// The policy of a queue, if it needs one.
pub fn of_queue(queue: &Queue) -> Option<Policy> {
    let (_, flexible) = split(queue);
    let without_x = flexible.iter().map(|(key, value)| {
        let key = key.strip_prefix("x-").unwrap_or(key);
        (key.to_owned(), json::from_value(value))
    });
    new("queue", &queue.name, "queues", without_x.collect())
}

/// The policy of an exchange, if it needs one.
pub fn of_exchange(exchange: &Exchange) -> Option<Policy> {
    let alternate = exchange.alternate.as_ref()?;
    let definition = [("alternate-exchange".to_owned(), Json::from(alternate.value.as_str()))];
    new("exchange", &exchange.name, "exchanges", definition.into_iter().collect())
}

/// All policies of a vhost.
pub fn all(vhost: &Vhost) -> Vec<Policy> {
    let queues = vhost.queues.values().filter_map(of_queue);
    queues.chain(vhost.exchanges.values().filter_map(of_exchange)).collect()
}

/// Whether a policy of this name was made for an object of a topology.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// What the policy of an object is called; `kind` is `queue` or `exchange`.
pub(in crate::topology) fn name(kind: &str, name: &str) -> String {
    format!("{OURS}{kind}:{name}")
}

/// The object that a policy of this name was made for.
pub(in crate::topology) fn object(name: &str) -> Option<&str> {
    name.strip_prefix(OURS)?.split_once(':').map(|it| it.1)
}

/// Matches a name and no other.
pub(in crate::topology) fn pattern_of(name: &str) -> String {
    format!("^{}$", pattern::escape(name))
}

fn new(
    kind: &str,
    name: &str,
    apply_to: &'static str,
    definition: Map<String, Json>,
) -> Option<Policy> {
    (!definition.is_empty()).then(|| Policy {
        name: self::name(kind, name),
        pattern: pattern_of(name),
        apply_to,
        definition,
    })
}

/// What is declared, and what a policy says.
fn split(queue: &Queue) -> (Table, Table) {
    let all = compile::queue_arguments(queue);
    let (flexible, mut fixed): (Vec<_>, Vec<_>) =
        all.0.into_iter().partition(|(key, _)| FLEXIBLE.contains(&key.as_str()));
    fixed.retain(|(key, value)| !is_plain(key, value));
    (Table(fixed), Table(flexible))
}

/// What a queue is without saying so.
pub(in crate::topology) fn is_plain(key: &str, value: &Value) -> bool {
    (key == "x-queue-type" && value.as_text() == Some("classic"))
        || (key == "x-single-active-consumer" && *value == Value::Bool(false))
}
