//! A running broker as a topology: what files declare of it, as far as it is there, and what
//! clients made beside it.

use crate::amqp::argument::QueueArguments;
use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table;
use crate::routing::Kind;
use crate::topology::declared;
use crate::topology::declared::DeadLetter;
use crate::topology::declared::Exchange;
use crate::topology::declared::Limits;
use crate::topology::declared::Mode;
use crate::topology::declared::Topology;
use crate::topology::engine::Engine;
use crate::topology::observed;
use crate::topology::observed::Observed;
use crate::topology::rabbitmq::policy;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// What is there, in the words of files. `applied` is what clients are held to now.
pub fn topology(observed: &Observed, applied: &Topology) -> Topology {
    let mut present =
        Topology { sources: applied.sources.clone(), whole: applied.whole, ..Topology::default() };
    for (name, live) in &observed.vhosts {
        let name = VhostName::new(name);
        let declared = applied.vhosts.get(&name);
        let vhost = declared.cloned().unwrap_or_else(|| declared::Vhost::empty(&name));
        present.vhosts.insert(name, fit(vhost, live, observed.engine));
    }
    present
}

/// Makes what is declared what is there.
fn fit(mut vhost: declared::Vhost, live: &observed::Vhost, engine: Engine) -> declared::Vhost {
    vhost.scenarios.clear();
    vhost.exchanges.retain(|name, _| live.exchanges.contains_key(name.as_str()));
    vhost.queues.retain(|name, _| live.queues.contains_key(name.as_str()));
    for (name, live) in &live.exchanges {
        let name = ExchangeName::new(name);
        let exchange = vhost
            .exchanges
            .entry(name.clone())
            .or_insert_with(|| Exchange::plain(&name, Origin::BROKER));
        let kind = Kind::parse(&live.kind).unwrap_or(exchange.kind.value);
        exchange.kind = Located::new(kind, exchange.kind.origin);
        exchange.delays = live.delays;
        exchange.durable = live.durable;
        exchange.auto_delete = live.auto_delete;
        exchange.internal = live.internal;
        let alternate = live.alternate.as_deref().map(|it| here(ExchangeName::new(it)));
        if alternate.as_ref().map(|it| &it.value) != exchange.alternate.as_ref().map(|it| &it.value)
        {
            exchange.alternate = alternate;
        }
        exchange.arguments = live.arguments.table().unwrap_or_default();
    }
    for (name, live) in live.queues.iter().filter(|(_, it)| !it.is_lot) {
        let name = QueueName::new(name);
        let arguments = live.arguments.table().unwrap_or_default();
        let seen = queue(&name, arguments, engine);
        let queue = vhost.queues.entry(name).or_insert_with(|| seen.clone());
        if engine == Engine::Rabbitmq {
            take_over(queue, seen);
        }
        queue.durable = live.durable;
        queue.auto_delete = live.auto_delete;
    }
    let has = |it: &observed::Binding| live.bindings.binary_search(it).is_ok();
    for queue in vhost.queues.values_mut() {
        let name = queue.name.clone();
        queue.bindings.retain(|it| has(&observed::binding(it, false, &name)));
    }
    for exchange in vhost.exchanges.values_mut() {
        let name = exchange.name.clone();
        exchange.bindings.retain(|it| has(&observed::binding(it, true, &name)));
    }
    let known = observed::declared_bindings(&vhost);
    for it in live.bindings.iter().filter(|it| known.binary_search(it).is_err()) {
        let bindings = match it.to_exchange {
            true => vhost.exchanges.get_mut(it.destination.as_str()).map(|it| &mut it.bindings),
            false => vhost.queues.get_mut(it.destination.as_str()).map(|it| &mut it.bindings),
        };
        bindings.into_iter().for_each(|all| all.push(binding(it)));
    }
    vhost
}

/// A value that stands in no file.
fn here<T>(value: T) -> Located<T> {
    Located::new(value, Origin::BROKER)
}

fn binding(it: &observed::Binding) -> declared::Binding {
    declared::Binding {
        exchange: here(ExchangeName::new(&it.source)),
        key: here(BindingKey::new(&it.key)),
        arguments: it.arguments.table().unwrap_or_default(),
        origin: Origin::BROKER,
    }
}

/// What RabbitMQ says of a queue; services and retries are known from files only.
fn take_over(queue: &mut declared::Queue, seen: declared::Queue) {
    queue.dead_letter = seen.dead_letter;
    queue.limits = Limits { age: None, ..seen.limits };
    queue.ttl = seen.ttl;
    queue.expires = seen.expires;
    queue.ack_timeout = seen.ack_timeout;
    queue.arguments = seen.arguments;
}

/// A queue that a client declared; its arguments in the words of files, where there are any.
fn queue(name: &QueueName, mut arguments: Table, engine: Engine) -> declared::Queue {
    if engine == Engine::Rabbitmq {
        arguments.0.retain(|(key, value)| !policy::is_plain(key, value));
    }
    let mut said = Table::default();
    // What RabbitMQ has no policy for stays among the arguments: it cannot change.
    for key in EXPRESSED.iter().filter(|it| !engine.fixes(it, false)) {
        arguments.remove(key).into_iter().for_each(|value| said.set(key, value));
    }
    let read = QueueArguments::parse(&said).unwrap_or_default();
    let letter = read.dead_letter_exchange.map(|exchange| DeadLetter {
        exchange: here(exchange),
        key: read.dead_letter_routing_key.map(here),
        origin: Origin::BROKER,
    });
    declared::Queue {
        mode: if read.single_active_consumer { Mode::SingleActive } else { Mode::Compete },
        dead_letter: letter,
        limits: Limits {
            messages: read.length_max.map(here),
            bytes: read.length_bytes_max.map(here),
            age: None,
            overflow: read.overflow.map(here),
        },
        ttl: read.message_ttl.map(here),
        expires: read.expires.map(here),
        ack_timeout: read.consumer_timeout.map(here),
        max_priority: read.priority_max.map(here),
        arguments,
        ..declared::Queue::plain(name, Origin::BROKER)
    }
}

/// Arguments that keys of a file say.
const EXPRESSED: [&str; 10] = [
    "x-message-ttl",
    "x-expires",
    "x-consumer-timeout",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-priority",
    "x-single-active-consumer",
];
