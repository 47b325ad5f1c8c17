//! Reads messages from where the index says they lie, on any thread.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::storage::batch::parse;
use crate::storage::damaged;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::entry::Entry;
use crate::storage::error::StorageError;
use crate::storage::planted::Bugs;
use crate::storage::planted::PlantedBug;
use crate::storage::record::Frame;
use crate::storage::record::PREFIX_BYTES;
use crate::storage::record::Record;
use crate::storage::report::DamagedMessage;

/// Longest read that serves several messages.
const READ_BYTES: u64 = 256 * 1024;
/// Messages further apart than this are read one by one.
const GAP_BYTES: u64 = 32 * 1024;
/// EIO: the disk has lost what it should have at this place.
const INPUT_OUTPUT_ERROR: i32 = 5;

/// Where a message lies, as the store said at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    pub queue: QueueId,
    pub seq: Seq,
    pub expires_at: Option<Timestamp>,
    entry: Entry,
}

/// What lies at a location.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    Message {
        flags: u8,
        head: Bytes,
        body: Bytes,
    },
    /// The message has moved or gone since: ask the store again.
    Stale,
    /// The disk does not have what was written. See [`Reader::keep_damaged`].
    Damaged,
}

/// Reads messages; clones share the disk with the store.
#[derive(Debug)]
pub struct Reader<D> {
    disk: Arc<D>,
    bugs: Bugs,
}

impl<D> Clone for Reader<D> {
    fn clone(&self) -> Reader<D> {
        Reader { disk: self.disk.clone(), bugs: self.bugs }
    }
}

impl Location {
    pub(crate) fn new(
        (queue, seq): (QueueId, Seq),
        entry: Entry,
        expires_at: Option<Timestamp>,
    ) -> Location {
        Location { queue, seq, expires_at, entry }
    }

    pub fn priority(&self) -> u8 {
        self.entry.priority()
    }

    pub fn body_bytes(&self) -> u32 {
        self.entry.body_bytes
    }

    /// Bytes of the record, header and body.
    fn record_bytes(&self, disk: &dyn Disk) -> Result<u64, StorageError> {
        let header_bytes = self.entry.header_bytes();
        if header_bytes < Entry::HEADER_BYTES_MAX {
            return Ok(self.entry.record_bytes());
        }
        let prefix = read(disk, self.file(), self.start(), PREFIX_BYTES as u64)?;
        let length = prefix.as_deref().and_then(|prefix| prefix.get(8..)?.first_chunk());
        // A damaged length must not make us ask for more memory than any header takes.
        let header_bytes = length.map_or(0, |length| u32::from_le_bytes(*length).min(1 << 30));
        Ok(u64::from(header_bytes) + u64::from(self.entry.body_bytes))
    }

    /// The record as the disk has it; empty when it cannot be read.
    pub(crate) fn record(&self, disk: &dyn Disk) -> Result<Bytes, StorageError> {
        let n_bytes = self.record_bytes(disk)?;
        Ok(read(disk, self.file(), self.start(), n_bytes)?.unwrap_or_default())
    }

    /// The segment, and first byte and end of the record in it.
    pub(crate) fn range(&self) -> (u32, u64, u64) {
        (self.entry.segment, self.start(), self.end())
    }

    /// Whether a reader would return the message.
    pub(crate) fn is_readable(&self, disk: &dyn Disk) -> Result<bool, StorageError> {
        Ok(message(&self.record(disk)?, self, Bugs::default()).is_some())
    }

    #[cfg(test)]
    pub(crate) fn entry(&self) -> Entry {
        self.entry
    }

    fn start(&self) -> u64 {
        self.entry.offset.into()
    }

    fn end(&self) -> u64 {
        self.start() + self.entry.record_bytes()
    }

    fn file(&self) -> FileName {
        FileName::Segment(self.entry.segment)
    }
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(disk: Arc<D>, bugs: Bugs) -> Reader<D> {
        Reader { disk, bugs }
    }

