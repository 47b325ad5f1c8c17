//! Objects of a topology with their properties as text, so that any two can be compared.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::amqp::argument::KeySource;
use crate::amqp::argument::Overflow;
use crate::broker::rules::Delivers;
use crate::broker::rules::Enforce;
use crate::broker::rules::Identity;
use crate::broker::rules::Unroutable;
use crate::queue::settings::Durability;
use crate::routing;
use crate::routing::delay::ROUTES_AS;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::Limits;
use crate::topology::declared::Mode;
use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::declared::RetryPolicy;
use crate::topology::declared::Service;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::engine::Engine;
use crate::topology::fate;
use crate::topology::source::Origin;
use crate::topology::source::Sources;

/// What an object is; in the order in which people read them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Vhost,
    Service,
    Exchange,
    Queue,
    /// Queues that instances make for themselves.
    Instances,
    Binding,
    Message,
}

/// One object, described so that it can be compared.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Object {
    pub(in crate::topology) kind: Kind,
    pub(in crate::topology) vhost: String,
    pub(in crate::topology) name: String,
    pub(in crate::topology) properties: BTreeMap<String, Property>,
    pub(in crate::topology) place: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::topology) struct Property {
    pub(in crate::topology) value: String,
    pub(in crate::topology) identity: bool,
}

pub(in crate::topology) type Key = (String, Kind, String);
pub(in crate::topology) type Objects = BTreeMap<Key, Object>;

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Vhost => "vhost",
            Kind::Service => "service",
            Kind::Exchange => "exchange",
            Kind::Queue => "queue",
            Kind::Instances => "instances",
            Kind::Binding => "binding",
            Kind::Message => "message",
        }
    }
}

/// The keys of both, each once.
pub(in crate::topology) fn keys<'o>(a: &'o Objects, b: &'o Objects) -> BTreeSet<&'o Key> {
    a.keys().chain(b.keys()).collect()
}

/// Everything a topology declares.
pub(in crate::topology) fn all(topology: &Topology, engine: Engine) -> Objects {
    let mut shelf =
        Shelf { sources: &topology.sources, vhost: String::new(), all: BTreeMap::new() };
    for vhost in topology.vhosts.values() {
        shelf.vhost = vhost.name.to_string();
        shelf.add(Kind::Vhost, &vhost.name, vhost.origin, settings(vhost));
        for service in vhost.services.values() {
            shelf.add(Kind::Service, &service.name, service.origin, of_service(service));
        }
        for exchange in vhost.exchanges.values() {
            shelf.add(
                Kind::Exchange,
                &exchange.name,
                exchange.origin,
                of_exchange(exchange, engine),
            );
            shelf.bindings(&exchange.name, &exchange.bindings);
            exchange.messages.iter().for_each(|it| shelf.message(&exchange.name, it));
        }
        for queue in vhost.queues.values() {
            shelf.add(Kind::Queue, &queue.name, queue.origin, of_queue(queue, engine));
            shelf.bindings(&queue.name, &queue.bindings);
            queue.messages.iter().for_each(|it| shelf.message("", it));
        }
        for pattern in vhost.per_instance.values() {
            let mut properties = Properties::default();
            let services = pattern.services.iter().map(|it| it.value.as_str());
            properties.set("service", joined(services));
            shelf.add(Kind::Instances, &pattern.name, pattern.origin, properties);
            shelf.bindings(&pattern.name, &pattern.bindings);
        }
    }
    shelf.all
}

struct Shelf<'t> {
    sources: &'t Sources,
    vhost: String,
    all: Objects,
}

impl Shelf<'_> {
    fn add(&mut self, kind: Kind, name: &str, origin: Origin, properties: Properties) {
        let object = Object {
            kind,
            vhost: self.vhost.clone(),
            name: name.to_owned(),
            properties: properties.0,
            place: self.sources.cite(origin).to_string(),
        };
        self.all.insert((self.vhost.clone(), kind, name.to_owned()), object);
    }

    fn bindings(&mut self, to: &str, bindings: &[Binding]) {
        for binding in bindings {
            let key = described(&binding.key.value, &binding.arguments);
            let name = format!("{} → {to} ({key})", binding.exchange.value);
            self.add(Kind::Binding, &name, binding.origin, Properties::default());
        }
    }

    fn message(&mut self, exchange: &str, message: &Publication) {
        let name = message_name(exchange, &message.key.value, &message.headers);
        let mut properties = Properties::default();
        properties.set("from", joined(message.from.iter().map(|it| it.value.as_str())));
        properties.set("order", message.order.as_ref().map(|it| key_source(&it.value)));
        properties.set("mandatory", message.mandatory.map(|it| it.value.to_string()));
        properties.set("expiration", message.expiration.map(|it| it.value.to_string()));
        self.add(Kind::Message, &name, message.origin, properties);
    }
}

