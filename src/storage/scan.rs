//! Reading the log from front to back: batch after batch of one segment.

use std::collections::BTreeSet;

use crate::storage::batch::BLOCK_BYTES;
use crate::storage::batch::parse::Header;
use crate::storage::batch::parse::Records;
use crate::storage::batch::parse::Verdict;
use crate::storage::batch::parse::check;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;

/// Bytes read at a time; batches longer than that are read as a whole.
const WINDOW_BYTES: usize = 1 << 20;
/// Smallest piece read again when a longer one could not be read: what a disk loses at once.
const BLOCK: u64 = BLOCK_BYTES as u64;

/// A segment file being read through a window. What the disk cannot read looks like zeros.
pub(crate) struct Scan<'a> {
    disk: &'a dyn Disk,
    pub(crate) segment: u32,
    /// Size of the file.
    pub(crate) bytes: u64,
    salt: u32,
    start: u64,
    window: Vec<u8>,
    /// Offsets of blocks that could not be read.
    unreadable: BTreeSet<u64>,
}

/// A batch found at some place of a segment.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) header: Header,
    pub(crate) verdict: Verdict,
    /// Header and records; shorter than the header says only when the verdict is `Broken`.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, segment: u32, bytes: u64, salt: u32) -> Scan<'a> {
        Scan {
            disk,
            segment,
            bytes,
            salt,
            start: 0,
            window: Vec::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// Up to `n` bytes from `offset` on; fewer at the end of the file.
    fn at(&mut self, offset: u64, n: usize) -> &[u8] {
        let n = n.min(usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX));
        let end = self.start + self.window.len() as u64;
        if offset < self.start || offset + n as u64 > end {
            // From the start of a block on, as the disk loses whole blocks.
            let before = offset % BLOCK;
            let n_before = usize::try_from(before).expect("below the block size");
            self.fill(offset - before, (n + n_before).max(WINDOW_BYTES));
        }
        let from = usize::try_from(offset - self.start).expect("inside of the window");
        &self.window[from..from + n]
    }

    fn fill(&mut self, offset: u64, n: usize) {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.start = offset;
        self.window.clear();
        self.window.resize(n.min(left), 0);
        let file = FileName::Segment(self.segment);
        if self.disk.read_durable(file, offset, &mut self.window).is_ok() {
            return;
        }
        for (at, block) in (offset..).step_by(BLOCK_BYTES).zip(self.window.chunks_mut(BLOCK_BYTES))
        {
            if self.disk.read_durable(file, at, block).is_err() {
                block.fill(0);
                self.unreadable.insert(at / BLOCK * BLOCK);
            }
        }
    }

    /// The batch at `offset`; `None` when no header of this segment's present use is there.
    pub(crate) fn batch(&mut self, offset: u64) -> Option<Found<'_>> {
        let header = self.header(offset)?;
        if header.bytes > self.bytes.saturating_sub(offset) {
            return None;
        }
        let bytes = self.at(offset, usize::try_from(header.bytes).ok()?);
        Some(Found { header, verdict: check(&header, bytes), bytes })
    }

    /// Whether the disk failed to read the block at `offset`, or one of the batch that starts there.
    pub(crate) fn is_unreadable(&mut self, offset: u64) -> bool {
        let n_bytes = self.header(offset).map_or(BLOCK, |header| header.padded_bytes());
        self.unreadable.range(offset..offset.saturating_add(n_bytes)).next().is_some()
    }

    /// Everything from `offset` to the end.
    pub(crate) fn bytes(&mut self, offset: u64) -> &[u8] {
        self.at(offset, usize::MAX)
    }

    /// The header at `offset`, if it is of this segment's present use.
    pub(crate) fn header(&mut self, offset: u64) -> Option<Header> {
        let (segment, salt) = (self.segment, self.salt);
        let header = Header::parse(self.at(offset, BLOCK_BYTES), salt)?;
        (header.place.segment == segment).then_some(header)
    }

    /// The header of the batch at `offset` and its records, whose bodies are not looked at.
    pub(crate) fn records(&mut self, offset: u64) -> Option<(Header, Records<'_>)> {
        let header = self.header(offset)?;
        if header.bytes > self.bytes.saturating_sub(offset) {
            return None;
        }
        let bytes = self.at(offset, usize::try_from(header.bytes).ok()?);
        Some((header, Records::new(bytes)))
    }

    /// The next header of this segment's present use from `offset` on, and where it is.
    pub(crate) fn next_header(&mut self, mut offset: u64) -> Option<(u64, Header)> {
        offset = offset.next_multiple_of(BLOCK);
        while offset < self.bytes {
            if let Some(header) = self.header(offset) {
                return Some((offset, header));
            }
            offset += BLOCK;
        }
        None
    }
}
