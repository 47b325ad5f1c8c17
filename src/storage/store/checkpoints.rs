//! When a store takes checkpoints, where they go, and what becomes free by them.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::io;

use crate::amqp::time::Timestamp;
use crate::storage::checkpoint;
use crate::storage::checkpoint::CheckpointWork;
use crate::storage::checkpoint::Placed;
use crate::storage::checkpoint::Stamp;
use crate::storage::disk::CHECKPOINT_SLOTS;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::journal::Spare;
use crate::storage::planted::PlantedBug;
use crate::storage::store::Store;
use crate::storage::store::backup::Pinned;

/// The newest messages of all queues may take this part of the memory for the index before they
/// are sealed.
const TAILS_SHARE: usize = 8;

/// The checkpoints of a store that is open.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    next_number: u32,
    newest: Option<Kept>,
    /// What recovery falls back on when the newest one is damaged.
    previous: Option<Kept>,
    pending: Option<(Kept, Vec<Placed>)>,
    /// Bytes that had been written to the log when the last one was begun, and when that was.
    written_before: u64,
    taken_at: Timestamp,
    /// Segments that neither checkpoint needs.
    free: VecDeque<u32>,
    /// All files of sealed chunks on the disk.
    index_files: BTreeSet<u32>,
    /// Slots that were found whole at the start; the others are written first.
    whole_slots: BTreeSet<u8>,
    /// The last one found no room, and some was made for it since.
    is_urgent: bool,
    /// What must stay as it is, as it is being copied.
    pub(super) pinned: Option<Pinned>,
}

/// A checkpoint on the disk, and what it has to do with other files.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) slot: u8,
    /// Segments that were of no use to it.
    pub(crate) free_segments: BTreeSet<u32>,
    /// Files of chunks it refers to.
    pub(crate) index_files: BTreeSet<u32>,
}

impl Kept {
    pub(crate) fn new(slot: u8, stamp: Stamp, index: &Index) -> Kept {
        let open = stamp.position.segment;
        let free = index.segments.iter().filter(|(number, it)| it.n_live == 0 && *number != open);
        Kept {
            slot,
            free_segments: free.map(|(number, _)| number).collect(),
            index_files: index.index_files(),
        }
    }
}

impl<D: Disk> Store<D> {
    /// Bytes of log written since the last checkpoint was begun.
    pub(super) fn new_bytes(&self) -> u64 {
        self.journal.written - self.checkpoints.written_before
    }

    /// Whether enough was written, or enough time went by, for a checkpoint.
    pub fn wants_checkpoint(&self, now: Timestamp) -> bool {
        let new_bytes = self.new_bytes();
        let is_late = now >= self.checkpoints.taken_at + self.config.checkpoint_every;
        // What is useless to the newest checkpoint becomes free by the next one only.
        let frees = || {
            self.checkpoints.newest.as_ref().is_some_and(|newest| {
                let mut segments = newest.free_segments.iter();
                segments.any(|number| self.index.segments.get(*number).is_some())
            })
        };
        // A full disk gives no more segments: those in use must become free before the spares end.
        let is_short = self.lacks_spares() && new_bytes >= self.config.segment_bytes / 2;
        self.checkpoints.pending.is_none()
            && (new_bytes >= self.config.checkpoint_bytes
                || self.checkpoints.is_urgent
                || is_short
                || (is_late && (new_bytes > 0 || frees())))
    }