/// `exchange/key`, with headers behind it.
pub(in crate::topology) fn message_name(
    exchange: &str,
    key: &str,
    headers: &crate::amqp::table::Table,
) -> String {
    let exchange = if exchange.is_empty() { "(default)" } else { exchange };
    format!("{exchange}/{}", described(key, headers))
}

fn described(key: &str, arguments: &crate::amqp::table::Table) -> String {
    match (key, arguments.is_empty()) {
        ("", true) => "\"\"".to_owned(),
        (key, true) => key.to_owned(),
        (key, false) => format!("{key} {arguments}").trim_start().to_owned(),
    }
}

#[derive(Default)]
struct Properties(BTreeMap<String, Property>);

impl Properties {
    fn set(&mut self, name: &str, value: impl Into<Option<String>>) {
        self.put(name, value.into(), false);
    }

    fn identity(&mut self, name: &str, value: impl Into<Option<String>>) {
        self.put(name, value.into(), true);
    }

    fn put(&mut self, name: &str, value: Option<String>, identity: bool) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), Property { value, identity });
        }
    }

    /// The property cannot change while the object lives.
    fn fix(&mut self, name: &str) {
        self.0.entry(name.to_owned()).and_modify(|it| it.identity = true);
    }

    /// Only what is not the default is a property.
    fn flag(&mut self, name: &str, value: bool) {
        self.set(name, value.then(|| "true".to_owned()));
    }

    fn arguments(&mut self, table: &crate::amqp::table::Table, identity: impl Fn(&str) -> bool) {
        for (key, value) in table.iter() {
            self.put(&format!("arguments.{key}"), Some(value.to_string()), identity(key));
        }
    }
}

fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let mut all: Vec<&str> = names.collect();
    all.sort_unstable();
    (!all.is_empty()).then(|| all.join(", "))
}

fn settings(vhost: &Vhost) -> Properties {
    let it = &vhost.settings;
    let word = |enforce| match enforce {
        Enforce::Deny => "deny",
        Enforce::Warn => "warn",
        Enforce::Off => "off",
    };
    let mut all = Properties::default();
    all.set("enforce", word(it.enforce()).to_owned());
    all.set("undeclared", word(it.undeclared()).to_owned());
    let is = |flag: Option<crate::topology::source::Located<bool>>| flag.is_some_and(|it| it.value);
    all.flag("identity.authenticated", is(it.authenticated_identity));
    all.flag("client_x_death.ignore", is(it.ignore_client_deaths));
    all.flag("late_ack.close-channel", is(it.late_ack_closes));
    all
}

fn of_service(service: &Service) -> Properties {
    let mut all = Properties::default();
    all.set("owner", service.owner.as_ref().map(|it| it.value.clone()));
    let identities = service.identities.iter().map(|it| match &it.value {
        Identity::User(name) => format!("user:{name}"),
        Identity::Certificate(name) => format!("cert:{name}"),
        Identity::ConnectionName(name) => format!("name:{name}"),
    });
    let identities: Vec<String> = identities.collect();
    all.set("identities", joined(identities.iter().map(String::as_str)));
    all
}

fn of_exchange(exchange: &Exchange, engine: Engine) -> Properties {
    let kind = exchange.kind.value;
    let mut all = Properties::default();
    all.identity("type", exchange.type_name().to_owned());
    all.identity("durable", exchange.durable.to_string());
    all.flag("auto_delete", exchange.auto_delete);
    all.flag("internal", exchange.internal);
    all.flag("protected", exchange.protected);
    all.flag("redeclare.tolerate", exchange.tolerate);
    let delivers = match exchange.delivers() {
        Delivers::Broadcast => "broadcast",
        Delivers::Work => "work",
    };
    all.set("delivers", delivers.to_owned());
    all.set("unroutable", unroutable(exchange.unroutable()).to_owned());
    all.set("alternate", exchange.alternate.as_ref().map(|it| it.value.to_string()));
    let hashes = matches!(kind, routing::Kind::ConsistentHash | routing::Kind::ModulusHash);
    all.arguments(&exchange.arguments, |key| {
        hashes || key == ROUTES_AS || engine == Engine::Rabbitmq
    });
    if engine == Engine::Rabbitmq {
        all.fix("auto_delete");
        all.fix("internal");
    }
    all
}

