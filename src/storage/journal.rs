//! The writing end of the log: batches into segments, one after the other.

use std::collections::VecDeque;

use crate::amqp::id::BatchId;
use crate::storage::batch::BLOCK_BYTES;
use crate::storage::batch::Batch;
use crate::storage::batch::parse::Place;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::error::StorageError;
use crate::storage::planted::Bugs;
use crate::storage::planted::PlantedBug;
use crate::storage::segment::Segment;
use crate::storage::segment::Segments;

/// Every segment keeps a block free for the batch that says where the log goes on.
const NEXT_BYTES: u64 = BLOCK_BYTES as u64;

/// Zeros written ahead of the log's end. The first write to a block that was only reserved changes
/// the file system's own tables, which doubles the time of the sync; with these, that happens once
/// in so many bytes. Measured, see docs/performance.md.
static AHEAD: [u8; 256 * 1024] = [0; 256 * 1024];

/// Longer batches are not worth it: their sync takes about as long either way, and the zeros
/// would double what is written.
const AHEAD_OF_BYTES: usize = 32 * 1024;

/// Where the log ends: the next batch goes here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// The batch written last, and the segment it lies in.
    pub(crate) last: BatchId,
    pub(crate) last_segment: u32,
}

/// A file that is ready to become a segment, under the number it will have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spare {
    pub(crate) number: u32,
    pub(crate) bytes: u64,
    /// It was a segment before, so that its blocks are more than reserved.
    pub(crate) is_worn: bool,
}

/// The log's end, and what it can grow into.
#[derive(Debug)]
pub(crate) struct Journal {
    position: Position,
    /// Size of the segment in use.
    current_bytes: u64,
    /// Up to here, blocks of the segment in use have been written before.
    worn_bytes: u64,
    segment_bytes: u64,
    salt: u32,
    bugs: Bugs,
    /// The id that the next batch takes.
    next_id: BatchId,
    synced: BatchId,
    /// The last batch holds nothing, and says that all before it was synced.
    sealed: bool,
    spares: VecDeque<Spare>,
    /// Never given to a file before.
    next_number: u32,
    /// For the batches that the log itself needs.
    own: Batch,
    /// Bytes written since the start.
    pub(crate) written: u64,
}