    /// Takes the state of now; the work returned writes it, on any thread, while commits go on.
    ///
    /// `None` while the one before is not finished.
    pub fn begin_checkpoint(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<CheckpointWork>, StorageError> {
        if self.checkpoints.pending.is_some() {
            return Ok(None);
        }
        let disk = &*self.disk.clone();
        self.guarded(|store| {
            // The state must not be ahead of what the disk has of the log.
            if !store.config.bugs.has(PlantedBug::CheckpointAheadOfLog) {
                store.journal.sync(disk)?;
            }
            store.index.collect_unplaced();
            store.index.seal_tails(store.config.index_bytes / TAILS_SHARE);
            Ok(())
        })?;
        let stamp = self.stamp();
        let number = stamp.number;
        self.checkpoints.next_number += 1;
        let mut slot = self.checkpoints.free_slot();
        if self.config.bugs.has(PlantedBug::CheckpointOverwritten) {
            slot = self.checkpoints.newest.as_ref().map_or(slot, |newest| newest.slot);
        }
        let (work, placed) = checkpoint::encode(&self.index, stamp, FileName::Checkpoint(slot));
        let mut kept = Kept::new(slot, stamp, &self.index);
        if !placed.is_empty() {
            kept.index_files.insert(number);
            self.checkpoints.index_files.insert(number);
        }
        self.checkpoints.pending = Some((kept, placed));
        self.checkpoints.written_before = self.journal.written;
        self.checkpoints.taken_at = now;
        self.checkpoints.is_urgent = false;
        Ok(Some(work))
    }

    /// What a checkpoint of now says of itself.
    pub(super) fn stamp(&self) -> Stamp {
        let (number, position) = (self.checkpoints.next_number, self.journal.position());
        Stamp { number, position, next_number: self.journal.next_number() }
    }

    /// Takes note that the work of [`begin_checkpoint`](Store::begin_checkpoint) was run.
    ///
    /// # Errors
    /// An error of the work poisons the store, unless the disk was only full: then a spare segment
    /// makes room for the next one, as nothing else becomes free without it.
    pub fn finish_checkpoint(
        &mut self,
        result: Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let Some((kept, placed)) = self.checkpoints.pending.take() else { return Ok(()) };
        match result {
            Err(error) if error.is_full() => return self.make_room(&kept, &placed),
            result => self.guarded(|_| result)?,
        }
        self.index.set_places(&placed);
        self.retry_compaction();
        let previous = self.checkpoints.newest.replace(kept);
        if let Some(previous) = &previous {
            let free = previous.free_segments.iter().copied();
            let free = free.filter(|number| self.index.segments.get(*number).is_some());
            self.checkpoints.free = free.collect();
        }
        self.checkpoints.previous = previous;
        Ok(())
    }

    /// Removes what there is of a checkpoint that did not fit, and a spare.
    fn make_room(&mut self, kept: &Kept, placed: &[Placed]) -> Result<(), StorageError> {
        let disk = &*self.disk.clone();
        self.guarded(|store| {
            remove_any(disk, FileName::Checkpoint(kept.slot))?;
            if let Some(placed) = placed.first() {
                remove_any(disk, FileName::Index(placed.place.file))?;
                store.checkpoints.index_files.remove(&placed.place.file);
            }
            store.checkpoints.is_urgent = store.journal.give_up_spare(disk)?;
            Ok(())
        })
    }

    /// Makes one segment or removes one file of chunks that no checkpoint needs; false when there
    /// was none.
    pub(crate) fn free_one(&mut self) -> Result<bool, StorageError> {
        let disk = &*self.disk.clone();
        let spares_max = self.config.spare_segments;
        if self.config.bugs.has(PlantedBug::RecycledTooEarly) {
            let open = self.journal.position().segment;
            let empty = self.index.segments.iter().filter(|(n, it)| it.n_live == 0 && *n != open);
            self.checkpoints.free = empty.map(|(number, _)| number).collect();
        }
        if let Some(number) = self.checkpoints.take_free() {
            return self.guarded(|store| {
                if let Some(segment) = store.index.segments.remove(number) {
                    let old = Spare { number, bytes: segment.bytes, is_worn: true };
                    store.journal.recycle(disk, old, spares_max)?;
                }
                Ok(true)
            });
        }
        if self.config.bugs.has(PlantedBug::ChunksRemovedTooEarly) {
            self.checkpoints.forget_previous();
        }
        let Some(number) = self.checkpoints.unneeded_index_file() else { return Ok(false) };
        let file = FileName::Index(number);
        self.guarded(|store| {
            disk.remove(file).map_err(StorageError::at("remove", file))?;
            store.checkpoints.index_files.remove(&number);
            Ok(true)
        })
    }
}

impl Checkpoints {
    pub(crate) fn new(
        next_number: u32,
        newest: Option<Kept>,
        whole_slots: BTreeSet<u8>,
        index_files: BTreeSet<u32>,
    ) -> Checkpoints {
        Checkpoints {
            next_number,
            newest,
            previous: None,
            pending: None,
            written_before: 0,
            taken_at: Timestamp(0),
            free: VecDeque::new(),
            index_files,
            whole_slots,
            is_urgent: false,
            pinned: None,
        }
    }

    /// Whether room was made that the next checkpoint is to have.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// A slot that holds neither of the two checkpoints in use.
    fn free_slot(&self) -> u8 {
        let used = [&self.newest, &self.previous].map(|kept| kept.as_ref().map(|kept| kept.slot));
        let free = (0..CHECKPOINT_SLOTS).filter(|slot| !used.contains(&Some(*slot)));
        // A damaged checkpoint must not outlive the newer ones.
        let free = free.min_by_key(|slot| self.whole_slots.contains(slot));
        free.expect("there are three slots and two are used")
    }

    /// Lets the chunks of the checkpoint before the newest go.
    fn forget_previous(&mut self) {
        if let Some(previous) = &mut self.previous {
            previous.index_files.clear();
        }
    }

    /// A segment that neither a checkpoint nor a backup needs.
    fn take_free(&mut self) -> Option<u32> {
        let pinned = self.pinned.as_ref();
        let is_free = |number: &u32| pinned.is_none_or(|it| !it.segments.contains(number));
        let at = self.free.iter().position(is_free)?;
        self.free.remove(at)
    }

    fn unneeded_index_file(&self) -> Option<u32> {
        let (newest, previous) = (self.newest.as_ref()?, self.previous.as_ref()?);
        let pending = self.pending.as_ref().map(|(kept, _)| kept);
        let pinned = self.pinned.as_ref();
        let needs = |kept: &Kept, number| kept.index_files.contains(number);
        self.index_files
            .iter()
            .find(|number| {
                let by_pending = pending.is_some_and(|kept| needs(kept, number));
                let by_backup = pinned.is_some_and(|it| it.index_files.contains(number));
                !needs(newest, number) && !needs(previous, number) && !by_pending && !by_backup
            })
            .copied()
    }
}

/// Removes a file that may not be there.
fn remove_any(disk: &dyn Disk, file: FileName) -> Result<(), StorageError> {
    match disk.remove(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(StorageError::at("remove", file)),
    }
}
