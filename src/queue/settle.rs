//! A delivery is settled: acked, refused, given back or lost.

use std::cmp::Reverse;

use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::queue::dispatch::Handle;
use crate::queue::effect::Cause;
use crate::queue::effect::Dead;
use crate::queue::effect::Effect;
use crate::queue::effect::Reason;
use crate::queue::entry::Attempt;
use crate::queue::entry::Entry;
use crate::queue::entry::Failure;
use crate::queue::lane::Key;
use crate::queue::retry::Then;
use crate::queue::work::Delayed;
use crate::queue::work::Unacked;
use crate::queue::work::WorkQueue;

/// What a client, or its absence, says of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    Ack,
    Reject {
        requeue: bool,
    },
    Nack {
        requeue: bool,
    },
    /// `basic.recover`: given back without having failed.
    Recover,
    /// The channel or connection went.
    Lost,
}

impl WorkQueue {
    /// Step 13 of a message's path, called by `session::basic::on_basic_ack` and its kin.
    ///
    /// Settles one delivery. Call [`WorkQueue::dispatch`] when all settlements of a turn are made.
    /// `consumer` is whom it was delivered to, so that credit comes back even for a delivery that
    /// was already taken away (an ack timeout).
    pub fn settle(
        &mut self,
        handle: Handle,
        consumer: Option<ConsumerId>,
        settlement: Settlement,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        consumer.into_iter().for_each(|it| self.consumers.settled(it));
        let Some(unacked) = self.take_unacked(handle) else {
            return;
        };
        match settlement {
            Settlement::Ack => self.acked(unacked, now, effects),
            Settlement::Recover => {
                let mut entry = unacked.entry;
                entry.mark.redelivered = true;
                entry.mark.returns = entry.mark.returns.saturating_add(1);
                self.give_back(entry, unacked.key.is_some(), effects);
            }
            Settlement::Lost => self.failed(unacked, Failure::Lost, true, now, effects),
            Settlement::Reject { requeue } => {
                self.failed(unacked, Failure::Rejected, requeue, now, effects);
            }
            Settlement::Nack { requeue } => {
                self.failed(unacked, Failure::Nacked, requeue, now, effects);
            }
        }
        // What came back may have expired meanwhile.
        self.expire(now, effects);
        self.enforce_length(effects);
        self.arm(effects);
    }

    /// The number of an unsettled delivery that the log has.
    pub fn stored_number(&self, handle: Handle) -> Option<Seq> {
        let unacked = self.unacked.get(handle.slot as usize)?;
        let stored = unacked.number == handle.number && unacked.entry.batch.0 != 0;
        stored.then_some(unacked.entry.seq)
    }

    pub(in crate::queue) fn take_unacked(&mut self, handle: Handle) -> Option<Unacked> {
        let slot = handle.slot as usize;
        let known = self.unacked.get(slot).is_some_and(|it| it.number == handle.number);
        if known { self.unacked.try_remove(slot) } else { None }
    }

    fn acked(&mut self, unacked: Unacked, now: Timestamp, effects: &mut Vec<Effect>) {
        self.totals.acked += 1;
        self.latency.record(now.micros_since(unacked.delivered_at));
        if unacked.entry.batch.0 != 0 {
            effects.push(Effect::Erase { seq: unacked.entry.seq, cause: Cause::Acked });
        }
        unacked.key.into_iter().for_each(|key| self.lanes.release(&key));
    }

    /// A delivery failed: the message goes back, waits for its retry, or ends here.
    pub(in crate::queue) fn failed(
        &mut self,
        unacked: Unacked,
        failure: Failure,
        requeue: bool,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.totals.rejected += u64::from(failure != Failure::Lost);
        let attempt = self.attempt(&unacked, failure, now);
        let Unacked { mut entry, key, .. } = unacked;
        entry.mark.redelivered = true;
        entry.mark.returns = entry.mark.returns.saturating_add(1);
        let counted = failure != Failure::Nacked || !requeue || self.settings.count_nacks;
        entry.mark.failures = entry.mark.failures.saturating_add(u16::from(counted));
        entry.mark.losses = entry.mark.losses.saturating_add(u16::from(failure == Failure::Lost));
        if self.settings.parking || self.settings.retry.is_some() {
            entry.mark.record(attempt);
        }
        let failures = u32::from(entry.mark.failures);
        let at_limit = self.settings.deliveries_max.is_some_and(|max| failures >= max);
        let policy = self.settings.retry.filter(|it| {
            it.counts.includes(failure)
                && !(requeue && self.settings.requeue_immediate)
                && (requeue || !self.settings.fail_fast)
        });
        match policy {
            Some(policy) => {
                entry.mark.attempts = entry.mark.attempts.saturating_add(1);
                let attempts = u32::from(entry.mark.attempts);
                if policy.is_last(attempts) {
                    self.end_and_release(entry, key, Reason::Rejected, effects);
                } else if at_limit {
                    self.end_and_release(entry, key, Reason::DeliveryLimit, effects);
                } else {
                    let due = now + policy.jittered_wait(attempts, entry.seq);
                    self.delay(entry, key, due, effects);
                }
            }
            None if !requeue => self.end_and_release(entry, key, Reason::Rejected, effects),
            None if at_limit => {
                self.end_and_release(entry, key, Reason::DeliveryLimit, effects);
            }
            None => self.give_back(entry, key.is_some(), effects),
        }
    }

