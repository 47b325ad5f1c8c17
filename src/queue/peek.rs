//! Looking into a queue without touching it, and taking single messages out for an operator.

use std::collections::BTreeSet;

use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::queue::entry::Entry;
use crate::queue::entry::Mark;
use crate::queue::lane::Lanes;
use crate::queue::machine::Queue;
use crate::queue::ready::Ready;
use crate::queue::work::WorkQueue;

/// Where in its queue a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Ready,
    Unacked,
    Delayed,
}

/// A message as it was found.
#[derive(Clone, Debug)]
pub struct Peeked {
    pub seq: Seq,
    /// `None` while only the log has it.
    pub message: Option<Message>,
    pub mark: Mark,
    /// When a delayed message is ready again.
    pub due: Option<Timestamp>,
    /// When a ready message goes: what a delayed exchange holds back goes on to its bindings then.
    pub expires_at: Timestamp,
    /// When an unacked message was delivered.
    pub delivered_at: Option<Timestamp>,
    /// Who has an unacked message; nobody's when somebody got it.
    pub consumer: Option<ConsumerId>,
}

/// A part of the line that only the log has: its live messages of `level`, or of all, from `from`
/// to before `end`, those of `except` apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    pub level: Option<u8>,
    pub from: Seq,
    pub end: Seq,
    pub except: BTreeSet<Seq>,
}

/// What a look into a queue finds.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// By number, which is the order of arrival.
    pub seen: Vec<Peeked>,
    pub unread: Vec<Unread>,
}

/// Since when the longest waiting messages wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Oldest {
    /// When the oldest ready message was published; of those in memory, which has the front.
    pub ready: Option<Timestamp>,
    /// When the oldest unacked message was delivered.
    pub unacked: Option<Timestamp>,
}

/// A message that an operator took out of a queue; nothing is erased yet.
#[derive(Clone, Debug)]
pub struct TakenOut {
    pub message: Message,
    /// The log has it: whoever took it says in the log what became of it.
    pub stored: bool,
}

impl Queue {
    /// The first `limit` messages behind `after` in one state, and what of them is on disk only.
    /// Changes nothing. A stream has ready messages only, all of them on disk.
    pub fn look(&self, state: State, after: Option<Seq>, limit: usize) -> Look {
        match self {
            Queue::Work(it) => it.look(state, after, limit),
            Queue::Stream(it) if state == State::Ready && it.settings().durable => {
                let from = after.map_or(it.first(), |it| it.next()).max(it.first());
                let unread =
                    Unread { level: None, from, end: it.next_seq(), except: BTreeSet::new() };
                let unread = Some(unread).filter(|it| it.from < it.end);
                Look { seen: Vec::new(), unread: unread.into_iter().collect() }
            }
            Queue::Stream(_) => Look::default(),
        }
    }

    /// Looks at every message in memory. Of a stream nothing is known.
    pub fn oldest(&self) -> Oldest {
        match self {
            Queue::Work(it) => it.oldest(),
            Queue::Stream(_) => Oldest::default(),
        }
    }

    /// Stops or restarts delivery to all consumers; `false` on a stream, which cannot be paused.
    /// Call [`Queue::dispatch`] afterwards.
    pub fn set_paused(&mut self, paused: bool) -> bool {
        match self {
            Queue::Work(it) => it.set_paused(paused),
            Queue::Stream(_) => return false,
        }
        true
    }

    pub fn is_paused(&self) -> bool {
        match self {
            Queue::Work(it) => it.is_paused(),
            Queue::Stream(_) => false,
        }
    }

    /// Whether one more message of this size would be over a limit of the queue.
    pub fn is_full_for(&self, body_bytes: u64) -> bool {
        match self {
            Queue::Work(it) => it.exceeds(1, body_bytes),
            Queue::Stream(_) => false,
        }
    }

    /// Takes one ready message out of the line; `None` when it is not ready any more, or when only
    /// the log has it and it is not the one that was `read` from there.
    pub fn take_out(&mut self, seq: Seq, read: Option<&Message>) -> Option<TakenOut> {
        match self {
            Queue::Work(it) => it.take_out(seq, read),
            Queue::Stream(_) => None,
        }
    }

    /// Makes waiting messages ready before their time; `which` is asked with number and mark.
    /// Returns how many. Call [`Queue::tick`] afterwards.
    pub fn hasten(
        &mut self,
        now: Timestamp,
        max: usize,
        which: impl FnMut(Seq, &Mark) -> bool,
    ) -> usize {
        match self {
            Queue::Work(it) => it.hasten(now, max, which),
            Queue::Stream(_) => 0,
        }
    }
}

fn ready(entry: &Entry) -> Peeked {
    Peeked {
        seq: entry.seq,
        message: entry.message.clone(),
        mark: entry.mark.clone(),
        due: None,
        expires_at: entry.expires_at,
        delivered_at: None,
        consumer: None,
    }
}

