//! What topology files declare: services, exchanges, queues, policies, each value with its place.
//!
//! Everything is resolved: defaults filled in, policies looked up, `x-…` arguments that a key
//! expresses moved to that key. References to exchanges and queues may still lead nowhere when
//! there are errors.

use std::collections::BTreeMap;

use crate::amqp::argument::KeySource;
use crate::amqp::argument::Overflow;
use crate::amqp::argument::QueueType;
use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::ServiceName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::broker::rules::Delivers;
use crate::broker::rules::Enforce;
use crate::broker::rules::Identity;
use crate::broker::rules::Unroutable;
use crate::queue::retry::Counts;
use crate::queue::retry::Then;
use crate::queue::settings::Durability;
use crate::routing::Kind;
use crate::routing::delay;
use crate::topology::day::Day;
use crate::topology::scenario::Scenario;
use crate::topology::source::Located;
use crate::topology::source::Origin;
use crate::topology::source::Sources;

/// Everything all files together declare.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub sources: Sources,
    /// By name. Every file declares its vhost, so a file that says nothing else makes it exist.
    pub vhosts: BTreeMap<VhostName, Vhost>,
    pub allows: Vec<Allow>,
    /// Nothing had to be left out, so that what is absent here is absent in the files.
    pub whole: bool,
}

/// One vhost; its objects by name.
#[derive(Clone, Debug)]
pub struct Vhost {
    pub name: VhostName,
    /// The first file that declares it, or its place there.
    pub origin: Origin,
    pub settings: VhostSettings,
    pub services: BTreeMap<ServiceName, Service>,
    pub exchanges: BTreeMap<ExchangeName, Exchange>,
    pub queues: BTreeMap<QueueName, Queue>,
    /// Patterns for queues that instances make for themselves; no queues.
    pub per_instance: BTreeMap<QueueName, PerInstance>,
    /// The named policies, `[retry.NAME]`.
    pub retry: BTreeMap<String, RetryPolicy>,
    /// In the order of files and places.
    pub scenarios: Vec<Scenario>,
}

/// The `[vhost]` table. Absent keys have their defaults, see [`VhostSettings::enforce`] and on.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct VhostSettings {
    pub enforce: Option<Located<Enforce>>,
    pub undeclared: Option<Located<Enforce>>,
    /// `true` when only certificate and user say who a connection is.
    pub authenticated_identity: Option<Located<bool>>,
    pub ignore_client_deaths: Option<Located<bool>>,
    pub late_ack_closes: Option<Located<bool>>,
    /// When messages of queues that say nothing themselves count as safe.
    pub durability: Option<Located<Durability>>,
    pub budget: Budget,
}

/// How much there may be in a vhost before somebody wants to be asked. A broker does not look at
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    /// With parking lots, without what instances make.
    pub queues: Option<Located<u64>>,
    pub exchanges: Option<Located<u64>>,
    pub bindings: Option<Located<u64>>,
}

/// A set of identical instances.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    pub name: ServiceName,
    pub origin: Origin,
    /// The team shown in findings, parked messages and alerts.
    pub owner: Option<Located<String>>,
    pub description: Option<String>,
    /// How a connection proves that it is an instance.
    pub identities: Vec<Located<Identity>>,
    /// How many instances run, as the author knows it.
    pub instances: Option<Located<u64>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Exchange {
    pub name: ExchangeName,
    pub origin: Origin,
    pub description: Option<String>,
    /// How it routes.
    pub kind: Located<Kind>,
    /// Messages with a delay are held back before they are routed as `kind` says.
    pub delays: bool,
    /// As written; [`Exchange::delivers`] knows the default.
    pub delivers: Option<Located<Delivers>>,
    pub unroutable: Option<Located<Unroutable>>,
    pub alternate: Option<Located<ExchangeName>>,
    /// What lets other exchanges' messages in here.
    pub bindings: Vec<Binding>,
    /// Who publishes what.
    pub messages: Vec<Publication>,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    /// No plan deletes or replaces it.
    pub protected: bool,
    pub tolerate: bool,
    pub arguments: Table,
}

