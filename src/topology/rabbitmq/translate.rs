//! A topology as RabbitMQ can have it: more exchanges and queues in place of what only railpost
//! does, and a list of what becomes of the rest.
//!
//! The result is a topology again, so that it is compared, planned, routed and exported by what
//! does so with any other.

use std::fmt;

use crate::amqp::argument::Overflow;
use crate::amqp::limit::SHORT_STRING_BYTES;
use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::broker::rules::Unroutable;
use crate::queue::settings::Durability;
use crate::routing::Kind;
use crate::topology::declared::Binding;
use crate::topology::declared::DeadLetter;
use crate::topology::declared::Exchange;
use crate::topology::declared::Limits;
use crate::topology::declared::Mode;
use crate::topology::declared::Queue;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::rabbitmq::detour;
use crate::topology::rabbitmq::detour::Detour;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// A topology in RabbitMQ's terms.
#[derive(Clone, Debug)]
pub struct Translated {
    pub topology: Topology,
    pub losses: Vec<Loss>,
}

/// Something that RabbitMQ keeps in another way, or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Of what is not kept.
    pub origin: Origin,
    /// `queue`, `exchange` or `vhost`.
    pub kind: &'static str,
    pub name: String,
    pub text: String,
    /// The node could not have the object at all.
    pub is_fatal: bool,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.kind, self.name, self.text)
    }
}

/// Translates all vhosts for a node.
pub fn translate(topology: &Topology, node: &Node) -> Translated {
    let mut done = Translated { topology: topology.clone(), losses: Vec::new() };
    for (name, vhost) in &topology.vhosts {
        let mut desk = Desk { vhost, node, done: vhost.clone(), losses: &mut done.losses };
        desk.vhost();
        vhost.exchanges.values().for_each(|it| desk.exchange(it));
        vhost.queues.values().for_each(|it| desk.queue(it));
        let translated = desk.done;
        done.topology.vhosts.insert(name.clone(), translated);
    }
    let too_long = too_long(&done.topology);
    done.losses.extend(too_long);
    if node.version < Version::OLDEST {
        let text = format!("{} is older than {}", node.version, Version::OLDEST);
        let name = node.name.clone();
        done.losses.push(Loss {
            origin: Origin::BROKER,
            kind: "RabbitMQ",
            name,
            text,
            is_fatal: true,
        });
    }
    done
}

/// One vhost at work.
struct Desk<'a> {
    vhost: &'a Vhost,
    node: &'a Node,
    done: Vhost,
    losses: &'a mut Vec<Loss>,
}

