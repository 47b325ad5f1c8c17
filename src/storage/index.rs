//! Where every live message of every queue lies: what the records of the log add up to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;

use foldhash::fast::FixedState;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::parse::Records;
use crate::storage::checkpoint::Placed;
use crate::storage::chunk::Timed;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::entry::Entry;
use crate::storage::error::StorageError;
use crate::storage::index::queue::Around;
use crate::storage::index::queue::Keeps;
use crate::storage::index::queue::QueueIndex;
use crate::storage::index::sealed::Sealed;
use crate::storage::message::Target;
use crate::storage::record::Frame;
use crate::storage::record::Message;
use crate::storage::record::Record;
use crate::storage::segment::Segments;

/// Tails shorter than a chunk by this factor are not worth a chunk of their own.
const SHORT_TAILS: usize = 16;

/// The state of the store: a fold of [`Index::apply`] over the log.
#[derive(Debug)]
pub(crate) struct Index {
    queues: HashMap<QueueId, QueueIndex, FixedState>,
    /// Everything durable that is no message.
    pub(crate) defined: BTreeMap<Box<[u8]>, Box<[u8]>>,
    pub(crate) segments: Segments,
    pub(crate) memory: Memory,
    /// Chunks of purged and dropped queues whose segments are still to be released.
    pub(crate) garbage: VecDeque<Sealed>,
    /// Relocations of the batch being applied, carried out together at its end.
    relocations: Vec<(QueueId, u64, Entry)>,
}

/// How much memory chunks take, and how they are cut.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Entries of a sealed chunk.
    pub(crate) chunk_entries: usize,
    /// Bytes of chunks in memory.
    pub(crate) resident: usize,
    /// Chunks that are in memory although the disk has them, the one to leave first in front.
    loaded: VecDeque<(QueueId, u64)>,
}

impl Memory {
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.resident += bytes;
    }

    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.resident -= bytes;
    }

    /// The chunk of `queue` that starts with `first` is in memory and on disk.
    pub(crate) fn note_loaded(&mut self, queue: QueueId, first: u64) {
        self.loaded.push_back((queue, first));
    }
}

impl Index {
    pub(crate) fn new(chunk_entries: usize) -> Index {
        Index {
            queues: HashMap::default(),
            defined: BTreeMap::new(),
            segments: Segments::default(),
            memory: Memory { chunk_entries, resident: 0, loaded: VecDeque::new() },
            garbage: VecDeque::new(),
            relocations: Vec::new(),
        }
    }

    /// Takes in a batch that lies at `offset` of `segment`, but for the records at the places
    /// `left_out`. Says in which segment the log goes on and how long that is, when the batch does.
    ///
    /// Serves live commits and recovery alike. `bytes` is the batch without its padding, and whole.
    pub(crate) fn apply_batch(
        &mut self,
        disk: &dyn Disk,
        (segment, offset): (u32, u32),
        bytes: &[u8],
        left_out: &[usize],
    ) -> Result<Option<(u32, u64)>, StorageError> {
        let mut next = None;
        for (at, frame) in Records::new(bytes) {
            if left_out.contains(&at) {
                continue;
            }
            let record = frame.record().map_err(|_| StorageError::Damaged {
                file: FileName::Segment(segment),
                what: format!(
                    "record at byte {} is of a later format",
                    u64::from(offset) + at as u64
                ),
            })?;
            if let Record::Next { segment, bytes } = record {
                next = Some((segment, bytes));
            }
            let at = u32::try_from(at).expect("batches are shorter than 4 GiB");
            self.apply(disk, (segment, offset + at), &frame, &record)?;
        }
        self.finish_batch(disk)?;
        Ok(next)
    }

    /// Takes in one record. After the last one of a batch, call [`Index::finish_batch`].
    fn apply(
        &mut self,
        disk: &dyn Disk,
        (segment, offset): (u32, u32),
        frame: &Frame<'_>,
        record: &Record<'_>,
    ) -> Result<(), StorageError> {
        match *record {
            Record::Message(message) => self.message(disk, (segment, offset), frame, &message)?,
            Record::Ack { queue, seqs, .. } => {
                for (first, last) in seqs {
                    for seq in first.0..=last.0 {
                        self.with(queue, disk, |queue, around| queue.remove(seq, around))?;
                    }
                }
            }
            Record::Returned { queue, seq, mark } | Record::Delayed { queue, seq, mark } => {
                self.with(queue, disk, |queue, around| {
                    if queue.get(seq.0, around)?.is_some() {
                        queue.marks.insert(seq, mark.into());
                    }
                    Ok(())
                })?;
            }
            Record::Watermark { queue, seq } => {
                let queue = self.queues.entry(queue).or_default();
                queue.watermark = queue.watermark.max(seq);
            }
            Record::Define { key, value } => {
                self.defined.insert(key.into(), value.into());
            }
            Record::Undefine { key } => {
                self.defined.remove(key);
            }
            Record::Purge { queue, below, except } => {
                let keeps = Keeps::new(except);
                let garbage =
                    self.with(queue, disk, |queue, around| queue.purge(below.0, &keeps, around))?;
                self.garbage.extend(garbage.unwrap_or_default());
            }
            Record::DropQueue { queue } => self.drop_queue(queue),
            Record::Next { .. } | Record::Seal | Record::Skipped => {}
        }
        Ok(())
    }