/// A binding of the queue or exchange it stands in.
#[derive(Clone, PartialEq, Debug)]
pub struct Binding {
    pub exchange: Located<ExchangeName>,
    pub key: Located<BindingKey>,
    pub arguments: Table,
    pub origin: Origin,
}

/// A kind of message that services publish.
#[derive(Clone, PartialEq, Debug)]
pub struct Publication {
    /// The routing key. On topic exchanges, words `*` and `#` stand for whatever is there.
    pub key: Located<String>,
    pub from: Vec<Located<ServiceName>>,
    /// Messages of one key must be handled in the order they were published.
    pub order: Option<Located<KeySource>>,
    /// Whether the broker is asked to return what no queue takes; `None` when it is not said.
    pub mandatory: Option<Located<bool>>,
    /// How long it may wait, by its own property.
    pub expiration: Option<Located<Millis>>,
    pub headers: Table,
    pub description: Option<String>,
    pub origin: Origin,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Queue {
    pub name: QueueName,
    pub origin: Origin,
    pub description: Option<String>,
    /// The owner. More than one is an error (FAN-002); nobody in particular when empty.
    pub services: Vec<Located<ServiceName>>,
    pub mode: Mode,
    /// Where `consumers` is written, else the queue's own place.
    pub mode_origin: Origin,
    pub bindings: Vec<Binding>,
    /// Who publishes to it by its name, through the default exchange.
    pub messages: Vec<Publication>,
    pub retry: Option<Located<RetryPolicy>>,
    /// The parking lot, `<queue>.parked`; every queue with a retry policy has one.
    pub parking: Option<Parking>,
    pub dead_letter: Option<DeadLetter>,
    pub limits: Limits,
    pub ttl: Option<Located<Millis>>,
    /// How long it may go unused before it is deleted.
    pub expires: Option<Located<Millis>>,
    /// How long a delivery may stay unsettled.
    pub ack_timeout: Option<Located<Millis>>,
    /// The highest level of a priority queue.
    pub max_priority: Option<Located<u8>>,
    pub fail_fast: bool,
    /// A requeue goes back at once, in spite of the retry policy.
    pub requeue_immediate: bool,
    /// What its consumers ask for with `basic.qos`, as the author knows it; 0 is no limit.
    pub prefetch: Option<Located<u64>>,
    /// How often its consumers try each delivery themselves, as the author knows it.
    pub client_attempts: Option<Located<u64>>,
    pub durable: bool,
    /// When its messages count as safe; the vhost's word, or the sync, when it is not written.
    pub durability: Durability,
    pub auto_delete: bool,
    /// No plan deletes or replaces it.
    pub protected: bool,
    pub tolerate: bool,
    /// Arguments that no key of the file expresses.
    pub arguments: Table,
    /// What was said by an argument although the file has a key for it.
    pub spelled_out: Vec<SpelledOut>,
}

/// An argument that the file has a key for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpelledOut {
    pub argument: &'static str,
    pub key: &'static str,
    pub origin: Origin,
}

/// How the instances of a service share a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Any number of them, each message to one.
    Compete,
    /// One at a time, the others stand by.
    SingleActive,
    /// Order per key, with any number of consumers.
    Keyed(Keyed),
    /// A copy for somebody who only looks; never counted as a handler.
    Tap,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyed {
    pub source: Located<KeySource>,
    /// While a failed message waits, its key waits with it (`on_failure = "hold"`).
    pub hold: bool,
    /// Where `on_failure` is written.
    pub on_failure_origin: Option<Origin>,
}

/// Queues that instances may declare for themselves, exclusive or expiring.
#[derive(Clone, PartialEq, Debug)]
pub struct PerInstance {
    pub name: QueueName,
    pub origin: Origin,
    pub description: Option<String>,
    /// Whose instances; anybody's when empty.
    pub services: Vec<Located<ServiceName>>,
    pub bindings: Vec<Binding>,
}