    /// Reads messages; the answer has one item for each location, in the same order.
    ///
    /// Neighbours in the log are read together. No message is returned whose checksums are wrong,
    /// or that is not the one asked for.
    ///
    /// # Errors
    /// What a later attempt may not meet: too many open files, for example.
    pub fn read(&self, locations: &[Location]) -> Result<Vec<Stored>, StorageError> {
        let mut all = Vec::with_capacity(locations.len());
        let mut rest = locations;
        while let Some(first) = rest.first() {
            let (mut n, mut end) = (1, first.end());
            for next in &rest[1..] {
                let near = next.file() == first.file()
                    && next.start() >= end
                    && next.start() - end <= GAP_BYTES
                    && next.end() - first.start() <= READ_BYTES;
                if !near {
                    break;
                }
                n += 1;
                end = next.end();
            }
            let (run, others) = rest.split_at(n);
            rest = others;
            self.read_run(run, end, &mut all)?;
        }
        Ok(all)
    }

    /// Reads neighbours at once. When that fails, one by one, to see which of them it is.
    fn read_run(
        &self,
        run: &[Location],
        end: u64,
        all: &mut Vec<Stored>,
    ) -> Result<(), StorageError> {
        let (file, start) = (run[0].file(), run[0].start());
        let bytes = match run {
            [one] => Some(one.record(&*self.disk)?),
            _ => read(&*self.disk, file, start, end - start)?,
        };
        let Some(bytes) = bytes else {
            return run.iter().try_for_each(|one| self.read_run(&[*one], 0, all));
        };
        for location in run {
            let at = usize::try_from(location.start() - start).expect("in a run");
            let found =
                (at <= bytes.len()).then(|| message(&bytes.slice(at..), location, self.bugs));
            all.push(found.flatten().unwrap_or_else(|| self.missing(file)));
        }
        Ok(())
    }

    /// What to call a message that is not where it should be.
    fn missing(&self, file: FileName) -> Stored {
        // A recycled segment has another name, so its old one tells that the location is old.
        match self.disk.read_at(file, 0, &mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::Stale,
            Ok(_) | Err(_) => Stored::Damaged,
        }
    }

    /// Keeps the bytes at a damaged location aside for a person to look at.
    ///
    /// The store is to be told by a [`Batch::ack`](crate::storage::batch::Batch::ack).
    pub fn keep_damaged(&self, location: &Location) -> DamagedMessage {
        let mut bytes = Vec::new();
        for start in (location.start()..location.end()).step_by(4096) {
            // What can be read is kept, block by block.
            let end = location.end().min(start + 4096);
            match read(&*self.disk, location.file(), start, end - start) {
                Ok(Some(block)) => bytes.extend_from_slice(&block),
                Ok(None) | Err(_) => bytes.resize(bytes.len() + 4096, 0),
            }
        }
        damaged::keep(&*self.disk, &bytes, &[(location.queue, location.seq)])
    }
}

/// Up to `n_bytes` from `start` on; `None` when the file is gone or the disk has lost them.
fn read(
    disk: &dyn Disk,
    file: FileName,
    start: u64,
    n_bytes: u64,
) -> Result<Option<Bytes>, StorageError> {
    let mut bytes = vec![0; usize::try_from(n_bytes).expect("records fit in memory")];
    match disk.read_at(file, start, &mut bytes) {
        Ok(n) => bytes.truncate(n),
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_lost(&error) => {
            return Ok(None);
        }
        Err(source) => return Err(StorageError::Disk { op: "read", file, source }),
    }
    Ok(Some(bytes.into()))
}

fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(INPUT_OUTPUT_ERROR)
}

/// The message at the front of `bytes`, if it is whole and the one at `location`.
fn message(bytes: &Bytes, location: &Location, bugs: Bugs) -> Option<Stored> {
    let frame = Frame::parse(bytes).ok()?;
    let Ok(Record::Message(mut message)) = frame.record() else { return None };
    let (queue, seq) = (location.queue, location.seq);
    let body = parse::body(&frame, bytes)?;
    let ours = message.targets.any(|target| (target.queue, target.seq) == (queue, seq));
    let whole = parse::body_is_whole(&frame, bytes) || bugs.has(PlantedBug::BodyNotChecked);
    (ours && whole).then(|| Stored::Message {
        flags: message.flags,
        head: bytes.slice_ref(message.head),
        body: bytes.slice_ref(body),
    })
}