    fn attempt(&self, unacked: &Unacked, failure: Failure, now: Timestamp) -> Attempt {
        let consumer = unacked.consumer.and_then(|id| self.consumers.position(id));
        let consumer = consumer.and_then(|at| self.consumers.get(at));
        Attempt {
            at: now,
            failure,
            consumer_tag: consumer.map_or("", |it| it.spec.tag.as_str()).into(),
            connection_name: consumer.map_or("".into(), |it| it.spec.connection_name.clone()),
        }
    }

    /// Whether consumers were lost with a message so often that it goes out alone.
    ///
    /// COMPAT: only where failures are counted. Elsewhere a consumer that acknowledges many messages
    /// at once would wait for more of them for ever, and clients expect the old order.
    pub(in crate::queue) fn is_suspect(&self, entry: &Entry) -> bool {
        self.settings.counts_failures() && entry.mark.is_suspect()
    }

    /// Puts a message back to its old place.
    fn give_back(&mut self, entry: Entry, has_key: bool, effects: &mut Vec<Effect>) {
        self.remember(&entry, None, effects);
        self.ready_bytes += entry.body_bytes;
        self.expires_in_line(&entry);
        if self.is_suspect(&entry) {
            // Its key, if it has one, stays busy: what is behind it must not pass.
            self.suspects.push_back(entry);
        } else if has_key {
            // It is first of its key again, and its key is not free for any other.
            self.lanes.push_free(entry);
        } else {
            self.levels[usize::from(entry.level)].insert(entry);
        }
    }

    /// Lets a message wait for its retry, in place: it is not ready, and blocks nobody.
    fn delay(&mut self, entry: Entry, key: Option<Key>, due: Timestamp, effects: &mut Vec<Effect>) {
        self.totals.retried += 1;
        self.remember(&entry, Some(due), effects);
        let hold = self.settings.keyed.as_ref().is_some_and(|it| it.hold);
        let held = match key {
            Some(key) if hold => Some(key),
            Some(key) => {
                self.lanes.release(&key);
                None
            }
            None => None,
        };
        self.delayed.insert((due, entry.seq), Delayed { entry, held });
    }

    /// Notes the expiration of a message that is in line again.
    pub(in crate::queue) fn expires_in_line(&mut self, entry: &Entry) {
        if entry.expires_at != Timestamp::NEVER {
            self.expiry.push(Reverse((entry.expires_at, entry.seq, entry.level)));
        }
    }

    fn remember(&self, entry: &Entry, due: Option<Timestamp>, effects: &mut Vec<Effect>) {
        if entry.batch.0 != 0 {
            effects.push(Effect::Remember { seq: entry.seq, mark: entry.mark.clone(), due });
        }
    }

    fn end_and_release(
        &mut self,
        entry: Entry,
        key: Option<Key>,
        reason: Reason,
        effects: &mut Vec<Effect>,
    ) {
        key.into_iter().for_each(|key| self.lanes.release(&key));
        // It counts as ready no longer since it was delivered.
        self.ready_bytes += entry.body_bytes;
        self.end(entry, reason, effects);
    }

    /// The life of a ready message in this queue is over: it goes where [`Settings::end_of`] says.
    ///
    /// [`Settings::end_of`]: crate::queue::settings::Settings::end_of
    pub(in crate::queue) fn end(
        &mut self,
        entry: Entry,
        reason: Reason,
        effects: &mut Vec<Effect>,
    ) {
        self.ready_bytes = self.ready_bytes.saturating_sub(entry.body_bytes);
        let then = self.settings.end_of(reason);
        let (parks, letters) = (then == Then::Park, then == Then::DeadLetter);
        if (parks || letters) && entry.message.is_none() {
            self.request(entry.seq, effects);
            self.doomed.insert(entry.seq, (entry, reason));
            return;
        }
        self.totals.expired += u64::from(reason == Reason::Expired);
        let stored = entry.batch.0 != 0;
        let Some(message) = entry.message.filter(|_| parks || letters) else {
            self.totals.dropped += u64::from(reason != Reason::Expired);
            if stored {
                effects.push(Effect::Erase { seq: entry.seq, cause: Cause::Dropped(reason) });
            }
            return;
        };
        let dead = Dead { seq: entry.seq, message, mark: entry.mark, reason, stored };
        if parks {
            self.totals.parked += 1;
            effects.push(Effect::Park(dead));
        } else {
            self.totals.dead_lettered += 1;
            effects.push(Effect::DeadLetter(dead));
        }
    }
}
