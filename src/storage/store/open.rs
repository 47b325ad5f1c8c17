//! Brings a store up: from nothing, or from what a crash left.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::amqp::id::BatchId;
use crate::amqp::time::Timestamp;
use crate::storage::config::Config;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::error::StorageError;
use crate::storage::examine::Examined;
use crate::storage::examine::Files;
use crate::storage::examine::examine;
use crate::storage::index::Index;
use crate::storage::journal::Journal;
use crate::storage::journal::Position;
use crate::storage::journal::Spare;
use crate::storage::planted::PlantedBug;
use crate::storage::recovery::quarantine;
use crate::storage::report::Recovery;
use crate::storage::store::Store;
use crate::storage::store::compaction::Compaction;
use crate::storage::store_file::StoreFile;

/// Batch ids left out at every start, so that no id of a lost batch is given to another one.
const BATCH_RESERVE: u64 = 1 << 32;
/// Numbers of every queue left out at every start. More messages than that are never written
/// between two syncs: a checkpoint comes before.
const NUMBER_RESERVE: u64 = 1 << 24;

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`, or makes one when there is none.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it; [`StorageError::Losses`] when
    /// something that was confirmed cannot be read and the configuration does not accept that.
    pub fn open(disk: Arc<D>, config: Config) -> Result<(Store<D>, Recovery), StorageError> {
        Store::lock(&*disk)?;
        let files = Files::list(&*disk)?;
        let store_file = store_file(&*disk, &files, &config)?;
        let salt = store_file.salt();
        let examined = examine(&*disk, &files, salt, &config)?;
        let Examined { mut index, checkpoints, visited, damaged, mut report, .. } = examined;
        if !report.losses.is_empty() && !config.accept_loss {
            return Err(StorageError::Losses { losses: report.losses });
        }
        report.identity = store_file.identity;
        report.damaged = quarantine(&*disk, &mut index, salt, &damaged)?;
        // What was read may still be in the page cache only; from now on it counts as durable.
        for number in visited {
            let file = FileName::Segment(number);
            disk.sync(file).map_err(StorageError::at("sync", file))?;
        }
        // A checkpoint that cannot be read may have skipped numbers already.
        let n_starts = 1 + report.checkpoints_damaged as u64;
        if !config.bugs.has(PlantedBug::NumbersReused) {
            index.skip_numbers(NUMBER_RESERVE * n_starts);
        }
        let journal = start_journal(
            &*disk,
            &mut index,
            &files,
            (examined.end, BATCH_RESERVE * n_starts, examined.next_number),
            (&config, salt),
        )?;
        let mut store = Store {
            disk,
            config,
            salt,
            index,
            journal,
            checkpoints,
            poisoned: false,
            compaction: Compaction::default(),
            space_is_low: false,
        };
        // Nothing may be confirmed before there is a checkpoint that leads to where it will be.
        if let Some(work) = store.begin_checkpoint(Timestamp(0))? {
            work.run(&*store.disk)?;
            store.finish_checkpoint(Ok(()))?;
        }
        Ok((store, report))
    }
}

impl<D: Disk> Store<D> {
    /// Takes the directory for this process.
    pub(crate) fn lock(disk: &D) -> Result<(), StorageError> {
        disk.lock().map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                StorageError::Locked
            } else {
                StorageError::Disk { op: "lock", file: FileName::Store, source }
            }
        })
    }
}

/// Reads whose store it is, or writes it when there is no store yet.
fn store_file(disk: &dyn Disk, files: &Files, config: &Config) -> Result<StoreFile, StorageError> {
    if let Some(found) = StoreFile::read(disk)? {
        return Ok(found);
    }
    if !files.segments.is_empty() || !files.checkpoints.is_empty() {
        let what = if files.has_store { "neither of its copies is whole" } else { "it is missing" };
        return Err(StorageError::Damaged { file: FileName::Store, what: what.to_owned() });
    }
    let ours = StoreFile::new(config.identity);
    ours.write(disk)?;
    Ok(ours)
}

/// Opens a fresh segment behind `end`, and makes spares of the files that hold nothing.
fn start_journal(
    disk: &dyn Disk,
    index: &mut Index,
    files: &Files,
    (end, reserve, next_number): (Position, u64, u32),
    (config, salt): (&Config, u32),
) -> Result<Journal, StorageError> {
    let mut next_number = next_number.max(files.next_number());
    let mut spares = VecDeque::new();
    let mut changed = false;
    for (number, bytes) in &files.segments {
        if index.segments.get(*number).is_some() {
            continue;
        }
        changed = true;
        let from = FileName::Segment(*number);
        if *bytes == config.segment_bytes && spares.len() < config.spare_segments {
            let to = FileName::Segment(next_number);
            disk.rename(from, to).map_err(StorageError::at("rename", from))?;
            spares.push_back(Spare { number: next_number, bytes: *bytes, is_worn: false });
            next_number += 1;
        } else {
            disk.remove(from).map_err(StorageError::at("remove", from))?;
        }
    }
    if changed {
        let file = FileName::Segment(next_number);
        disk.sync_folder(Folder::Log).map_err(StorageError::at("sync the folder of", file))?;
    }
    let first_id = BatchId(end.last.0 + reserve);
    let sizes = (config.segment_bytes, salt, config.bugs);
    Journal::start(disk, &mut index.segments, spares, end, (first_id, next_number), sizes)
}