    fn message(
        &mut self,
        disk: &dyn Disk,
        (segment, offset): (u32, u32),
        frame: &Frame<'_>,
        message: &Message<'_>,
    ) -> Result<(), StorageError> {
        if let Some((queue, seq, _)) = message.from {
            self.with(queue, disk, |queue, around| queue.remove(seq.0, around))?;
        }
        for target in message.targets {
            let (header, body) = (frame.header_bytes, frame.body_bytes);
            let entry = Entry::new(segment, offset, header, body, target.priority);
            if message.relocated {
                self.relocations.push((target.queue, target.seq.0, entry));
                continue;
            }
            let queue = self.queues.entry(target.queue).or_default();
            let (segments, memory) = (&mut self.segments, &mut self.memory);
            let mut around = Around { id: target.queue, disk, segments, memory };
            queue.insert(target.seq.0, (entry, target.expires_at), &mut around)?;
        }
        Ok(())
    }

    /// Carries out what the records of a batch left to its end.
    fn finish_batch(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        if self.relocations.is_empty() {
            return Ok(());
        }
        let mut moves = std::mem::take(&mut self.relocations);
        moves.sort_unstable_by_key(|(queue, seq, _)| (*queue, *seq));
        for run in moves.chunk_by(|a, b| a.0 == b.0) {
            let places: Vec<(u64, Entry)> = run.iter().map(|(_, seq, to)| (*seq, *to)).collect();
            self.with(run[0].0, disk, |queue, around| queue.relocate(&places, around))?;
        }
        Ok(())
    }

