//! A stream: a queue that keeps its messages. Every consumer reads all of them, from where it wants
//! to begin, at its own pace; an ack gives credit and takes nothing away.
//!
//! Messages are at offsets 0, 1, 2 and so on. Consumers see only what is on disk, so that no
//! offset they were told is given to another message after a crash.

use crate::amqp::argument::QueueType;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::QueueName;
use crate::amqp::offset::Offset;
use crate::amqp::time::Timestamp;
use crate::queue::consumer::ConsumeError;
use crate::queue::consumer::Consumer;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::dispatch::Delivery;
use crate::queue::dispatch::Handle;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::Effect;
use crate::queue::effect::Fetch;
use crate::queue::enqueue::Arrival;
use crate::queue::enqueue::Arrivals;
use crate::queue::entry::Mark;
use crate::queue::expiry::Loaded;
use crate::queue::expiry::LoadedMessage;
use crate::queue::incoming::Incoming;
use crate::queue::machine::Depth;
use crate::queue::machine::Restored;
use crate::queue::settings::Settings;
use crate::queue::stream::numbering::Numbering;
use crate::queue::stream::reader::Readers;
use crate::queue::stream::retention::Pruning;
use crate::queue::stream::seek::Seek;
use crate::queue::stream::tail::Tail;
use crate::queue::totals::Latency;
use crate::queue::totals::Totals;

mod becoming;
pub(in crate::queue) mod numbering;
mod reader;
mod retention;
mod seek;
mod tail;

/// One stream.
#[derive(Debug)]
pub struct Stream {
    name: QueueName,
    settings: Settings,
    /// No message before this one is kept.
    first: Seq,
    arrivals: Arrivals,
    /// One behind the newest message.
    end: Seq,
    numbering: Numbering,
    /// Everything before this one has come and is on disk: what consumers may see.
    visible: Seq,
    /// The newest messages; the older ones are read when they are wanted.
    tail: Tail,
    /// Messages kept, and bytes of their bodies.
    count: u64,
    bytes: u64,
    readers: Readers,
    pruning: Pruning,
    /// When the first message was published, once that is known.
    first_at: Option<Timestamp>,
    /// The log was asked to say when it is further.
    log_asked: bool,
    /// The earliest wake-up asked for and not yet come.
    armed: Timestamp,
    totals: Totals,
    latency: Latency,
    incoming: Incoming,
    /// The number of the next delivery, if it becomes a queue (again): none is given twice, so that
    /// an ack of long ago settles nothing.
    next_delivery: u32,
}

impl Stream {
    pub(in crate::queue) fn new(name: QueueName, settings: Settings) -> Stream {
        Stream {
            name,
            settings,
            first: Seq(0),
            arrivals: Arrivals::default(),
            end: Seq(0),
            numbering: Numbering::default(),
            visible: Seq(0),
            tail: Tail::default(),
            count: 0,
            bytes: 0,
            readers: Readers::default(),
            pruning: Pruning::Idle,
            first_at: None,
            log_asked: false,
            armed: Timestamp::NEVER,
            totals: Totals::default(),
            latency: Latency::default(),
            incoming: Incoming::default(),
            next_delivery: 0,
        }
    }

