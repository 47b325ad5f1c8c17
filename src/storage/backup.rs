//! Copies a store to another disk while it goes on, and a copy back to where it is used.

use std::collections::BTreeSet;

use crate::storage::checkpoint::CheckpointWork;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::error::StorageError;

/// Bytes copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What makes up a store at one moment. Until the store is told that the copy is done, these bytes
/// stay as they are.
#[derive(Clone, Debug)]
pub struct Backup {
    pub(crate) files: Vec<BackupFile>,
    /// The state, as a checkpoint that only the copy has.
    pub(crate) checkpoint: CheckpointWork,
}

/// A file to be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackupFile {
    pub file: FileName,
    /// Bytes from its beginning on that count; what is behind may change meanwhile.
    pub copied_bytes: u64,
    /// How long the copy must be.
    pub bytes: u64,
}

impl Backup {
    /// The files to be copied, without the checkpoint. The one that makes the copy a store comes
    /// last.
    pub fn files(&self) -> &[BackupFile] {
        &self.files
    }

    /// Bytes that will be written, reserved space apart.
    pub fn bytes(&self) -> u64 {
        let files: u64 = self.files.iter().map(|file| file.copied_bytes).sum();
        files + self.checkpoint.bytes()
    }

    /// Copies everything to an empty disk and syncs it there. May take long; runs on any thread.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`] when there is a store already. What an error leaves behind is no
    /// store, and can be removed.
    pub fn run(&self, from: &dyn Disk, to: &dyn Disk) -> Result<(), StorageError> {
        require_empty(to)?;
        self.checkpoint.run(to)?;
        copy_all(from, to, &self.files)
    }

    pub(crate) fn segments(&self) -> BTreeSet<u32> {
        let segments = self.files.iter().filter_map(|it| match it.file {
            FileName::Segment(number) => Some(number),
            FileName::Store
            | FileName::Checkpoint(_)
            | FileName::Index(_)
            | FileName::Damaged(_) => None,
        });
        segments.collect()
    }
}

/// Copies a store that no process uses, a backup for example, to an empty disk.
///
/// # Errors
/// As [`Backup::run`].
pub fn restore(from: &dyn Disk, to: &dyn Disk) -> Result<(), StorageError> {
    require_empty(to)?;
    let list = from.list().map_err(StorageError::at("list the folder of", FileName::Store))?;
    let whole =
        list.iter().map(|it| BackupFile { file: it.file, copied_bytes: it.bytes, bytes: it.bytes });
    let mut files: Vec<BackupFile> = whole.collect();
    files.sort_by_key(|it| it.file == FileName::Store);
    copy_all(from, to, &files)
}

fn require_empty(disk: &dyn Disk) -> Result<(), StorageError> {
    let list = disk.list().map_err(StorageError::at("list the folder of", FileName::Store))?;
    if list.is_empty() { Ok(()) } else { Err(StorageError::NotEmpty) }
}

fn copy_all(from: &dyn Disk, to: &dyn Disk, files: &[BackupFile]) -> Result<(), StorageError> {
    for copied in files {
        if copied.file == FileName::Store {
            // A copy that is cut off must not look like a store.
            sync_folders(to)?;
        }
        copy(from, to, copied)?;
    }
    sync_folders(to)
}

fn sync_folders(disk: &dyn Disk) -> Result<(), StorageError> {
    let sync = |folder| disk.sync_folder(folder);
    let synced = Folder::ALL.into_iter().try_for_each(sync);
    synced.map_err(StorageError::at("sync the folder of", FileName::Store))
}

fn copy(from: &dyn Disk, to: &dyn Disk, copied: &BackupFile) -> Result<(), StorageError> {
    let file = copied.file;
    to.create(file, copied.bytes).map_err(StorageError::at("create", file))?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < copied.copied_bytes {
        let left = usize::try_from(copied.copied_bytes - at).unwrap_or(usize::MAX);
        let piece = &mut piece[..left.min(PIECE_BYTES)];
        let n = from.read_at(file, at, piece).map_err(StorageError::at("read", file))?;
        if n < piece.len() {
            let what = format!("it ends at byte {}", at + n as u64);
            return Err(StorageError::Damaged { file, what });
        }
        to.write_at(file, at, piece).map_err(StorageError::at("write", file))?;
        at += n as u64;
    }
    to.sync(file).map_err(StorageError::at("sync", file))
}

#[cfg(test)]
mod tests;
