//! The messages of one priority level that wait for a consumer, in order.
//!
//! A short queue is `head` alone. A long one keeps only its two ends in memory: the middle is a
//! number of messages (`cold`) that the log has and hands out from the front when asked.

use std::collections::BTreeSet;
use std::collections::VecDeque;

use crate::amqp::id::BatchId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::queue::entry::Entry;

#[derive(Debug, Default)]
pub(in crate::queue) struct Ready {
    head: VecDeque<Entry>,
    cold: Option<Cold>,
    tail: VecDeque<Entry>,
    tail_bytes: u64,
    /// Entries in `head` and `tail` that are gone but not yet removed.
    n_gone: usize,
}

/// Messages that only the log has: all live ones of this level from `next` to before `end`, except
/// a few that are somewhere else in the queue although the log would hand them out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::queue) struct Cold {
    pub(in crate::queue) count: u64,
    pub(in crate::queue) next: Seq,
    pub(in crate::queue) end: Seq,
    pub(in crate::queue) fetching: bool,
    pub(in crate::queue) except: BTreeSet<Seq>,
    /// They are of all priorities: in a stream they were not told apart.
    pub(in crate::queue) mixed: bool,
}

impl Cold {
    /// What the log is asked for, where these are the messages of `level`.
    pub(in crate::queue) fn level(&self, level: usize) -> Option<u8> {
        (!self.mixed).then(|| u8::try_from(level).unwrap_or(u8::MAX))
    }
}

impl Ready {
    /// Starts with messages that are all in the log.
    pub(in crate::queue) fn restored(cold: Option<Cold>) -> Ready {
        Ready { cold, ..Ready::default() }
    }

    /// Messages in line, wherever they are.
    pub(in crate::queue) fn len(&self) -> u64 {
        let hot = self.head.len() + self.tail.len() - self.n_gone;
        hot as u64 + self.cold.as_ref().map_or(0, |it| it.count)
    }

    pub(in crate::queue) fn cold(&self) -> Option<&Cold> {
        self.cold.as_ref()
    }

    /// Puts an entry at its place: by sequence number, which for new messages is the end.
    pub(in crate::queue) fn insert(&mut self, entry: Entry) {
        match &self.cold {
            Some(cold) if entry.seq >= cold.end => {
                self.tail_bytes += entry.body_bytes;
                insert_by_seq(&mut self.tail, entry);
            }
            // Between `next` and `end` all messages are in the log, this one too: it must have
            // been counted when it was left there.
            Some(_) | None => insert_by_seq(&mut self.head, entry),
        }
    }

    /// The first entry in line, if it is in memory.
    pub(in crate::queue) fn front(&mut self) -> Option<&mut Entry> {
        while self.head.front().is_some_and(|it| it.gone) {
            self.head.pop_front();
            self.n_gone -= 1;
        }
        if self.head.is_empty() && self.cold.is_none() && !self.tail.is_empty() {
            std::mem::swap(&mut self.head, &mut self.tail);
            self.tail_bytes = 0;
            return self.front();
        }
        self.head.front_mut()
    }

    pub(in crate::queue) fn pop_front(&mut self) -> Option<Entry> {
        self.front()?;
        self.head.pop_front()
    }

    /// Finds a message in memory by its number.
    pub(in crate::queue) fn find(&mut self, seq: Seq) -> Option<&mut Entry> {
        for part in [&mut self.head, &mut self.tail] {
            if let Ok(at) = part.binary_search_by_key(&seq, |it| it.seq) {
                return part.get_mut(at).filter(|it| !it.gone);
            }
        }
        None
    }

    /// Takes a message out of the middle of the line.
    pub(in crate::queue) fn take(&mut self, seq: Seq) -> Option<Entry> {
        let entry = self.find(seq)?;
        entry.gone = true;
        let message = entry.message.take();
        let taken = Entry { message, gone: false, ..entry.clone() };
        self.n_gone += 1;
        self.sweep();
        Some(taken)
    }

