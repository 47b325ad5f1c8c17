//! The part of a vhost that a test's messages can come to. With thousands of queues a test would
//! spend all its time on making those it never touches.

use std::collections::BTreeSet;

use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::broker::memory::Memory;
use crate::broker::publish;
use crate::broker::publish::Scratch;
use crate::broker::vhost;
use crate::routing::Kind;
use crate::topology::apply::apply;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::run::Inbox;
use crate::topology::run::START;
use crate::topology::scenario::Publish;
use crate::topology::scenario::Scenario;

/// A vhost, and what is asked about its routes.
pub(in crate::topology) struct Whole {
    /// As declared, with retries to the millisecond.
    declared: Vhost,
    /// The same without queues, tests and what only people read.
    bare: Vhost,
    routes: Memory<Inbox>,
    /// Whether each message's way is its own: no choice by chance or by the number of queues, and
    /// none by headers that a dead letter gets on its way.
    pub(super) divisible: bool,
}

impl Whole {
    /// # Errors
    /// What cannot be declared, in words.
    pub(in crate::topology) fn new(topology: &Topology, vhost: &Vhost) -> Result<Whole, String> {
        let declared = without_jitter(vhost);
        let mut bare = declared.clone();
        bare.queues.clear();
        bare.scenarios.clear();
        bare.per_instance.clear();
        bare.exchanges.values_mut().for_each(|it| it.messages.clear());
        let empty = vhost::Vhost::new(vhost.name.clone());
        let mut routes = Memory::new(empty, Inbox::default(), START);
        apply(&mut routes, &declared, &topology.sources).map_err(|it| it.join("; "))?;
        let dies = routes.vhost.queues().any(|it| it.settings.dead_letter.is_some());
        let divisible = declared.exchanges.values().all(|it| match it.kind.value {
            // Where what it held back goes is not followed.
            _ if it.delays => false,
            Kind::Direct | Kind::Fanout | Kind::Topic => true,
            Kind::Headers => !dies,
            Kind::ConsistentHash | Kind::ModulusHash | Kind::Random | Kind::LocalRandom => false,
        });
        Ok(Whole { declared, bare, routes, divisible })
    }

    /// As much of the vhost as the test can touch: all exchanges, and every queue that its messages
    /// reach, at once or as dead letters, or that it names. What else there is makes no difference.
    pub(in crate::topology) fn part(&mut self, scenario: &Scenario) -> Vhost {
        if !self.divisible {
            return self.declared.clone();
        }
        let mut names: BTreeSet<QueueName> = scenario.when.keys().cloned().collect();
        for publish in &scenario.publish {
            self.follow(publish, &mut names);
        }
        let queues = &self.declared.queues;
        let queues = names.iter().filter_map(|it| Some((it.clone(), queues.get(it)?.clone())));
        let queues = queues.collect();
        Vhost { queues, ..self.bare.clone() }
    }

    fn follow(&mut self, publish: &Publish, names: &mut BTreeSet<QueueName>) {
        let properties = publish.properties.to_bytes();
        let first = (publish.exchange.value.clone(), publish.key.value.clone());
        let mut seen: BTreeSet<(ExchangeName, String)> = BTreeSet::from([first.clone()]);
        let mut ahead = vec![first];
        while let Some((exchange, key)) = ahead.pop() {
            let parts = Parts {
                exchange: &exchange,
                routing_key: RoutingKey(&key),
                properties: Properties::from_checked(&properties),
                published_at: START,
            };
            let message = Message::copied(parts, b"", &mut Vec::new());
            let mut scratch = Scratch::default();
            // A dead letter comes to internal exchanges too.
            publish::find_routes(&self.routes.vhost, &message, &mut scratch.routes).ok();
            for id in scratch.routes.queues() {
                let Some(record) = self.routes.vhost.record(*id) else { continue };
                names.insert(record.name.clone());
                if let Some(it) = &record.settings.dead_letter {
                    let key = it.routing_key.clone().unwrap_or_else(|| key.clone());
                    let next = (it.exchange.clone(), key);
                    if seen.insert(next.clone()) {
                        ahead.push(next);
                    }
                }
            }
        }
    }
}

/// The same declarations, with retries to the millisecond.
fn without_jitter(vhost: &Vhost) -> Vhost {
    let mut vhost = vhost.clone();
    for queue in vhost.queues.values_mut() {
        if let Some(policy) = &mut queue.retry {
            policy.value.jitter_milli.value = 0;
        }
    }
    vhost
}
