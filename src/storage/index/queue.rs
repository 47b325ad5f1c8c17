//! The index of one queue: which messages it has, and where they lie.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::checkpoint::Placed;
use crate::storage::chunk::Timed;
use crate::storage::disk::Disk;
use crate::storage::entry::Entry;
use crate::storage::error::StorageError;
use crate::storage::index::Memory;
use crate::storage::index::levels::Levels;
use crate::storage::index::sealed::Sealed;
use crate::storage::index::tail::Tail;
use crate::storage::record::SeqRanges;
use crate::storage::segment::Segments;

/// Gaps in the numbering up to this long are filled with gone entries; a longer one starts anew.
const GAP_MAX: u64 = 256;

/// Sealed chunks of older messages and a tail of the newest, in order of sequence number.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueIndex {
    /// One behind the highest number ever used.
    pub(crate) next_seq: u64,
    pub(crate) watermark: Seq,
    pub(crate) n_live: u64,
    /// Bytes of the bodies of live messages.
    pub(crate) live_bytes: u64,
    pub(crate) levels: Levels,
    pub(crate) chunks: VecDeque<Sealed>,
    pub(crate) tail: Tail,
    pub(crate) marks: BTreeMap<Seq, Box<[u8]>>,
}

/// Everything an operation on a queue's index may need besides the queue.
pub(crate) struct Around<'a> {
    /// The queue.
    pub(crate) id: QueueId,
    pub(crate) disk: &'a dyn Disk,
    pub(crate) segments: &'a mut Segments,
    pub(crate) memory: &'a mut Memory,
}

impl QueueIndex {
    /// Adds a message, usually behind all others.
    pub(crate) fn insert(
        &mut self,
        seq: u64,
        timed: Timed,
        around: &mut Around<'_>,
    ) -> Result<(), StorageError> {
        let behind = self.tail.end().max(self.chunks.back().map_or(0, Sealed::end));
        self.next_seq = self.next_seq.max(seq + 1);
        if seq >= behind || (self.tail.is_empty() && self.chunks.is_empty()) {
            if !self.tail.is_empty() && seq - self.tail.end() > GAP_MAX {
                self.seal(self.tail.len(), around.memory);
            }
            self.tail.push(seq, timed);
            self.count_in(seq, timed.0, around);
            if self.tail.len() >= 2 * around.memory.chunk_entries {
                self.seal(around.memory.chunk_entries, around.memory);
            }
            return Ok(());
        }
        if self.get(seq, around)?.is_none() {
            self.insert_late(seq, timed, around)?;
            self.count_in(seq, timed.0, around);
        }
        Ok(())
    }

    /// Adds a message whose number lies before that of another one.
    fn insert_late(
        &mut self,
        seq: u64,
        (entry, expires_at): Timed,
        around: &mut Around<'_>,
    ) -> Result<(), StorageError> {
        if let Some(slot) = self.tail.slot(seq) {
            *slot = entry;
            if let Some(at) = expires_at {
                self.tail.set_expiry(seq, at);
            }
            return Ok(());
        }
        let place = self.chunk_place(seq);
        if self.chunk_of(seq).is_some() {
            self.rewrite_chunk(place, &[(seq, (entry, expires_at))], around)
        } else {
            let sealed = Sealed::seal(seq, &[(entry, expires_at)]);
            around.memory.grow(sealed.resident_bytes());
            self.chunks.insert(place, sealed);
            Ok(())
        }
    }

    fn count_in(&mut self, seq: u64, entry: Entry, around: &mut Around<'_>) {
        self.levels.add(entry.priority(), seq);
        self.n_live += 1;
        self.live_bytes += u64::from(entry.body_bytes);
        around.segments.retain(entry);
    }

    fn count_out(&mut self, entry: Entry, around: &mut Around<'_>) {
        self.levels.subtract(entry.priority(), 1);
        self.n_live -= 1;
        self.live_bytes -= u64::from(entry.body_bytes);
        around.segments.release(entry);
    }

    pub(crate) fn seal_tail(&mut self, memory: &mut Memory) {
        for n in [memory.chunk_entries, usize::MAX] {
            let n = n.min(self.tail.len());
            if n > 0 {
                self.seal(n, memory);
            }
        }
    }

    fn seal(&mut self, n: usize, memory: &mut Memory) {
        let (first, entries) = self.tail.take(n);
        let sealed = Sealed::seal(first, &entries);
        memory.grow(sealed.resident_bytes());
        self.chunks.push_back(sealed);
    }

    /// Index of the first chunk that ends behind `seq`.
    fn chunk_place(&self, seq: u64) -> usize {
        match self.chunks.front() {
            Some(front) if seq < front.end() => 0,
            _ => self.chunks.partition_point(|chunk| chunk.end() <= seq),
        }
    }

