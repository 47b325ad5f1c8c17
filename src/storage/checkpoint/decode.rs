//! Checkpoints read back.

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::checkpoint::HEADER_BYTES;
use crate::storage::checkpoint::MAGIC;
use crate::storage::checkpoint::Stamp;
use crate::storage::chunk::Decoder;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::index::Index;
use crate::storage::index::levels::Level;
use crate::storage::index::queue::QueueIndex;
use crate::storage::index::sealed::ChunkPlace;
use crate::storage::index::sealed::Sealed;
use crate::storage::journal::Position;
use crate::storage::segment::Segment;
use crate::storage::varint::Input;

/// Reads the checkpoint of a file with `n_bytes`; `None` when it is not whole.
pub(crate) fn read(
    disk: &dyn Disk,
    file: FileName,
    n_bytes: u64,
    chunk_entries: usize,
) -> Option<(Stamp, Index)> {
    let bytes = content(disk, file, n_bytes)?;
    let number = check(&bytes)?;
    let index = Index::new(chunk_entries);
    let mut reader = Reader { input: Input(&bytes[HEADER_BYTES..]), index };
    let (position, next_number) = reader.log()?;
    reader.state()?;
    Some((Stamp { number, position, next_number }, reader.index))
}

/// The number of the checkpoint of a file with `n_bytes`; `None` when it is not whole.
pub(crate) fn number(disk: &dyn Disk, file: FileName, n_bytes: u64) -> Option<u32> {
    check(&content(disk, file, n_bytes)?)
}

fn content(disk: &dyn Disk, file: FileName, n_bytes: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(n_bytes).ok()?];
    // What cannot be read is no better than what is damaged: an older checkpoint will do.
    let n = disk.read_durable(file, 0, &mut bytes).ok()?;
    bytes.truncate(n);
    Some(bytes)
}

/// The number of a checkpoint whose checksum is right.
fn check(bytes: &[u8]) -> Option<u32> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let crc = u32::from_le_bytes(*header[4..].first_chunk()?);
    let n_bytes = u64::from_le_bytes(*header[16..].first_chunk()?);
    let whole =
        header[..4] == MAGIC && n_bytes == bytes.len() as u64 && crc32c::crc32c(&bytes[8..]) == crc;
    whole.then_some(u32::from_le_bytes(*header[8..].first_chunk()?))
}

struct Reader<'a> {
    input: Input<'a>,
    index: Index,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        self.input.number()
    }

    fn small(&mut self) -> Option<u32> {
        self.input.number_u32()
    }

    fn log(&mut self) -> Option<(Position, u32)> {
        let position = Position {
            segment: self.small()?,
            offset: self.number()?,
            last: BatchId(self.number()?),
            last_segment: self.small()?,
        };
        let next_number = self.small()?;
        for _ in 0..self.number()? {
            let number = self.small()?;
            let segment = Segment {
                bytes: self.number()?,
                used: self.number()?,
                n_live: self.number()?,
                live_bytes: self.number()?,
                stored_bytes: self.number()?,
            };
            self.index.segments.insert(number, segment);
        }
        Some((position, next_number))
    }

    fn state(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            let (key, value) = (self.input.sized()?, self.input.sized()?);
            self.index.defined.insert(key.into(), value.into());
        }
        for _ in 0..self.number()? {
            let id = QueueId(self.small()?);
            let queue = self.queue()?;
            self.index.put_queue(id, queue);
        }
        for _ in 0..self.number()? {
            let chunk = self.chunk()?;
            self.index.garbage.push_back(chunk);
        }
        self.input.is_empty().then_some(())
    }

    fn queue(&mut self) -> Option<QueueIndex> {
        let mut queue = QueueIndex { next_seq: self.number()?, ..QueueIndex::default() };
        queue.watermark = Seq(self.number()?);
        for _ in 0..self.number()? {
            queue.levels.push(Level {
                priority: self.small()?.try_into().ok()?,
                n_live: self.number()?,
                first: self.number()?,
                end: self.number()?,
            });
        }
        for _ in 0..self.number()? {
            let chunk = self.chunk()?;
            queue.n_live += u64::from(chunk.n_live);
            queue.live_bytes += chunk.live_bytes;
            queue.chunks.push_back(chunk);
        }
        self.tail(&mut queue)?;
        for _ in 0..self.number()? {
            let seq = Seq(self.number()?);
            queue.marks.insert(seq, self.input.sized()?.into());
        }
        Some(queue)
    }

    fn tail(&mut self, queue: &mut QueueIndex) -> Option<()> {
        let first = self.number()?;
        let n_entries = usize::try_from(self.number()?).ok()?;
        let bytes = self.input.sized()?;
        let mut n = 0;
        for (seq, timed) in (first..).zip(Decoder::new(bytes, n_entries, 0)) {
            n += 1;
            let (entry, _) = timed;
            queue.tail.push(seq, timed);
            if entry.is_live() {
                queue.n_live += 1;
                queue.live_bytes += u64::from(entry.body_bytes);
            }
        }
        (n == n_entries).then_some(())
    }

    fn chunk(&mut self) -> Option<Sealed> {
        let range = (self.number()?, self.small()?);
        let live = (self.small()?, self.number()?);
        let tag = self.small()?;
        let priority = match tag >> 1 {
            0 => None,
            priority => Some(u8::try_from(priority - 1).ok()?),
        };
        let kinds = (priority, tag & 1 == 1);
        let place = ChunkPlace {
            file: self.small()?,
            offset: self.number()?,
            bytes: self.small()?,
            crc: self.small()?,
        };
        let n_words = usize::try_from(self.number()?).ok()?;
        let words = self.input.bytes(n_words.checked_mul(8)?)?;
        let words: Vec<u64> =
            words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let gone = (!words.is_empty()).then(|| words.into());
        Some(Sealed::spilled(range, live, kinds, place, gone))
    }
}
