//! Brings a store up: from nothing, or from what a crash left.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::amqp::id::BatchId;
use crate::amqp::time::Timestamp;
use crate::storage::checkpoint::Stamp;
use crate::storage::checkpoint::decode;
use crate::storage::config::Config;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::disk::Found;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::journal::Journal;
use crate::storage::journal::Position;
use crate::storage::journal::Spare;
use crate::storage::recovery::Replay;
use crate::storage::report::Recovery;
use crate::storage::scan::Scan;
use crate::storage::store::Store;
use crate::storage::store::checkpoints::Checkpoints;
use crate::storage::store::checkpoints::Kept;
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
        disk.lock().map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                StorageError::Locked
            } else {
                StorageError::Disk { op: "lock", file: FileName::Store, source }
            }
        })?;
        let files = Files::list(&*disk)?;
        let store_file = store_file(&*disk, &files, &config)?;
        let loaded = load(&*disk, &files, store_file.salt(), &config)?;
        let (mut index, checkpoints) = (loaded.index, loaded.checkpoints);
        let mut replay = Replay {
            disk: &*disk,
            index: &mut index,
            files: &files.segments,
            salt: store_file.salt(),
            thorough: loaded.thorough,
            position: loaded.stamp.position,
            report: loaded.report,
            visited: BTreeSet::new(),
        };
        if replay.position != Position::default() {
            replay.run()?;
        }
        replay.check_segments()?;
        let Replay { report, visited, position, .. } = replay;
        if !report.losses.is_empty() && !config.accept_loss {
            return Err(StorageError::Losses { losses: report.losses });
        }
        // What was read may still be in the page cache only; from now on it counts as durable.
        for number in visited {
            let file = FileName::Segment(number);
            disk.sync(file).map_err(StorageError::at("sync", file))?;
        }
        // A checkpoint that cannot be read may have skipped numbers already.
        let n_starts = 1 + report.checkpoints_damaged as u64;
        index.skip_numbers(NUMBER_RESERVE * n_starts);
        let journal = start_journal(
            &*disk,
            &mut index,
            &files,
            (position, BATCH_RESERVE * n_starts, loaded.stamp.next_number),
            (&config, store_file.salt()),
        )?;
        let salt = store_file.salt();
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

/// The files of a directory, by kind.
struct Files {
    segments: BTreeMap<u32, u64>,
    checkpoints: BTreeMap<u8, u64>,
    index: BTreeSet<u32>,
    has_store: bool,
}

impl Files {
    fn list(disk: &dyn Disk) -> Result<Files, StorageError> {
        let list = disk.list().map_err(StorageError::at("list the folder of", FileName::Store))?;
        let mut files = Files {
            segments: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            index: BTreeSet::new(),
            has_store: false,
        };
        for Found { file, bytes } in list {
            match file {
                FileName::Store => files.has_store = true,
                FileName::Segment(number) => {
                    files.segments.insert(number, bytes);
                }
                FileName::Checkpoint(slot) => {
                    files.checkpoints.insert(slot, bytes);
                }
                FileName::Index(number) => {
                    files.index.insert(number);
                }
                FileName::Damaged(_) => {}
            }
        }
        Ok(files)
    }

    /// Whether there is no more than what making a store leaves when it is interrupted.
    fn may_be_new(&self) -> bool {
        self.checkpoints.len() <= 1 && self.segments.len() <= 1 && self.index.is_empty()
    }

    /// Above the number of every segment file.
    fn next_number(&self) -> u32 {
        self.segments.keys().next_back().map_or(1, |number| number + 1)
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

/// Where replay starts.
struct Loaded {
    index: Index,
    stamp: Stamp,
    checkpoints: Checkpoints,
    thorough: bool,
    report: Recovery,
}

/// The newest whole checkpoint; without any, the empty state before the log's first batch.
fn load(
    disk: &dyn Disk,
    files: &Files,
    salt: u32,
    config: &Config,
) -> Result<Loaded, StorageError> {
    let mut whole = Vec::new();
    for (slot, n_bytes) in &files.checkpoints {
        let file = FileName::Checkpoint(*slot);
        if let Some((stamp, index)) = decode::read(disk, file, *n_bytes, config.chunk_entries) {
            whole.push((stamp, *slot, index));
        }
    }
    whole.sort_unstable_by_key(|(stamp, ..)| stamp.number);
    let whole_slots: BTreeSet<u8> = whole.iter().map(|(_, slot, _)| *slot).collect();
    let newest = whole.pop();
    let newest_number = newest.as_ref().map_or(0, |(stamp, ..)| stamp.number);
    let mut report = Recovery {
        checkpoint: newest_number,
        checkpoints_damaged: files.checkpoints.len() - whole_slots.len(),
        ..Recovery::default()
    };
    let last_index_file = files.index.last().copied().unwrap_or(0);
    let checkpoints = Checkpoints::new(
        newest_number.max(last_index_file) + 1,
        newest.as_ref().map(|(stamp, slot, index)| Kept::new(*slot, *stamp, index)),
        whole_slots,
        files.index.clone(),
    );
    let thorough = report.checkpoints_damaged > 0 || newest.is_none();
    let (stamp, index) = match newest {
        Some((stamp, _, index)) => (stamp, index),
        None => {
            let position = beginning(disk, files, salt);
            report.created = position.is_none() && files.may_be_new();
            if position.is_none() && !report.created && !config.accept_loss {
                let what = "no checkpoint is whole, and no segment holds the log's beginning";
                let file = FileName::Checkpoint(0);
                return Err(StorageError::Damaged { file, what: what.to_owned() });
            }
            let position = position.unwrap_or_default();
            (Stamp { position, ..Stamp::default() }, Index::new(config.chunk_entries))
        }
    };
    Ok(Loaded { index, stamp, checkpoints, thorough, report })
}

/// The position before the first batch that any segment holds; `None` when none holds one.
fn beginning(disk: &dyn Disk, files: &Files, salt: u32) -> Option<Position> {
    let firsts = files.segments.iter().filter_map(|(number, n_bytes)| {
        let mut scan = Scan::new(disk, *number, *n_bytes, salt);
        let (_, header) = scan.next_header(0)?;
        Some((header.place.id, *number))
    });
    let (_, segment) = firsts.min()?;
    Some(Position { segment, offset: 0, last: BatchId(0), last_segment: 0 })
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
            spares.push_back(Spare { number: next_number, bytes: *bytes });
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
    let sizes = (config.segment_bytes, salt);
    Journal::start(disk, &mut index.segments, spares, end, (first_id, next_number), sizes)
}
