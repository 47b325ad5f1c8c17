//! Which queues and services get a copy of a message, before and after.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::amqp::table::Table as Headers;
use crate::routing::Kind;
use crate::routing::topic;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;
use crate::topology::plan::object::message_name;

/// The way of one kind of message in both topologies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flow {
    pub vhost: String,
    pub exchange: String,
    pub key: String,
    /// `exchange/key`, with the headers it depends on.
    pub message: String,
    /// Who publishes it; nobody when the message only stands for a binding's key.
    pub from: Vec<String>,
    /// No file declares it: the key is one that a binding lets through.
    pub representative: bool,
    /// In order of queues; empty where it reaches no queue.
    pub before: Vec<Copy>,
    pub after: Vec<Copy>,
}

/// A copy of a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Copy {
    pub queue: String,
    pub service: Option<String>,
}

impl Flow {
    pub fn is_changed(&self) -> bool {
        self.before != self.after
    }

    pub fn gained(&self) -> impl Iterator<Item = &Copy> {
        self.after.iter().filter(|it| !self.before.contains(it))
    }

    pub fn lost(&self) -> impl Iterator<Item = &Copy> {
        self.before.iter().filter(|it| !self.after.contains(it))
    }

    /// Services that had a copy, and have none.
    pub fn services_lost(&self) -> BTreeSet<&str> {
        let after: BTreeSet<&str> = services(&self.after).collect();
        services(&self.before).filter(|it| !after.contains(it)).collect()
    }
}

fn services(copies: &[Copy]) -> impl Iterator<Item = &str> {
    copies.iter().filter_map(|it| it.service.as_deref())
}

/// A kind of message that is looked at.
#[derive(Clone, Debug)]
struct Probe {
    exchange: String,
    key: String,
    headers: Headers,
    from: BTreeSet<String>,
    representative: bool,
}

type Probes = BTreeMap<(String, String), Probe>;

/// All declared messages of both topologies; where none is declared, one key for each binding.
pub(in crate::topology) fn between(old: &Topology, new: &Topology) -> Vec<Flow> {
    let mut probes = Probes::new();
    for topology in [old, new] {
        for vhost in topology.vhosts.values() {
            declared(vhost, &mut probes);
        }
    }
    for topology in [old, new] {
        for vhost in topology.vhosts.values() {
            representatives(vhost, &mut probes);
        }
    }
    let (before, after) = (facts(old), facts(new));
    let flows = probes.into_iter().map(|((vhost, message), probe)| Flow {
        before: copies(before.get(&vhost), &probe),
        after: copies(after.get(&vhost), &probe),
        exchange: probe.exchange,
        key: probe.key,
        from: probe.from.into_iter().collect(),
        representative: probe.representative,
        vhost,
        message,
    });
    flows.collect()
}

fn facts(topology: &Topology) -> BTreeMap<String, Facts<'_>> {
    let all = topology.vhosts.values();
    all.map(|it| (it.name.to_string(), Facts::new(topology, it))).collect()
}

fn copies(facts: Option<&Facts<'_>>, probe: &Probe) -> Vec<Copy> {
    let Some(facts) = facts else { return Vec::new() };
    let ids = facts.reached_ids(&probe.exchange, &probe.key, &probe.headers);
    let mut all: Vec<Copy> = ids
        .into_iter()
        .map(|id| {
            let queue = facts.table().queue_name(id).map(ToString::to_string).unwrap_or_default();
            let service = match facts.end(id) {
                Some(End::Queue(it)) if !it.is_tap() => it.service(),
                Some(End::Instances) => {
                    let pattern = facts.vhost.per_instance.get(&*queue);
                    pattern.and_then(|it| it.services.first()).map(|it| &it.value)
                }
                Some(End::Queue(_) | End::Lot) | None => None,
            };
            Copy { service: service.map(ToString::to_string), queue }
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn declared(vhost: &Vhost, probes: &mut Probes) {
    let of_exchanges = vhost.exchanges.values();
    let of_exchanges =
        of_exchanges.flat_map(|it| it.messages.iter().map(move |message| (&*it.name, message)));
    let of_queues = vhost.queues.values().flat_map(|it| it.messages.iter().map(|it| ("", it)));
    for (exchange, message) in of_exchanges.chain(of_queues) {
        let name = message_name(exchange, &message.key.value, &message.headers);
        let probe = probes.entry((vhost.name.to_string(), name)).or_insert_with(|| Probe {
            exchange: exchange.to_owned(),
            key: message.key.value.clone(),
            headers: message.headers.clone(),
            from: BTreeSet::new(),
            representative: false,
        });
        probe.from.extend(message.from.iter().map(|it| it.value.to_string()));
    }
}

/// One key for each binding, at exchanges that services can publish to.
fn representatives(vhost: &Vhost, probes: &mut Probes) {
    let queues = vhost.queues.values().flat_map(|it| &it.bindings);
    let patterns = vhost.per_instance.values().flat_map(|it| &it.bindings);
    let exchanges = vhost.exchanges.values().flat_map(|it| &it.bindings);
    for binding in queues.chain(patterns).chain(exchanges) {
        let Some(exchange) = vhost.exchanges.get(&*binding.exchange.value) else { continue };
        if exchange.internal {
            continue;
        }
        let (key, headers) = match exchange.kind.value {
            Kind::Topic => (example_key(&binding.key.value), Headers::default()),
            Kind::Direct => (binding.key.value.to_string(), Headers::default()),
            Kind::Headers => (String::new(), asked_for(&binding.arguments)),
            Kind::Fanout
            | Kind::ConsistentHash
            | Kind::ModulusHash
            | Kind::Random
            | Kind::LocalRandom => (String::new(), Headers::default()),
        };
        // A declared message shows the same better.
        let covered = exchange.messages.iter().any(|it| match exchange.kind.value {
            Kind::Topic => topic::intersect(&it.key.value, &binding.key.value),
            Kind::Direct => it.key.value == key,
            Kind::Headers => it.headers == headers,
            Kind::Fanout
            | Kind::ConsistentHash
            | Kind::ModulusHash
            | Kind::Random
            | Kind::LocalRandom => true,
        });
        if covered {
            continue;
        }
        let name = message_name(&exchange.name, &key, &headers);
        probes.entry((vhost.name.to_string(), name)).or_insert_with(|| Probe {
            exchange: exchange.name.to_string(),
            key,
            headers,
            from: BTreeSet::new(),
            representative: true,
        });
    }
}

/// A key that a topic binding lets through, with the word `any` where any word may stand.
pub(in crate::topology) fn example_key(binding_key: &str) -> String {
    let words = topic::words(binding_key);
    words.map(|it| if matches!(it, "*" | "#") { "any" } else { it }).collect::<Vec<_>>().join(".")
}

/// Headers that a binding of a headers exchange matches.
fn asked_for(arguments: &Headers) -> Headers {
    let asked = arguments.iter().filter(|(key, _)| *key != "x-match");
    Headers(asked.map(|(key, value)| (key.to_owned(), value.clone())).collect())
}
