//! A queue whose messages each go to one consumer: its state, and what is asked of it rarely. The
//! ways of a message are in `enqueue`, `dispatch`, `settle` and `expiry`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::BinaryHeap;
use std::collections::VecDeque;

use slab::Slab;

use crate::amqp::argument::QueueType;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::QueueName;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::queue::consumer::ConsumeError;
use crate::queue::consumer::Consumer;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::consumer::Consumers;
use crate::queue::effect::DeleteCause;
use crate::queue::effect::Effect;
use crate::queue::effect::Reason;
use crate::queue::enqueue::Arrivals;
use crate::queue::entry::Entry;
use crate::queue::entry::Mark;
use crate::queue::incoming::Incoming;
use crate::queue::lane::Key;
use crate::queue::lane::Lanes;
use crate::queue::machine::Depth;
use crate::queue::machine::Restored;
use crate::queue::ready::Cold;
use crate::queue::ready::Ready;
use crate::queue::settings::Settings;
use crate::queue::totals::Latency;
use crate::queue::totals::Totals;

/// One queue. See the [module](crate::queue) for how it is driven.
#[derive(Debug)]
pub struct WorkQueue {
    pub(in crate::queue) name: QueueName,
    pub(in crate::queue) settings: Settings,
    /// Ready messages per priority level; one level on a queue without priorities.
    pub(in crate::queue) levels: Vec<Ready>,
    /// Ready messages set aside on a keyed queue, and the keys that are out.
    pub(in crate::queue) lanes: Lanes,
    /// Ready messages that are only delivered to a consumer that holds nothing else.
    pub(in crate::queue) suspects: VecDeque<Entry>,
    pub(in crate::queue) unacked: Slab<Unacked>,
    /// Failed messages by the time they are ready again.
    pub(in crate::queue) delayed: BTreeMap<(Timestamp, Seq), Delayed>,
    /// Messages with an expiration of their own, by time; some may be gone already.
    pub(in crate::queue) expiry: BinaryHeap<Reverse<(Timestamp, Seq, u8)>>,
    /// Dead messages whose bodies are awaited from the log.
    pub(in crate::queue) doomed: BTreeMap<Seq, (Entry, Reason)>,
    /// Single messages asked of the log.
    pub(in crate::queue) requested: BTreeSet<Seq>,
    pub(in crate::queue) consumers: Consumers,
    pub(in crate::queue) arrivals: Arrivals,
    /// Bytes of the bodies of ready messages.
    pub(in crate::queue) ready_bytes: u64,
    pub(in crate::queue) totals: Totals,
    pub(in crate::queue) latency: Latency,
    pub(in crate::queue) incoming: Incoming,
    pub(in crate::queue) unused_since: Timestamp,
    pub(in crate::queue) had_consumer: bool,
    /// The earliest wake-up asked for and not yet come.
    pub(in crate::queue) armed: Timestamp,
    /// Messages up to this one may have been delivered before a restart.
    pub(in crate::queue) redelivered_up_to: Option<Seq>,
    /// Messages up to this one are covered by a note in the log that they may be delivered.
    pub(in crate::queue) noted_up_to: Option<Seq>,
    pub(in crate::queue) next_delivery: u32,
    /// When unacked messages are next looked through for acks that are late.
    pub(in crate::queue) time_out_at: Timestamp,
    /// Messages that wait for a retry and hold their keys, as soon as these are known.
    pub(in crate::queue) unheld: BTreeSet<Seq>,
    pub(in crate::queue) paused: bool,
    /// The log may have messages of it: it is durable, or was.
    pub(in crate::queue) logged: bool,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(in crate::queue) struct Unacked {
    pub(in crate::queue) entry: Entry,
    /// `None` for `basic.get`.
    pub(in crate::queue) consumer: Option<ConsumerId>,
    pub(in crate::queue) delivered_at: Timestamp,
    /// Told apart from an earlier delivery in the same slot by this.
    pub(in crate::queue) number: u32,
    pub(in crate::queue) key: Option<Key>,
}

#[derive(Debug)]
pub(in crate::queue) struct Delayed {
    pub(in crate::queue) entry: Entry,
    /// The key that waits with it, on a keyed queue that holds.
    pub(in crate::queue) held: Option<Key>,
}

impl WorkQueue {
    pub fn new(name: QueueName, settings: Settings, now: Timestamp) -> WorkQueue {
        let mut queue = WorkQueue {
            name,
            levels: Vec::new(),
            lanes: Lanes::default(),
            suspects: VecDeque::new(),
            unacked: Slab::new(),
            delayed: BTreeMap::new(),
            expiry: BinaryHeap::new(),
            doomed: BTreeMap::new(),
            requested: BTreeSet::new(),
            consumers: Consumers::default(),
            arrivals: Arrivals::default(),
            ready_bytes: 0,
            totals: Totals::default(),
            latency: Latency::default(),
            incoming: Incoming::default(),
            unused_since: now,
            had_consumer: false,
            armed: Timestamp::NEVER,
            redelivered_up_to: None,
            noted_up_to: None,
            next_delivery: 0,
            time_out_at: Timestamp::NEVER,
            unheld: BTreeSet::new(),
            paused: false,
            logged: settings.durable,
            settings,
        };
        queue.consumers.set_single_active(queue.settings.single_active);
        let n_levels = usize::from(queue.settings.priority_max.unwrap_or(0)) + 1;
        queue.levels.resize_with(n_levels, Ready::default);
        queue
    }

