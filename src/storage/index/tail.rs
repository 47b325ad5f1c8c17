//! The newest entries of a queue, in memory and changed in place.

use std::collections::VecDeque;

use crate::amqp::time::Timestamp;
use crate::storage::chunk;
use crate::storage::chunk::Timed;
use crate::storage::entry::Entry;

/// Entries of consecutive sequence numbers; the first one is live unless there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    first: u64,
    entries: VecDeque<Entry>,
    /// When messages expire, by sequence number, for those that do; may name gone ones.
    expiries: VecDeque<(u64, Timestamp)>,
}

impl Tail {
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// One behind the last entry's sequence number.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry behind the last one, and gone ones where numbers were left out.
    pub(crate) fn push(&mut self, seq: u64, (entry, expires_at): Timed) {
        if self.is_empty() {
            self.first = seq;
        }
        while self.end() < seq {
            self.entries.push_back(Entry::GONE);
        }
        self.entries.push_back(entry);
        if let Some(at) = expires_at {
            self.expiries.push_back((seq, at));
        }
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first)?).ok().filter(|index| *index < self.len())
    }

    /// The entry of a number in the range, gone or live.
    pub(crate) fn slot(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = self.index(seq)?;
        self.entries.get_mut(index)
    }

    pub(crate) fn get(&self, seq: u64) -> Option<Timed> {
        let entry = *self.entries.get(self.index(seq)?)?;
        let at = self.expiries.partition_point(|(other, _)| *other < seq);
        let expires_at = self.expiries.get(at).filter(|(other, _)| *other == seq);
        entry.is_live().then_some((entry, expires_at.map(|(_, at)| *at)))
    }

    /// Sets when a message in the range expires.
    pub(crate) fn set_expiry(&mut self, seq: u64, at: Timestamp) {
        let place = self.expiries.partition_point(|(other, _)| *other < seq);
        match self.expiries.get_mut(place) {
            Some((other, old)) if *other == seq => *old = at,
            _ => self.expiries.insert(place, (seq, at)),
        }
    }

    /// Marks an entry as gone; gives the live entry it was.
    pub(crate) fn forget(&mut self, seq: u64) -> Option<Entry> {
        let slot = self.slot(seq)?;
        let entry = std::mem::replace(slot, Entry::GONE);
        self.trim();
        entry.is_live().then_some(entry)
    }

    /// Drops gone entries from the front.
    fn trim(&mut self) {
        while self.entries.front().is_some_and(|entry| !entry.is_live()) {
            self.entries.pop_front();
            self.first += 1;
        }
        let first = self.first;
        while self.expiries.pop_front_if(|(seq, _)| *seq < first).is_some() {}
        if self.is_empty() && self.entries.capacity() > 64 {
            self.entries = VecDeque::new();
            self.expiries = VecDeque::new();
        }
    }

    /// Takes the first `n` entries off.
    pub(crate) fn take(&mut self, n: usize) -> (u64, Vec<Timed>) {
        let first = self.first;
        let mut taken: Vec<Timed> = self.entries.drain(..n).map(|entry| (entry, None)).collect();
        self.first += n as u64;
        while let Some((seq, at)) = self.expiries.pop_front_if(|(seq, _)| *seq < self.first) {
            let (entry, expires_at) =
                &mut taken[usize::try_from(seq - first).expect("below the length")];
            *expires_at = entry.is_live().then_some(at);
        }
        self.trim();
        (first, taken)
    }

    /// All entries as a chunk.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut entries = vec![(Entry::GONE, None); self.len()];
        for (seq, timed) in self.live_from(self.first) {
            entries[usize::try_from(seq - self.first).expect("below the length")] = timed;
        }
        chunk::encode(&entries)
    }

    /// Live entries from `seq` on.
    pub(crate) fn live_from(&self, seq: u64) -> impl Iterator<Item = (u64, Timed)> {
        let seq = seq.clamp(self.first, self.end());
        let index = usize::try_from(seq - self.first).expect("below the length");
        let mut at = self.expiries.partition_point(|(other, _)| *other < seq);
        let entries = (seq..).zip(self.entries.range(index..));
        entries.filter(|(_, entry)| entry.is_live()).map(move |(seq, entry)| {
            while self.expiries.get(at).is_some_and(|(other, _)| *other < seq) {
                at += 1;
            }
            let expires_at = self.expiries.get(at).filter(|(other, _)| *other == seq);
            (seq, (*entry, expires_at.map(|(_, at)| *at)))
        })
    }
}
