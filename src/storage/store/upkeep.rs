//! What a store does to stay small and ready, in steps: the caller decides when.

use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::error::StorageError;
use crate::storage::reader::Location;
use crate::storage::store::Store;

/// Spares that are there for settling when the disk is full.
const EMERGENCY: usize = 2;
/// Chunks of purged queues whose segments are released in one step.
const CHUNKS: usize = 64;

/// What a [`step`](Store::step) did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// There is more to do right away.
    pub more: bool,
    /// Bytes of live messages it wrote again.
    pub copied_bytes: u64,
    /// Messages it could not read. They stay until the caller settles them.
    pub damaged: Vec<Location>,
}

/// Room on the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub free_bytes: u64,
    /// Publishers should wait; settling may go on.
    pub is_low: bool,
}

impl<D: Disk> Store<D> {
    /// Does one small piece of work: makes a file reusable, releases what a purge left, prepares a
    /// segment, or copies up to `budget` bytes of live messages out of a sparse segment.
    ///
    /// Call it between commits for as long as it says there is more, as often as the disk's
    /// bandwidth is to be spent on it.
    pub fn step(&mut self, budget: u64) -> Result<Progress, StorageError> {
        let more = Progress { more: true, ..Progress::default() };
        if self.free_one()? {
            return Ok(more);
        }
        if !self.index.garbage.is_empty() {
            let disk = &*self.disk.clone();
            self.guarded(|store| store.index.collect(disk, CHUNKS))?;
            return Ok(more);
        }
        let may_add = !self.checkpoints.is_urgent();
        if may_add && self.journal.spares().len() < self.spares_wanted() && self.add_spare()? {
            return Ok(more);
        }
        // Copies need room too, before they make some.
        if self.lacks_spares() {
            return Ok(Progress::default());
        }
        self.compact(budget)
    }

    /// A store whose log still fits one segment keeps no other: a newcomer's disk stays empty.
    fn spares_wanted(&self) -> usize {
        let begun = self.index.segments.iter().count() > 1 || self.journal.is_half_full();
        if begun { (EMERGENCY + 1).min(self.config.spare_segments) } else { 0 }
    }

    /// Whether there are fewer than settling may need.
    pub(super) fn lacks_spares(&self) -> bool {
        self.journal.spares().len() < self.spares_wanted().min(EMERGENCY)
    }

    /// False when there is no room for one.
    fn add_spare(&mut self) -> Result<bool, StorageError> {
        let disk = &*self.disk.clone();
        self.guarded(|store| store.journal.add_spare(disk))
    }

    /// Looks how much room there is. Publishers who were told to wait may go on at a fifth more
    /// than the limit.
    pub fn space(&mut self) -> Result<Space, StorageError> {
        let file = FileName::Store;
        let free_bytes = self.disk.free_bytes().map_err(StorageError::at("measure", file))?;
        let limit = self.config.free_bytes_min;
        let limit = if self.space_is_low { limit.saturating_add(limit / 5) } else { limit };
        let lacks_spares =
            self.lacks_spares() && free_bytes < self.config.segment_bytes.saturating_mul(2);
        self.space_is_low = free_bytes < limit || lacks_spares;
        Ok(Space { free_bytes, is_low: self.space_is_low })
    }
}