    fn chunk_of(&self, seq: u64) -> Option<usize> {
        let place = self.chunk_place(seq);
        self.chunks.get(place).is_some_and(|chunk| chunk.first <= seq).then_some(place)
    }

    fn loaded(
        &mut self,
        place: usize,
        around: &mut Around<'_>,
    ) -> Result<&mut Sealed, StorageError> {
        let chunk = &mut self.chunks[place];
        let n_bytes = chunk.load(around.disk)?;
        if n_bytes > 0 {
            around.memory.grow(n_bytes);
            around.memory.note_loaded(around.id, chunk.first);
        }
        Ok(chunk)
    }

    /// Leaves the chunk that starts with `first` to the disk; returns the bytes it gave up.
    pub(crate) fn spill(&mut self, first: u64) -> usize {
        let place = self.chunk_of(first);
        let chunk = place.and_then(|place| self.chunks.get_mut(place));
        chunk.filter(|chunk| chunk.first == first).map_or(0, Sealed::spill)
    }

    /// Notes where a chunk was written, unless it changed or went meanwhile.
    pub(crate) fn set_place(&mut self, placed: &Placed) -> bool {
        let place = self.chunk_of(placed.first);
        let Some(chunk) = place.and_then(|place| self.chunks.get_mut(place)) else { return false };
        let same = chunk.bytes().is_some_and(|bytes| Arc::ptr_eq(bytes, &placed.bytes));
        if same {
            chunk.place = Some(placed.place);
        }
        same
    }

    /// The live entry of `seq`.
    pub(crate) fn get(
        &mut self,
        seq: u64,
        around: &mut Around<'_>,
    ) -> Result<Option<Timed>, StorageError> {
        if seq >= self.tail.first() && !self.tail.is_empty() {
            return Ok(self.tail.get(seq));
        }
        match self.chunk_of(seq) {
            Some(place) => Ok(self.loaded(place, around)?.get(seq)),
            None => Ok(None),
        }
    }

    /// Forgets a message and its mark; false when there was none.
    pub(crate) fn remove(
        &mut self,
        seq: u64,
        around: &mut Around<'_>,
    ) -> Result<bool, StorageError> {
        let entry = if seq >= self.tail.first() && !self.tail.is_empty() {
            self.tail.forget(seq)
        } else {
            self.remove_sealed(seq, around)?
        };
        if !self.marks.is_empty() {
            self.marks.remove(&Seq(seq));
        }
        if let Some(entry) = entry {
            self.count_out(entry, around);
        }
        Ok(entry.is_some())
    }

    fn remove_sealed(
        &mut self,
        seq: u64,
        around: &mut Around<'_>,
    ) -> Result<Option<Entry>, StorageError> {
        let Some(place) = self.chunk_of(seq) else { return Ok(None) };
        let chunk = self.loaded(place, around)?;
        let Some((entry, _)) = chunk.get(seq) else { return Ok(None) };
        chunk.forget(seq, entry);
        if chunk.n_live == 0 {
            around.memory.shrink(chunk.resident_bytes());
            self.chunks.remove(place);
        }
        Ok(Some(entry))
    }

    /// Points live messages to new places; `moves` is sorted by number.
    pub(crate) fn relocate(
        &mut self,
        moves: &[(u64, Entry)],
        around: &mut Around<'_>,
    ) -> Result<(), StorageError> {
        let mut rest = moves;
        while let Some((seq, _)) = rest.first() {
            let end = match self.chunk_of(*seq) {
                Some(place) => self.chunks[place].end(),
                None if self.tail.slot(*seq).is_some() => u64::MAX,
                None => seq + 1,
            };
            let (now, later) = rest.split_at(rest.partition_point(|(seq, _)| *seq < end));
            rest = later;
            let mut changes = Vec::new();
            for (seq, entry) in now {
                if let Some((old, expires_at)) = self.get(*seq, around)? {
                    around.segments.release(old);
                    around.segments.retain(*entry);
                    changes.push((*seq, (*entry, expires_at)));
                }
            }
            self.replace(&changes, around)?;
        }
        Ok(())
    }

    /// Sets live entries that all lie in one chunk, or all in the tail.
    fn replace(
        &mut self,
        changes: &[(u64, Timed)],
        around: &mut Around<'_>,
    ) -> Result<(), StorageError> {
        let Some((first, _)) = changes.first() else { return Ok(()) };
        match self.chunk_of(*first) {
            Some(place) => self.rewrite_chunk(place, changes, around),
            None => {
                for (seq, (entry, _)) in changes {
                    *self.tail.slot(*seq).expect("it is live and in no chunk") = *entry;
                }
                Ok(())
            }
        }
    }