impl Journal {
    /// Goes on behind `last` in a segment of its own.
    ///
    /// `first_id` must be above the id of every batch ever written, `next_number` above the number
    /// of every file.
    pub(crate) fn start(
        disk: &dyn Disk,
        segments: &mut Segments,
        mut spares: VecDeque<Spare>,
        last: Position,
        (first_id, next_number): (BatchId, u32),
        (segment_bytes, salt, bugs): (u64, u32, Bugs),
    ) -> Result<Journal, StorageError> {
        let fresh = spares.pop_front();
        let mut journal = Journal {
            position: last,
            current_bytes: 0,
            worn_bytes: 0,
            segment_bytes,
            salt,
            bugs,
            next_id: first_id,
            synced: last.last,
            sealed: true,
            spares,
            next_number,
            own: Batch::new(),
            written: 0,
        };
        let fresh = match fresh {
            Some(spare) => spare,
            None => journal.create(disk, segment_bytes)?,
        };
        journal.enter(segments, fresh);
        Ok(journal)
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn is_half_full(&self) -> bool {
        self.position.offset > self.current_bytes / 2
    }

    pub(crate) fn next_number(&self) -> u32 {
        self.next_number
    }

    pub(crate) fn spares(&self) -> &VecDeque<Spare> {
        &self.spares
    }

    /// The newest batch that is certainly on the disk.
    pub(crate) fn synced(&self) -> BatchId {
        self.synced
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced == self.position.last
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Writes a batch; returns its id, and the segment and offset where it lies.
    pub(crate) fn write(
        &mut self,
        disk: &dyn Disk,
        segments: &mut Segments,
        batch: &mut Batch,
    ) -> Result<(BatchId, u32, u32), StorageError> {
        batch.close();
        let bytes = batch.padded_bytes();
        if self.position.offset + bytes + NEXT_BYTES > self.current_bytes {
            self.switch(disk, segments, bytes)?;
        }
        self.put(disk, segments, batch)
    }

    /// Writes an empty batch that proves all before it to be synced, unless there is one already.
    pub(crate) fn seal(
        &mut self,
        disk: &dyn Disk,
        segments: &mut Segments,
    ) -> Result<(), StorageError> {
        if self.sealed {
            return Ok(());
        }
        self.sync(disk)?;
        let mut own = std::mem::take(&mut self.own);
        own.clear();
        own.seal();
        self.write(disk, segments, &mut own)?;
        self.own = own;
        self.sync(disk)?;
        self.sealed = true;
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        if !self.is_synced() {
            let file = FileName::Segment(self.position.segment);
            let mut result = disk.sync(file);
            if result.is_err() && self.bugs.has(PlantedBug::SyncRetried) {
                result = disk.sync(file);
            }
            result.map_err(StorageError::at("sync", file))?;
            self.synced = self.position.last;
        }
        Ok(())
    }

    /// Writes a closed batch to the segment in use, which has room for it.
    fn put(
        &mut self,
        disk: &dyn Disk,
        segments: &mut Segments,
        batch: &mut Batch,
    ) -> Result<(BatchId, u32, u32), StorageError> {
        let Position { segment, offset, last, last_segment } = self.position;
        let id = self.next_id;
        let synced = self.synced;
        let place = Place { segment, id, previous: last, previous_segment: last_segment, synced };
        let bytes = batch.stamp(place, self.salt);
        let file = FileName::Segment(segment);
        disk.write_at(file, offset, bytes).map_err(StorageError::at("write", file))?;
        let end = offset + bytes.len() as u64;
        if end > self.worn_bytes {
            self.worn_bytes = end;
            if bytes.len() <= AHEAD_OF_BYTES {
                self.write_ahead(disk, file, end)?;
            }
        }
        self.written += bytes.len() as u64;
        self.position = Position { segment, offset: end, last: id, last_segment: segment };
        self.next_id = BatchId(id.0 + 1);
        self.sealed = false;
        segments.use_up_to(segment, end);
        let offset = offset.try_into().expect("segments are shorter than 4 GiB");
        Ok((id, segment, offset))
    }

    /// Writes zeros behind the log's end, where nothing is yet.
    fn write_ahead(
        &mut self,
        disk: &dyn Disk,
        file: FileName,
        end: u64,
    ) -> Result<(), StorageError> {
        let free = usize::try_from(self.current_bytes.saturating_sub(end)).unwrap_or(AHEAD.len());
        let zeros = &AHEAD[..free.min(AHEAD.len())];
        disk.write_at(file, end, zeros).map_err(StorageError::at("write", file))?;
        self.worn_bytes = end + zeros.len() as u64;
        Ok(())
    }

    /// Ends the segment in use and enters one with room for `bytes` more.
    fn switch(
        &mut self,
        disk: &dyn Disk,
        segments: &mut Segments,
        bytes: u64,
    ) -> Result<(), StorageError> {
        let needed = bytes + NEXT_BYTES;
        let spare = self.spares.iter().position(|spare| spare.bytes >= needed);
        let next = match spare.and_then(|at| self.spares.remove(at)) {
            Some(spare) => spare,
            None => self.create(disk, needed.max(self.segment_bytes))?,
        };
        let mut own = std::mem::take(&mut self.own);
        own.clear();
        own.next(next.number, next.bytes);
        own.close();
        self.put(disk, segments, &mut own)?;
        self.own = own;
        // Before the first batch of the next segment can be confirmed, the way there must be safe.
        if !self.bugs.has(PlantedBug::SwitchWithoutSync) {
            self.sync(disk)?;
        }
        self.enter(segments, next);
        Ok(())
    }

    fn enter(&mut self, segments: &mut Segments, next: Spare) {
        segments.insert(next.number, Segment { bytes: next.bytes, ..Segment::default() });
        self.position.segment = next.number;
        self.position.offset = 0;
        self.current_bytes = next.bytes;
        self.worn_bytes = if next.is_worn { next.bytes } else { 0 };
    }

    fn create(&mut self, disk: &dyn Disk, bytes: u64) -> Result<Spare, StorageError> {
        let number = self.next_number;
        self.next_number += 1;
        let file = FileName::Segment(number);
        let created = disk.create(file, bytes).map_err(StorageError::at("create", file));
        if let Err(error) = created {
            if error.is_full() {
                // What could be reserved of it is of more use to others.
                disk.remove(file).map_err(StorageError::at("remove", file))?;
            }
            return Err(error);
        }
        if !self.bugs.has(PlantedBug::FolderNotSynced) {
            disk.sync_folder(Folder::Log).map_err(StorageError::at("sync the folder of", file))?;
        }
        Ok(Spare { number, bytes, is_worn: false })
    }

    /// Makes one more file ready to be used; false when the disk has no room for it.
    pub(crate) fn add_spare(&mut self, disk: &dyn Disk) -> Result<bool, StorageError> {
        self.add_spare_of(disk, self.segment_bytes)
    }

    fn add_spare_of(&mut self, disk: &dyn Disk, bytes: u64) -> Result<bool, StorageError> {
        match self.create(disk, bytes) {
            Err(error) if error.is_full() => Ok(false),
            result => {
                self.spares.push_back(result?);
                Ok(true)
            }
        }
    }

    /// Makes sure that a batch of `bytes` can be written; false when the disk has no room for it.
    pub(crate) fn prepare(&mut self, disk: &dyn Disk, bytes: u64) -> Result<bool, StorageError> {
        let needed = bytes + NEXT_BYTES;
        let fits = self.position.offset + needed <= self.current_bytes
            || self.spares.iter().any(|spare| spare.bytes >= needed);
        if fits { Ok(true) } else { self.add_spare_of(disk, needed.max(self.segment_bytes)) }
    }

    /// Removes a spare in favour of other files; false when the log will need it first.
    pub(crate) fn give_up_spare(&mut self, disk: &dyn Disk) -> Result<bool, StorageError> {
        if self.spares.len() < 2 && self.is_half_full() {
            return Ok(false);
        }
        let Some(spare) = self.spares.pop_back() else { return Ok(false) };
        let file = FileName::Segment(spare.number);
        disk.remove(file).map_err(StorageError::at("remove", file))?;
        disk.sync_folder(Folder::Log).map_err(StorageError::at("sync the folder of", file))?;
        Ok(true)
    }

    /// Makes a segment that nothing needs any more ready to be used again, or removes it when
    /// there are enough or it has an unusual size.
    pub(crate) fn recycle(
        &mut self,
        disk: &dyn Disk,
        old: Spare,
        spares_max: usize,
    ) -> Result<(), StorageError> {
        let from = FileName::Segment(old.number);
        if old.bytes != self.segment_bytes || self.spares.len() >= spares_max {
            disk.remove(from).map_err(StorageError::at("remove", from))?;
        } else {
            // Under a new number, what is left of the old use can never be taken for the log.
            let number = self.next_number;
            self.next_number += 1;
            let to = FileName::Segment(number);
            disk.rename(from, to).map_err(StorageError::at("rename", from))?;
            self.spares.push_back(Spare { number, ..old });
        }
        disk.sync_folder(Folder::Log).map_err(StorageError::at("sync the folder of", from))
    }
}
