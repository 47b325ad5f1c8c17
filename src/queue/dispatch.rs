//! Which message goes to which consumer.

use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::name::QueueName;
use crate::amqp::table::Value;
use crate::amqp::time::Timestamp;
use crate::queue::consumer::ConsumerIndex;
use crate::queue::effect::Cause;
use crate::queue::effect::Effect;
use crate::queue::effect::Fetch;
use crate::queue::effect::Reason;
use crate::queue::entry::Entry;
use crate::queue::entry::Mark;
use crate::queue::lane::Key;
use crate::queue::lane::Lanes;
use crate::queue::retry;
use crate::queue::work::Unacked;
use crate::queue::work::WorkQueue;

/// Where deliveries go: the connections of the consumers.
pub trait Outlet {
    /// Offers a delivery; `false` when the consumer's connection can take nothing now. It is then
    /// left alone until [`Queue::resume`](crate::queue::Queue::resume) names it.
    fn deliver(&mut self, delivery: &Delivery<'_>) -> bool;
}

/// One message on its way to one consumer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub consumer: ConsumerId,
    pub queue: &'a QueueName,
    pub message: &'a Message,
    pub mark: &'a Mark,
    /// Whether the queue counts failed deliveries, so that redeliveries say what happened before.
    pub counted: bool,
    /// What the channel gives back when it settles; `None` when there is nothing to settle.
    pub handle: Option<Handle>,
    /// The message's offset in a stream, which its consumer is told.
    pub offset: Option<u64>,
}

impl Delivery<'_> {
    /// The properties its consumer sees, when they are not those of the message.
    ///
    /// COMPAT: on a stream they have one more header, `x-stream-offset`, and always a delivery mode.
    pub fn properties(&self) -> Option<Vec<u8>> {
        if let Some(offset) = self.offset {
            let offset = Value::I64(i64::try_from(offset).unwrap_or(i64::MAX));
            return Some(self.message.properties().with_header("x-stream-offset", &offset, 1));
        }
        let again = self.counted && self.mark.redelivered;
        again.then(|| retry::redelivered_properties(self.message, self.mark, self.queue))
    }
}

/// Names a delivery to the queue it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    pub(in crate::queue) slot: u32,
    pub(in crate::queue) number: u32,
}

impl Handle {
    /// Names no delivery: a stream only needs to know whose it was.
    pub(in crate::queue) const NONE: Handle = Handle { slot: u32::MAX, number: 0 };
}

/// The answer to `basic.get`.
#[derive(Clone, Debug)]
pub enum Got {
    Empty,
    /// The next message must come from disk: ask again after [`Queue::loaded`](crate::queue::Queue::loaded).
    Loading,
    Message {
        message: Message,
        mark: Mark,
        counted: bool,
        handle: Option<Handle>,
        /// Ready messages left.
        remaining: u64,
    },
}

/// How many messages ahead of a delivery the log is told that they may have been delivered.
const NOTED_AHEAD: u64 = 4096;

/// Where the next message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Front {
    Level(usize),
    FreeLane,
}

impl WorkQueue {
    /// Step 10 of a message's path, called when messages or credit have come; next is
    /// `session::basic::deliver`.
    ///
    /// Delivers ready messages in order for as long as some consumer can take one.
    pub fn dispatch(
        &mut self,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        if self.consumers.is_empty() || self.paused {
            return;
        }
        if !self.suspects.is_empty() {
            self.dispatch_suspects(now, outlet, effects);
        }
        while let Some(front) = self.front(now, effects) {
            let Some(at) = self.consumers.next() else {
                break;
            };
            self.deliver_front(front, at, now, outlet, effects);
        }
    }

    /// Offers the message at `front` to a consumer.
    fn deliver_front(
        &mut self,
        front: Front,
        at: ConsumerIndex,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        let entry = match front {
            Front::Level(level) => self.levels[level].pop_front(),
            Front::FreeLane => self.lanes.pop_free(),
        };
        let Some(entry) = entry else { return };
        let key = match &self.settings.keyed {
            Some(keyed) => {
                entry.message.as_ref().map(|it| Lanes::key(&keyed.source, it, entry.seq))
            }
            None => None,
        };
        if let (Some(key), Front::Level(_)) = (&key, front) {
            if self.lanes.is_busy(key) {
                self.lanes.wait(key.clone(), entry);
                return;
            }
            self.lanes.occupy(key.clone());
        }
        if self.is_suspect(&entry) {
            self.suspects.push_back(entry);
            self.dispatch_suspects(now, outlet, effects);
            return;
        }
        if let Some((entry, key)) = self.offer(entry, key, at, false, now, outlet, effects) {
            match key {
                Some(_) => self.lanes.push_free(entry),
                None => self.levels[usize::from(entry.level)].insert(entry),
            }
        }
    }

