//! What time does to a queue: messages expire, retries become due, acks time out, unused queues go.
//! And what comes from disk, because the log answers in its own time.

use std::cmp::Reverse;

use crate::amqp::id::BatchId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::queue::dispatch::Handle;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::DeleteCause;
use crate::queue::effect::Effect;
use crate::queue::effect::Reason;
use crate::queue::entry::Entry;
use crate::queue::entry::Failure;
use crate::queue::entry::Mark;
use crate::queue::lane::Lanes;
use crate::queue::work::WorkQueue;

/// Messages the log handed out.
#[derive(Debug)]
pub enum Loaded {
    /// The answer to a run: what of it could be read, how many could not, and where to go on.
    Run { level: Option<u8>, from: Seq, messages: Vec<LoadedMessage>, n_damaged: u64, next: Seq },
    /// The answer for one message; `None` when it is damaged or no longer there.
    One { seq: Seq, message: Option<LoadedMessage> },
    /// From `from` to before `next` there are `count` messages with bodies of `bytes`.
    Prefix { from: Seq, next: Seq, count: u64, bytes: u64 },
    /// The last batch that is on disk.
    Written { batch: BatchId },
}

#[derive(Debug)]
pub struct LoadedMessage {
    pub seq: Seq,
    pub message: Message,
    pub mark: Option<Mark>,
    pub expires_at: Timestamp,
}

impl WorkQueue {
    /// Does everything that is due at `now`, then delivers.
    pub fn tick(&mut self, now: Timestamp, outlet: &mut impl Outlet, effects: &mut Vec<Effect>) {
        if self.armed <= now {
            self.armed = Timestamp::NEVER;
        }
        self.time_out(now, effects);
        self.end_delays(now, effects);
        self.expire(now, effects);
        self.dispatch(now, outlet, effects);
        self.enforce_length(effects);
        let unused = self.settings.expires.is_some_and(|it| self.unused_since + it <= now);
        if unused && self.consumers.is_empty() {
            effects.push(Effect::Delete(DeleteCause::Expired));
            return;
        }
        self.arm(effects);
    }

    /// Takes messages the log handed out, then delivers.
    pub fn loaded(
        &mut self,
        loaded: Loaded,
        now: Timestamp,
        outlet: &mut impl Outlet,
        effects: &mut Vec<Effect>,
    ) {
        match loaded {
            Loaded::Run { level, from, messages, n_damaged, next } => {
                let at = level.unwrap_or_default();
                let up_to = self.redelivered_up_to;
                // What another machine asked for, while the queue was one, is not ours.
                if let Some(ready) = self.levels.get_mut(usize::from(at))
                    && ready.expects(level, from)
                {
                    self.totals.damaged += n_damaged;
                    let entries = messages.into_iter().map(|it| to_entry(it, at, up_to)).collect();
                    ready.fetched(entries, n_damaged, next);
                }
            }
            Loaded::One { seq, message } => self.loaded_one(seq, message.as_ref(), effects),
            // Only streams ask for these.
            Loaded::Prefix { .. } | Loaded::Written { .. } => {}
        }
        self.expire(now, effects);
        self.enforce_length(effects);
        self.dispatch(now, outlet, effects);
        self.arm(effects);
    }

    fn loaded_one(&mut self, seq: Seq, message: Option<&LoadedMessage>, effects: &mut Vec<Effect>) {
        self.requested.remove(&seq);
        let body = message.as_ref().map(|it| (it.message.clone(), it.expires_at));
        if let Some((mut entry, reason)) = self.doomed.remove(&seq) {
            if let Some((message, _)) = body {
                entry.message = Some(message);
                self.end(entry, reason, effects);
            } else {
                self.totals.damaged += 1;
            }
            return;
        }
        if self.unheld.remove(&seq) {
            self.hold_key(seq, body.as_ref().map(|(message, _)| message));
            return;
        }
        let waiting = self.levels.iter_mut().find_map(|it| it.find(seq));
        let waiting = waiting.or_else(|| self.suspects.iter_mut().find(|it| it.seq == seq));
        let Some(entry) = waiting else { return };
        match body {
            Some((message, expires_at)) => {
                let more = message.body_bytes().saturating_sub(entry.body_bytes);
                entry.body_bytes = message.body_bytes();
                entry.expires_at = expires_at;
                entry.message = Some(message);
                self.ready_bytes += more;
            }
            None => {
                self.totals.damaged += 1;
                self.levels.iter_mut().for_each(|it| {
                    it.take(seq);
                });
                self.suspects.retain(|it| it.seq != seq);
            }
        }
    }

    /// After a restart, on a queue whose keys wait with their failed messages: occupies the key of
    /// one that waits for its retry.
    fn hold_key(&mut self, seq: Seq, message: Option<&Message>) {
        let Some(message) = message else {
            self.totals.damaged += 1;
            self.delayed.retain(|(_, it), _| *it != seq);
            return;
        };
        let Some(keyed) = &self.settings.keyed else {
            return;
        };
        let key = Lanes::key(&keyed.source, message, seq);
        let waiting = self.delayed.iter_mut().find(|((_, it), _)| *it == seq);
        if let Some((_, delayed)) = waiting {
            delayed.entry.message = Some(message.clone());
            delayed.entry.body_bytes = message.body_bytes();
            delayed.held = Some(key.clone());
            self.lanes.occupy(key);
        }
    }

