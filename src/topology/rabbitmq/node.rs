//! What a node of RabbitMQ can do, and what of it is there already.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::routing::Kind;
use crate::routing::delay;

/// A node or cluster of RabbitMQ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its cluster's name.
    pub name: String,
    pub version: Version,
    /// The types of exchanges it knows, plugins' among them.
    pub exchange_types: BTreeSet<String>,
    /// The types of the queues that are there, by vhost and name.
    pub queue_types: BTreeMap<(String, String), String>,
}

/// Major and minor version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// The oldest one that topologies are translated for: quorum queues have had TTLs and
    /// dead-lettering at least once since.
    pub const OLDEST: Version = Version(3, 10);
    /// The newest one whose behaviour is known.
    pub const NEWEST: Version = Version(4, 3);

    /// Reads `3.10.8`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split(['.', '-', '+']);
        Some(Version(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Node {
    /// One that nobody has asked: of a version, with all plugins and nothing on it.
    pub fn assumed(version: Version) -> Node {
        let kinds = [
            Kind::Direct,
            Kind::Fanout,
            Kind::Topic,
            Kind::Headers,
            Kind::ConsistentHash,
            Kind::ModulusHash,
            Kind::Random,
            Kind::LocalRandom,
        ];
        Node {
            name: String::new(),
            version,
            exchange_types: kinds
                .iter()
                .map(|it| it.as_str())
                .chain([delay::TYPE])
                .map(str::to_owned)
                .collect(),
            queue_types: BTreeMap::new(),
        }
    }

    /// The type of a queue that is there.
    pub fn queue_type(&self, vhost: &str, queue: &str) -> Option<&str> {
        self.queue_types.get(&(vhost.to_owned(), queue.to_owned())).map(String::as_str)
    }
}