    fn drop_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(&id) else { return };
        for (_, (entry, _)) in queue.tail.live_from(0) {
            self.segments.release(entry);
        }
        self.garbage.extend(queue.chunks);
    }

    /// Releases the segments of up to `n` chunks of purged or dropped queues.
    pub(crate) fn collect(&mut self, disk: &dyn Disk, n: usize) -> Result<(), StorageError> {
        for mut chunk in self.garbage.drain(..n.min(self.garbage.len())) {
            self.memory.grow(chunk.load(disk)?);
            chunk.live_from(0).for_each(|(_, (entry, _))| self.segments.release(entry));
            self.memory.shrink(chunk.resident_bytes());
        }
        Ok(())
    }

    /// Seals tails, but for short ones, when all together take more than `budget` bytes: many queues
    /// of middling length must not take more memory than a few long ones.
    pub(crate) fn seal_tails(&mut self, budget: usize) {
        let n_entries: usize = self.queues.values().map(|queue| queue.tail.len()).sum();
        if n_entries * size_of::<Entry>() <= budget {
            return;
        }
        let short = self.memory.chunk_entries / SHORT_TAILS;
        for queue in self.queues.values_mut().filter(|queue| queue.tail.len() > short) {
            queue.seal_tail(&mut self.memory);
        }
    }

    /// Leaves chunks to the disk until those in memory take no more than `budget` bytes, as far as
    /// the disk has them.
    pub(crate) fn trim(&mut self, budget: usize) {
        while self.memory.resident > budget {
            let Some((id, first)) = self.memory.loaded.pop_front() else { return };
            if let Some(queue) = self.queues.get_mut(&id) {
                self.memory.resident -= queue.spill(first);
            }
        }
    }

    /// Notes that a checkpoint wrote these chunks, where they are unchanged.
    pub(crate) fn set_places(&mut self, placed: &[Placed]) {
        for placed in placed {
            if let Some(queue) = self.queues.get_mut(&placed.queue)
                && queue.set_place(placed)
            {
                self.memory.note_loaded(placed.queue, placed.first);
            }
        }
    }

    /// Releases the segments of purged chunks that are in memory only.
    pub(crate) fn collect_unplaced(&mut self) {
        let (segments, memory) = (&mut self.segments, &mut self.memory);
        self.garbage.retain(|chunk| {
            if chunk.place.is_none() {
                chunk.live_from(0).for_each(|(_, (entry, _))| segments.release(entry));
                memory.shrink(chunk.resident_bytes());
            }
            chunk.place.is_some()
        });
    }

    /// The files that chunks of this state lie in.
    pub(crate) fn index_files(&self) -> BTreeSet<u32> {
        let queues = self.queues.values().flat_map(|queue| &queue.chunks);
        let places = queues.chain(&self.garbage).filter_map(|chunk| chunk.place);
        places.map(|place| place.file).collect()
    }

    /// Runs `then` on a queue, if there is one of that number.
    pub(crate) fn with<T>(
        &mut self,
        queue: QueueId,
        disk: &dyn Disk,
        then: impl FnOnce(&mut QueueIndex, &mut Around<'_>) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        let id = queue;
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(None) };
        let (segments, memory) = (&mut self.segments, &mut self.memory);
        then(queue, &mut Around { id, disk, segments, memory }).map(Some)
    }

    pub(crate) fn queue(&self, queue: QueueId) -> Option<&QueueIndex> {
        self.queues.get(&queue)
    }

    pub(crate) fn queue_mut(&mut self, queue: QueueId) -> Option<&mut QueueIndex> {
        self.queues.get_mut(&queue)
    }

    /// Counts anew what of each segment and of each level is live.
    pub(crate) fn recount(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        self.segments.clear_counts();
        for queue in self.queues.values_mut() {
            queue.levels.clear();
            let mut count = |(seq, (entry, _)): (u64, Timed)| {
                self.segments.retain(entry);
                queue.levels.add(entry.priority(), seq);
            };
            for chunk in &mut queue.chunks {
                let n_bytes = chunk.load(disk)?;
                chunk.live_from(0).for_each(&mut count);
                if n_bytes > 0 {
                    chunk.spill();
                }
            }
            queue.tail.live_from(0).for_each(count);
        }
        for chunk in &mut self.garbage {
            let n_bytes = chunk.load(disk)?;
            chunk.live_from(0).for_each(|(_, (entry, _))| self.segments.retain(entry));
            if n_bytes > 0 {
                chunk.spill();
            }
        }
        Ok(())
    }

    pub(crate) fn put_queue(&mut self, id: QueueId, queue: QueueIndex) {
        self.memory.grow(queue.chunks.iter().map(Sealed::resident_bytes).sum());
        self.queues.insert(id, queue);
    }

    /// The numbers of all queues, rising.
    pub(crate) fn queue_ids(&self) -> Vec<QueueId> {
        let mut ids: Vec<QueueId> = self.queues.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The queues that have `message` and look for it at `place`.
    pub(crate) fn live_targets(
        &mut self,
        disk: &dyn Disk,
        message: &Message<'_>,
        place: (u32, u32),
    ) -> Result<Vec<Target>, StorageError> {
        let mut live = Vec::new();
        for target in message.targets {
            let entry = self
                .with(target.queue, disk, |queue, around| queue.get(target.seq.0, around))?
                .flatten();
            if entry.is_some_and(|(entry, _)| (entry.segment, entry.offset) == place) {
                live.push(target);
            }
        }
        Ok(live)
    }

    /// Never gives `seq` of `queue` to another message.
    pub(crate) fn use_number(&mut self, queue: QueueId, seq: Seq) {
        let queue = self.queues.entry(queue).or_default();
        queue.next_seq = queue.next_seq.max(seq.0 + 1);
    }

    /// Forgets all messages that lie in `segment`, which is gone; gives their queues and numbers.
    pub(crate) fn forget_segment(
        &mut self,
        disk: &dyn Disk,
        segment: u32,
    ) -> Result<Vec<(QueueId, Seq)>, StorageError> {
        let mut lost = Vec::new();
        for id in self.queue_ids() {
            let mut from = Some(0);
            while let Some(seq) = from {
                let step = self.with(id, disk, |queue, around| {
                    let (run, next) = queue.live_run(seq, around)?;
                    let here = run.filter(|(_, (entry, _))| entry.segment == segment);
                    let seqs: Vec<u64> = here.map(|(seq, _)| seq).collect();
                    for seq in &seqs {
                        queue.remove(*seq, around)?;
                    }
                    Ok((seqs, next))
                })?;
                let (seqs, next) = step.unwrap_or_default();
                lost.extend(seqs.into_iter().map(|seq| (id, Seq(seq))));
                from = next;
            }
        }
        Ok(lost)
    }

    /// Leaves `reserve` numbers of every queue unused, so that none is given out twice even if
    /// messages that were never confirmed are lost.
    pub(crate) fn skip_numbers(&mut self, reserve: u64) {
        for queue in self.queues.values_mut() {
            queue.next_seq += reserve;
        }
    }
}

pub(crate) mod levels;
pub(crate) mod queue;
pub(crate) mod sealed;
pub(crate) mod tail;
#[cfg(test)]
mod tests;