fn unroutable(it: Unroutable) -> &'static str {
    match it {
        Unroutable::Return => "return",
        Unroutable::Park => "park",
        Unroutable::Reject => "reject",
        Unroutable::Drop => "drop",
    }
}

fn of_queue(queue: &Queue, engine: Engine) -> Properties {
    let mut all = Properties::default();
    all.set("service", joined(queue.services.iter().map(|it| it.value.as_str())));
    all.set("consumers", mode(&queue.mode));
    all.set("retry", queue.retry.as_ref().map(|it| policy(&it.value, &fate::of_failed(queue))));
    all.set("parking", queue.parking.as_ref().map(|it| it.name.to_string()));
    if let Some(lot) = &queue.parking {
        limits("parking", &lot.limits, &mut all);
    }
    let letter = queue.dead_letter.as_ref();
    all.set("dead_letter.exchange", letter.map(|it| it.exchange.value.to_string()));
    let key = letter.and_then(|it| it.key.as_ref()).map(|it| it.value.clone());
    all.set("dead_letter.key", key);
    limits("limits", &queue.limits, &mut all);
    all.set("ttl", queue.ttl.map(|it| it.value.to_string()));
    all.set("expires", queue.expires.map(|it| it.value.to_string()));
    all.set("ack_timeout", queue.ack_timeout.map(|it| it.value.to_string()));
    all.set("max_priority", queue.max_priority.map(|it| it.value.to_string()));
    all.flag("fail_fast", queue.fail_fast);
    all.flag("requeue.immediate", queue.requeue_immediate);
    all.identity("durable", queue.durable.to_string());
    let durability = match queue.durability {
        Durability::Sync => "sync",
        Durability::Write => "write",
    };
    all.set("durability", durability.to_owned());
    all.flag("auto_delete", queue.auto_delete);
    all.flag("protected", queue.protected);
    all.flag("redeclare.tolerate", queue.tolerate);
    let is_stream =
        queue.arguments.get("x-queue-type").and_then(|it| it.as_text()) == Some("stream");
    all.arguments(&queue.arguments, |key| engine.fixes(key, is_stream));
    if engine == Engine::Rabbitmq {
        all.fix("auto_delete");
    }
    all
}

/// How instances share a queue, in a few words.
pub(in crate::topology) fn mode(mode: &Mode) -> String {
    match mode {
        Mode::Compete => "compete".to_owned(),
        Mode::SingleActive => "single-active".to_owned(),
        Mode::Tap => "tap".to_owned(),
        Mode::Keyed(keyed) => {
            let hold = if keyed.hold { ", hold" } else { "" };
            format!("keyed by {}{hold}", key_source(&keyed.source.value))
        }
    }
}

/// As files write it.
pub(in crate::topology) fn key_source(source: &KeySource) -> String {
    match source {
        KeySource::RoutingKey => "routing-key".to_owned(),
        KeySource::CorrelationId => "correlation-id".to_owned(),
        KeySource::MessageId => "message-id".to_owned(),
        KeySource::UserId => "user-id".to_owned(),
        KeySource::Header(name) => format!("header:{name}"),
    }
}

fn policy(policy: &RetryPolicy, fate: &str) -> String {
    let attempts = match policy.attempts.value {
        0 => "attempts without end".to_owned(),
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let mut parts = vec![attempts];
    if policy.jitter_milli.value > 0 {
        parts.push(format!("jitter {}", f64::from(policy.jitter_milli.value) / 1000.0));
    }
    let counts = policy.counts;
    let all = [
        (counts.rejected, "rejected"),
        (counts.nacked, "nacked"),
        (counts.ack_timeout, "ack-timeout"),
    ];
    if all.iter().any(|(is, _)| !is) {
        let words: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        parts.push(format!("counts {}", words.join(" ")));
    }
    parts.push(format!("delivery limit {}", policy.delivery_limit.value));
    parts.push(format!("at most {}", policy.max.value));
    parts.push(fate.to_owned());
    parts.join(", ")
}

fn limits(prefix: &str, limits: &Limits, all: &mut Properties) {
    let mut set = |name: &str, value: Option<String>| all.set(&format!("{prefix}.{name}"), value);
    set("messages", limits.messages.map(|it| it.value.to_string()));
    set("bytes", limits.bytes.map(|it| it.value.to_string()));
    set("age", limits.age.map(|it| it.value.to_string()));
    let overflow = limits.has_length().then(|| match limits.overflow() {
        Overflow::DropHead => "drop-head",
        Overflow::RejectPublish => "reject-publish",
        Overflow::RejectPublishDeadLetter => "reject-publish-dlx",
        Overflow::Park => "park",
    });
    set("overflow", overflow.map(str::to_owned));
}
