//! A checkpoint: the state of the store at one place in the log, as a file.
//!
//! It is taken in two steps, so that commits go on while the file is written: the state is
//! encoded at once, and writing it may happen on another thread.

use std::sync::Arc;

use crate::amqp::id::QueueId;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::index::queue::QueueIndex;
use crate::storage::index::sealed::ChunkPlace;
use crate::storage::index::sealed::Sealed;
use crate::storage::journal::Position;
use crate::storage::varint;

pub(crate) const MAGIC: [u8; 4] = *b"RPC1";
/// Magic, checksum, number, length.
pub(crate) const HEADER_BYTES: usize = 24;

/// What a checkpoint says of itself, besides the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stamp {
    /// Grows by one with every checkpoint of a store.
    pub(crate) number: u32,
    /// Where the log goes on behind the state.
    pub(crate) position: Position,
    /// Above the number of every segment file ever made.
    pub(crate) next_number: u32,
}

/// A checkpoint to be written, on any thread.
#[derive(Clone, Debug)]
pub struct CheckpointWork {
    pub(crate) stamp: Stamp,
    file: FileName,
    bytes: Vec<u8>,
    /// Chunks that no index file has yet, in the order they are written to a new one.
    chunks: Vec<Arc<[u8]>>,
}

/// A chunk that will have a place on disk once the checkpoint is written.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) queue: QueueId,
    pub(crate) first: u64,
    pub(crate) place: ChunkPlace,
    pub(crate) bytes: Arc<[u8]>,
}

/// Encodes the state for the checkpoint `stamp`, to be written to `file`.
///
/// Chunks of purged queues that are in memory only must have been collected.
pub(crate) fn encode(index: &Index, stamp: Stamp, file: FileName) -> (CheckpointWork, Vec<Placed>) {
    let mut writer = Writer { out: vec![0; HEADER_BYTES], stamp, offset: 0, placed: Vec::new() };
    writer.log(index);
    writer.number(index.defined.len() as u64);
    for (key, value) in &index.defined {
        varint::push_sized(&mut writer.out, key);
        varint::push_sized(&mut writer.out, value);
    }
    let ids = index.queue_ids();
    writer.number(ids.len() as u64);
    for id in ids {
        writer.queue(id, index.queue(id).expect("the list is of this index"));
    }
    writer.number(index.garbage.len() as u64);
    for chunk in &index.garbage {
        writer.chunk(None, chunk);
    }
    let bytes = finish(writer.out, stamp.number);
    let chunks = writer.placed.iter().map(|placed| placed.bytes.clone()).collect();
    (CheckpointWork { stamp, file, bytes, chunks }, writer.placed)
}

/// Fills in the header.
fn finish(mut out: Vec<u8>, number: u32) -> Vec<u8> {
    let n_bytes = out.len() as u64;
    out[..4].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&number.to_le_bytes());
    out[16..24].copy_from_slice(&n_bytes.to_le_bytes());
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

struct Writer {
    out: Vec<u8>,
    stamp: Stamp,
    /// Where the next chunk goes in the index file of this checkpoint.
    offset: u64,
    placed: Vec<Placed>,
}

impl Writer {
    fn number(&mut self, value: u64) {
        varint::push(&mut self.out, value);
    }

    fn numbers<const N: usize>(&mut self, values: [u64; N]) {
        values.into_iter().for_each(|value| self.number(value));
    }

    fn log(&mut self, index: &Index) {
        let Stamp { position, next_number, .. } = self.stamp;
        let Position { segment, offset, last, last_segment } = position;
        self.numbers([segment.into(), offset, last.0, last_segment.into(), next_number.into()]);
        self.number(index.segments.iter().count() as u64);
        for (number, it) in index.segments.iter() {
            self.numbers([number.into(), it.bytes, it.used, it.n_live, it.live_bytes]);
            self.number(it.stored_bytes);
        }
    }

    fn queue(&mut self, id: QueueId, queue: &QueueIndex) {
        self.numbers([id.0.into(), queue.next_seq, queue.watermark.0]);
        self.number(queue.levels.iter().len() as u64);
        for level in queue.levels.iter() {
            self.numbers([level.priority.into(), level.n_live, level.first, level.end]);
        }
        self.number(queue.chunks.len() as u64);
        for chunk in &queue.chunks {
            self.chunk(Some(id), chunk);
        }
        let tail = queue.tail.encode();
        self.numbers([queue.tail.first(), queue.tail.len() as u64]);
        varint::push_sized(&mut self.out, &tail);
        self.number(queue.marks.len() as u64);
        for (seq, mark) in &queue.marks {
            self.number(seq.0);
            varint::push_sized(&mut self.out, mark);
        }
    }

    fn chunk(&mut self, queue: Option<QueueId>, chunk: &Sealed) {
        let place = chunk.place.unwrap_or_else(|| self.place(queue, chunk));
        let counts = [chunk.n_entries.into(), chunk.n_live.into(), chunk.live_bytes];
        self.number(chunk.first);
        self.numbers(counts);
        // Zero for several priorities, else one more than the priority; doubled, plus expiry.
        let priority = chunk.priority.map_or(0, |priority| u64::from(priority) + 1);
        self.number(priority << 1 | u64::from(chunk.expires));
        self.numbers([place.file.into(), place.offset, place.bytes.into(), place.crc.into()]);
        let gone = chunk.gone().unwrap_or(&[]);
        self.number(gone.len() as u64);
        for word in gone {
            self.out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Gives a chunk a place in the index file of this checkpoint.
    fn place(&mut self, queue: Option<QueueId>, chunk: &Sealed) -> ChunkPlace {
        let bytes = chunk.bytes().expect("a chunk is in memory or on disk");
        let place = ChunkPlace {
            file: self.stamp.number,
            offset: self.offset,
            bytes: u32::try_from(bytes.len()).expect("chunks are small"),
            crc: crc32c::crc32c(bytes),
        };
        self.offset += bytes.len() as u64;
        let queue = queue.expect("chunks without a queue were collected or have a place");
        self.placed.push(Placed { queue, first: chunk.first, place, bytes: bytes.clone() });
        place
    }
}

impl CheckpointWork {
    /// Writes and syncs the files of the checkpoint. May take long; commits may go on meanwhile.
    pub fn run(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        if !self.chunks.is_empty() {
            let content: Vec<u8> = self.chunks.concat();
            write_file(disk, FileName::Index(self.stamp.number), &content)?;
        }
        write_file(disk, self.file, &self.bytes)
    }

    /// Bytes that [`run`](CheckpointWork::run) writes.
    pub fn bytes(&self) -> u64 {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.len()).sum();
        (self.bytes.len() + chunks) as u64
    }
}

fn write_file(disk: &dyn Disk, file: FileName, content: &[u8]) -> Result<(), StorageError> {
    disk.create(file, 0).map_err(StorageError::at("create", file))?;
    disk.write_at(file, 0, content).map_err(StorageError::at("write", file))?;
    disk.sync(file).map_err(StorageError::at("sync", file))?;
    disk.sync_folder(file.folder()).map_err(StorageError::at("sync the folder of", file))
}

pub(crate) mod decode;
#[cfg(test)]
mod tests;