/// How failed deliveries are retried, with all defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct RetryPolicy {
    /// Its name, when it is one of `[retry.NAME]`.
    pub name: Option<String>,
    pub origin: Origin,
    /// The first delivery included; 0 is without end.
    pub attempts: Located<u32>,
    pub first: Located<Millis>,
    /// In thousandths.
    pub multiplier_milli: Located<u32>,
    pub max: Located<Millis>,
    /// In thousandths.
    pub jitter_milli: Located<u32>,
    pub counts: Counts,
    /// All deliveries together; 0 is no limit.
    pub delivery_limit: Located<u32>,
    pub then: Located<Then>,
}

/// A queue for what nobody could handle.
#[derive(Clone, PartialEq, Debug)]
pub struct Parking {
    pub name: QueueName,
    /// Where it is asked for; the queue's own place when a policy brings it.
    pub origin: Origin,
    /// None unless written.
    pub limits: Limits,
}

/// Where dead letters go.
#[derive(Clone, PartialEq, Debug)]
pub struct DeadLetter {
    pub exchange: Located<ExchangeName>,
    /// Replaces the message's own routing key.
    pub key: Option<Located<String>>,
    pub origin: Origin,
}

/// How much may wait in a queue.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Limits {
    /// Ready messages.
    pub messages: Option<Located<u64>>,
    /// Bytes of their bodies.
    pub bytes: Option<Located<u64>>,
    /// How long a message may wait; as a TTL.
    pub age: Option<Located<Millis>>,
    /// What becomes of one too many. COMPAT: the oldest goes when it is not written.
    pub overflow: Option<Located<Overflow>>,
}

/// A finding that somebody accepted, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Allow {
    /// The id of the rule.
    pub rule: Located<&'static str>,
    pub reason: String,
    /// The last day on which it holds.
    pub until: Option<Located<Day>>,
    pub scope: AllowScope,
    pub origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllowScope {
    File(u32),
    /// The object whose name stands there.
    Object(Origin),
}

impl Topology {
    pub fn vhost(&self, name: &str) -> Option<&Vhost> {
        self.vhosts.get(name)
    }
}

impl Vhost {
    /// A vhost about which no file says anything.
    pub fn empty(name: &VhostName) -> Vhost {
        Vhost {
            name: name.clone(),
            origin: Origin::default(),
            settings: VhostSettings::default(),
            services: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            queues: BTreeMap::new(),
            per_instance: BTreeMap::new(),
            retry: BTreeMap::new(),
            scenarios: Vec::new(),
        }
    }
}

impl VhostSettings {
    /// Clients are held to what the files declare, unless they say otherwise.
    pub fn enforce(&self) -> Enforce {
        self.enforce.map_or(Enforce::Deny, |it| it.value)
    }

    /// Clients may declare what no file does, unless it is forbidden.
    pub fn undeclared(&self) -> Enforce {
        self.undeclared.map_or(Enforce::Off, |it| it.value)
    }
}

impl Exchange {
    /// A durable fanout exchange with nothing else said.
    pub fn plain(name: &ExchangeName, origin: Origin) -> Exchange {
        Exchange {
            name: name.clone(),
            origin,
            description: None,
            kind: Located::new(Kind::Fanout, origin),
            delays: false,
            delivers: None,
            unroutable: None,
            alternate: None,
            bindings: Vec::new(),
            messages: Vec::new(),
            durable: true,
            auto_delete: false,
            internal: false,
            protected: false,
            tolerate: false,
            arguments: Table::default(),
        }
    }

