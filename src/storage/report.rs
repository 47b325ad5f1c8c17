//! What opening a store found, for the operator and for whoever names messages.

use std::fmt;

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::disk::FileName;

/// What was done to bring a store up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Of the store, chosen by chance when it was made.
    pub identity: [u8; 16],
    /// The directory was empty, and a store was made in it.
    pub created: bool,
    /// The checkpoint that replay started from.
    pub checkpoint: u32,
    /// Checkpoint files that are missing or not whole. One is normal after a crash.
    pub checkpoints_damaged: usize,
    /// Damaged pieces of the index that were made anew from the log.
    pub chunks_rebuilt: usize,
    /// Batches, and bytes of log, behind the checkpoint.
    pub batches: u64,
    pub bytes: u64,
    /// The unfinished end of the log, which was dropped. Nothing in it had been confirmed.
    pub torn: Option<TornTail>,
    /// Messages that will not be delivered because their bodies are not as they were written.
    pub damaged: Vec<DamagedMessage>,
    /// Structural damage that was passed over because [`Config::accept_loss`] said so.
    ///
    /// [`Config::accept_loss`]: crate::storage::config::Config::accept_loss
    pub losses: Vec<Loss>,
}

/// Where the log ends early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TornTail {
    pub segment: u32,
    pub offset: u64,
    /// The last batch that counts.
    pub after: BatchId,
}

/// A message whose body failed its checksum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedMessage {
    pub places: Vec<(QueueId, Seq)>,
    pub flags: u8,
    /// As it was given to the store; empty when the record's header is damaged too.
    pub head: Vec<u8>,
    /// Where its raw bytes were kept; `None` when they could not be written.
    pub kept: Option<FileName>,
}

/// Part of a store that cannot be read as what it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    pub file: FileName,
    /// Bytes of the file, the end not included.
    pub bytes: (u64, u64),
    /// Batches that are missing or broken, the last included; `None` when that is not known.
    pub batches: Option<(BatchId, BatchId)>,
    /// Messages known to be lost.
    pub messages: Vec<(QueueId, Seq)>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {} of `{}`", self.bytes.0, self.bytes.1, self.file)?;
        if let Some((first, last)) = self.batches {
            write!(f, ", batches {} to {}", first.0, last.0)?;
        }
        if !self.messages.is_empty() {
            write!(f, ", {} messages", self.messages.len())?;
        }
        Ok(())
    }
}