    pub(in crate::queue) fn restore(
        name: QueueName,
        settings: Settings,
        restored: &Restored,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Stream {
        let mut stream = Stream::new(name, settings);
        let firsts = restored.levels.iter().map(|(_, _, first, _)| *first);
        stream.first = firsts.min().unwrap_or(restored.next);
        stream.count = restored.levels.iter().map(|(_, count, ..)| count).sum();
        stream.bytes = restored.ready_bytes;
        stream.arrivals = Arrivals::starting_at(restored.next);
        let ends = restored.levels.iter().map(|(_, _, _, end)| *end);
        stream.end = ends.max().unwrap_or(restored.next);
        stream.numbering = restored.numbering.clone();
        stream.visible = restored.next;
        stream.prune(effects);
        stream.arm(now, effects);
        stream
    }

    pub fn name(&self) -> &QueueName {
        &self.name
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    pub fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    pub fn depth(&self) -> Depth {
        Depth {
            ready: self.count,
            unacked: self.readers.iter().map(|it| u64::from(it.consumer.n_unacked)).sum(),
            delayed: 0,
            ready_bytes: self.bytes,
            consumers: self.readers.len() as u64,
        }
    }

    /// The number of the oldest message that is kept.
    pub(in crate::queue) fn first(&self) -> Seq {
        self.first
    }

    /// The number of the next message.
    pub fn next_seq(&self) -> Seq {
        self.arrivals.next()
    }

    pub fn consumers(&self) -> impl Iterator<Item = (&Consumer, bool)> {
        self.readers.iter().map(|it| (&it.consumer, true))
    }

    /// A message is appended. `written` is the last batch the log has on disk.
    pub(in crate::queue) fn enqueue(
        &mut self,
        arrival: Arrival,
        written: BatchId,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        self.arrivals.note(arrival.seq);
        self.end = self.end.max(arrival.seq.next());
        self.totals.published += 1;
        self.incoming.note(&arrival.message);
        self.count += 1;
        self.bytes += arrival.message.body_bytes();
        if self.count == 1 {
            self.first_at = Some(arrival.message.published_at());
        }
        self.tail.insert(arrival);
        self.see(written);
        self.dispatch(outlet, effects);
        self.tail.leave_front(self.visible);
        self.prune(effects);
        self.follow_log(effects);
        if self.armed == Timestamp::NEVER {
            self.arm(now, effects);
        }
    }

    /// Adds a consumer. Call [`Stream::dispatch`] after its client was told.
    ///
    /// COMPAT: RabbitMQ's rules for streams, in its order; that a consumer is exclusive means
    /// nothing. It begins at a chunk, a group of messages written together, where we begin with the
    /// very message: `last` is the last message, and a time is that of a message.
    pub fn add_consumer(&mut self, spec: ConsumerSpec, now: Timestamp) -> Result<(), ConsumeError> {
        if spec.priority.is_some() {
            let queue_type = QueueType::Stream;
            return Err(ConsumeError::OtherQueueType { key: "x-priority", queue_type });
        }
        if spec.prefetch == 0 {
            return Err(ConsumeError::NoPrefetch);
        }
        if spec.no_ack {
            return Err(ConsumeError::NoAck);
        }
        if spec.has_window {
            return Err(ConsumeError::Window);
        }
        let offset = spec.offset.unwrap_or_default();
        let since = match offset {
            Offset::Since(at) => Some(at),
            Offset::Ago(span) => {
                Some(Timestamp::from_millis(now.as_millis().saturating_sub(span.0)))
            }
            Offset::First | Offset::Last | Offset::Next | Offset::Number(_) => None,
        };
        let next = match offset {
            Offset::First | Offset::Since(_) | Offset::Ago(_) => self.first,
            Offset::Last => Seq(self.end.0.saturating_sub(1)),
            Offset::Next => self.arrivals.next(),
            Offset::Number(offset) => self.numbering.seq(offset),
        };
        let seek = since.map(|at| self.seek(at));
        self.readers.add(spec, next.max(self.first), seek);
        Ok(())
    }

    /// Looks for the first message that was published at `at` or later.
    fn seek(&self, at: Timestamp) -> Seek {
        match self.tail.first_since(at) {
            Some(found) => Seek::found(self.numbering.offset(found)),
            None => self.seek_before(at, self.tail.start().unwrap_or(self.visible)),
        }
    }

    fn seek_before(&self, at: Timestamp, end: Seq) -> Seek {
        Seek::new(at, self.numbering.offset(self.first), self.numbering.offset(end))
    }

    pub(in crate::queue) fn remove_consumer(&mut self, id: ConsumerId) {
        self.readers.remove(id);
    }

    /// A consumer's connection can take deliveries again.
    pub fn resume(&mut self, id: ConsumerId) {
        self.readers.unblock(id);
    }

    /// A delivery is settled.
    ///
    /// COMPAT: a rejection is an ack (RabbitMQ 4): the message stays, for this consumer too it is
    /// over.
    pub(in crate::queue) fn settle(&mut self, consumer: Option<ConsumerId>) {
        self.totals.acked += 1;
        consumer.into_iter().for_each(|it| self.readers.settled(it));
    }

    pub(in crate::queue) fn set_settings(&mut self, settings: Settings, effects: &mut Vec<Effect>) {
        self.settings = settings;
        self.prune(effects);
        if self.age_max().is_some() {
            self.wake(Timestamp(0), effects);
        }
    }

    /// Does everything that is due at `now`.
    pub(in crate::queue) fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.armed <= now {
            self.armed = Timestamp::NEVER;
        }
        self.age(now, effects);
        if self.first < self.newest() {
            self.arm(now, effects);
        }
        self.follow_log(effects);
    }

    /// Takes what the log handed out, then delivers.
    pub(in crate::queue) fn loaded(
        &mut self,
        loaded: Loaded,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        match loaded {
            // What it was asked for when it was a queue with priorities.
            Loaded::Run { level: Some(_), .. } => {}
            Loaded::Run { level: None, from, messages, n_damaged, next } => {
                self.totals.damaged += n_damaged;
                self.count = self.count.saturating_sub(n_damaged);
                self.readers.fetched(from, &messages, next);
            }
            Loaded::One { seq, message } => {
                let at = message.map(|it: LoadedMessage| it.message.published_at());
                let (offset, first) =
                    (self.numbering.offset(seq), self.numbering.offset(self.first));
                self.readers.probed(offset, at, first);
                self.aged((seq, offset), at, now, effects);
            }
            Loaded::Prefix { from, next, count, bytes } => {
                self.cut(from, next, (count, bytes), effects);
                self.arm(now, effects);
            }
            Loaded::Written { batch } => {
                self.log_asked = false;
                self.see(batch);
                self.tail.leave_front(self.visible);
                // What came too late to be pruned may be now.
                self.prune(effects);
            }
        }
        self.dispatch(outlet, effects);
        self.follow_log(effects);
    }

    /// Delivers for as long as some consumer can take a message.
    pub fn dispatch(&mut self, outlet: &mut impl Outlet, effects: &mut Vec<Effect>) {
        while let Some(at) = self.readers.next_turn() {
            while self.deliver(at, outlet, effects) {}
            self.read_ahead(at, effects);
        }
    }

    /// Delivers one message to one consumer; `false` when it can have none now.
    fn deliver(&mut self, at: usize, outlet: &mut impl Outlet, effects: &mut Vec<Effect>) -> bool {
        let Some(reader) = self.readers.get_mut(at) else { return false };
        if !reader.consumer.is_ready() {
            // It comes back when it gets credit or is unblocked.
            return false;
        }
        if let Some(seek) = &mut reader.seek {
            let Some(found) = seek.result() else {
                if let Some(offset) = seek.ask() {
                    let seq = self.numbering.seq(offset);
                    effects.push(Effect::Fetch(Fetch::One { seq }));
                }
                return false;
            };
            reader.go_to(self.numbering.seq(found));
            reader.seek = None;
        }
        reader.skip_to(self.first);
        if reader.next >= self.visible {
            self.readers.wait_at_end(at);
            return false;
        }
        let ahead = reader.ahead.front().map(|(seq, message)| (*seq, message));
        let found = ahead.or_else(|| self.tail.get(reader.next));
        let Some((seq, message)) = found.filter(|(seq, _)| *seq < self.visible) else {
            return false;
        };
        // Damaged messages are passed over.
        reader.next = seq;
        let delivery = Delivery {
            consumer: reader.consumer.spec.id,
            queue: &self.name,
            message,
            mark: &NOTHING,
            counted: false,
            handle: Some(Handle::NONE),
            offset: Some(self.numbering.offset(seq)),
        };
        if !outlet.deliver(&delivery) {
            reader.consumer.blocked = true;
            return false;
        }
        reader.consumer.n_unacked += 1;
        reader.skip_to(seq.next());
        self.totals.delivered += 1;
        true
    }

    /// Has the log read what a consumer will want next, if only the log has it.
    fn read_ahead(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let end = self.tail.start().unwrap_or(self.visible).min(self.visible);
        if let Some(fetch) = self.readers.read_ahead(at, end) {
            effects.push(Effect::Fetch(fetch));
        }
    }

    /// Notes how far the log is.
    fn see(&mut self, written: BatchId) {
        let end = self.arrivals.all_below();
        let visible = self.tail.written_up_to(self.visible, end, written);
        if visible > self.visible {
            self.visible = visible;
            self.readers.end_moved();
        }
    }

    /// Has the log say when it is further, if anything waits for that.
    fn follow_log(&mut self, effects: &mut Vec<Effect>) {
        let is_behind = self.visible < self.arrivals.all_below();
        let is_asked = self.readers.len() > 0 || self.exceeds() || self.age_max().is_some();
        if is_behind && is_asked && !self.log_asked {
            self.log_asked = true;
            effects.push(Effect::Fetch(Fetch::Written));
        }
    }

    fn wake(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        if at < self.armed {
            self.armed = at;
            effects.push(Effect::Wake { at });
        }
    }
}

/// Nothing ever happened to a message of a stream.
static NOTHING: Mark =
    Mark { redelivered: false, returns: 0, failures: 0, attempts: 0, losses: 0, history: None };

/// A message, borrowed, with its number.
type Offered<'a> = (Seq, &'a Message);

#[cfg(test)]
mod tests;