    /// The exchange type's name on the wire.
    pub fn type_name(&self) -> &'static str {
        if self.delays { delay::TYPE } else { self.kind.value.as_str() }
    }

    /// What its bindings are for. Fanout, topic and headers exchanges broadcast, direct and hash
    /// exchanges hand out work, unless the file says otherwise.
    pub fn delivers(&self) -> Delivers {
        match (&self.delivers, self.kind.value) {
            (Some(it), _) => it.value,
            (None, Kind::Fanout | Kind::Topic | Kind::Headers) => Delivers::Broadcast,
            (
                None,
                Kind::Direct
                | Kind::ConsistentHash
                | Kind::ModulusHash
                | Kind::Random
                | Kind::LocalRandom,
            ) => Delivers::Work,
        }
    }

    /// What happens to a message that no queue takes.
    pub fn unroutable(&self) -> Unroutable {
        self.unroutable.map_or(Unroutable::Return, |it| it.value)
    }

    /// Its own parking lot, for messages that no queue takes.
    pub fn parking_name(&self) -> Option<QueueName> {
        let parks = self.unroutable() == Unroutable::Park;
        parks.then(|| crate::broker::parking::parked_name(&self.name))
    }
}

impl Queue {
    /// A durable queue with nothing else said.
    pub fn plain(name: &QueueName, origin: Origin) -> Queue {
        Queue {
            name: name.clone(),
            origin,
            description: None,
            services: Vec::new(),
            mode: Mode::Compete,
            mode_origin: origin,
            prefetch: None,
            client_attempts: None,
            bindings: Vec::new(),
            messages: Vec::new(),
            retry: None,
            parking: None,
            dead_letter: None,
            limits: Limits::default(),
            ttl: None,
            expires: None,
            ack_timeout: None,
            max_priority: None,
            fail_fast: false,
            requeue_immediate: false,
            durable: true,
            durability: Durability::Sync,
            auto_delete: false,
            protected: false,
            tolerate: false,
            arguments: Table::default(),
            spelled_out: Vec::new(),
        }
    }

    /// The service whose instances consume it.
    pub fn service(&self) -> Option<&ServiceName> {
        self.services.first().map(|it| &it.value)
    }

    pub fn is_tap(&self) -> bool {
        self.mode == Mode::Tap
    }

    /// Whether it goes when nobody uses it.
    pub fn comes_and_goes(&self) -> bool {
        self.auto_delete || self.expires.is_some()
    }

    /// The type that clients know it as; here, only streams are another thing.
    pub fn queue_type(&self) -> QueueType {
        let written = self.arguments.get("x-queue-type").and_then(Value::as_text);
        written.and_then(QueueType::parse).unwrap_or_default()
    }

    /// The shorter of TTL and greatest age.
    pub fn message_ttl(&self) -> Option<Located<Millis>> {
        [self.ttl, self.limits.age].into_iter().flatten().min_by_key(|it| it.value)
    }
}

impl Limits {
    /// COMPAT: RabbitMQ's default is to drop the oldest message.
    pub fn overflow(&self) -> Overflow {
        self.overflow.map_or(Overflow::DropHead, |it| it.value)
    }

    /// Whether the number or size of messages is limited.
    pub fn has_length(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }

    pub fn is_empty(&self) -> bool {
        !self.has_length() && self.age.is_none()
    }
}

impl RetryPolicy {
    /// As the queue machine takes it.
    pub fn to_machine(&self) -> crate::queue::retry::RetryPolicy {
        crate::queue::retry::RetryPolicy {
            attempts: self.attempts.value,
            first: self.first.value,
            multiplier_milli: self.multiplier_milli.value,
            max: self.max.value,
            jitter_milli: self.jitter_milli.value,
            counts: self.counts,
            then: self.then.value,
        }
    }

    /// All waits between the attempts together; of very many, the first ones.
    pub fn waits_total(&self) -> Millis {
        /// More are not added up; at a millisecond each they would be no time.
        const WAITS_MAX: u32 = 10_000;
        let machine = self.to_machine();
        let n_waits = self.attempts.value.saturating_sub(1).min(WAITS_MAX);
        Millis((1..=n_waits).fold(0, |sum: u64, n| sum.saturating_add(machine.wait(n).0)))
    }

    /// Deliveries a message may have in all.
    pub fn deliveries_max(&self) -> Option<u32> {
        (self.delivery_limit.value > 0).then_some(self.delivery_limit.value)
    }
}