impl WorkQueue {
    fn look(&self, state: State, after: Option<Seq>, limit: usize) -> Look {
        let is_behind = |seq: Seq| after.is_none_or(|it| seq > it);
        let mut unread = Vec::new();
        let mut seen: Vec<Peeked> = match state {
            State::Ready => {
                let colds = self.levels.iter().enumerate().filter_map(|(level, it)| {
                    let cold = it.cold()?;
                    let from = after.map_or(cold.next, |it| it.next()).max(cold.next);
                    let level = cold.level(level);
                    let except = cold.except.clone();
                    Some(Unread { level, from, end: cold.end, except })
                });
                unread = colds.filter(|it| it.from < it.end).collect();
                let levels = self.levels.iter().flat_map(Ready::iter);
                let all = levels.chain(&self.suspects).chain(self.lanes.iter());
                all.filter(|it| is_behind(it.seq)).map(ready).collect()
            }
            State::Unacked => {
                let all = self.unacked.iter().map(|(_, it)| it);
                let all = all.filter(|it| is_behind(it.entry.seq)).map(|it| Peeked {
                    delivered_at: Some(it.delivered_at),
                    consumer: it.consumer,
                    ..ready(&it.entry)
                });
                all.collect()
            }
            State::Delayed => {
                let all = self.delayed.iter().filter(|((_, seq), _)| is_behind(*seq));
                all.map(|((due, _), it)| Peeked { due: Some(*due), ..ready(&it.entry) }).collect()
            }
        };
        seen.sort_unstable_by_key(|it| it.seq);
        seen.truncate(limit);
        if seen.len() == limit
            && let Some(last) = seen.last()
        {
            // What is behind all that is shown need not be read.
            unread.retain(|it| it.from < last.seq);
        }
        Look { seen, unread }
    }

    fn oldest(&self) -> Oldest {
        let levels = self.levels.iter().flat_map(Ready::iter);
        let ready = levels.chain(&self.suspects).chain(self.lanes.iter());
        let published = ready.filter_map(|it| Some(it.message.as_ref()?.published_at()));
        Oldest {
            ready: published.min(),
            unacked: self.unacked.iter().map(|(_, it)| it.delivered_at).min(),
        }
    }

    fn take_out(&mut self, seq: Seq, read: Option<&Message>) -> Option<TakenOut> {
        let entry = self.take_ready(seq);
        let (message, stored) = match entry {
            Some(mut entry) => {
                self.ready_bytes = self.ready_bytes.saturating_sub(entry.body_bytes);
                match entry.message.take().or_else(|| read.cloned()) {
                    Some(message) => (message, entry.batch.0 != 0),
                    None => {
                        self.ready_bytes += entry.body_bytes;
                        self.levels[usize::from(entry.level)].insert(entry);
                        return None;
                    }
                }
            }
            None => {
                let message = read?.clone();
                let level = usize::from(self.level_of(message.properties().priority()));
                let is_mixed = self.levels[0].cold().is_some_and(|it| it.mixed);
                let level = if is_mixed && self.levels[0].is_cold(seq) { 0 } else { level };
                if !self.levels[level].is_cold(seq) {
                    return None;
                }
                self.levels[level].take_cold(seq);
                self.ready_bytes = self.ready_bytes.saturating_sub(message.body_bytes());
                (message, true)
            }
        };
        Some(TakenOut { message, stored })
    }

    /// A ready message that has a place in memory, wherever that is.
    fn take_ready(&mut self, seq: Seq) -> Option<Entry> {
        if let Some(entry) = self.levels.iter_mut().find_map(|it| it.take(seq)) {
            return Some(entry);
        }
        if let Some(at) = self.suspects.iter().position(|it| it.seq == seq) {
            return self.suspects.remove(at);
        }
        let (entry, was_free) = self.lanes.take(seq)?;
        if let (true, Some(keyed), Some(message)) = (was_free, &self.settings.keyed, &entry.message)
        {
            let key = Lanes::key(&keyed.source, message, entry.seq);
            self.lanes.release(&key);
        }
        Some(entry)
    }

    fn hasten(
        &mut self,
        now: Timestamp,
        max: usize,
        mut which: impl FnMut(Seq, &Mark) -> bool,
    ) -> usize {
        let all = self.delayed.iter().filter(|((due, _), _)| *due > now);
        let chosen = all.filter(|((_, seq), it)| which(*seq, &it.entry.mark)).take(max);
        let chosen: Vec<(Timestamp, Seq)> = chosen.map(|(at, _)| *at).collect();
        for (due, seq) in &chosen {
            if let Some(delayed) = self.delayed.remove(&(*due, *seq)) {
                self.delayed.insert((now, *seq), delayed);
            }
        }
        chosen.len()
    }
}