    /// Hands one message to one consumer; gives it back when the consumer's connection is full.
    #[allow(clippy::too_many_arguments, reason = "the state of one delivery, taken apart")]
    fn offer(
        &mut self,
        entry: Entry,
        key: Option<Key>,
        at: ConsumerIndex,
        suspect: bool,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) -> Option<(Entry, Option<Key>)> {
        let (Some(message), Some(consumer)) = (&entry.message, self.consumers.get(at)) else {
            return Some((entry, key));
        };
        let no_ack = consumer.spec.no_ack;
        let handle = Handle {
            slot: u32::try_from(self.unacked.vacant_key()).expect("fewer than 2^32 unacked"),
            number: self.next_delivery,
        };
        let delivery = Delivery {
            consumer: consumer.spec.id,
            queue: &self.name,
            message,
            mark: &entry.mark,
            counted: self.settings.counts_failures(),
            handle: (!no_ack).then_some(handle),
            offset: None,
        };
        let consumer = consumer.spec.id;
        if !outlet.deliver(&delivery) {
            self.consumers.block(at);
            return Some((entry, key));
        }
        self.leaves_ready(&entry, effects);
        self.totals.redelivered += u64::from(entry.mark.redelivered);
        if no_ack {
            self.totals.delivered_no_ack += 1;
            self.settled_at_once(&entry, key, effects);
        } else {
            self.totals.delivered += 1;
            self.consumers.delivered(at, suspect);
            self.hold(entry, Some(consumer), key, now, effects);
        }
        None
    }

    /// Delivers messages that consumers were lost with, each to a consumer that holds nothing.
    fn dispatch_suspects(
        &mut self,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        while let Some(front) = self.suspects.front() {
            if front.message.is_none() {
                let seq = front.seq;
                self.request(seq, effects);
                return;
            }
            let Some(at) = self.consumers.next_empty() else {
                return;
            };
            let Some(entry) = self.suspects.pop_front() else {
                return;
            };
            let key = self.settings.keyed.as_ref().zip(entry.message.as_ref());
            let key = key.map(|(keyed, message)| Lanes::key(&keyed.source, message, entry.seq));
            if let Some((entry, _)) = self.offer(entry, key, at, true, now, outlet, effects) {
                self.suspects.push_front(entry);
            }
        }
        self.consumers.stop_draining();
    }

    /// Takes the next message without a consumer, for `basic.get`.
    ///
    /// COMPAT: gets work beside exclusive and single active consumers and have no prefetch.
    pub fn get(&mut self, no_ack: bool, now: Timestamp, effects: &mut Vec<Effect>) -> Got {
        self.touch(now, effects);
        loop {
            if let Some(front) = self.front(now, effects) {
                let entry = match front {
                    Front::Level(level) => self.levels[level].pop_front(),
                    Front::FreeLane => self.lanes.pop_free(),
                };
                let Some(entry) = entry else {
                    return Got::Empty;
                };
                let Some(message) = entry.message.clone() else {
                    return Got::Loading;
                };
                let keyed = self.settings.keyed.as_ref();
                let key = keyed.map(|it| Lanes::key(&it.source, &message, entry.seq));
                if let (Some(key), Front::Level(_)) = (&key, front) {
                    if self.lanes.is_busy(key) {
                        self.lanes.wait(key.clone(), entry);
                        continue;
                    }
                    self.lanes.occupy(key.clone());
                }
                return self.got(entry, message, key, no_ack, now, effects);
            }
            return match self.suspects.pop_front() {
                Some(entry) => match entry.message.clone() {
                    Some(message) => self.got(entry, message, None, no_ack, now, effects),
                    None => {
                        self.request(entry.seq, effects);
                        self.suspects.push_front(entry);
                        Got::Loading
                    }
                },
                None if self.is_loading() => Got::Loading,
                None => Got::Empty,
            };
        }
    }

