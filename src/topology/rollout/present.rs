//! A running broker as a topology: what files declare of it, as far as it is there, and what
//! clients made beside it.

use crate::amqp::argument::QueueArguments;
use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table;
use crate::queue::settings::Durability;
use crate::routing::Kind;
use crate::topology::declared;
use crate::topology::declared::DeadLetter;
use crate::topology::declared::Limits;
use crate::topology::declared::Mode;
use crate::topology::declared::Topology;
use crate::topology::observed;
use crate::topology::observed::Observed;
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
        present.vhosts.insert(name, fit(vhost, live));
    }
    present
}

/// Makes what is declared what is there.
fn fit(mut vhost: declared::Vhost, live: &observed::Vhost) -> declared::Vhost {
    vhost.scenarios.clear();
    vhost.exchanges.retain(|name, _| live.exchanges.contains_key(name.as_str()));
    vhost.queues.retain(|name, _| live.queues.contains_key(name.as_str()));
    for (name, live) in &live.exchanges {
        let name = ExchangeName::new(name);
        let exchange = vhost.exchanges.entry(name.clone()).or_insert_with(|| exchange(&name));
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
        let queue = vhost.queues.entry(name.clone()).or_insert_with(|| queue(&name, arguments));
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

fn exchange(name: &ExchangeName) -> declared::Exchange {
    declared::Exchange {
        name: name.clone(),
        origin: Origin::BROKER,
        description: None,
        kind: here(Kind::Fanout),
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

/// A queue that a client declared; its arguments in the words of files, where there are any.
fn queue(name: &QueueName, mut arguments: Table) -> declared::Queue {
    let read = QueueArguments::parse(&arguments).unwrap_or_default();
    for key in EXPRESSED {
        arguments.remove(key);
    }
    let letter = read.dead_letter_exchange.map(|exchange| DeadLetter {
        exchange: here(exchange),
        key: read.dead_letter_routing_key.map(here),
        origin: Origin::BROKER,
    });
    declared::Queue {
        name: name.clone(),
        origin: Origin::BROKER,
        description: None,
        services: Vec::new(),
        mode: if read.single_active_consumer { Mode::SingleActive } else { Mode::Compete },
        mode_origin: Origin::BROKER,
        bindings: Vec::new(),
        messages: Vec::new(),
        retry: None,
        parking: None,
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
        fail_fast: false,
        requeue_immediate: false,
        prefetch: None,
        client_attempts: None,
        durable: true,
        durability: Durability::Sync,
        auto_delete: false,
        protected: false,
        tolerate: false,
        arguments,
        spelled_out: Vec::new(),
    }
}

/// Arguments that keys of a file say.
const EXPRESSED: [&str; 10] = [
    "x-message-ttl",
    "x-expires",
    "x-consumer-timeout",
    "x-max-priority",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-single-active-consumer",
];
