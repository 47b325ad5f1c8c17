//! What can go wrong with a data directory, for the operator to read.

use std::io;

use crate::storage::disk::FileName;
use crate::storage::report::Loss;

/// A step of the disk that failed, or a directory that cannot be opened as it is.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("cannot {op} `{file}`: {source}")]
    Disk {
        /// What was tried: `write`, `sync`, `read`…
        op: &'static str,
        file: FileName,
        source: io::Error,
    },
    #[error("another process uses this data directory")]
    Locked,
    /// A write or a sync failed before: what the disk has is known again after a restart only.
    #[error("the store stopped after an earlier disk error")]
    Poisoned,
    #[error("`{file}` is damaged: {what}")]
    Damaged { file: FileName, what: String },
    /// Something that was confirmed cannot be read: a person decides whether to go on without.
    #[error("{} {}", losses.len(), if losses.len() == 1 { "damaged range" } else { "damaged ranges" })]
    Losses { losses: Vec<Loss> },
    #[error("there are files of a store in the directory already")]
    NotEmpty,
    #[error("the data directory has format {major}, this version reads {ours}")]
    Format { major: u16, ours: u16 },
}

impl StorageError {
    /// For `map_err`: names the step and the file.
    pub(crate) fn at(op: &'static str, file: FileName) -> impl FnOnce(io::Error) -> StorageError {
        move |source| StorageError::Disk { op, file, source }
    }

    /// Whether the file system had no room left.
    pub fn is_full(&self) -> bool {
        matches!(self, StorageError::Disk { source, .. }
            if source.kind() == io::ErrorKind::StorageFull)
    }
}
