//! The store: takes batches, knows where every message lies, keeps itself small.
//!
//! One thread owns it. Slow work is handed out as values to be run elsewhere ([`CheckpointWork`])
//! or cut into steps of bounded size; nothing happens by itself.
//!
//! [`CheckpointWork`]: crate::storage::checkpoint::CheckpointWork

use std::sync::Arc;

use crate::amqp::id::BatchId;
use crate::storage::batch::Batch;
use crate::storage::batch::parse::Header;
use crate::storage::config::Config;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::journal::Journal;
use crate::storage::planted::PlantedBug;
use crate::storage::reader::Reader;
use crate::storage::store::checkpoints::Checkpoints;
use crate::storage::store::compaction::Compaction;

/// Everything durable of one data directory.
#[derive(Debug)]
pub struct Store<D> {
    disk: Arc<D>,
    config: Config,
    salt: u32,
    index: Index,
    journal: Journal,
    checkpoints: Checkpoints,
    /// A write or sync failed: what the disk has is not known any more.
    poisoned: bool,
    compaction: Compaction,
    space_is_low: bool,
}

/// A batch that was written, and is still to be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the index does not know the batch before `Store::apply`"]
pub struct Written {
    pub id: BatchId,
    place: (u32, u32),
}

impl<D: Disk> Store<D> {
    /// Writes a batch, makes it durable if it asks for that, and applies it. Empties the batch.
    ///
    /// # Errors
    /// Any error poisons the store: it is never known what of the batch the disk has.
    pub fn commit(&mut self, batch: &mut Batch) -> Result<BatchId, StorageError> {
        let written = self.write(batch)?;
        if batch.needs_sync() && !self.config.bugs.has(PlantedBug::ConfirmedBeforeSync) {
            self.sync()?;
        }
        self.apply(batch, written)?;
        Ok(written.id)
    }

    /// First part of [`commit`](Store::commit): hands the batch to the operating system.
    pub fn write(&mut self, batch: &mut Batch) -> Result<Written, StorageError> {
        let position = self.journal.position();
        if batch.is_empty() {
            return Ok(Written { id: position.last, place: (position.segment, u32::MAX) });
        }
        let disk = &*self.disk.clone();
        let (id, segment, offset) =
            self.guarded(|store| store.journal.write(disk, &mut store.index.segments, batch))?;
        Ok(Written { id, place: (segment, offset) })
    }

    /// Second part: after it, everything written is durable. Only needed when the batch
    /// [`needs_sync`](Batch::needs_sync).
    pub fn sync(&mut self) -> Result<(), StorageError> {
        let disk = &*self.disk.clone();
        self.guarded(|store| store.journal.sync(disk))
    }

    /// Last part: takes the batch into the index, and empties it.
    pub fn apply(&mut self, batch: &mut Batch, written: Written) -> Result<(), StorageError> {
        if batch.is_empty() {
            return Ok(());
        }
        let disk = &*self.disk.clone();
        self.guarded(|store| {
            let bytes = batch.stamped();
            let header = Header::parse(bytes, store.salt).expect("the journal has stamped it");
            let n_bytes = usize::try_from(header.bytes).expect("it is in memory");
            store.index.apply_batch(disk, written.place, &bytes[..n_bytes], &[])?;
            batch.clear();
            store.index.trim(store.config.index_bytes);
            Ok(())
        })
    }

    /// The newest batch that is certainly on the disk.
    pub fn durable(&self) -> BatchId {
        self.journal.synced()
    }

    /// Tells the disk that what came last was synced, once it is quiet: until then, damage to the
    /// very last batch cannot be told from a torn end.
    pub fn seal(&mut self) -> Result<(), StorageError> {
        if self.config.bugs.has(PlantedBug::SealMissing) {
            return Ok(());
        }
        let disk = &*self.disk.clone();
        self.guarded(|store| store.journal.seal(disk, &mut store.index.segments))
    }

    /// Whether [`seal`](Store::seal) has nothing to do.
    pub fn is_sealed(&self) -> bool {
        self.journal.is_sealed()
    }

    /// Runs a step that must not fail half-way; refuses it when one did before.
    fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Store<D>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        let result = step(self);
        self.poisoned = result.is_err();
        result
    }

    /// The disk, for work that is run elsewhere.
    pub fn disk(&self) -> Arc<D> {
        self.disk.clone()
    }

    /// Reads messages on any thread.
    pub fn reader(&self) -> Reader<D> {
        Reader::new(self.disk.clone(), self.config.bugs)
    }
}

pub(crate) mod backup;
pub(crate) mod checkpoints;
mod compaction;
mod open;
#[cfg(test)]
pub(crate) mod tests;
pub mod upkeep;
pub mod view;
