//! A topology as RabbitMQ's definitions, and what they cannot say.

use serde_json::Value as Json;
use serde_json::json;

use crate::amqp::json::from_table;
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
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::policy;
use crate::topology::rabbitmq::translate::Translated;
use crate::topology::rabbitmq::translate::translate;

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
    policies: Vec<Json>,
    notes: Vec<String>,
}

/// Everything of the topology that RabbitMQ has a word for. Users and permissions are not in
/// topology files.
pub fn export(topology: &Topology) -> Exported {
    let mut lists = Lists::default();
    for vhost in topology.vhosts.values() {
        lists.vhost(vhost);
    }
    lists.exported(topology)
}

/// As `apply` would make it on this node: with the queues that a controller works with, and with
/// policies for what can change.
pub fn export_for(topology: &Topology, node: &Node) -> Exported {
    let Translated { topology, losses } = translate(topology, node);
    let mut lists = Lists::default();
    for vhost in topology.vhosts.values() {
        for exchange in vhost.exchanges.values() {
            lists.push_exchange(vhost, exchange, &exchange.arguments);
            lists.bindings(vhost, &exchange.name, "exchange", &exchange.bindings);
        }
        for queue in vhost.queues.values() {
            let arguments = policy::fixed_arguments(queue);
            lists.push_queue(vhost, &queue.name, (queue.durable, queue.auto_delete), &arguments);
            lists.bindings(vhost, &queue.name, "queue", &queue.bindings);
        }
        lists.policies.extend(policy::all(vhost).into_iter().map(|it| {
            json!({
                "vhost": vhost.name.as_str(),
                "name": it.name,
                "pattern": it.pattern,
                "apply-to": it.apply_to,
                "priority": policy::PRIORITY,
                "definition": it.definition,
            })
        }));
    }
    lists.notes.extend(losses.iter().map(ToString::to_string));
    lists.exported(&topology)
}

impl Lists {
    fn exported(self, topology: &Topology) -> Exported {
        let vhosts: Vec<Json> =
            topology.vhosts.keys().map(|name| json!({ "name": name.as_str() })).collect();
        let definitions = json!({
            "rabbit_version": "3.13.7",
            "users": [],
            "vhosts": vhosts,
            "permissions": [],
            "parameters": [],
            "policies": self.policies,
            "exchanges": self.exchanges,
            "queues": self.queues,
            "bindings": self.bindings,
        });
        Exported { definitions, notes: self.notes }
    }

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
        self.push_exchange(vhost, exchange, &arguments);
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

    fn push_exchange(&mut self, vhost: &Vhost, exchange: &Exchange, arguments: &Table) {
        self.exchanges.push(json!({
            "name": exchange.name.as_str(),
            "vhost": vhost.name.as_str(),
            "type": exchange.type_name(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": from_table(arguments),
        }));
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
            "arguments": from_table(arguments),
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
                "arguments": from_table(&it.arguments),
            }));
        }
    }
}
