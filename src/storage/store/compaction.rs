//! Empties segments that hold little of use: their live messages are written again, grouped by
//! queue, so that an old backlog can be read in long runs.

use std::collections::BTreeSet;
use std::collections::VecDeque;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::Batch;
use crate::storage::batch::parse;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::message::Body;
use crate::storage::message::Durability;
use crate::storage::message::NewMessage;
use crate::storage::reader::Location;
use crate::storage::record::Frame;
use crate::storage::record::Record;
use crate::storage::scan::Scan;
use crate::storage::store::Store;
use crate::storage::store::upkeep::Progress;

/// Segments with less than this share of use are emptied.
const LIVE_PERCENT_MIN: u64 = 50;

/// The segment being emptied, if any.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    work: Option<Work>,
    /// Segments that could not be emptied because something in them is damaged.
    given_up: BTreeSet<u32>,
    /// Segments with a message so long that the disk has no room for its copy, for now.
    waiting: BTreeSet<u32>,
    batch: Batch,
}

#[derive(Debug)]
struct Work {
    segment: u32,
    used: u64,
    /// How far the segment was searched for live messages.
    searched: u64,
    /// What was found: the first queue and number of a record, and its offset.
    found: Vec<(QueueId, u64, u32)>,
    /// The same, once all is found: sorted, and what comes next in front.
    left: VecDeque<(QueueId, u64, u32)>,
}

impl<D: Disk> Store<D> {
    /// Goes on emptying a segment, or starts with the one that gives most for least.
    pub(super) fn compact(&mut self, budget: u64) -> Result<Progress, StorageError> {
        let Some(mut work) = self.compaction.work.take().or_else(|| self.sparse_segment()) else {
            return Ok(Progress::default());
        };
        let disk = self.disk.clone();
        let mut progress = Progress { more: true, ..Progress::default() };
        if work.searched < work.used {
            self.guarded(|store| search(&mut work, store, &*disk, budget))?;
        } else {
            let mut batch = std::mem::take(&mut self.compaction.batch);
            let segment = work.segment;
            let copied = self.guarded(|store| {
                copy(&mut work.left, segment, &mut store.index, &*disk, &mut batch, budget)
            })?;
            progress.copied_bytes = batch.bytes() as u64;
            if !copied.is_empty() {
                self.compaction.given_up.insert(segment);
            }
            progress.damaged = copied;
            let bytes = batch.padded_bytes();
            if !self.guarded(|store| store.journal.prepare(&*disk, bytes))? {
                batch.clear();
                self.compaction.batch = batch;
                self.compaction.waiting.insert(segment);
                return Ok(progress);
            }
            // No sync: the old place stays as it is until two checkpoints, which sync, are past.
            let written = self.write(&mut batch)?;
            self.apply(&mut batch, written)?;
            self.compaction.batch = batch;
        }
        let done = work.searched >= work.used && work.left.is_empty();
        self.compaction.work = (!done).then_some(work);
        Ok(progress)
    }

    /// Tries again what found no room.
    pub(super) fn retry_compaction(&mut self) {
        self.compaction.waiting.clear();
    }

    fn sparse_segment(&self) -> Option<Work> {
        let open = self.journal.position().segment;
        let sparse = self.index.segments.iter().filter(|(number, segment)| {
            segment.n_live > 0
                && segment.live_percent() < LIVE_PERCENT_MIN
                && *number != open
                && !self.compaction.given_up.contains(number)
                && !self.compaction.waiting.contains(number)
        });
        let (segment, state) = sparse.min_by_key(|(_, segment)| segment.live_bytes)?;
        let (found, left) = (Vec::new(), VecDeque::new());
        Some(Work { segment, used: state.used, searched: 0, found, left })
    }
}

/// Looks through some more of the segment for records that queues still need.
fn search<D: Disk>(
    work: &mut Work,
    store: &mut Store<D>,
    disk: &dyn Disk,
    budget: u64,
) -> Result<(), StorageError> {
    let Some(segment) = store.index.segments.get(work.segment) else {
        work.searched = work.used;
        return Ok(());
    };
    let mut scan = Scan::new(disk, work.segment, segment.bytes, store.salt);
    let end = work.used.min(work.searched.saturating_add(budget.max(1)));
    while work.searched < end {
        let at = work.searched;
        // A damaged batch is passed over: what lives in it stays, and the segment with it.
        let Some((header, records)) = scan.records(at) else {
            work.searched = scan.next_header(at + 1).map_or(work.used, |(next, _)| next);
            continue;
        };
        for (offset, frame) in records {
            let offset = u32::try_from(at + offset as u64).expect("segments are below 4 GiB");
            let Ok(Record::Message(message)) = frame.record() else { continue };
            let place = (work.segment, offset);
            let mut live = store.index.live_targets(disk, &message, place)?;
            if let Some(first) = live.pop() {
                work.found.push((first.queue, first.seq.0, offset));
            }
        }
        work.searched = at + header.padded_bytes();
    }
    if work.searched >= work.used {
        work.found.sort_unstable();
        work.left = std::mem::take(&mut work.found).into();
    }
    Ok(())
}

/// Adds live records to `batch` until it has `budget` bytes; returns those that are damaged.
fn copy(
    left: &mut VecDeque<(QueueId, u64, u32)>,
    segment: u32,
    index: &mut Index,
    disk: &dyn Disk,
    batch: &mut Batch,
    budget: u64,
) -> Result<Vec<Location>, StorageError> {
    let mut damaged = Vec::new();
    while (batch.bytes() as u64) < budget {
        let Some((queue, seq, offset)) = left.pop_front() else { break };
        let timed = index.with(queue, disk, |queue, around| queue.get(seq, around))?.flatten();
        // It was settled since the search.
        let Some((entry, expires_at)) = timed else { continue };
        if (entry.segment, entry.offset) != (segment, offset) {
            continue;
        }
        let location = Location::new((queue, Seq(seq)), entry, expires_at);
        let bytes = location.record(disk)?;
        if !copy_record(&bytes, (segment, offset), index, disk, batch)? {
            damaged.push(location);
        }
    }
    Ok(damaged)
}

/// False when the record is not as it was written.
fn copy_record(
    bytes: &[u8],
    place: (u32, u32),
    index: &mut Index,
    disk: &dyn Disk,
    batch: &mut Batch,
) -> Result<bool, StorageError> {
    let Ok(frame) = Frame::parse(bytes) else { return Ok(false) };
    let (Ok(Record::Message(message)), Some(body)) = (frame.record(), parse::body(&frame, bytes))
    else {
        return Ok(false);
    };
    if !parse::body_is_whole(&frame, bytes) {
        return Ok(false);
    }
    let targets = index.live_targets(disk, &message, place)?;
    batch.relocated(&NewMessage {
        targets: &targets,
        flags: message.flags,
        head: message.head,
        body: Body::new([body].into_iter()),
        durability: Durability::Write,
    });
    Ok(true)
}

#[cfg(test)]
mod tests;