impl Desk<'_> {
    fn lose(&mut self, origin: Origin, kind: &'static str, name: &str, text: impl Into<String>) {
        let (name, text) = (name.to_owned(), text.into());
        self.losses.push(Loss { origin, kind, name, text, is_fatal: false });
    }

    fn vhost(&mut self) {
        let vhost = self.vhost;
        let mut lose = |text: &str| self.lose(vhost.origin, "vhost", &vhost.name, text);
        if !vhost.services.is_empty() {
            lose(
                "nobody keeps services to their own queues and exchanges; give each a user of its \
                 own, with permissions for what it consumes and publishes",
            );
        }
        if !vhost.per_instance.is_empty() {
            lose("instances bind queues of their own as they like, not as files say");
        }
        if vhost.queues.values().any(|it| it.retry.is_some() && !it.requeue_immediate) {
            lose(
                "only a rejection without requeue is retried with a wait; what is requeued comes \
                 back at once, and counts towards the delivery limit alone",
            );
            lose(
                "retries need `railpost controller` to run; attempts are noted with time and \
                 reason, not with their consumers; a message's own expiration ends with its first \
                 failure",
            );
        }
        if self.node.version.0 >= 4 && vhost.queues.values().any(|it| it.retry.is_some()) {
            self.lose(
                vhost.origin,
                "vhost",
                &vhost.name,
                "`x-death` counts anew after each retry; `x-retry-count` tells how many there were",
            );
        }
    }

    fn exchange(&mut self, exchange: &Exchange) {
        let name = &exchange.name;
        let kind = exchange.type_name();
        if let Some(done) = self.done.exchanges.get_mut(name) {
            done.bindings.iter_mut().for_each(sort_arguments);
        }
        if !self.node.exchange_types.contains(kind) {
            let plugin = match exchange.delays {
                true => "rabbitmq_delayed_message_exchange",
                false => plugin(exchange.kind.value),
            };
            self.losses.push(Loss {
                origin: exchange.kind.origin,
                kind: "exchange",
                name: name.to_string(),
                text: format!("this node has no type `{kind}`; enable the plugin `{plugin}`"),
                is_fatal: true,
            });
        }
        match (exchange.unroutable(), &exchange.alternate) {
            (Unroutable::Return | Unroutable::Drop, _) => {}
            (Unroutable::Reject, _) => self.lose(
                exchange.origin,
                "exchange",
                name,
                "a message that no queue takes is confirmed, not refused; publish it as mandatory",
            ),
            (Unroutable::Park, Some(_)) => self.lose(
                exchange.origin,
                "exchange",
                name,
                "what its alternate exchange cannot route either is not parked",
            ),
            (Unroutable::Park, None) => self.park_unroutable(exchange),
        }
    }

    /// By way of an alternate exchange, which has one queue.
    fn park_unroutable(&mut self, exchange: &Exchange) {
        let origin = exchange.origin;
        let alternate = unroutable_name(&exchange.name);
        self.add_exchange(Exchange::plain(&alternate, origin));
        let Some(lot) = exchange.parking_name() else { return };
        let mut queue = self.plain_queue(&lot, origin);
        queue.bindings.push(binding(&alternate, origin, Table::default()));
        self.add_queue(queue);
        if let Some(done) = self.done.exchanges.get_mut(&exchange.name) {
            done.alternate = Some(Located::new(alternate, origin));
        }
    }

    fn queue(&mut self, queue: &Queue) {
        let mut done = queue.clone();
        let kind = self.queue_type(queue);
        set_type(&mut done.arguments, &kind);
        done.ttl = queue.message_ttl();
        done.limits.age = None;
        if let Some(levels) = done.max_priority.take() {
            done.arguments.set("x-max-priority", Value::I64(i64::from(levels.value)));
        }
        if matches!(queue.mode, Mode::SingleActive | Mode::Keyed(_)) {
            done.arguments.set("x-single-active-consumer", Value::Bool(true));
        }
        self.losses_of(queue, &kind);
        self.timeout(queue, &mut done);
        self.overflow(queue, &mut done, &kind);
        let own = Detour::of(self.vhost, queue);
        match &own {
            Some(detour) => self.detour(queue, detour, &mut done, &kind),
            // COMPAT: once at least, a queue can only hand on what it may keep until then.
            None if kind == "quorum" && queue.dead_letter.is_some() && !drops(queue) => {
                at_least_once(&mut done, queue.origin);
            }
            None => {}
        }
        self.limit_deliveries(&mut done, own.as_ref().and_then(|it| it.settings.deliveries_max));
        done.bindings.iter_mut().for_each(sort_arguments);
        self.done.queues.insert(queue.name.clone(), done);
    }

    /// What files say, else what is there, else the type that is replicated, where it can be.
    fn queue_type(&self, queue: &Queue) -> String {
        let said = queue.arguments.get("x-queue-type").and_then(Value::as_text);
        let there = self.node.queue_type(&self.vhost.name, &queue.name);
        let is_plain = queue.durable && !queue.auto_delete && queue.max_priority.is_none();
        let usual = if is_plain { "quorum" } else { "classic" };
        said.or(there.filter(|it| is_plain || *it == "classic")).unwrap_or(usual).to_owned()
    }

    fn losses_of(&mut self, queue: &Queue, kind: &str) {
        let (origin, name) = (queue.origin, &*queue.name);
        match &queue.mode {
            Mode::Keyed(_) => self.lose(
                queue.mode_origin,
                "queue",
                name,
                "order per key is kept by one consumer at a time; a failed message loses its place",
            ),
            Mode::Tap => {
                self.lose(origin, "queue", name, "whoever looks at it is not told from a worker");
            }
            Mode::Compete | Mode::SingleActive => {}
        }
        if kind == "quorum" && self.node.queue_type(&self.vhost.name, name).is_none() {
            self.lose(
                origin,
                "queue",
                name,
                "it is a quorum queue: clients that declare it must say `x-queue-type` = `quorum`, \
                 or declare it passively",
            );
        }
        if kind == "classic" && queue.retry.is_some() {
            self.lose(
                origin,
                "queue",
                name,
                "as a classic queue it hands failed messages on at most once: a node that dies \
                 meanwhile loses them",
            );
        }
        if queue.durability == Durability::Write && kind == "quorum" {
            self.lose(origin, "queue", name, "its messages are synced to the disk all the same");
        }
        let Some(policy) = &queue.retry else { return };
        if policy.jitter_milli.value > 0 {
            self.lose(policy.jitter_milli.origin, "queue", name, "its retries have no jitter");
        }
        let counts = policy.counts;
        if !(counts.rejected && counts.nacked) {
            self.lose(
                policy.origin,
                "queue",
                name,
                "`basic.reject` and `basic.nack` cannot be told apart: both are failed attempts",
            );
        }
        if counts.ack_timeout && queue.ack_timeout.is_some() {
            self.lose(
                policy.origin,
                "queue",
                name,
                "an ack timeout closes the channel and is no failed attempt",
            );
        }
        let machine = policy.to_machine();
        let waits = Detour::of(self.vhost, queue).map(|it| it.waits).unwrap_or_default();
        if detour::is_rounded(&machine, &waits) {
            let text = format!("its waits are rounded up to {} different ones", waits.len());
            self.lose(policy.origin, "queue", name, text);
        }
    }

    fn timeout(&mut self, queue: &Queue, done: &mut Queue) {
        let Some(timeout) = queue.ack_timeout else { return };
        // SOURCE: release notes of RabbitMQ 3.12.
        if self.node.version < Version(3, 12) {
            done.ack_timeout = None;
            let text = format!(
                "deliveries time out as the node says, not after {}; queues have timeouts of \
                 their own from 3.12 on",
                timeout.value
            );
            self.lose(timeout.origin, "queue", &queue.name, text);
        }
    }

    fn overflow(&mut self, queue: &Queue, done: &mut Queue, kind: &str) {
        let Some(overflow) = queue.limits.overflow else { return };
        let refuses = Located::new(Overflow::RejectPublish, overflow.origin);
        match overflow.value {
            Overflow::DropHead | Overflow::RejectPublish => {}
            Overflow::Park => {
                done.limits.overflow = Some(refuses);
                let text = "what is too much is refused, not parked";
                self.lose(overflow.origin, "queue", &queue.name, text);
            }
            Overflow::RejectPublishDeadLetter if kind == "quorum" => {
                done.limits.overflow = Some(refuses);
                let text = "what is too much is refused, and not dead-lettered";
                self.lose(overflow.origin, "queue", &queue.name, text);
            }
            Overflow::RejectPublishDeadLetter => {}
        }
    }

    fn detour(&mut self, queue: &Queue, detour: &Detour, done: &mut Queue, kind: &str) {
        let origin = queue.retry.as_ref().map_or(queue.origin, |it| it.origin);
        let failed = detour.failed();
        done.dead_letter = Some(letter(&failed, origin));
        if kind == "quorum" {
            if drops(queue) {
                self.lose(
                    queue.origin,
                    "queue",
                    &queue.name,
                    "because it drops its oldest messages when it is full, it hands failed \
                     messages on at most once; say `overflow = \"reject-publish\"`",
                );
            } else {
                at_least_once(done, origin);
            }
        } else if detour.settings.deliveries_max.is_some() {
            let text = "a classic queue has no delivery limit";
            self.lose(origin, "queue", &queue.name, text);
        }
        self.add_exchange(Exchange::plain(&failed, origin));
        let mut inbox = self.plain_queue(&detour.inbox(), origin);
        inbox.bindings.push(binding(&failed, origin, Table::default()));
        self.add_queue(inbox);
        let waits = detour.wait_exchange();
        let exchange = Exchange {
            kind: Located::new(Kind::Headers, origin),
            ..Exchange::plain(&waits, origin)
        };
        self.add_exchange(exchange);
        if let Some(parking) = &queue.parking {
            let mut lot = self.plain_queue(&parking.name, parking.origin);
            lot.limits = Limits { age: None, ..parking.limits.clone() };
            lot.ttl = parking.limits.age;
            lot.bindings.push(binding(&waits, origin, is(detour::PARKED)));
            self.add_queue(lot);
        }
        // What was parked comes back this way, too.
        self.add_exchange(Exchange::plain(&detour.again(), origin));
        done.bindings.push(binding(&detour.again(), origin, Table::default()));
        for wait in &detour.waits {
            let mut queue = self.plain_queue(&detour.wait_queue(*wait), origin);
            queue.ttl = Some(Located::new(*wait, origin));
            queue.dead_letter = Some(letter(&detour.again(), origin));
            if queue.arguments.get("x-queue-type").is_some() {
                at_least_once(&mut queue, origin);
            }
            queue.bindings.push(binding(&waits, origin, is(&wait.0.to_string())));
            self.add_queue(queue);
        }
    }

    /// COMPAT: without a limit, quorum queues of RabbitMQ 4 drop what came back 20 times.
    fn limit_deliveries(&self, queue: &mut Queue, max: Option<u32>) {
        if queue.arguments.get("x-queue-type").and_then(Value::as_text) != Some("quorum") {
            return;
        }
        let max = match max {
            Some(max) => Some(i64::from(max)),
            None => (self.node.version.0 >= 4).then_some(-1),
        };
        if let (Some(max), None) = (max, queue.arguments.get("x-delivery-limit")) {
            queue.arguments.set("x-delivery-limit", Value::I64(max));
        }
    }

    fn add_exchange(&mut self, exchange: Exchange) {
        if self.vhost.exchanges.contains_key(&exchange.name) {
            let (origin, name) = (exchange.origin, exchange.name.to_string());
            let text = "declared by a file, and needed for retries or parking".to_owned();
            self.losses.push(Loss { origin, kind: "exchange", name, text, is_fatal: true });
        }
        self.done.exchanges.insert(exchange.name.clone(), exchange);
    }

    fn add_queue(&mut self, queue: Queue) {
        if self.vhost.queues.contains_key(&queue.name) {
            let (origin, name) = (queue.origin, queue.name.to_string());
            let text = "declared by a file, and needed for retries or parking".to_owned();
            self.losses.push(Loss { origin, kind: "queue", name, text, is_fatal: true });
        }
        self.done.queues.insert(queue.name.clone(), queue);
    }

    /// A queue of our own: of the type that is there, else replicated.
    fn plain_queue(&self, name: &QueueName, origin: Origin) -> Queue {
        let mut queue = Queue::plain(name, origin);
        let kind = self.queue_type(&queue);
        set_type(&mut queue.arguments, &kind);
        self.limit_deliveries(&mut queue, None);
        queue
    }
}

