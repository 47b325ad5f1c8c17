//! The segments of the log, and how much of each is still needed.

use std::collections::BTreeMap;

use crate::storage::entry::Entry;

/// One file of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Segment {
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Bytes of batches in it.
    pub(crate) used: u64,
    /// Places in queues whose message lies here; a message in three queues counts three times.
    pub(crate) n_live: u64,
    /// Bytes of the records of these, as often as they are counted.
    pub(crate) live_bytes: u64,
    /// What `live_bytes` would be if nothing had been settled.
    pub(crate) stored_bytes: u64,
}

impl Segment {
    /// How much of the segment is of use, in percent.
    pub(crate) fn live_percent(&self) -> u64 {
        self.live_bytes.saturating_mul(100) / self.stored_bytes.max(self.used).max(1)
    }
}

/// All segments that hold a part of the log, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments {
    table: BTreeMap<u32, Segment>,
}

impl Segments {
    pub(crate) fn insert(&mut self, number: u32, segment: Segment) {
        self.table.insert(number, segment);
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Segment> {
        self.table.remove(&number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Segment> {
        self.table.get(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.table.iter().map(|(number, segment)| (*number, segment))
    }

    pub(crate) fn use_up_to(&mut self, number: u32, used: u64) {
        if let Some(segment) = self.table.get_mut(&number) {
            segment.used = segment.used.max(used);
        }
    }

    /// A queue now has its message here.
    pub(crate) fn retain(&mut self, entry: Entry) {
        if let Some(segment) = self.table.get_mut(&entry.segment) {
            segment.n_live += 1;
            segment.live_bytes += entry.record_bytes();
            segment.stored_bytes += entry.record_bytes();
        }
    }

    /// A queue needs its message here no more.
    pub(crate) fn release(&mut self, entry: Entry) {
        if let Some(segment) = self.table.get_mut(&entry.segment) {
            debug_assert!(segment.n_live > 0, "released more often than retained");
            segment.n_live = segment.n_live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(entry.record_bytes());
        }
    }
}
