//! What a stream no longer keeps: the oldest messages, by the size of all and by their age.
//!
//! Sizes and times of old messages are not in memory. The log is asked for them, one question at a
//! time, and answers later.

use crate::amqp::id::Seq;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::queue::effect::Effect;
use crate::queue::effect::Fetch;
use crate::queue::stream::Stream;
use crate::queue::stream::seek::Seek;

/// How far the present piece of pruning is.
#[derive(Debug)]
pub(in crate::queue) enum Pruning {
    Idle,
    /// The first message that is young enough is looked for.
    Seeking(Seek),
    /// The sizes of the messages that go are asked for; those before `young` go for their age.
    Measuring {
        young: Option<Seq>,
    },
}

/// One in so many of the bytes allowed goes beyond what must go, so that not each message that
/// comes makes another one go.
const SPARE_SHARE: u64 = 32;

/// Between two looks at the age of messages lies at least this part of their age.
const AGE_SHARE: u64 = 64;
const LOOK_MIN_MS: u64 = 1000;
const LOOK_MAX_MS: u64 = 60_000;

impl Stream {
    /// The newest message that is on disk, which always stays.
    pub(in crate::queue) fn newest(&self) -> Seq {
        Seq(self.visible.min(self.end).0.saturating_sub(1))
    }

    pub(in crate::queue) fn age_max(&self) -> Option<Millis> {
        self.settings.stream.and_then(|it| it.age_max)
    }

    pub(in crate::queue) fn exceeds(&self) -> bool {
        self.settings.length_bytes_max.is_some_and(|max| self.bytes > max)
    }

    /// Begins to remove messages if there are more bytes than allowed.
    ///
    /// COMPAT: the bytes are those of bodies. RabbitMQ removes whole files, and so keeps more.
    pub(in crate::queue) fn prune(&mut self, effects: &mut Vec<Effect>) {
        let Some(max) = self.settings.length_bytes_max else { return };
        let excess = self.bytes.saturating_sub(max);
        if excess > 0 && self.first < self.newest() && matches!(self.pruning, Pruning::Idle) {
            self.measure(self.newest(), excess + max / SPARE_SHARE, None, effects);
        }
    }

    fn measure(&mut self, end: Seq, bytes: u64, young: Option<Seq>, effects: &mut Vec<Effect>) {
        self.pruning = Pruning::Measuring { young };
        effects.push(Effect::Fetch(Fetch::Prefix { from: self.first, end, bytes }));
    }

    /// Begins to look for messages that are too old.
    pub(in crate::queue) fn age(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(age_max) = self.age_max() else { return };
        let is_young = self.first_at.is_some_and(|it| it + age_max > now);
        if is_young || self.first >= self.newest() || !matches!(self.pruning, Pruning::Idle) {
            return;
        }
        // Too old is what was published then or before.
        let then = Timestamp(now.0.saturating_sub(age_max.0.saturating_mul(1000)));
        self.pruning = Pruning::Seeking(self.seek_before(Timestamp(then.0 + 1), self.newest()));
        self.go_on(effects);
    }

    /// Asks for the next message of a search, or begins to remove what was found.
    fn go_on(&mut self, effects: &mut Vec<Effect>) {
        let Pruning::Seeking(seek) = &mut self.pruning else { return };
        if let Some(offset) = seek.ask() {
            let seq = self.numbering.seq(offset);
            effects.push(Effect::Fetch(Fetch::One { seq }));
        } else if let Some(young) = seek.result() {
            let young = self.numbering.seq(young);
            self.pruning = Pruning::Idle;
            if young > self.first {
                self.measure(young, u64::MAX, Some(young), effects);
            } else {
                self.prune(effects);
            }
        }
    }

    /// Takes the time of a message that was read.
    pub(in crate::queue) fn aged(
        &mut self,
        (seq, offset): (Seq, u64),
        published_at: Option<Timestamp>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if seq == self.first && published_at.is_some() {
            self.first_at = published_at;
        }
        let first = self.numbering.offset(self.first);
        if let Pruning::Seeking(seek) = &mut self.pruning
            && seek.note(offset, published_at, first)
        {
            self.go_on(effects);
            self.arm(now, effects);
        }
    }

    /// Removes the messages before `next`, which are so many and so large.
    pub(in crate::queue) fn cut(
        &mut self,
        from: Seq,
        next: Seq,
        (count, bytes): (u64, u64),
        effects: &mut Vec<Effect>,
    ) {
        let Pruning::Measuring { young } = self.pruning else { return };
        if from != self.first {
            return;
        }
        self.pruning = Pruning::Idle;
        if next > self.first {
            self.first = next;
            self.first_at = None;
            self.count = self.count.saturating_sub(count);
            self.bytes = self.bytes.saturating_sub(bytes);
            let total =
                if young.is_some() { &mut self.totals.expired } else { &mut self.totals.dropped };
            *total += count;
            self.tail.forget_before(next);
            effects.push(Effect::Purge { below: next, except: Vec::new() });
        }
        match young.filter(|it| *it > self.first) {
            // The log measures so many at a time.
            Some(young) => self.measure(young, u64::MAX, Some(young), effects),
            None => self.prune(effects),
        }
    }

    /// Asks to be woken when the next messages may be too old.
    pub(in crate::queue) fn arm(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(age_max) = self.age_max() else { return };
        let pause = Millis((age_max.0 / AGE_SHARE).clamp(LOOK_MIN_MS, LOOK_MAX_MS));
        let due = self.first_at.map_or(now, |it| it + age_max);
        self.wake(due.max(now + pause), effects);
    }
}