/// Names that are made of a queue's or exchange's own, and longer than any may be.
fn too_long(topology: &Topology) -> Vec<Loss> {
    let mut all = Vec::new();
    for vhost in topology.vhosts.values() {
        let exchanges =
            vhost.exchanges.values().map(|it| ("exchange", it.name.as_str(), it.origin));
        let queues = vhost.queues.values().map(|it| ("queue", it.name.as_str(), it.origin));
        for (kind, name, origin) in exchanges.chain(queues) {
            if name.len() > SHORT_STRING_BYTES {
                let text = format!("a name has {SHORT_STRING_BYTES} bytes at most");
                let name = name.to_owned();
                all.push(Loss { origin, kind, name, text, is_fatal: true });
            }
        }
    }
    all
}

/// The alternate exchange of one that parks what no queue takes.
pub(in crate::topology) fn unroutable_name(exchange: &str) -> ExchangeName {
    ExchangeName::from(format!("{exchange}.unroutable"))
}

/// The plugin that brings a type of exchanges.
fn plugin(kind: Kind) -> &'static str {
    match kind {
        Kind::ConsistentHash => "rabbitmq_consistent_hash_exchange",
        Kind::ModulusHash => "rabbitmq_sharding",
        Kind::Random | Kind::LocalRandom => "rabbitmq_random_exchange",
        Kind::Direct | Kind::Fanout | Kind::Topic | Kind::Headers => "rabbit",
    }
}

