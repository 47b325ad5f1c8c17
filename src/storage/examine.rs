//! What the files of a data directory say, before anything is done about it. Only reads.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::id::BatchId;
use crate::storage::checkpoint::Stamp;
use crate::storage::checkpoint::decode;
use crate::storage::config::Config;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Found;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::index::sealed::ChunkPlace;
use crate::storage::journal::Position;
use crate::storage::rebuild::check_chunks;
use crate::storage::recovery::DamagedRecord;
use crate::storage::recovery::Replay;
use crate::storage::report::Recovery;
use crate::storage::scan::Scan;
use crate::storage::store::checkpoints::Checkpoints;
use crate::storage::store::checkpoints::Kept;

/// A store as its files say it is.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) index: Index,
    pub(crate) checkpoints: Checkpoints,
    /// Above the number of every segment file the checkpoint knew.
    pub(crate) next_number: u32,
    /// Where replay began, and how far it came.
    pub(crate) start: Position,
    pub(crate) end: Position,
    /// Segments that hold a part of the replayed log.
    pub(crate) visited: BTreeSet<u32>,
    /// Replayed records whose bodies are damaged.
    pub(crate) damaged: Vec<DamagedRecord>,
    /// Pieces of the index that had to be made anew.
    pub(crate) chunks: Vec<ChunkPlace>,
    pub(crate) report: Recovery,
}

/// Reads the newest checkpoint and the log behind it.
///
/// What is damaged is in the result; an error is a disk that fails, or a directory in which nothing
/// can be found.
pub(crate) fn examine(
    disk: &dyn Disk,
    files: &Files,
    salt: u32,
    config: &Config,
) -> Result<Examined, StorageError> {
    let loaded = load(disk, files, salt, config)?;
    let (mut index, start) = (loaded.index, loaded.stamp.position);
    let rebuilt = check_chunks(disk, &mut index, salt)?;
    let mut replay = Replay {
        disk,
        index: &mut index,
        files: &files.segments,
        salt,
        thorough: loaded.thorough,
        bugs: config.bugs,
        position: start,
        report: loaded.report,
        damaged: Vec::new(),
        visited: BTreeSet::new(),
    };
    if start != Position::default() {
        replay.run()?;
    }
    replay.check_segments()?;
    let Replay { mut report, visited, damaged, position: end, .. } = replay;
    report.chunks_rebuilt = rebuilt.chunks.len();
    report.losses.extend(rebuilt.losses);
    let (checkpoints, next_number) = (loaded.checkpoints, loaded.stamp.next_number);
    let chunks = rebuilt.chunks;
    Ok(Examined { index, checkpoints, next_number, start, end, visited, damaged, chunks, report })
}

/// The files of a directory, by kind.
#[derive(Debug)]
pub(crate) struct Files {
    /// Sizes of the segment files.
    pub(crate) segments: BTreeMap<u32, u64>,
    pub(crate) checkpoints: BTreeMap<u8, u64>,
    pub(crate) index: BTreeMap<u32, u64>,
    pub(crate) has_store: bool,
}

impl Files {
    pub(crate) fn list(disk: &dyn Disk) -> Result<Files, StorageError> {
        let list = disk.list().map_err(StorageError::at("list the folder of", FileName::Store))?;
        let mut files = Files {
            segments: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            index: BTreeMap::new(),
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
                    files.index.insert(number, bytes);
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
    pub(crate) fn next_number(&self) -> u32 {
        self.segments.keys().next_back().map_or(1, |number| number + 1)
    }
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
        if let Some(number) = decode::number(disk, FileName::Checkpoint(*slot), *n_bytes) {
            whole.push((number, *slot, *n_bytes));
        }
    }
    whole.sort_unstable();
    let whole_slots: BTreeSet<u8> = whole.iter().map(|(_, slot, _)| *slot).collect();
    // Only one is brought to memory: they may be long.
    let newest = whole.into_iter().rev().find_map(|(_, slot, n_bytes)| {
        let file = FileName::Checkpoint(slot);
        let (stamp, index) = decode::read(disk, file, n_bytes, config.chunk_entries)?;
        Some((stamp, slot, index))
    });
    let newest_number = newest.as_ref().map_or(0, |(stamp, ..)| stamp.number);
    let mut report = Recovery {
        checkpoint: newest_number,
        checkpoints_damaged: files.checkpoints.len() - whole_slots.len(),
        ..Recovery::default()
    };
    let last_index_file = files.index.keys().next_back().copied().unwrap_or(0);
    let checkpoints = Checkpoints::new(
        newest_number.max(last_index_file) + 1,
        newest.as_ref().map(|(stamp, slot, index)| Kept::new(*slot, *stamp, index)),
        whole_slots,
        files.index.keys().copied().collect(),
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
