//! The `[[tests]]` of topology files: what is published, what consumers do, what must come of it.

use std::collections::BTreeMap;

use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::ServiceName;
use crate::amqp::property::PropertyList;
use crate::amqp::time::Millis;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// One test. It runs in virtual time, from 0, until nothing is due any more or `until` is reached.
///
/// Every queue of a service has its consumers; only the expectations that are there are checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    pub name: Located<String>,
    pub origin: Origin,
    /// At least one, in the order of their times.
    pub publish: Vec<Publish>,
    /// What the consumers of a queue do; they ack where nothing is said.
    pub when: BTreeMap<QueueName, Located<Vec<Outcome>>>,
    /// Instances of a service; [`INSTANCES`] where nothing is said.
    pub instances: BTreeMap<ServiceName, Located<u32>>,
    /// When virtual time ends, even if something is still due.
    pub until: Option<Located<Millis>>,
    pub expect: Expectations,
}

/// Instances that each service has in a test that does not say: two, so that what would be handled
/// twice is.
pub const INSTANCES: u32 = 2;

/// A message of a test.
#[derive(Clone, PartialEq, Debug)]
pub struct Publish {
    /// Empty for the default exchange.
    pub exchange: Located<ExchangeName>,
    pub key: Located<String>,
    /// Persistent unless the test says otherwise.
    pub properties: PropertyList,
    pub body: String,
    /// How many of them.
    pub times: u32,
    /// When, counted from the beginning of the test.
    pub at: Millis,
    pub origin: Origin,
}

/// What a consumer does with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ack,
    /// `basic.reject`
    Reject {
        requeue: bool,
    },
    /// `basic.nack`
    Nack {
        requeue: bool,
    },
    /// Keeps it without an answer, until the acknowledgement timeout.
    Timeout,
    /// Its connection is lost; another one comes at once.
    Lost,
    /// Nobody consumes this queue.
    Absent,
}

/// What must come of it. Each of them is `None` when the test does not say.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Expectations {
    /// Copies per queue at publishing; queues that are not named get none.
    pub reaches: Option<Located<BTreeMap<QueueName, Located<u64>>>>,
    /// Deliveries to consumers per service.
    pub services: Counted<ServiceName>,
    /// When each message of a queue is delivered, all in one list.
    pub deliveries_at: BTreeMap<QueueName, Located<Vec<Millis>>>,
    /// Bodies in the order in which the consumers of a queue acked them.
    pub order: BTreeMap<QueueName, Located<Vec<String>>>,
    /// Messages in the parking lots of these queues at the end.
    pub parked: Counted<QueueName>,
    /// Messages these queues gave to their dead-letter exchanges.
    pub dead_lettered: Counted<QueueName>,
    /// Messages whose time ran out in these queues.
    pub expired: Counted<QueueName>,
    /// Messages that are gone from these queues although nobody acked them.
    pub dropped: Counted<QueueName>,
    /// Messages still in these queues at the end, waiting or unacked.
    pub left: Counted<QueueName>,
    /// Whether the messages reach no queue at all.
    pub unroutable: Option<Located<bool>>,
}

/// A number for each of some names.
pub type Counted<N> = BTreeMap<N, Located<u64>>;

impl Expectations {
    pub fn is_empty(&self) -> bool {
        *self == Expectations::default()
    }
}

impl Outcome {
    /// The words of topology files.
    pub const WORDS: [(&'static str, Outcome); 8] = [
        ("ack", Outcome::Ack),
        ("reject", Outcome::Reject { requeue: false }),
        ("reject-requeue", Outcome::Reject { requeue: true }),
        ("nack", Outcome::Nack { requeue: false }),
        ("nack-requeue", Outcome::Nack { requeue: true }),
        ("timeout", Outcome::Timeout),
        ("lost", Outcome::Lost),
        ("absent", Outcome::Absent),
    ];
}
