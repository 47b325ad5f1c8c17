//! The definitions of one vhost: its routing table, its queues' records and its rules.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::amqp::argument::QueueType;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::QueueId;
use crate::amqp::name::QueueName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table as Arguments;
use crate::broker::definition::Definition;
use crate::broker::policy::Policies;
use crate::broker::rules::Rules;
use crate::queue::settings::Settings;
use crate::routing::Kind;
use crate::routing::Table;
use crate::routing::table::ExchangeSpec;
use crate::routing::table::Vanished;

/// Everything about a vhost but the state of its queues.
#[derive(Clone, Debug)]
pub struct Vhost {
    pub name: VhostName,
    pub profile: Profile,
    pub table: Table,
    pub rules: Rules,
    pub policies: Policies,
    /// It was deleted: whoever still works in it leaves nothing behind.
    pub is_deleted: bool,
    records: HashMap<QueueId, QueueRecord, RandomState>,
}

/// What people say of a vhost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    pub description: String,
    pub tags: Vec<String>,
    /// The type of queues whose declaration names none and allows this one.
    pub default_queue_type: Option<QueueType>,
    /// `None` is no limit.
    pub connections_max: Option<u64>,
    pub queues_max: Option<u64>,
}

/// What a queue was declared as.
#[derive(Clone, PartialEq, Debug)]
pub struct QueueRecord {
    pub id: QueueId,
    pub name: QueueName,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that may use it; it goes with that connection.
    pub exclusive: Option<ConnectionId>,
    pub arguments: Arguments,
    /// What its declaration alone says.
    pub base: Arc<Settings>,
    /// What it does, under the vhost's policies.
    pub settings: Arc<Settings>,
    pub kind: QueueKind,
    /// Its parking lot.
    pub parked: Option<QueueId>,
}

/// How a queue came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueKind {
    /// A client declared it.
    Client,
    /// A topology file declares it.
    Declared,
    /// The broker made it, as the parking lot of another one.
    ParkingLot,
    /// The broker made it, for what an exchange holds back.
    Schedule,
}

/// COMPAT: the exchanges every vhost has; the default one is not in the table.
const PREDECLARED: [(&str, Kind, bool); 7] = [
    ("amq.direct", Kind::Direct, false),
    ("amq.fanout", Kind::Fanout, false),
    ("amq.topic", Kind::Topic, false),
    ("amq.headers", Kind::Headers, false),
    ("amq.match", Kind::Headers, false),
    ("amq.rabbitmq.trace", Kind::Topic, true),
    ("amq.rabbitmq.log", Kind::Topic, true),
];

impl Vhost {
    /// A vhost with nothing but the predeclared exchanges.
    pub fn new(name: VhostName) -> Vhost {
        let mut table = Table::default();
        for (name, kind, internal) in PREDECLARED {
            let spec = ExchangeSpec { internal, ..ExchangeSpec::durable(name, kind) };
            table.declare(spec).expect("predeclared exchanges have no arguments");
        }
        Vhost {
            name,
            profile: Profile::default(),
            table,
            rules: Rules::default(),
            policies: Policies::default(),
            is_deleted: false,
            records: HashMap::default(),
        }
    }

    pub fn definition(&self) -> Definition {
        let Profile { description, tags, default_queue_type, connections_max, queues_max } =
            self.profile.clone();
        Definition::Vhost {
            name: self.name.to_string(),
            description,
            tags,
            default_queue_type: default_queue_type.map(|it| it.as_str().to_owned()),
            connections_max,
            queues_max,
        }
    }

    pub fn queue(&self, name: &str) -> Option<&QueueRecord> {
        self.records.get(&self.table.queue(name)?)
    }

    pub fn record(&self, id: QueueId) -> Option<&QueueRecord> {
        self.records.get(&id)
    }

    pub fn record_mut(&mut self, id: QueueId) -> Option<&mut QueueRecord> {
        self.records.get_mut(&id)
    }

    /// All queues by name.
    pub fn queues(&self) -> impl Iterator<Item = &QueueRecord> {
        self.table.queues().into_iter().filter_map(|(_, id)| self.records.get(&id))
    }

    pub fn insert(&mut self, record: QueueRecord) {
        self.table.add_queue(record.name.clone(), record.id);
        self.records.insert(record.id, record);
    }

    /// Forgets a queue; returns it and the auto-delete exchanges that went with it.
    pub fn remove(&mut self, id: QueueId) -> Option<(QueueRecord, Vanished)> {
        let record = self.records.remove(&id)?;
        Some((record, self.table.remove_queue(id)))
    }

    /// The queues that go with a connection.
    pub fn exclusive_to(&self, connection: ConnectionId) -> Vec<QueueId> {
        let mut ids: Vec<QueueId> = self
            .records
            .values()
            .filter(|it| it.exclusive == Some(connection))
            .map(|it| it.id)
            .collect();
        ids.sort_unstable();
        ids
    }
}

impl QueueRecord {
    /// Whether another connection has this queue for itself.
    pub fn is_locked_for(&self, connection: ConnectionId) -> bool {
        self.exclusive.is_some_and(|it| it != connection)
    }

    /// Whether it keeps its messages, for all its consumers.
    pub fn is_stream(&self) -> bool {
        self.settings.stream.is_some()
    }

    /// Made for one connection rather than for a service.
    pub fn is_private(&self) -> bool {
        self.exclusive.is_some() || self.auto_delete || self.name.starts_with("amq.gen-")
    }
}
