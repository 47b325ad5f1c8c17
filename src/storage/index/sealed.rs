//! A sealed chunk of a queue's index: in memory, on disk, or both, and which of it is gone.

use std::sync::Arc;

use crate::storage::chunk;
use crate::storage::chunk::Decoder;
use crate::storage::chunk::Timed;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::entry::Entry;
use crate::storage::error::StorageError;

/// Where a checkpoint wrote a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChunkPlace {
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) crc: u32,
}

/// Entries of consecutive sequence numbers that are not changed in place any more.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    /// Sequence number of the first entry.
    pub(crate) first: u64,
    pub(crate) n_entries: u32,
    pub(crate) n_live: u32,
    /// Bytes of the bodies of live messages.
    pub(crate) live_bytes: u64,
    /// The priority of all messages; `None` when they have several.
    pub(crate) priority: Option<u8>,
    /// Whether messages expire, or did before they were gone.
    pub(crate) expires: bool,
    bytes: Option<Arc<[u8]>>,
    pub(crate) place: Option<ChunkPlace>,
    /// A bit for each entry that is gone, so that a checkpoint says which are live even when the
    /// chunk itself is damaged.
    gone: Option<Box<[u64]>>,
    /// Behind the entry that was asked for last. What is settled in order is found at once.
    last: Option<chunk::Place>,
}

impl Sealed {
    pub(crate) fn seal(first: u64, entries: &[Timed]) -> Sealed {
        let n_live = entries.iter().filter(|(entry, _)| entry.is_live()).count();
        let live_bytes = entries.iter().map(|(entry, _)| u64::from(entry.body_bytes)).sum();
        let expires = entries.iter().any(|(_, expires_at)| expires_at.is_some());
        Sealed {
            first,
            priority: one_priority(entries),
            expires,
            n_entries: u32::try_from(entries.len()).expect("chunks are small"),
            n_live: u32::try_from(n_live).expect("chunks are small"),
            live_bytes,
            bytes: Some(chunk::encode(entries).into()),
            place: None,
            gone: gone_bits(entries),
            last: None,
        }
    }

    /// A chunk of which a checkpoint kept the counts, and the bytes elsewhere.
    pub(crate) fn spilled(
        (first, n_entries): (u64, u32),
        (n_live, live_bytes): (u32, u64),
        (priority, expires): (Option<u8>, bool),
        place: ChunkPlace,
        gone: Option<Box<[u64]>>,
    ) -> Sealed {
        let (bytes, place, last) = (None, Some(place), None);
        Sealed { first, n_entries, n_live, live_bytes, priority, expires, bytes, place, gone, last }
    }