    /// Removes gone entries once they are the larger part.
    fn sweep(&mut self) {
        if self.n_gone > 64 && self.n_gone * 2 > self.head.len() + self.tail.len() {
            self.head.retain(|it| !it.gone);
            self.tail.retain(|it| !it.gone);
            self.n_gone = 0;
        }
    }

    /// Whether a message that only the log has would be found in this level's cold part.
    pub(in crate::queue) fn is_cold(&self, seq: Seq) -> bool {
        self.cold
            .as_ref()
            .is_some_and(|it| seq >= it.next && seq < it.end && !it.except.contains(&seq))
    }

    /// Takes one message out of the cold part, so that it is not handed out again.
    pub(in crate::queue) fn take_cold(&mut self, seq: Seq) {
        if let Some(cold) = &mut self.cold {
            cold.count = cold.count.saturating_sub(1);
            cold.except.insert(seq);
            self.end_cold();
        }
    }

    /// Leaves the middle of a long line to the log.
    ///
    /// Only messages below `arrived` may go (all earlier ones have been inserted), and only those
    /// whose batch the log has written.
    pub(in crate::queue) fn leave_middle(&mut self, arrived: Seq, written: BatchId) {
        if self.cold.is_none() {
            if self.head.len() < 2 * limit::HOT_TAIL {
                let bytes = self.head.len() > limit::FETCH_COUNT
                    && self.head.iter().map(|it| it.body_bytes).sum::<u64>()
                        > 2 * limit::HOT_TAIL_BYTES;
                if !bytes {
                    return;
                }
            }
            self.tail = self.head.split_off(limit::FETCH_COUNT.min(self.head.len()));
            self.tail_bytes = self.tail.iter().map(|it| it.body_bytes).sum();
        }
        while self.tail.len() > limit::HOT_TAIL || self.tail_bytes > limit::HOT_TAIL_BYTES {
            let Some(first) = self.tail.front() else {
                break;
            };
            let stored = first.batch.0 != 0 && first.batch <= written && first.seq < arrived;
            if !(stored || first.gone) {
                break;
            }
            let Some(entry) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes -= entry.body_bytes;
            if entry.gone {
                self.n_gone -= 1;
                continue;
            }
            let cold = self.cold.get_or_insert_with(|| Cold {
                count: 0,
                next: entry.seq,
                end: entry.seq,
                fetching: false,
                except: BTreeSet::new(),
                mixed: false,
            });
            cold.count += 1;
            cold.end = entry.seq.next();
        }
        if self.cold.is_none() {
            // Nothing could go: one piece again.
            self.head.append(&mut self.tail);
            self.tail_bytes = 0;
        }
    }

    /// Whether more of the cold part should be asked for now.
    pub(in crate::queue) fn wants_fetch(&self) -> bool {
        self.cold.as_ref().is_some_and(|it| !it.fetching)
            && self.head.len() < limit::FETCH_COUNT / 2
    }

    /// Whether a run of messages from `from` on is what was asked for.
    pub(in crate::queue) fn expects(&self, level: Option<u8>, from: Seq) -> bool {
        self.cold
            .as_ref()
            .is_some_and(|it| it.fetching && it.next == from && it.mixed == level.is_none())
    }