    fn got(
        &mut self,
        entry: Entry,
        message: Message,
        key: Option<Key>,
        no_ack: bool,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Got {
        self.leaves_ready(&entry, effects);
        self.totals.redelivered += u64::from(entry.mark.redelivered);
        let mark = entry.mark.clone();
        let handle = if no_ack {
            self.totals.got_no_ack += 1;
            self.settled_at_once(&entry, key, effects);
            None
        } else {
            self.totals.got += 1;
            Some(self.hold(entry, None, key, now, effects))
        };
        let counted = self.settings.counts_failures();
        Got::Message { message, mark, counted, handle, remaining: self.n_ready() }
    }

    /// Whether a message that could be next is on its way from the log.
    fn is_loading(&self) -> bool {
        !self.requested.is_empty()
            || self.levels.iter().any(|it| it.cold().is_some_and(|cold| cold.count > 0))
    }

    /// Finds the next message that can be delivered. Expired ones go on the way; one that is on
    /// disk is asked for, and nothing of a lower level passes it meanwhile.
    fn front(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Option<Front> {
        if self.settings.keyed.is_some() {
            while let Some(entry) = self.lanes.front_free() {
                if entry.expires_at >= now {
                    return Some(Front::FreeLane);
                }
                self.expire_free_lane(effects);
            }
            if self.lanes.is_full() || !self.unheld.is_empty() {
                return None;
            }
        }
        for level in (0..self.levels.len()).rev() {
            loop {
                self.fetch_ahead(level, effects);
                let ready = &mut self.levels[level];
                let Some(entry) = ready.front() else {
                    if ready.cold().is_some() {
                        return None;
                    }
                    break;
                };
                if entry.expires_at < now {
                    let Some(entry) = ready.pop_front() else {
                        break;
                    };
                    self.end(entry, Reason::Expired, effects);
                } else if entry.message.is_some() {
                    return Some(Front::Level(level));
                } else {
                    let seq = entry.seq;
                    self.request(seq, effects);
                    return None;
                }
            }
        }
        None
    }

    /// Asks the log for more of a level before its front runs out.
    pub(in crate::queue) fn fetch_ahead(&mut self, level: usize, effects: &mut Vec<Effect>) {
        let ready = &mut self.levels[level];
        if !ready.wants_fetch() {
            return;
        }
        let Some(cold) = ready.cold() else { return };
        effects.push(Effect::Fetch(Fetch::Run {
            level: cold.level(level),
            from: cold.next,
            end: cold.end,
            count: limit::FETCH_COUNT,
            bytes: limit::FETCH_BYTES,
        }));
        ready.fetching();
    }

    pub(in crate::queue) fn request(&mut self, seq: Seq, effects: &mut Vec<Effect>) {
        if self.requested.insert(seq) {
            effects.push(Effect::Fetch(Fetch::One { seq }));
        }
    }

    /// Takes the first message in line, wherever it is, without delivering it. `None` when there
    /// is none, or when it must be read first.
    pub(in crate::queue) fn take_head(&mut self, effects: &mut Vec<Effect>) -> Option<Entry> {
        for level in (0..self.levels.len()).rev() {
            if let Some(entry) = self.levels[level].pop_front() {
                return Some(entry);
            }
            if self.levels[level].cold().is_some() {
                self.fetch_ahead(level, effects);
                return None;
            }
        }
        self.lanes.pop_free().or_else(|| self.suspects.pop_front())
    }

    /// Bookkeeping for a message that stops being ready because somebody gets it.
    fn leaves_ready(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        self.ready_bytes = self.ready_bytes.saturating_sub(entry.body_bytes);
        if entry.batch.0 != 0 && self.noted_up_to.is_none_or(|it| entry.seq > it) {
            let up_to = Seq(entry.seq.0 + NOTED_AHEAD);
            self.noted_up_to = Some(up_to);
            effects.push(Effect::MayHaveDelivered { up_to });
        }
    }

    fn settled_at_once(&mut self, entry: &Entry, key: Option<Key>, effects: &mut Vec<Effect>) {
        self.totals.acked += 1;
        if entry.batch.0 != 0 {
            effects.push(Effect::Erase { seq: entry.seq, cause: Cause::Acked });
        }
        key.into_iter().for_each(|key| self.lanes.release(&key));
    }

    /// Keeps a delivered message until it is settled.
    fn hold(
        &mut self,
        entry: Entry,
        consumer: Option<ConsumerId>,
        key: Option<Key>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Handle {
        let number = self.next_delivery;
        self.next_delivery = self.next_delivery.wrapping_add(1);
        let unacked = Unacked { entry, consumer, delivered_at: now, number, key };
        let slot = u32::try_from(self.unacked.insert(unacked)).expect("fewer than 2^32 unacked");
        if let (Some(timeout), Timestamp::NEVER) =
            (self.settings.consumer_timeout, self.time_out_at)
        {
            self.time_out_at = now + timeout;
            self.arm(effects);
        }
        Handle { slot, number }
    }
}