    /// Ends every ready message whose time is up.
    pub(in crate::queue) fn expire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some(Reverse((at, seq, level))) = self.expiry.peek().copied() {
            if at > now {
                break;
            }
            self.expiry.pop();
            self.expire_one(seq, level, at, effects);
        }
        if self.settings.message_ttl.is_some() {
            for level in 0..self.levels.len() {
                while self.levels[level].front().is_some_and(|it| it.expires_at <= now) {
                    let Some(entry) = self.levels[level].pop_front() else {
                        break;
                    };
                    self.end(entry, Reason::Expired, effects);
                }
                let ready = &mut self.levels[level];
                if ready.front().is_none() && ready.cold().is_some() {
                    self.fetch_ahead(level, effects);
                }
            }
        }
    }

    /// Ends one message wherever it stands; one that is out or gone already is left alone.
    fn expire_one(&mut self, seq: Seq, level: u8, at: Timestamp, effects: &mut Vec<Effect>) {
        let ready = &mut self.levels[usize::from(level)];
        if let Some(entry) = ready.take(seq) {
            self.end(entry, Reason::Expired, effects);
        } else if ready.is_cold(seq) {
            ready.take_cold(seq);
            let entry = unloaded(seq, level, at);
            self.end(entry, Reason::Expired, effects);
        } else if let Some((entry, was_free)) = self.lanes.take(seq) {
            if was_free {
                self.release_key_of(&entry);
            }
            self.end(entry, Reason::Expired, effects);
        } else if let Some(found) = self.suspects.iter().position(|it| it.seq == seq)
            && let Some(entry) = self.suspects.remove(found)
        {
            self.end(entry, Reason::Expired, effects);
        }
    }

    pub(in crate::queue) fn expire_free_lane(&mut self, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.lanes.pop_free() {
            self.release_key_of(&entry);
            self.end(entry, Reason::Expired, effects);
        }
    }

    fn release_key_of(&mut self, entry: &Entry) {
        if let (Some(keyed), Some(message)) = (&self.settings.keyed, &entry.message) {
            let key = Lanes::key(&keyed.source, message, entry.seq);
            self.lanes.release(&key);
        }
    }

    /// Makes failed messages ready again whose wait is over, each at its old place.
    fn end_delays(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let delayed = first.remove();
            let entry = delayed.entry;
            if entry.expires_at <= now {
                self.ready_bytes += entry.body_bytes;
                delayed.held.into_iter().for_each(|key| self.lanes.release(&key));
                self.end(entry, Reason::Expired, effects);
                continue;
            }
            if entry.batch.0 != 0 {
                // Ready now: a restart must not make it wait again.
                let mark = entry.mark.clone();
                effects.push(Effect::Remember { seq: entry.seq, mark, due: None });
            }
            self.ready_bytes += entry.body_bytes;
            self.expires_in_line(&entry);
            match delayed.held {
                Some(_) => self.lanes.push_free(entry),
                None => self.levels[usize::from(entry.level)].insert(entry),
            }
        }
    }

    /// Takes deliveries back that were not settled in time.
    ///
    /// All unacked messages are looked through, but no more than twenty times per timeout, so a
    /// late one is found at most a twentieth of the timeout after it became late.
    fn time_out(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.time_out_at > now {
            return;
        }
        self.time_out_at = Timestamp::NEVER;
        let Some(timeout) = self.settings.consumer_timeout else {
            return;
        };
        let mut late = Vec::new();
        for (slot, unacked) in &self.unacked {
            let due = unacked.delivered_at + timeout;
            if due <= now {
                let slot = u32::try_from(slot).expect("fewer than 2^32 unacked");
                late.push((unacked.entry.seq, Handle { slot, number: unacked.number }));
            } else {
                self.time_out_at = self.time_out_at.min(due).max(now + Millis(timeout.0 / 20));
            }
        }
        late.sort_unstable_by_key(|(seq, _)| *seq);
        for (_, handle) in late {
            if let Some(unacked) = self.take_unacked(handle) {
                let late = unacked.consumer.map(|consumer| Effect::Late { consumer, timeout });
                effects.extend(late);
                self.failed(unacked, Failure::AckTimeout, true, now, effects);
            }
        }
    }
}

fn to_entry(loaded: LoadedMessage, level: u8, redelivered_up_to: Option<Seq>) -> Entry {
    let mut mark = loaded.mark.unwrap_or_default();
    mark.redelivered |= redelivered_up_to.is_some_and(|it| loaded.seq <= it);
    Entry {
        seq: loaded.seq,
        body_bytes: loaded.message.body_bytes(),
        message: Some(loaded.message),
        expires_at: loaded.expires_at,
        batch: BatchId(1),
        level,
        mark,
        gone: false,
    }
}

/// An entry for a message that only the log has.
fn unloaded(seq: Seq, level: u8, expires_at: Timestamp) -> Entry {
    Entry {
        seq,
        message: None,
        expires_at,
        batch: BatchId(1),
        body_bytes: 0,
        level,
        mark: Mark::default(),
        gone: false,
    }
}