/// The usual type is not said.
fn set_type(arguments: &mut Table, kind: &str) {
    match kind {
        "classic" => {
            arguments.remove("x-queue-type");
        }
        kind => arguments.set("x-queue-type", Value::text(kind)),
    }
}

/// Bindings are compared as they are, and RabbitMQ lists arguments by name.
fn sort_arguments(binding: &mut Binding) {
    binding.arguments.0.sort_by(|a, b| a.0.cmp(&b.0));
}

/// Whether the oldest messages go when it is full.
fn drops(queue: &Queue) -> bool {
    queue.limits.has_length() && queue.limits.overflow() == Overflow::DropHead
}

/// Dead letters are handed on once at least.
fn at_least_once(queue: &mut Queue, origin: Origin) {
    queue.arguments.set("x-dead-letter-strategy", Value::text("at-least-once"));
    queue.limits.overflow = Some(Located::new(Overflow::RejectPublish, origin));
}

fn letter(exchange: &ExchangeName, origin: Origin) -> DeadLetter {
    DeadLetter { exchange: Located::new(exchange.clone(), origin), key: None, origin }
}

fn binding(exchange: &ExchangeName, origin: Origin, arguments: Table) -> Binding {
    Binding {
        exchange: Located::new(exchange.clone(), origin),
        key: Located::new(BindingKey::new(""), origin),
        arguments,
        origin,
    }
}

/// Arguments of a binding for messages that a controller sends one way.
fn is(wait: &str) -> Table {
    // In order of their names, as RabbitMQ lists them.
    Table(vec![
        (detour::WAIT.to_owned(), Value::text(wait)),
        ("x-match".to_owned(), Value::text("all")),
    ])
}
