//! A message arrives in a queue.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::amqp::argument::Overflow;
use crate::amqp::delay::delay;
use crate::amqp::id::BatchId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::Cause;
use crate::queue::effect::Dead;
use crate::queue::effect::Effect;
use crate::queue::effect::Reason;
use crate::queue::entry::Entry;
use crate::queue::entry::Mark;
use crate::queue::settings::Settings;
use crate::queue::work::WorkQueue;

/// A message on its way into a queue.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its number in this queue, given out once by whoever appended it to the log.
    pub seq: Seq,
    pub message: Message,
    /// The batch of the log that has it; 0 when no log does.
    pub batch: BatchId,
}

/// What became of an arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enqueued {
    Taken,
    /// The queue is full and refuses publishes.
    Refused,
}

/// Which numbers have arrived. Publishers append to the log in one order and may reach the queue
/// in another; numbers below [`Arrivals::next`] have all come.
#[derive(Debug, Default)]
pub(in crate::queue) struct Arrivals {
    next: Seq,
    early: BTreeSet<Seq>,
}

impl Arrivals {
    pub(in crate::queue) fn starting_at(next: Seq) -> Arrivals {
        Arrivals { next, early: BTreeSet::new() }
    }

    pub(in crate::queue) fn next(&self) -> Seq {
        self.early.last().map_or(self.next, |it| it.next())
    }

    pub(in crate::queue) fn all_below(&self) -> Seq {
        self.next
    }

    pub(in crate::queue) fn note(&mut self, seq: Seq) {
        if seq == self.next {
            self.next = seq.next();
            while self.early.first() == Some(&self.next) {
                self.early.pop_first();
                self.next = self.next.next();
            }
        } else if seq > self.next {
            self.early.insert(seq);
        }
    }
}

/// When a message expires in a queue with these settings: the shorter of the queue's TTL and its
/// own expiration, counted from `now`.
pub fn expiry(settings: &Settings, message: &Message, now: Timestamp) -> Timestamp {
    let own = own_lifetime(settings, message);
    match (settings.message_ttl, own) {
        (None, None) => Timestamp::NEVER,
        (Some(ttl), None) => now + ttl,
        (None, Some(own)) => now + own,
        (Some(ttl), Some(own)) => now + ttl.min(own),
    }
}

/// How long the message itself says it may be in a queue with these settings.
fn own_lifetime(settings: &Settings, message: &Message) -> Option<Millis> {
    match settings.schedule {
        true => Some(delay(message.properties()).unwrap_or(Millis(0))),
        false => own_expiration(message),
    }
}

/// The expiration property, which was checked when the message was published.
fn own_expiration(message: &Message) -> Option<Millis> {
    let text = message.properties().expiration()?;
    text.trim_start_matches('+').parse().ok().map(|ms: u64| Millis(ms.min(limit::TTL_MS)))
}

impl WorkQueue {
    /// Step 7 of a message's path, called by `broker::publish`; next is `queue::dispatch`.
    ///
    /// Puts a message in line and delivers what can be delivered. `written` is the last batch the
    /// log has on disk: bodies up to there may leave memory when the line is long.
    pub fn enqueue(
        &mut self,
        arrival: Arrival,
        written: BatchId,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) -> Enqueued {
        self.arrivals.note(arrival.seq);
        let body_bytes = arrival.message.body_bytes();
        if self.settings.has_length_limit() && self.would_refuse(body_bytes) {
            self.refuse(arrival, effects);
            return Enqueued::Refused;
        }
        self.totals.published += 1;
        self.incoming.note(&arrival.message);
        let expires_at = expiry(&self.settings, &arrival.message, now);
        let priority = match self.settings.priority_max {
            Some(_) => arrival.message.properties().priority(),
            None => None,
        };
        let level = self.level_of(priority);
        let seq = arrival.seq;
        let has_own_expiration = expires_at != Timestamp::NEVER
            && own_lifetime(&self.settings, &arrival.message).is_some();
        self.ready_bytes += body_bytes;
        self.levels[usize::from(level)].insert(Entry {
            seq,
            message: Some(arrival.message),
            expires_at,
            batch: arrival.batch,
            body_bytes,
            level,
            mark: Mark::default(),
            gone: false,
        });
        self.dispatch(now, outlet, effects);
        if has_own_expiration && self.levels[usize::from(level)].find(seq).is_some() {
            self.expiry.push(Reverse((expires_at, seq, level)));
        }
        if expires_at <= now {
            self.expire(now, effects);
        }
        self.enforce_length(effects);
        if self.settings.durable {
            let all_below = self.arrivals.all_below();
            self.levels[usize::from(level)].leave_middle(all_below, written);
        }
        if expires_at != Timestamp::NEVER {
            self.arm(effects);
        }
        Enqueued::Taken
    }

    /// Notes that a number will never arrive, because its message was refused on the way.
    pub fn skip(&mut self, seq: Seq) {
        self.arrivals.note(seq);
    }

    /// Whether a publish with a body of this size would be refused.
    pub fn would_refuse(&self, body_bytes: u64) -> bool {
        match self.settings.overflow {
            Overflow::DropHead => false,
            Overflow::RejectPublish | Overflow::RejectPublishDeadLetter | Overflow::Park => {
                self.exceeds(1, body_bytes)
            }
        }
    }

    fn refuse(&mut self, arrival: Arrival, effects: &mut Vec<Effect>) {
        self.totals.refused += 1;
        let stored = arrival.batch.0 != 0;
        let dead = |arrival: Arrival| Dead {
            seq: arrival.seq,
            message: arrival.message,
            mark: Mark::default(),
            reason: Reason::MaxLength,
            stored,
        };
        match self.settings.overflow {
            Overflow::Park if self.settings.parking => {
                self.totals.parked += 1;
                effects.push(Effect::Park(dead(arrival)));
            }
            Overflow::RejectPublishDeadLetter if self.settings.dead_letter.is_some() => {
                self.totals.dead_lettered += 1;
                effects.push(Effect::DeadLetter(dead(arrival)));
            }
            Overflow::DropHead
            | Overflow::RejectPublish
            | Overflow::RejectPublishDeadLetter
            | Overflow::Park => {
                if stored {
                    effects.push(Effect::Erase { seq: arrival.seq, cause: Cause::Refused });
                }
            }
        }
    }
}