    /// A queue as it was before a restart: all its messages are in the log, none in memory.
    pub fn restore(
        name: QueueName,
        settings: Settings,
        restored: Restored,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> WorkQueue {
        let mut queue = WorkQueue::new(name, settings, now);
        queue.logged = true;
        // The log has the levels of old, and there may be fewer since.
        let highest = restored.levels.iter().map(|it| it.0).max().unwrap_or(0);
        if usize::from(highest) >= queue.levels.len() {
            queue.levels.resize_with(usize::from(highest) + 1, Ready::default);
        }
        let mut delayed_of: BTreeMap<u8, BTreeSet<Seq>> = BTreeMap::new();
        for (seq, level, due, mark) in restored.delayed {
            delayed_of.entry(level).or_default().insert(seq);
            let entry = Entry {
                seq,
                message: None,
                expires_at: Timestamp::NEVER,
                batch: BatchId(1),
                body_bytes: 0,
                level,
                mark,
                gone: false,
            };
            queue.delayed.insert((due, seq), Delayed { entry, held: None });
            if queue.settings.keyed.as_ref().is_some_and(|it| it.hold) {
                queue.unheld.insert(seq);
                queue.request(seq, effects);
            }
        }
        for (level, count, next, end) in restored.levels {
            let except = delayed_of.remove(&level).unwrap_or_default();
            let count = count.saturating_sub(except.len() as u64);
            let at = usize::from(level);
            if count > 0 {
                let cold = Cold { count, next, end, fetching: false, except, mixed: false };
                queue.levels[at] = Ready::restored(Some(cold));
            }
        }
        for (seq, level, at) in restored.expirations {
            queue.expiry.push(Reverse((at, seq, level)));
        }
        queue.ready_bytes = restored.ready_bytes;
        queue.arrivals = Arrivals::starting_at(restored.next);
        queue.redelivered_up_to = restored.redelivered_up_to;
        queue.noted_up_to = restored.redelivered_up_to;
        queue.arm(effects);
        queue
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
            ready: self.n_ready(),
            unacked: self.unacked.len() as u64,
            delayed: self.delayed.len() as u64,
            ready_bytes: self.ready_bytes,
            consumers: self.consumers.len() as u64,
        }
    }

    pub(in crate::queue) fn n_ready(&self) -> u64 {
        let in_line: u64 = self.levels.iter().map(Ready::len).sum();
        in_line + self.lanes.len() as u64 + self.suspects.len() as u64
    }

    /// The consumers, and whether each is served (with a single active consumer, only one is).
    pub fn consumers(&self) -> impl Iterator<Item = (&Consumer, bool)> {
        self.consumers.iter()
    }

    /// Ready messages that are in memory, in order of their turn: what can be shown without
    /// touching anything.
    pub fn peek_ready(&self) -> impl Iterator<Item = (&Message, &Mark)> {
        let levels = self.levels.iter().rev().flat_map(Ready::iter);
        let all = self.suspects.iter().chain(levels);
        all.filter_map(|it| it.message.as_ref().map(|message| (message, &it.mark)))
    }

    /// Failed messages that wait: their number, attempts and when they are due.
    pub fn peek_delayed(&self) -> impl Iterator<Item = (Seq, &Mark, Timestamp)> {
        self.delayed.iter().map(|((due, seq), it)| (*seq, &it.entry.mark, *due))
    }

    /// The number of the next message, on a queue that is in no log and numbers its own.
    pub fn next_seq(&self) -> Seq {
        self.arrivals.next()
    }