    /// One behind the last entry's sequence number.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.n_entries)
    }

    pub(crate) fn gone(&self) -> Option<&[u64]> {
        self.gone.as_deref()
    }

    /// The encoded bytes, when they are in memory.
    pub(crate) fn bytes(&self) -> Option<&Arc<[u8]>> {
        self.bytes.as_ref()
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Leaves the bytes to the disk when it has them; returns how many.
    pub(crate) fn spill(&mut self) -> usize {
        match self.place {
            Some(_) => self.bytes.take().map_or(0, |bytes| bytes.len()),
            None => 0,
        }
    }

    /// Brings the bytes to memory; returns how many were read.
    pub(crate) fn load(&mut self, disk: &dyn Disk) -> Result<usize, StorageError> {
        if self.bytes.is_some() {
            return Ok(0);
        }
        let place = self.place.expect("a chunk is in memory or on disk");
        let bytes = read(disk, place, self.n_entries)?;
        let n_bytes = bytes.len();
        self.bytes = Some(bytes.into());
        Ok(n_bytes)
    }

    /// Entries from `seq` on, with their sequence numbers, the gone ones left out.
    ///
    /// # Panics
    /// When the chunk was not loaded.
    pub(crate) fn live_from(&self, seq: u64) -> impl Iterator<Item = (u64, Timed)> {
        let bytes = self.bytes.as_ref().expect("the caller loads the chunk");
        let seq = seq.max(self.first);
        let index = usize::try_from(seq - self.first).unwrap_or(usize::MAX);
        let n_entries = self.n_entries as usize;
        let entries = Decoder::new(bytes, n_entries, index.min(n_entries));
        let live = (seq..).zip(entries);
        live.filter(|(seq, (entry, _))| entry.is_live() && !self.is_gone(*seq))
    }

    /// The live entry of `seq`, which must be in the chunk's range.
    ///
    /// # Panics
    /// When the chunk was not loaded.
    pub(crate) fn get(&mut self, seq: u64) -> Option<Timed> {
        let bytes = self.bytes.as_ref().expect("the caller loads the chunk");
        let index = usize::try_from(seq - self.first).expect("chunks are small");
        let mut entries = Decoder::near(bytes, self.n_entries as usize, index, self.last);
        let timed = entries.next()?;
        self.last = Some(entries.place());
        (timed.0.is_live() && !self.is_gone(seq)).then_some(timed)
    }

    pub(crate) fn is_gone(&self, seq: u64) -> bool {
        let (word, bit) = self.bit(seq);
        self.gone.as_ref().is_some_and(|gone| gone[word] & bit != 0)
    }

    fn bit(&self, seq: u64) -> (usize, u64) {
        let index = seq - self.first;
        (usize::try_from(index / 64).expect("chunks are small"), 1 << (index % 64))
    }

    /// Marks a live entry as gone.
    pub(crate) fn forget(&mut self, seq: u64, entry: Entry) {
        let (word, bit) = self.bit(seq);
        let n_words = (self.n_entries as usize).div_ceil(64);
        let gone = self.gone.get_or_insert_with(|| vec![0; n_words].into());
        gone[word] |= bit;
        self.n_live -= 1;
        self.live_bytes -= u64::from(entry.body_bytes);
    }

    /// All entries with the gone ones as such, to be changed and sealed again.
    pub(crate) fn unsealed(&self) -> Vec<Timed> {
        let mut entries = vec![(Entry::GONE, None); self.n_entries as usize];
        for (seq, timed) in self.live_from(self.first) {
            entries[usize::try_from(seq - self.first).expect("chunks are small")] = timed;
        }
        entries
    }
}

fn one_priority(entries: &[Timed]) -> Option<u8> {
    let live = entries.iter().filter(|(entry, _)| entry.is_live());
    let mut priorities = live.map(|(entry, _)| entry.priority());
    let first = priorities.next().unwrap_or(0);
    priorities.all(|priority| priority == first).then_some(first)
}

/// A bit for each entry that is gone; `None` when none is.
fn gone_bits(entries: &[Timed]) -> Option<Box<[u64]>> {
    if entries.iter().all(|(entry, _)| entry.is_live()) {
        return None;
    }
    let words = entries.chunks(64).map(|entries| {
        let gone = entries.iter().map(|(entry, _)| u64::from(!entry.is_live()));
        gone.enumerate().map(|(bit, gone)| gone << bit).sum()
    });
    Some(words.collect())
}

/// Reads a chunk from the file a checkpoint wrote and checks it.
fn read(disk: &dyn Disk, place: ChunkPlace, n_entries: u32) -> Result<Vec<u8>, StorageError> {
    let file = FileName::Index(place.file);
    let mut bytes = vec![0; place.bytes as usize];
    let n = disk.read_at(file, place.offset, &mut bytes).map_err(StorageError::at("read", file))?;
    let n_entries = n_entries as usize;
    let whole = n == bytes.len()
        && crc32c::crc32c(&bytes) == place.crc
        && Decoder::new(&bytes, n_entries, 0).count() == n_entries;
    if !whole {
        let what = format!("index chunk at byte {} has a wrong checksum", place.offset);
        return Err(StorageError::Damaged { file, what });
    }
    Ok(bytes)
}
