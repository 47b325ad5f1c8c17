//! The sizes and distances a store works with; tests use tiny ones.

use crate::amqp::time::Millis;

/// How a store is laid out and how much it may take. Everything but
/// [`segment_bytes`](Config::segment_bytes) may differ from one start to the next; segments of
/// different sizes live side by side.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names the directory at its creation; any sixteen bytes that no other store has.
    pub identity: [u8; 16],
    /// Bytes of a segment of the log, a multiple of 4096.
    pub segment_bytes: u64,
    /// Messages of one sealed piece of a queue's index.
    pub chunk_entries: usize,
    /// Bytes of sealed index kept in memory; what is above lies on disk only.
    pub index_bytes: usize,
    /// A checkpoint is due after so many bytes of log,
    pub checkpoint_bytes: u64,
    /// and after this time, if anything was written.
    pub checkpoint_every: Millis,
    /// Segments kept ready beside the one in use. Two of them are never touched while publishers
    /// may write, so that settling goes on when the disk is full.
    pub spare_segments: usize,
    /// Below so many free bytes of the file system, publishers are to wait.
    pub free_bytes_min: u64,
    /// Go on where structural damage was found, with what can still be read.
    pub accept_loss: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            identity: [0; 16],
            segment_bytes: 64 << 20,
            chunk_entries: 4096,
            index_bytes: 512 << 20,
            checkpoint_bytes: 256 << 20,
            checkpoint_every: Millis(60_000),
            spare_segments: 4,
            free_bytes_min: 1 << 30,
            accept_loss: false,
        }
    }
}
