//! What a running broker has, as a value: compared with files, sent to who asks, and named by a
//! fingerprint.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use crate::amqp::id::QueueId;
use crate::broker::definition::Hex;
use crate::broker::host::Host;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::routing;
use crate::routing::Destination;
use crate::topology::declared;
use crate::topology::source::Source;

/// A broker's vhosts by name, and the files its clients are held to.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    pub vhosts: BTreeMap<String, Vhost>,
    pub sources: Vec<Source>,
    /// What is replaced is so in one moment, and queues keep their messages. Where that is not so,
    /// the old one goes and a new one comes.
    #[serde(default)]
    pub replaces_in_place: bool,
}

/// What is in a vhost. What the broker makes for itself, and queues that belong to one connection
/// or one instance, are left out: no file could declare them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Vhost {
    pub exchanges: BTreeMap<String, Exchange>,
    pub queues: BTreeMap<String, Queue>,
    /// In order.
    pub bindings: Vec<Binding>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// The type's name on the wire.
    pub kind: String,
    /// It holds messages back until their time.
    pub delays: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub alternate: Option<String>,
    pub arguments: Hex,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Queue {
    pub durable: bool,
    pub auto_delete: bool,
    /// A parking lot that the broker keeps for another queue or an exchange.
    pub is_lot: bool,
    pub arguments: Hex,
    /// Ready, unacked and delayed ones.
    pub n_messages: u64,
    pub n_consumers: u64,
}

/// A binding by all that makes it one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Binding {
    pub source: String,
    pub to_exchange: bool,
    pub destination: String,
    pub key: String,
    pub arguments: Hex,
}

/// Looks at the vhost of `host`.
pub fn of<H: Host>(host: &mut H) -> Vhost {
    let mut seen = Vhost::default();
    let vhost = host.vhost();
    let records: Vec<QueueRecord> = vhost.queues().filter(|it| is_shown(it)).cloned().collect();
    for exchange in vhost.table.exchanges() {
        for it in exchange.bindings() {
            let (to_exchange, destination) = match &it.destination {
                Destination::Exchange(name) => (true, name.to_string()),
                Destination::Queue(id) => match records.iter().find(|record| record.id == *id) {
                    Some(record) => (false, record.name.to_string()),
                    None => continue,
                },
            };
            seen.bindings.push(Binding {
                source: exchange.name.to_string(),
                to_exchange,
                destination,
                key: it.key.to_string(),
                arguments: Hex::new(&it.arguments()),
            });
        }
        if !exchange.name.starts_with("amq.") {
            seen.exchanges.insert(exchange.name.to_string(), of_exchange(exchange));
        }
    }
    seen.bindings.sort();
    for record in records {
        let (n_messages, n_consumers) = stake(host, record.id);
        let queue = Queue {
            durable: record.durable,
            auto_delete: record.auto_delete,
            is_lot: record.kind == QueueKind::ParkingLot,
            arguments: Hex::new(&record.arguments),
            n_messages,
            n_consumers,
        };
        seen.queues.insert(record.name.to_string(), queue);
    }
    seen
}

/// How many messages a queue holds, in whatever state, and how many consumers.
pub(in crate::topology) fn stake<H: Host>(host: &mut H, id: QueueId) -> (u64, u64) {
    let depth = host.queue(id, |queue, _| queue.depth()).unwrap_or_default();
    (depth.ready + depth.unacked + depth.delayed, depth.consumers)
}

fn is_shown(record: &QueueRecord) -> bool {
    match record.kind {
        QueueKind::Declared | QueueKind::ParkingLot => true,
        QueueKind::Client => !record.is_private(),
        QueueKind::Schedule => false,
    }
}

fn of_exchange(exchange: &routing::table::Exchange) -> Exchange {
    Exchange {
        kind: exchange.kind.as_str().to_owned(),
        delays: exchange.delays,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        alternate: exchange.alternate.as_ref().map(ToString::to_string),
        arguments: Hex::new(&exchange.arguments),
    }
}

impl Observed {
    /// Changes with everything that a plan depends on: with what is there and with the files that
    /// count, not with messages and consumers, which come and go.
    pub fn fingerprint(&self) -> String {
        let mut bare = self.clone();
        for queue in bare.vhosts.values_mut().flat_map(|it| it.queues.values_mut()) {
            queue.n_messages = 0;
            queue.n_consumers = 0;
        }
        let text = serde_json::to_vec(&bare).expect("strings and numbers only");
        Sha256::digest(&text).iter().take(12).map(|it| format!("{it:02x}")).collect()
    }
}

/// The bindings that files declare, as the broker has them.
pub(in crate::topology) fn declared_bindings(vhost: &declared::Vhost) -> Vec<Binding> {
    let mut all = Vec::new();
    for queue in vhost.queues.values() {
        all.extend(queue.bindings.iter().map(|it| binding(it, false, &queue.name)));
    }
    for exchange in vhost.exchanges.values() {
        all.extend(exchange.bindings.iter().map(|it| binding(it, true, &exchange.name)));
    }
    all.sort();
    all
}

pub(in crate::topology) fn binding(
    binding: &declared::Binding,
    to_exchange: bool,
    destination: &str,
) -> Binding {
    Binding {
        source: binding.exchange.value.to_string(),
        to_exchange,
        destination: destination.to_owned(),
        key: binding.key.value.to_string(),
        arguments: Hex::new(&binding.arguments),
    }
}