    /// Adds a consumer. Call [`WorkQueue::dispatch`] after its client was told.
    ///
    /// COMPAT: a quorum queue is named as a classic one, too.
    pub fn add_consumer(&mut self, spec: ConsumerSpec) -> Result<(), ConsumeError> {
        if spec.offset.is_some() {
            let queue_type = QueueType::Classic;
            return Err(ConsumeError::OtherQueueType { key: "x-stream-offset", queue_type });
        }
        self.consumers.add(spec)?;
        self.had_consumer = true;
        Ok(())
    }

    /// Removes a consumer; what it holds stays unacked until its channel settles it.
    ///
    /// An auto-delete queue asks to be deleted with its last consumer.
    pub fn remove_consumer(&mut self, id: ConsumerId, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.consumers.remove(id).is_none() || !self.consumers.is_empty() {
            return;
        }
        self.unused_since = now;
        if self.settings.auto_delete && self.had_consumer {
            effects.push(Effect::Delete(DeleteCause::Unused));
        }
        self.arm(effects);
    }

    /// A consumer's connection can take deliveries again.
    pub fn resume(&mut self, id: ConsumerId) {
        self.consumers.unblock(id);
    }

    /// Stops or restarts delivery to all consumers.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.consumers.queue_all_turns();
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// As [`Queue::unused_for`](crate::queue::Queue::unused_for).
    pub fn unused_for(&self, now: Timestamp) -> Option<Millis> {
        let is_used = !self.consumers.is_empty();
        (!is_used).then(|| Millis(now.as_millis().saturating_sub(self.unused_since.as_millis())))
    }

    /// Notes that somebody declared the queue or got from it, which postpones `x-expires`.
    pub fn touch(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.unused_since = now;
        self.arm(effects);
    }

    /// Replaces the settings; limits that became tighter are enforced at once.
    pub fn set_settings(&mut self, settings: Settings, effects: &mut Vec<Effect>) {
        self.logged |= settings.durable;
        self.settings = settings;
        self.consumers.set_single_active(self.settings.single_active);
        let n_levels = usize::from(self.settings.priority_max.unwrap_or(0)) + 1;
        if n_levels > self.levels.len() {
            self.levels.resize_with(n_levels, Ready::default);
        }
        self.enforce_length(effects);
        self.arm(effects);
    }

    /// Removes all ready messages without dead-lettering them; returns how many.
    ///
    /// COMPAT: unacked messages stay; so do those that wait for their retry.
    pub fn purge(&mut self, effects: &mut Vec<Effect>) -> u64 {
        let mut n = self.levels.iter_mut().map(Ready::clear).sum::<u64>();
        n += self.lanes.clear_waiting() + self.suspects.len() as u64;
        self.suspects.clear();
        self.consumers.stop_draining();
        self.ready_bytes = 0;
        if self.logged && n > 0 {
            let unacked = self.unacked.iter().map(|(_, it)| it.entry.seq);
            let kept = unacked.chain(self.delayed.keys().map(|(_, seq)| *seq));
            let mut except: Vec<Seq> = kept.chain(self.doomed.keys().copied()).collect();
            except.sort_unstable();
            effects.push(Effect::Purge { below: self.arrivals.next(), except });
        }
        n
    }

    /// Which level a priority falls into.
    pub(in crate::queue) fn level_of(&self, priority: Option<u8>) -> u8 {
        priority.unwrap_or(0).min(self.settings.priority_max.unwrap_or(0))
    }

    /// Asks to be woken for the next thing that is due, unless an earlier wake-up is on its way.
    pub(in crate::queue) fn arm(&mut self, effects: &mut Vec<Effect>) {
        let due = self.next_due();
        if due < self.armed {
            self.armed = due;
            effects.push(Effect::Wake { at: due });
        }
    }

    fn next_due(&mut self) -> Timestamp {
        let mut due = Timestamp::NEVER;
        if let Some(((at, _), _)) = self.delayed.first_key_value() {
            due = due.min(*at);
        }
        if let Some(Reverse((at, _, _))) = self.expiry.peek() {
            due = due.min(*at);
        }
        if self.settings.message_ttl.is_some() {
            let fronts = self.levels.iter_mut().filter_map(Ready::front);
            due = fronts.map(|it| it.expires_at).fold(due, Timestamp::min);
        }
        if let (Some(expires), true) = (self.settings.expires, self.consumers.is_empty()) {
            due = due.min(self.unused_since + expires);
        }
        due.min(self.time_out_at)
    }
}

#[cfg(test)]
mod tests;