    fn rewrite_chunk(
        &mut self,
        place: usize,
        changes: &[(u64, Timed)],
        around: &mut Around<'_>,
    ) -> Result<(), StorageError> {
        let chunk = self.loaded(place, around)?;
        let mut entries = chunk.unsealed();
        for (seq, timed) in changes {
            entries[usize::try_from(seq - chunk.first).expect("inside of the chunk")] = *timed;
        }
        around.memory.shrink(chunk.resident_bytes());
        *chunk = Sealed::seal(chunk.first, &entries);
        around.memory.grow(chunk.resident_bytes());
        Ok(())
    }

    /// Forgets all messages before `below` that no range of `keeps` holds.
    ///
    /// Chunks that go as a whole are not decoded but returned, if their messages have one priority:
    /// their segments are still to be released.
    pub(crate) fn purge(
        &mut self,
        below: u64,
        keeps: &Keeps,
        around: &mut Around<'_>,
    ) -> Result<Vec<Sealed>, StorageError> {
        let mut garbage = Vec::new();
        for mut chunk in std::mem::take(&mut self.chunks) {
            if let Some(priority) = chunk.priority
                && chunk.end() <= below
                && !keeps.any(chunk.first, chunk.end())
            {
                self.levels.subtract(priority, chunk.n_live.into());
                self.n_live -= u64::from(chunk.n_live);
                self.live_bytes -= chunk.live_bytes;
                garbage.push(chunk);
                continue;
            }
            if chunk.first < below {
                around.memory.grow(chunk.load(around.disk)?);
                let live: Vec<(u64, Timed)> = chunk.live_from(0).collect();
                for (seq, (entry, _)) in live {
                    if seq < below && !keeps.any(seq, seq + 1) {
                        chunk.forget(seq, entry);
                        self.count_out(entry, around);
                    }
                }
            }
            match chunk.n_live {
                0 => around.memory.shrink(chunk.resident_bytes()),
                _ => self.chunks.push_back(chunk),
            }
        }
        let goes = |seq: u64| seq < below && !keeps.any(seq, seq + 1);
        let seqs: Vec<u64> = self.tail.live_from(0).map(|(seq, _)| seq).collect();
        for seq in seqs.into_iter().filter(|seq| goes(*seq)) {
            if let Some(entry) = self.tail.forget(seq) {
                self.count_out(entry, around);
            }
        }
        self.marks.retain(|seq, _| !goes(seq.0));
        Ok(garbage)
    }

    /// Live messages from `seq` on, one chunk or the tail at a time: gives what it found and where
    /// to go on, `None` at the end.
    pub(crate) fn live_run(
        &mut self,
        seq: u64,
        around: &mut Around<'_>,
    ) -> Result<(impl Iterator<Item = (u64, Timed)>, Option<u64>), StorageError> {
        let place = self.chunk_place(seq);
        if place < self.chunks.len() {
            let chunk = self.loaded(place, around)?;
            let end = chunk.end();
            return Ok((Run::Chunk(chunk.live_from(seq)), Some(end)));
        }
        Ok((Run::Tail(self.tail.live_from(seq)), None))
    }

    /// Live messages with an expiry from `seq` on, as [`live_run`](QueueIndex::live_run) gives all.
    ///
    /// Chunks without any are passed over unread.
    pub(crate) fn expiring_run(
        &mut self,
        seq: u64,
        around: &mut Around<'_>,
    ) -> Result<(impl Iterator<Item = (u64, Timed)>, Option<u64>), StorageError> {
        let place = self.chunk_place(seq);
        let next = self.chunks.range(place..).find(|chunk| chunk.expires);
        let seq = next.map_or(seq.max(self.tail.first()), |chunk| seq.max(chunk.first));
        let (run, next) = self.live_run(seq, around)?;
        Ok((run.filter(|(_, (_, expires_at))| expires_at.is_some()), next))
    }
}

/// Two kinds of iterators as one.
enum Run<A, B> {
    Chunk(A),
    Tail(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Run<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Run::Chunk(entries) => entries.next(),
            Run::Tail(entries) => entries.next(),
        }
    }
}

/// Numbers that a purge leaves alone, as rising ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeps(Vec<(u64, u64)>);

impl Keeps {
    pub(crate) fn new(ranges: SeqRanges<'_>) -> Keeps {
        Keeps(ranges.map(|(first, last)| (first.0, last.0)).collect())
    }

    /// Whether one of them is in `first..end`.
    fn any(&self, first: u64, end: u64) -> bool {
        let place = self.0.partition_point(|(_, last)| *last < first);
        self.0.get(place).is_some_and(|(start, _)| *start < end)
    }
}