    pub(in crate::queue) fn fetching(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.fetching = true;
        }
    }

    /// Takes what the log handed out: `entries` in order, and `next`, where to go on. `n_lost` of
    /// the messages counted could not be read.
    pub(in crate::queue) fn fetched(&mut self, entries: Vec<Entry>, n_lost: u64, next: Seq) {
        let Some(cold) = &mut self.cold else { return };
        cold.fetching = false;
        cold.next = cold.next.max(next);
        for entry in entries {
            if !cold.except.contains(&entry.seq) {
                cold.count = cold.count.saturating_sub(1);
                insert_by_seq(&mut self.head, entry);
            }
        }
        cold.count = cold.count.saturating_sub(n_lost);
        cold.except = cold.except.split_off(&cold.next);
        if cold.next >= cold.end {
            // Whatever was counted beyond what the log has is not there.
            cold.count = 0;
        }
        self.end_cold();
    }

    fn end_cold(&mut self) {
        if self.cold.as_ref().is_some_and(|it| it.count == 0 && !it.fetching) {
            self.cold = None;
            self.head.append(&mut self.tail);
            self.tail_bytes = 0;
        }
    }

    /// Empties the line; returns how many messages were in it.
    pub(in crate::queue) fn clear(&mut self) -> u64 {
        let len = self.len();
        *self = Ready::default();
        len
    }

    /// As [`Ready::iter`].
    pub(in crate::queue) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.head.iter_mut().chain(&mut self.tail).filter(|it| !it.gone)
    }

    /// The entries in memory, in order; those of the cold part are missing between head and tail.
    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.head.iter().chain(&self.tail).filter(|it| !it.gone)
    }
}

fn insert_by_seq(line: &mut VecDeque<Entry>, entry: Entry) {
    match line.back() {
        Some(last) if last.seq > entry.seq => {
            let at = line.partition_point(|it| it.seq < entry.seq);
            line.insert(at, entry);
        }
        Some(_) | None => line.push_back(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::time::Timestamp;
    use crate::queue::entry::Mark;

    fn entry(seq: u64) -> Entry {
        Entry {
            seq: Seq(seq),
            message: None,
            expires_at: Timestamp::NEVER,
            batch: BatchId(1),
            body_bytes: 10,
            level: 0,
            mark: Mark::default(),
            gone: false,
        }
    }

    fn hot_len(ready: &Ready) -> usize {
        ready.iter().count()
    }

    fn drain(ready: &mut Ready) -> Vec<u64> {
        std::iter::from_fn(|| ready.pop_front()).map(|it| it.seq.0).collect()
    }

    #[test]
    fn entries_come_out_by_number() {
        let mut ready = Ready::default();
        [3, 1, 5, 2, 4].into_iter().for_each(|seq| ready.insert(entry(seq)));
        assert_eq!(ready.take(Seq(4)).map(|it| it.seq), Some(Seq(4)));
        assert!(ready.take(Seq(4)).is_none());
        assert_eq!(ready.len(), 4);
        assert_eq!(drain(&mut ready), [1, 2, 3, 5]);
    }

    #[test]
    fn a_long_line_keeps_only_its_ends_and_loses_nothing() {
        let mut ready = Ready::default();
        for seq in 1..=50_000 {
            ready.insert(entry(seq));
            ready.leave_middle(Seq(seq + 1), BatchId(1));
        }
        assert_eq!(ready.len(), 50_000);
        assert!(hot_len(&ready) < 3 * limit::HOT_TAIL, "{} in memory", hot_len(&ready));
        let mut out = Vec::new();
        while out.len() < 50_000 {
            if ready.wants_fetch() {
                let cold = ready.cold().unwrap().clone();
                ready.fetching();
                let end = cold.end.min(Seq(cold.next.0 + 1000));
                ready.fetched((cold.next.0..end.0).map(entry).collect(), 0, end);
            }
            out.push(ready.pop_front().unwrap().seq.0);
        }
        assert_eq!(out, (1..=50_000).collect::<Vec<_>>());
        assert_eq!(ready.len(), 0);
    }

    #[test]
    fn what_is_not_written_or_not_complete_stays_in_memory() {
        let mut unwritten = Ready::default();
        let mut incomplete = Ready::default();
        for seq in 2..=20_000 {
            unwritten.insert(entry(seq));
            unwritten.leave_middle(Seq(seq + 1), BatchId(0));
            incomplete.insert(entry(seq));
            incomplete.leave_middle(Seq(1), BatchId(1));
        }
        assert_eq!(hot_len(&unwritten), 19_999);
        assert_eq!(hot_len(&incomplete), 19_999);
        incomplete.insert(entry(1));
        assert_eq!(drain(&mut incomplete)[..3], [1, 2, 3]);
    }
}
