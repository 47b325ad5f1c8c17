//! Declarations in the broker's own words: settings, exchanges, bindings and rules.

use std::collections::BTreeMap;

use crate::amqp::argument::Overflow;
use crate::amqp::argument::QueueArguments;
use crate::amqp::name::QueueName;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::broker::rules::ExchangeRule;
use crate::broker::rules::PerInstance;
use crate::broker::rules::QueueRule;
use crate::broker::rules::Rules;
use crate::broker::rules::ServiceRule;
use crate::queue::settings;
use crate::queue::settings::Settings;
use crate::routing::table::ExchangeSpec;
use crate::topology::declared::Exchange;
use crate::topology::declared::Limits;
use crate::topology::declared::Mode;
use crate::topology::declared::Parking;
use crate::topology::declared::Queue;
use crate::topology::declared::Vhost;
use crate::topology::source::Sources;

/// A parking lot to be made, and what it belongs to.
#[derive(Clone, PartialEq, Debug)]
pub struct Lot {
    pub name: QueueName,
    pub owner: LotOwner,
    pub settings: Settings,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LotOwner {
    Queue(QueueName),
    /// For messages that no queue of this exchange takes.
    Exchange(crate::amqp::name::ExchangeName),
}

/// The exchange as the routing table takes it.
pub fn exchange(exchange: &Exchange) -> ExchangeSpec {
    ExchangeSpec {
        name: exchange.name.clone(),
        kind: exchange.kind.value,
        delays: exchange.delays,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        alternate: exchange.alternate.as_ref().map(|it| it.value.clone()),
        arguments: exchange.arguments.clone(),
    }
}

/// The `x-…` arguments of a client that would declare the same queue: what clients' own declares
/// are compared with. Retry, ownership and parking are not among them.
pub fn queue_arguments(queue: &Queue) -> Table {
    let mut table = queue.arguments.clone();
    let number = |it: u64| Value::I64(i64::try_from(it).unwrap_or(i64::MAX));
    let mut set = |key: &str, value: Option<Value>| {
        value.into_iter().for_each(|value| table.set(key, value));
    };
    set("x-message-ttl", queue.message_ttl().map(|it| number(it.value.0)));
    set("x-expires", queue.expires.map(|it| number(it.value.0)));
    set("x-consumer-timeout", queue.ack_timeout.map(|it| number(it.value.0)));
    set("x-max-priority", queue.max_priority.map(|it| number(u64::from(it.value))));
    set("x-max-length", queue.limits.messages.map(|it| number(it.value)));
    set("x-max-length-bytes", queue.limits.bytes.map(|it| number(it.value)));
    set("x-overflow", queue.limits.overflow.and_then(|it| overflow(it.value)));
    if let Some(letter) = &queue.dead_letter {
        set("x-dead-letter-exchange", Some(Value::text(&letter.exchange.value)));
        let key = letter.key.as_ref().map(|it| Value::text(&it.value));
        set("x-dead-letter-routing-key", key);
    }
    if queue.mode == Mode::SingleActive {
        set("x-single-active-consumer", Some(Value::Bool(true)));
    }
    table
}

/// `park` is no word of AMQP clients; to them such a queue refuses.
fn overflow(overflow: Overflow) -> Option<Value> {
    match overflow {
        Overflow::DropHead => Some(Value::text("drop-head")),
        Overflow::RejectPublish => Some(Value::text("reject-publish")),
        Overflow::RejectPublishDeadLetter => Some(Value::text("reject-publish-dlx")),
        Overflow::Park => None,
    }
}

/// What the queue machine is asked to do.
pub fn settings(queue: &Queue) -> Settings {
    let arguments = QueueArguments::parse(&queue_arguments(queue)).unwrap_or_default();
    let from_arguments = Settings::from_arguments(&arguments, queue.durable, queue.auto_delete);
    let policy = queue.retry.as_ref().map(|it| &it.value);
    Settings {
        overflow: queue.limits.overflow(),
        deliveries_max: match policy {
            Some(policy) => policy.deliveries_max(),
            None => from_arguments.deliveries_max,
        },
        retry: policy.map(|it| it.to_machine()).or(from_arguments.retry),
        durability: queue.durability,
        requeue_immediate: queue.requeue_immediate,
        fail_fast: queue.fail_fast || (policy.is_none() && from_arguments.fail_fast),
        parking: queue.parking.is_some(),
        keyed: match &queue.mode {
            Mode::Keyed(keyed) => {
                Some(settings::Keyed { source: keyed.source.value.clone(), hold: keyed.hold })
            }
            Mode::Compete | Mode::SingleActive | Mode::Tap => None,
        },
        ..from_arguments
    }
}

/// All parking lots of a vhost: those of its queues, then those of its exchanges that no queue's
/// lot serves already.
pub fn parking_lots(vhost: &Vhost) -> Vec<Lot> {
    let mut lots: BTreeMap<QueueName, Lot> = BTreeMap::new();
    for exchange in vhost.exchanges.values() {
        if let Some(name) = exchange.parking_name() {
            let settings = lot_settings(&Limits::default());
            let owner = LotOwner::Exchange(exchange.name.clone());
            lots.insert(name.clone(), Lot { name, owner, settings });
        }
    }
    for queue in vhost.queues.values() {
        if let Some(Parking { name, limits, .. }) = &queue.parking {
            let owner = LotOwner::Queue(queue.name.clone());
            let lot = Lot { name: name.clone(), owner, settings: lot_settings(limits) };
            lots.insert(name.clone(), lot);
        }
    }
    lots.into_values().collect()
}

fn lot_settings(limits: &Limits) -> Settings {
    Settings {
        durable: true,
        message_ttl: limits.age.map(|it| it.value),
        length_max: limits.messages.map(|it| it.value),
        length_bytes_max: limits.bytes.map(|it| it.value),
        overflow: limits.overflow(),
        count_nacks: true,
        ..Settings::default()
    }
}

/// What clients of the vhost are held to.
pub fn rules(vhost: &Vhost, sources: &Sources) -> Rules {
    let services = vhost.services.values().map(|it| ServiceRule {
        name: it.name.clone(),
        identities: it.identities.iter().map(|it| it.value.clone()).collect(),
        origin: sources.cite(it.origin),
    });
    let exchanges = vhost.exchanges.values().map(|it| {
        let rule = ExchangeRule {
            kind: it.kind.value,
            delivers: it.delivers(),
            unroutable: it.unroutable(),
            tolerate: it.tolerate,
            origin: sources.cite(it.origin),
        };
        (it.name.clone(), rule)
    });
    let queues = vhost.queues.values().map(|it| {
        let bindings = it.bindings.iter();
        let rule = QueueRule {
            service: it.service().cloned(),
            bindings: bindings
                .map(|it| (it.exchange.value.clone(), it.key.value.clone()))
                .collect(),
            tolerate: it.tolerate,
            origin: sources.cite(it.origin),
        };
        (it.name.clone(), rule)
    });
    Rules {
        enforce: vhost.settings.enforce(),
        undeclared: vhost.settings.undeclared(),
        authenticated_identity: vhost.settings.authenticated_identity.is_some_and(|it| it.value),
        ignore_client_deaths: vhost.settings.ignore_client_deaths.is_some_and(|it| it.value),
        late_ack_closes: vhost.settings.late_ack_closes.is_some_and(|it| it.value),
        services: services.collect(),
        exchanges: exchanges.collect(),
        queues: queues.collect(),
        per_instance: per_instance(vhost, sources),
    }
}

fn per_instance(vhost: &Vhost, sources: &Sources) -> Vec<PerInstance> {
    let mut all = Vec::new();
    for pattern in vhost.per_instance.values() {
        for binding in &pattern.bindings {
            let rule = |service| PerInstance {
                exchange: binding.exchange.value.clone(),
                service,
                origin: sources.cite(pattern.origin),
            };
            let named = pattern.services.iter().map(|it| rule(Some(it.value.clone())));
            all.extend(named);
            if pattern.services.is_empty() {
                all.push(rule(None));
            }
        }
    }
    all
}
