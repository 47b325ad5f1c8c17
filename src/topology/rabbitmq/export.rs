//! A topology as RabbitMQ's definitions, and what they cannot say.

use serde_json::Map;
use serde_json::Value as Json;
use serde_json::json;

use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::broker::rules::Unroutable;
use crate::queue::retry::Then;
use crate::topology::compile;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::Mode;
use crate::topology::declared::Parking;
use crate::topology::declared::Queue;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;

/// Definitions, and what is not in them.
#[derive(Clone, PartialEq, Debug)]
pub struct Exported {
    /// As `rabbitmqctl import_definitions` takes it.
    pub definitions: Json,
    /// One sentence each.
    pub notes: Vec<String>,
}

impl Exported {
    pub fn json(&self) -> String {
        format!("{:#}\n", self.definitions)
    }
}

#[derive(Default)]
struct Lists {
    exchanges: Vec<Json>,
    queues: Vec<Json>,
    bindings: Vec<Json>,
    notes: Vec<String>,
}

/// Everything of the topology that RabbitMQ has a word for. Users and permissions are not in
/// topology files.
pub fn export(topology: &Topology) -> Exported {
    let mut lists = Lists::default();
    for vhost in topology.vhosts.values() {
        lists.vhost(vhost);
    }
    let vhosts: Vec<Json> =
        topology.vhosts.keys().map(|name| json!({ "name": name.as_str() })).collect();
    let definitions = json!({
        "rabbit_version": "3.13.7",
        "users": [],
        "vhosts": vhosts,
        "permissions": [],
        "parameters": [],
        "policies": [],
        "exchanges": lists.exchanges,
        "queues": lists.queues,
        "bindings": lists.bindings,
    });
    Exported { definitions, notes: lists.notes }
}

impl Lists {
    fn vhost(&mut self, vhost: &Vhost) {
        for exchange in vhost.exchanges.values() {
            self.exchange(vhost, exchange);
        }
        for queue in vhost.queues.values() {
            self.queue(vhost, queue);
        }
        for pattern in vhost.per_instance.values() {
            self.notes.push(format!(
                "`{}`: instances make these queues themselves; nothing keeps them to it",
                pattern.name
            ));
        }
        if !vhost.services.is_empty() {
            let name = &vhost.name;
            self.notes.push(format!(
                "vhost `{name}`: nobody keeps services to their own queues; give each a user with \
                 permissions"
            ));
        }
    }

    fn exchange(&mut self, vhost: &Vhost, exchange: &Exchange) {
        let mut arguments = exchange.arguments.clone();
        if let Some(alternate) = &exchange.alternate {
            arguments.set("alternate-exchange", Value::text(&alternate.value));
        }
        self.exchanges.push(json!({
            "name": exchange.name.as_str(),
            "vhost": vhost.name.as_str(),
            "type": exchange.type_name(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": object(&arguments),
        }));
        self.bindings(vhost, &exchange.name, "exchange", &exchange.bindings);
        let word = match exchange.unroutable() {
            Unroutable::Return => return,
            Unroutable::Park => "parked",
            Unroutable::Reject => "rejected",
            Unroutable::Drop => "counted",
        };
        self.notes.push(format!(
            "exchange `{}`: messages that no queue takes are not {word}, but returned or lost",
            exchange.name
        ));
    }

    fn queue(&mut self, vhost: &Vhost, queue: &Queue) {
        let mut arguments = compile::queue_arguments(queue);
        self.retry(queue, &mut arguments);
        let mut miss = |text: &str| self.notes.push(format!("queue `{}`: {text}", queue.name));
        match &queue.mode {
            Mode::Keyed(_) => miss("messages of one key are not kept in order among consumers"),
            Mode::Tap => miss("whoever looks at it is not told from those who work"),
            Mode::Compete | Mode::SingleActive => {}
        }
        let limits = &queue.limits;
        if limits.overflow.is_some_and(|it| it.value == crate::amqp::argument::Overflow::Park) {
            miss("what is too much is dropped, not parked");
        }
        self.push_queue(vhost, &queue.name, (queue.durable, queue.auto_delete), &arguments);
        self.bindings(vhost, &queue.name, "queue", &queue.bindings);
        if let Some(Parking { name, .. }) = &queue.parking {
            self.push_queue(vhost, name, (true, false), &Table::default());
        }
    }

    /// Retries as quorum queues of RabbitMQ 4.3 have them, and dead-lettering to the parking lot.
    fn retry(&mut self, queue: &Queue, arguments: &mut Table) {
        let parks = |arguments: &mut Table| {
            if let (Some(lot), None) = (&queue.parking, &queue.dead_letter) {
                arguments.set("x-dead-letter-exchange", Value::text(""));
                arguments.set("x-dead-letter-routing-key", Value::text(&lot.name));
            }
        };
        let Some(policy) = &queue.retry else { return parks(arguments) };
        let mut note = |text: &str| self.notes.push(format!("queue `{}`: {text}", queue.name));
        if policy.then.value == Then::Park {
            parks(arguments);
        }
        if !queue.durable || queue.auto_delete || queue.max_priority.is_some() {
            return note("no retries, which only durable queues without priorities have");
        }
        let number = |it: u64| Value::I64(i64::try_from(it).unwrap_or(i64::MAX));
        arguments.set("x-queue-type", Value::text("quorum"));
        // COMPAT: the limit counts returns, so the first delivery is not among them.
        let limit = match policy.attempts.value {
            0 => Value::I64(-1),
            n => number(u64::from(n - 1)),
        };
        arguments.set("x-delivery-limit", limit);
        arguments.set("x-delayed-retry-type", Value::text("all"));
        arguments.set("x-delayed-retry-min", number(policy.first.value.0));
        arguments.set("x-delayed-retry-max", number(policy.max.value.0));
        note(
            "a quorum queue, for its retries; before RabbitMQ 4.3 they come without a wait, and \
             `basic.nack` does not count as a failed attempt",
        );
        if policy.jitter_milli.value > 0 {
            note("retries come without jitter");
        }
    }

    fn push_queue(
        &mut self,
        vhost: &Vhost,
        name: &str,
        (durable, auto_delete): (bool, bool),
        arguments: &Table,
    ) {
        self.queues.push(json!({
            "name": name,
            "vhost": vhost.name.as_str(),
            "durable": durable,
            "auto_delete": auto_delete,
            "arguments": object(arguments),
        }));
    }

    fn bindings(&mut self, vhost: &Vhost, to: &str, kind: &str, bindings: &[Binding]) {
        for it in bindings {
            self.bindings.push(json!({
                "source": it.exchange.value.as_str(),
                "vhost": vhost.name.as_str(),
                "destination": to,
                "destination_type": kind,
                "routing_key": it.key.value.as_str(),
                "arguments": object(&it.arguments),
            }));
        }
    }
}

fn object(table: &Table) -> Json {
    let entries = table.iter().map(|(key, value)| (key.to_owned(), to_json(value)));
    Json::Object(entries.collect::<Map<String, Json>>())
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(it) => json!(it),
        Value::F32(it) => json!(it),
        Value::F64(it) => json!(it),
        Value::Time(it) => json!(it),
        Value::LongString(it) | Value::Bytes(it) => json!(String::from_utf8_lossy(it)),
        Value::Array(all) => Json::Array(all.iter().map(to_json).collect()),
        Value::Table(table) => object(table),
        Value::Decimal { scale, value } => {
            json!(f64::from(*value) / 10f64.powi(i32::from(*scale)))
        }
        Value::Void => Json::Null,
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => json!(value.as_integer()),
    }
}
