//! The matching structure behind each kind of exchange, chosen once when it is declared.

use smallvec::SmallVec;

use crate::amqp::id::QueueId;
use crate::amqp::name::ExchangeName;
use crate::amqp::property::Properties;
use crate::routing::direct::DirectMatcher;
use crate::routing::fanout::FanoutMatcher;
use crate::routing::hash::ConsistentHashMatcher;
use crate::routing::hash::HashSource;
use crate::routing::hash::ModulusHashMatcher;
use crate::routing::headers::HeadersMatcher;
use crate::routing::random::RandomMatcher;
use crate::routing::route::Routes;
use crate::routing::table::Binding;
use crate::routing::table::Destination;
use crate::routing::table::Kind;
use crate::routing::topic::TopicMatcher;

#[derive(Clone, Debug)]
pub(in crate::routing) enum Matcher {
    Direct(DirectMatcher),
    Fanout(FanoutMatcher),
    Topic(TopicMatcher),
    Headers(HeadersMatcher),
    ConsistentHash(ConsistentHashMatcher),
    ModulusHash(ModulusHashMatcher),
    Random(RandomMatcher),
}

/// Which other bindings of the exchange lead to the destination of a binding that comes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::routing) enum Others {
    None,
    OtherKeys,
    /// At least one differs from it only in its arguments.
    SameKey,
}

/// Where one key leads; each destination once.
#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct Targets {
    pub(in crate::routing) queues: SmallVec<[QueueId; 2]>,
    pub(in crate::routing) exchanges: Vec<ExchangeName>,
}

impl Targets {
    pub(in crate::routing) fn add(&mut self, to: &Destination) {
        match to {
            Destination::Queue(id) => self.queues.push(*id),
            Destination::Exchange(name) => self.exchanges.push(name.clone()),
        }
    }

    pub(in crate::routing) fn remove(&mut self, to: &Destination) {
        match to {
            Destination::Queue(id) => self.queues.retain(|it| it != id),
            Destination::Exchange(name) => self.exchanges.retain(|it| it != name),
        }
    }

    pub(in crate::routing) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.exchanges.is_empty()
    }
}

impl Matcher {
    pub(in crate::routing) fn new(kind: Kind, source: HashSource) -> Matcher {
        match kind {
            Kind::Direct => Matcher::Direct(DirectMatcher::default()),
            Kind::Fanout => Matcher::Fanout(FanoutMatcher::default()),
            Kind::Topic => Matcher::Topic(TopicMatcher::default()),
            Kind::Headers => Matcher::Headers(HeadersMatcher::default()),
            Kind::ConsistentHash => Matcher::ConsistentHash(ConsistentHashMatcher::new(source)),
            Kind::ModulusHash => Matcher::ModulusHash(ModulusHashMatcher::default()),
            Kind::Random | Kind::LocalRandom => Matcher::Random(RandomMatcher::default()),
        }
    }

    /// Adds a binding that is not there yet.
    pub(in crate::routing) fn add(&mut self, binding: &Binding, others: Others) {
        let to = &binding.destination;
        match self {
            Matcher::Direct(it) if others != Others::SameKey => it.add(&binding.key, to),
            Matcher::Topic(it) if others != Others::SameKey => it.add(&binding.key, to),
            Matcher::Fanout(it) if others == Others::None => it.add(to),
            Matcher::ConsistentHash(it) if others == Others::None => it.add(&binding.key, to),
            Matcher::ModulusHash(it) if others == Others::None => it.add(to),
            Matcher::Random(it) if others == Others::None => it.add(to),
            Matcher::Headers(it) => it.add(binding),
            Matcher::Direct(_)
            | Matcher::Topic(_)
            | Matcher::Fanout(_)
            | Matcher::ConsistentHash(_)
            | Matcher::ModulusHash(_)
            | Matcher::Random(_) => {}
        }
    }

    /// Removes a binding that was added.
    pub(in crate::routing) fn remove(&mut self, binding: &Binding, others: Others) {
        let to = &binding.destination;
        match self {
            Matcher::Direct(it) if others != Others::SameKey => it.remove(&binding.key, to),
            Matcher::Topic(it) if others != Others::SameKey => it.remove(&binding.key, to),
            Matcher::Fanout(it) if others == Others::None => it.remove(to),
            Matcher::ConsistentHash(it) if others == Others::None => it.remove(to),
            Matcher::ModulusHash(it) if others == Others::None => it.remove(to),
            Matcher::Random(it) if others == Others::None => it.remove(to),
            Matcher::Headers(it) => it.remove(binding),
            Matcher::Direct(_)
            | Matcher::Topic(_)
            | Matcher::Fanout(_)
            | Matcher::ConsistentHash(_)
            | Matcher::ModulusHash(_)
            | Matcher::Random(_) => {}
        }
    }

    /// Adds to `routes` where a message with these keys goes; `false` when nothing matched.
    pub(in crate::routing) fn collect(
        &self,
        keys: &[&str],
        properties: Properties<'_>,
        routes: &mut Routes,
    ) -> bool {
        match self {
            Matcher::Direct(it) => {
                keys.iter().fold(false, |any, key| it.collect(key, routes) | any)
            }
            Matcher::Topic(it) => keys.iter().fold(false, |any, key| it.collect(key, routes) | any),
            Matcher::Fanout(it) => it.collect(routes),
            Matcher::Headers(it) => it.collect(properties, routes),
            Matcher::ConsistentHash(it) => it.collect(keys, properties, routes),
            Matcher::ModulusHash(it) => it.collect(keys, routes),
            Matcher::Random(it) => it.collect(routes),
        }
    }
}
