//! One queue, whatever its type: commands go to the machine that it is.

use crate::amqp::id::BatchId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::name::QueueName;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::queue::consumer::ConsumeError;
use crate::queue::consumer::Consumer;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::dispatch::Got;
use crate::queue::dispatch::Handle;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::Effect;
use crate::queue::enqueue::Arrival;
use crate::queue::enqueue::Enqueued;
use crate::queue::entry::Mark;
use crate::queue::expiry::Loaded;
use crate::queue::incoming::Incoming;
use crate::queue::settings::Settings;
use crate::queue::settle::Settlement;
use crate::queue::stream::Stream;
use crate::queue::stream::numbering::Numbering;
use crate::queue::totals::Latency;
use crate::queue::totals::Totals;
use crate::queue::work::WorkQueue;

/// One queue. See the [module](crate::queue) for how it is driven.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all queues are work queues, and their messages should not take one step more"
)]
#[derive(Debug)]
pub enum Queue {
    Work(WorkQueue),
    Stream(Box<Stream>),
}

/// How many messages are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Depth {
    /// On a stream, all messages it keeps.
    pub ready: u64,
    pub unacked: u64,
    /// Failed messages that wait for their retry.
    pub delayed: u64,
    /// Bytes of the bodies of ready messages.
    pub ready_bytes: u64,
    pub consumers: u64,
}

impl Depth {
    /// Adds what another queue has.
    pub fn add(&mut self, other: &Depth) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.delayed += other.delayed;
        self.ready_bytes += other.ready_bytes;
        self.consumers += other.consumers;
    }
}

/// What the log says of a queue after a restart.
#[derive(Debug, Default)]
pub struct Restored {
    /// Live messages per priority level: how many, the first, and one past the last.
    pub levels: Vec<(u8, u64, Seq, Seq)>,
    pub ready_bytes: u64,
    /// Messages that wait for a retry. They are among those of `levels`.
    pub delayed: Vec<(Seq, u8, Timestamp, Mark)>,
    /// Messages with an expiration of their own.
    pub expirations: Vec<(Seq, u8, Timestamp)>,
    pub next: Seq,
    pub redelivered_up_to: Option<Seq>,
    /// Of a stream.
    pub numbering: Numbering,
}

impl Queue {
    pub fn new(name: QueueName, settings: Settings, now: Timestamp) -> Queue {
        match settings.stream {
            Some(_) => Queue::Stream(Box::new(Stream::new(name, settings))),
            None => Queue::Work(WorkQueue::new(name, settings, now)),
        }
    }

    /// A queue as it was before a restart: all its messages are in the log, none in memory.
    pub fn restore(
        name: QueueName,
        settings: Settings,
        restored: Restored,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Queue {
        match settings.stream {
            Some(_) => {
                Queue::Stream(Box::new(Stream::restore(name, settings, &restored, now, effects)))
            }
            None => Queue::Work(WorkQueue::restore(name, settings, restored, now, effects)),
        }
    }

    pub fn name(&self) -> &QueueName {
        match self {
            Queue::Work(it) => it.name(),
            Queue::Stream(it) => it.name(),
        }
    }

    pub fn settings(&self) -> &Settings {
        match self {
            Queue::Work(it) => it.settings(),
            Queue::Stream(it) => it.settings(),
        }
    }

    pub fn totals(&self) -> &Totals {
        match self {
            Queue::Work(it) => it.totals(),
            Queue::Stream(it) => it.totals(),
        }
    }

    /// Whether the log may have messages of it.
    pub fn is_logged(&self) -> bool {
        match self {
            Queue::Work(it) => it.logged,
            Queue::Stream(_) => true,
        }
    }

    /// What it took, by exchange.
    pub fn incoming(&self) -> &Incoming {
        match self {
            Queue::Work(it) => it.incoming(),
            Queue::Stream(it) => it.incoming(),
        }
    }

    pub fn latency(&self) -> &Latency {
        match self {
            Queue::Work(it) => it.latency(),
            Queue::Stream(it) => it.latency(),
        }
    }

    /// For how long there have been no consumers, declares and fetches; `None` while somebody
    /// consumes, and for streams, which do not watch it.
    pub fn unused_for(&self, now: Timestamp) -> Option<Millis> {
        match self {
            Queue::Work(it) => it.unused_for(now),
            Queue::Stream(_) => None,
        }
    }

    pub fn depth(&self) -> Depth {
        match self {
            Queue::Work(it) => it.depth(),
            Queue::Stream(it) => it.depth(),
        }
    }

    /// The number of the next message, on a queue that is in no log and numbers its own.
    pub fn next_seq(&self) -> Seq {
        match self {
            Queue::Work(it) => it.next_seq(),
            Queue::Stream(it) => it.next_seq(),
        }
    }

    /// The consumers, and whether each is served (with a single active consumer, only one is).
    pub fn consumers(&self) -> Box<dyn Iterator<Item = (&Consumer, bool)> + '_> {
        match self {
            Queue::Work(it) => Box::new(it.consumers()),
            Queue::Stream(it) => Box::new(it.consumers()),
        }
    }

