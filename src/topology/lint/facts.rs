//! What a vhost's declarations amount to: which queue is reached by what. Routing is asked of the
//! routing table itself; only messages whose keys are patterns are walked here.

use std::collections::BTreeSet;

use crate::amqp::id::QueueId;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::PropertyList;
use crate::amqp::table::Table as Headers;
use crate::routing::Kind;
use crate::routing::route::Publication as Routed;
use crate::routing::route::Routes;
use crate::routing::route::route;
use crate::routing::table::Destination;
use crate::routing::table::Table;
use crate::routing::topic;
use crate::topology::compile;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::PerInstance;
use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::source::Origin;

/// One vhost with its routing table.
pub(in crate::topology) struct Facts<'t> {
    pub(in crate::topology) vhost: &'t Vhost,
    /// Nothing was left out while reading, so that what is absent is absent in the files.
    pub(in crate::topology) whole: bool,
    table: Table,
    /// By the number of their id.
    ends: Vec<End<'t>>,
}

/// Where messages can end.
#[derive(Clone, Copy, Debug)]
pub(in crate::topology) enum End<'t> {
    Queue(&'t Queue),
    /// A parking lot, which the broker makes.
    Lot,
    /// Queues that instances make for themselves.
    Instances,
}

/// What is bound to an exchange.
#[derive(Clone, Copy, Debug)]
pub(in crate::topology) enum Bound<'t> {
    Queue(&'t Queue),
    Instances(&'t PerInstance),
    Exchange(&'t Exchange),
}

impl Bound<'_> {
    /// Where its name stands.
    pub(in crate::topology) fn origin(self) -> Origin {
        match self {
            Bound::Queue(it) => it.origin,
            Bound::Instances(it) => it.origin,
            Bound::Exchange(it) => it.origin,
        }
    }
}

impl<'t> Facts<'t> {
    pub(in crate::topology) fn new(topology: &Topology, vhost: &'t Vhost) -> Facts<'t> {
        let mut facts =
            Facts { vhost, whole: topology.whole, table: Table::default(), ends: Vec::new() };
        for exchange in vhost.exchanges.values() {
            // One that cannot be declared was reported when it was read.
            let _ = facts.table.declare(compile::exchange(exchange));
        }
        for (name, kind) in PREDECLARED {
            let spec = crate::routing::table::ExchangeSpec::durable(name, kind);
            facts.table.declare(spec).expect("it has no arguments");
        }
        for queue in vhost.queues.values() {
            facts.add(&queue.name.clone(), &queue.bindings, End::Queue(queue));
        }
        for pattern in vhost.per_instance.values() {
            facts.add(&pattern.name.clone(), &pattern.bindings, End::Instances);
        }
        for lot in compile::parking_lots(vhost) {
            if !vhost.queues.contains_key(&lot.name) {
                facts.add(&lot.name, &[], End::Lot);
            }
        }
        for exchange in vhost.exchanges.values() {
            for binding in &exchange.bindings {
                facts.bind(binding, Destination::Exchange(exchange.name.clone()));
            }
        }
        facts
    }

    fn add(&mut self, name: &crate::amqp::name::QueueName, bindings: &[Binding], end: End<'t>) {
        let id = QueueId(u32::try_from(self.ends.len()).unwrap_or(u32::MAX));
        self.table.add_queue(name.clone(), id);
        self.ends.push(end);
        for binding in bindings {
            self.bind(binding, Destination::Queue(id));
        }
    }

    fn bind(&mut self, binding: &Binding, to: Destination) {
        let new = crate::routing::table::Binding::new(to, &binding.key.value, &binding.arguments);
        // What cannot be bound has rules of its own.
        let _ = self.table.bind(&binding.exchange.value, new);
    }

    pub(in crate::topology) fn table(&self) -> &Table {
        &self.table
    }

    /// What a queue of the routing table is.
    pub(in crate::topology) fn end(&self, id: QueueId) -> Option<End<'t>> {
        self.ends.get(id.0 as usize).copied()
    }

    pub(in crate::topology) fn exchange(&self, name: &str) -> Option<&'t Exchange> {
        self.vhost.exchanges.get(name)
    }

    /// The type of an exchange that a file declares or every vhost has.
    pub(in crate::topology) fn kind(&self, exchange: &str) -> Option<Kind> {
        self.table.exchange(exchange).map(|it| it.kind)
    }

    /// All bindings of the vhost, with what they lead to.
    pub(in crate::topology) fn bindings(&self) -> Vec<(&'t Binding, Bound<'t>)> {
        let vhost = self.vhost;
        let mut all = Vec::new();
        for queue in vhost.queues.values() {
            all.extend(queue.bindings.iter().map(|it| (it, Bound::Queue(queue))));
        }
        for pattern in vhost.per_instance.values() {
            all.extend(pattern.bindings.iter().map(|it| (it, Bound::Instances(pattern))));
        }
        for exchange in vhost.exchanges.values() {
            all.extend(exchange.bindings.iter().map(|it| (it, Bound::Exchange(exchange))));
        }
        all
    }

    /// Where a message that services publish can go.
    pub(in crate::topology) fn reach(
        &self,
        exchange: &str,
        publication: &Publication,
    ) -> Vec<End<'t>> {
        self.reach_of(exchange, &publication.key.value, &publication.headers)
    }

    /// Where messages published to `exchange` with this key, or pattern of keys, can go.
    pub(in crate::topology) fn reach_of(
        &self,
        exchange: &str,
        key: &str,
        headers: &Headers,
    ) -> Vec<End<'t>> {
        let ids = self.reached_ids(exchange, key, headers);
        ids.into_iter().filter_map(|id| self.end(id)).collect()
    }

    /// As [`Facts::reach_of`], by the queues' numbers.
    pub(in crate::topology) fn reached_ids(
        &self,
        exchange: &str,
        key: &str,
        headers: &Headers,
    ) -> Vec<QueueId> {
        if is_pattern(key) && !exchange.is_empty() {
            self.walk(exchange, key, headers)
        } else {
            self.route(exchange, key, headers)
        }
    }

    fn route(&self, exchange: &str, key: &str, headers: &Headers) -> Vec<QueueId> {
        let mut list = PropertyList::default();
        list.headers = Some(headers).filter(|it| !it.is_empty()).cloned();
        let bytes = list.to_bytes();
        let routed = Routed {
            exchange,
            routing_key: RoutingKey(key),
            properties: Properties::from_checked(&bytes),
            copies: false,
        };
        let mut routes = Routes::default();
        match route(&self.table, routed, &mut routes) {
            Ok(()) => routes.queues().to_vec(),
            Err(_) => Vec::new(),
        }
    }

    /// As routing, for a pattern of keys: whatever some key of the pattern could reach.
    fn walk(&self, exchange: &str, key: &str, headers: &Headers) -> Vec<QueueId> {
        let mut reached = BTreeSet::new();
        let mut visited: BTreeSet<ExchangeName> = BTreeSet::new();
        let mut todo = vec![ExchangeName::new(exchange)];
        while let Some(name) = todo.pop() {
            let Some(exchange) = self.table.exchange(&name) else { continue };
            if !visited.insert(name) {
                continue;
            }
            let mut any = false;
            for binding in exchange.bindings() {
                if !could_match(exchange.kind, &binding.key, key, || {
                    crate::routing::headers::Criteria::parse(&binding.arguments())
                        .is_ok_and(|it| it.matches(headers))
                }) {
                    continue;
                }
                any = true;
                match &binding.destination {
                    Destination::Queue(id) => {
                        reached.insert(*id);
                    }
                    Destination::Exchange(name) => todo.push(name.clone()),
                }
            }
            if !any {
                todo.extend(exchange.alternate.clone());
            }
        }
        reached.into_iter().collect()
    }

    /// Publications, with the exchange they are declared at; those of queues not among them.
    pub(in crate::topology) fn publications(
        &self,
    ) -> impl Iterator<Item = (&'t Exchange, &'t Publication)> {
        let exchanges = self.vhost.exchanges.values();
        exchanges.flat_map(|it| it.messages.iter().map(move |message| (it, message)))
    }

    /// All publications, with the name of their exchange: empty for those of queues.
    pub(in crate::topology) fn published(
        &self,
    ) -> impl Iterator<Item = (&'t str, &'t Publication)> {
        let queues = self.vhost.queues.values();
        let by_name = queues.flat_map(|it| it.messages.iter().map(|message| ("", message)));
        self.publications().map(|(it, message)| (it.name.as_str(), message)).chain(by_name)
    }

    /// The queues among what a message can reach.
    pub(in crate::topology) fn queues_reached(
        &self,
        exchange: &str,
        publication: &Publication,
    ) -> impl Iterator<Item = &'t Queue> {
        self.reach(exchange, publication).into_iter().filter_map(|end| match end {
            End::Queue(it) => Some(it),
            End::Lot | End::Instances => None,
        })
    }
}

/// Every vhost has these, whatever its files say.
pub(in crate::topology) const PREDECLARED: [(&str, Kind); 5] = [
    ("amq.direct", Kind::Direct),
    ("amq.fanout", Kind::Fanout),
    ("amq.topic", Kind::Topic),
    ("amq.headers", Kind::Headers),
    ("amq.match", Kind::Headers),
];

/// Whether a key stands for several: its words `*` and `#` mean whatever is there.
pub(in crate::topology) fn is_pattern(key: &str) -> bool {
    topic::words(key).any(|it| it == "*" || it == "#")
}

/// Whether a binding can match some message with a key of this pattern.
pub(in crate::topology) fn could_match(
    kind: Kind,
    binding_key: &str,
    key: &str,
    headers_match: impl FnOnce() -> bool,
) -> bool {
    match kind {
        Kind::Fanout
        | Kind::ConsistentHash
        | Kind::ModulusHash
        | Kind::Random
        | Kind::LocalRandom => true,
        Kind::Direct if is_pattern(key) => topic::matches(key, binding_key),
        Kind::Direct => binding_key == key,
        Kind::Topic => topic::intersect(binding_key, key),
        Kind::Headers => headers_match(),
    }
}
