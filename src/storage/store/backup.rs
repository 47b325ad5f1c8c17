//! The store's side of a backup: what belongs to it, and that it stays until it is copied.

use std::collections::BTreeSet;

use crate::storage::backup::Backup;
use crate::storage::backup::BackupFile;
use crate::storage::checkpoint;
use crate::storage::checkpoint::Stamp;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Found;
use crate::storage::error::StorageError;
use crate::storage::planted::PlantedBug;
use crate::storage::store::Store;

/// Files that a backup is being made of.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    pub(crate) segments: BTreeSet<u32>,
    pub(crate) index_files: BTreeSet<u32>,
}

impl<D: Disk> Store<D> {
    /// Takes the state of now, to be copied by [`Backup::run`] on any thread while commits go on.
    /// Nothing that belongs to it is used again before [`end_backup`](Store::end_backup).
    ///
    /// `None` while another backup is being made.
    pub fn begin_backup(&mut self) -> Result<Option<Backup>, StorageError> {
        if self.checkpoints.pinned.is_some() {
            return Ok(None);
        }
        let disk = &*self.disk.clone();
        self.guarded(|store| {
            store.journal.sync(disk)?;
            store.index.collect_unplaced();
            Ok(())
        })?;
        let stamp = self.stamp();
        let index_files = self.index.index_files();
        // Chunks that are in memory only get a file of the copy's own.
        let (checkpoint, _) = checkpoint::encode(&self.index, stamp, FileName::Checkpoint(0));
        let files = self.backup_files(stamp, &index_files)?;
        let backup = Backup { files, checkpoint };
        let mut pinned = Pinned { segments: backup.segments(), index_files };
        if self.config.bugs.has(PlantedBug::BackupNotHeld) {
            pinned = Pinned::default();
        }
        self.checkpoints.pinned = Some(pinned);
        Ok(Some(backup))
    }

    /// Lets go what [`begin_backup`](Store::begin_backup) held, whether the copy is whole or not.
    pub fn end_backup(&mut self) {
        self.checkpoints.pinned = None;
    }

    fn backup_files(
        &self,
        stamp: Stamp,
        index_files: &BTreeSet<u32>,
    ) -> Result<Vec<BackupFile>, StorageError> {
        let open = stamp.position.segment;
        let segments = self.index.segments.iter();
        let segments = segments.filter(|(number, it)| it.n_live > 0 || *number == open);
        let mut files: Vec<BackupFile> = segments
            .map(|(number, segment)| BackupFile {
                file: FileName::Segment(number),
                copied_bytes: segment.used,
                bytes: segment.bytes,
            })
            .collect();
        let list = self.disk.list();
        let list = list.map_err(StorageError::at("list the folder of", FileName::Store))?;
        // The file that makes the copy a store comes last.
        for Found { file, bytes } in list.into_iter().rev() {
            let belongs = match file {
                FileName::Store => true,
                FileName::Index(number) => index_files.contains(&number),
                FileName::Segment(_) | FileName::Checkpoint(_) | FileName::Damaged(_) => false,
            };
            if belongs {
                files.push(BackupFile { file, copied_bytes: bytes, bytes });
            }
        }
        Ok(files)
    }
}