    /// Puts a message in line and delivers what can be delivered: see [`WorkQueue::enqueue`].
    pub fn enqueue(
        &mut self,
        arrival: Arrival,
        written: BatchId,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) -> Enqueued {
        match self {
            Queue::Work(it) => it.enqueue(arrival, written, now, outlet, effects),
            Queue::Stream(it) => {
                it.enqueue(arrival, written, now, outlet, effects);
                Enqueued::Taken
            }
        }
    }

    /// Adds a consumer. Call [`Queue::dispatch`] after its client was told.
    pub fn add_consumer(&mut self, spec: ConsumerSpec, now: Timestamp) -> Result<(), ConsumeError> {
        match self {
            Queue::Work(it) => it.add_consumer(spec),
            Queue::Stream(it) => it.add_consumer(spec, now),
        }
    }

    /// Removes a consumer; what it holds stays unacked until its channel settles it.
    pub fn remove_consumer(&mut self, id: ConsumerId, now: Timestamp, effects: &mut Vec<Effect>) {
        match self {
            Queue::Work(it) => it.remove_consumer(id, now, effects),
            Queue::Stream(it) => it.remove_consumer(id),
        }
    }

    /// Delivers for as long as some consumer can take a message: see [`WorkQueue::dispatch`].
    pub fn dispatch(
        &mut self,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        match self {
            Queue::Work(it) => it.dispatch(now, outlet, effects),
            Queue::Stream(it) => it.dispatch(outlet, effects),
        }
    }

    /// Takes the next message without a consumer, for `basic.get`; nothing from a stream.
    pub fn get(&mut self, no_ack: bool, now: Timestamp, effects: &mut Vec<Effect>) -> Got {
        match self {
            Queue::Work(it) => it.get(no_ack, now, effects),
            Queue::Stream(_) => Got::Empty,
        }
    }

    /// Settles one delivery: see [`WorkQueue::settle`].
    pub fn settle(
        &mut self,
        handle: Handle,
        consumer: Option<ConsumerId>,
        settlement: Settlement,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        match self {
            Queue::Work(it) => it.settle(handle, consumer, settlement, now, effects),
            Queue::Stream(it) => it.settle(consumer),
        }
    }

    /// The number under which the log has an unsettled delivery, if an ack is to erase it.
    pub fn stored_number(&self, handle: Handle) -> Option<Seq> {
        match self {
            Queue::Work(it) => it.stored_number(handle),
            Queue::Stream(_) => None,
        }
    }

    /// A consumer's connection can take deliveries again.
    pub fn resume(&mut self, id: ConsumerId) {
        match self {
            Queue::Work(it) => it.resume(id),
            Queue::Stream(it) => it.resume(id),
        }
    }

    /// Does everything that is due at `now`, then delivers.
    pub fn tick(&mut self, now: Timestamp, outlet: &mut impl Outlet, effects: &mut Vec<Effect>) {
        match self {
            Queue::Work(it) => it.tick(now, outlet, effects),
            Queue::Stream(it) => it.tick(now, effects),
        }
    }

    /// Takes what the log handed out, then delivers.
    pub fn loaded(
        &mut self,
        loaded: Loaded,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        match self {
            Queue::Work(it) => it.loaded(loaded, now, outlet, effects),
            Queue::Stream(it) => it.loaded(loaded, now, outlet, effects),
        }
    }

    /// Notes that somebody declared the queue or got from it, which postpones `x-expires`.
    pub fn touch(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self {
            Queue::Work(it) => it.touch(now, effects),
            Queue::Stream(_) => {}
        }
    }

    /// Replaces the settings; limits that became tighter are enforced at once. The type of a
    /// queue stays what it is: see [`Queue::replace`].
    pub fn set_settings(&mut self, settings: Settings, effects: &mut Vec<Effect>) {
        match self {
            Queue::Work(it) => it.set_settings(settings, effects),
            Queue::Stream(it) => it.set_settings(settings, effects),
        }
    }

    /// Removes all ready messages without dead-lettering them; returns how many. None of a stream.
    pub fn purge(&mut self, effects: &mut Vec<Effect>) -> u64 {
        match self {
            Queue::Work(it) => it.purge(effects),
            Queue::Stream(_) => 0,
        }
    }
}
