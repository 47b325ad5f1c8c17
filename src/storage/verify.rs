//! Reads every byte of a store and says what is damaged, where, and what follows from it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::parse;
use crate::storage::batch::parse::Records;
use crate::storage::batch::parse::Verdict;
use crate::storage::checkpoint::decode;
use crate::storage::config::Config;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::error::StorageError;
use crate::storage::examine::Examined;
use crate::storage::examine::Files;
use crate::storage::examine::examine;
use crate::storage::index::Index;
use crate::storage::reader::Location;
use crate::storage::recovery::DamagedRecord;
use crate::storage::recovery::live_places;
use crate::storage::recovery::offset_u32;
use crate::storage::report::TornTail;
use crate::storage::scan::Found;
use crate::storage::scan::Scan;
use crate::storage::store_file::StoreFile;

/// What a look at all of a store found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verification {
    pub identity: [u8; 16],
    /// Major and minor number of the format.
    pub format: (u16, u16),
    /// The checkpoint a start would use; zero when there is none.
    pub checkpoint: u32,
    /// Batches and bytes of log that were read.
    pub n_batches: u64,
    pub n_bytes: u64,
    /// Messages in queues, those that are damaged included.
    pub n_messages: u64,
    /// The unfinished end of the log, which was never confirmed. Normal after a crash.
    pub torn: Option<TornTail>,
    /// Everything that is not as it was written, in order of file and place.
    pub damage: Vec<Damage>,
}

/// A part of a file that is not as it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Damage {
    pub file: FileName,
    /// Bytes of the file, the end not included.
    pub bytes: (u64, u64),
    pub kind: DamageKind,
    /// Messages that cannot be read because of it.
    pub messages: Vec<(QueueId, Seq)>,
}

/// What is damaged, and so what happens because of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DamageKind {
    /// Nothing there is needed any more.
    Unused,
    /// There is a second copy, or it is made anew from the log at the next start.
    Mended,
    /// The messages are named and not delivered; everything else goes on.
    Messages,
    /// A start refuses: confirmed batches are missing. `None` when it is not known which.
    Log { batches: Option<(BatchId, BatchId)> },
}

impl Verification {
    /// Whether all that the store holds can be read.
    pub fn is_whole(&self) -> bool {
        self.damage.iter().all(|damage| match damage.kind {
            DamageKind::Unused | DamageKind::Mended => true,
            DamageKind::Messages | DamageKind::Log { .. } => false,
        })
    }
}

/// Checks a store that no process writes to. Changes nothing.
///
/// # Errors
/// [`StorageError::Damaged`] when it cannot even be said whose directory this is, or no checkpoint
/// and no beginning of the log is left.
pub fn verify(disk: &dyn Disk, config: &Config) -> Result<Verification, StorageError> {
    let files = Files::list(disk)?;
    let store_file = StoreFile::require(disk)?;
    let salt = store_file.salt();
    let mut examined = examine(disk, &files, salt, config)?;
    let mut found = Verification {
        identity: store_file.identity,
        format: (store_file.major, store_file.minor),
        checkpoint: examined.report.checkpoint,
        n_batches: examined.report.batches,
        n_bytes: examined.report.bytes,
        n_messages: n_messages(&examined.index),
        torn: examined.report.torn,
        damage: small_files(disk, &files, &examined),
    };
    replayed(disk, &mut examined, salt, &mut found)?;
    let mut log =
        Log { disk, salt, found: &mut found, broken: BTreeMap::new(), incomplete: BTreeSet::new() };
    // What a purge left counts as live until it is collected.
    examined.index.collect(disk, usize::MAX)?;
    let numbers: Vec<u32> = examined.index.segments.iter().map(|(number, _)| number).collect();
    for number in numbers {
        if number == examined.start.segment {
            log.segment(&mut examined.index, number, examined.start.offset)?;
        } else if !examined.visited.contains(&number) {
            log.segment(&mut examined.index, number, u64::MAX)?;
        }
    }
    log.name_broken(&mut examined.index)?;
    found.damage.sort_unstable();
    Ok(found)
}

fn n_messages(index: &Index) -> u64 {
    let queues = index.queue_ids();
    queues.into_iter().filter_map(|id| index.queue(id)).map(|queue| queue.n_live).sum()
}

fn damage(file: FileName, bytes: (u64, u64), kind: DamageKind) -> Damage {
    Damage { file, bytes, kind, messages: Vec::new() }
}

/// What is damaged of all but the log.
fn small_files(disk: &dyn Disk, files: &Files, examined: &Examined) -> Vec<Damage> {
    let copies = StoreFile::damaged_copies(disk);
    let copies = copies.map(|bytes| damage(FileName::Store, bytes, DamageKind::Mended));
    let checkpoints = files.checkpoints.iter().filter_map(|(slot, n_bytes)| {
        let file = FileName::Checkpoint(*slot);
        let whole = decode::number(disk, file, *n_bytes).is_some();
        (!whole).then(|| damage(file, (0, *n_bytes), DamageKind::Mended))
    });
    let chunks = examined.chunks.iter().map(|place| {
        let bytes = (place.offset, place.offset + u64::from(place.bytes));
        damage(FileName::Index(place.file), bytes, DamageKind::Mended)
    });
    copies.chain(checkpoints).chain(chunks).collect()
}

/// What replay met behind the checkpoint.
fn replayed(
    disk: &dyn Disk,
    examined: &mut Examined,
    salt: u32,
    found: &mut Verification,
) -> Result<(), StorageError> {
    for DamagedRecord { segment, offset, bytes } in std::mem::take(&mut examined.damaged) {
        let mut scan = Scan::new(disk, segment, offset + bytes, salt);
        let place = (segment, offset_u32(offset));
        let messages = live_places(disk, &mut examined.index, scan.bytes(offset), place)?;
        let file = FileName::Segment(segment);
        found.damage.push(of_messages(file, (offset, offset + bytes), messages));
    }
    for loss in &examined.report.losses {
        let kind = DamageKind::Log { batches: loss.batches };
        let messages = loss.messages.clone();
        found.damage.push(Damage { file: loss.file, bytes: loss.bytes, kind, messages });
    }
    Ok(())
}

fn of_messages(file: FileName, bytes: (u64, u64), messages: Vec<(QueueId, Seq)>) -> Damage {
    let kind = if messages.is_empty() { DamageKind::Unused } else { DamageKind::Messages };
    Damage { file, bytes, kind, messages }
}

/// Goes through the part of the log that replay does not need.
struct Log<'a> {
    disk: &'a dyn Disk,
    salt: u32,
    found: &'a mut Verification,
    /// Ranges whose records cannot be told apart, by segment and start.
    broken: BTreeMap<(u32, u64), Damage>,
    /// Segments in which fewer messages were found than queues have there.
    incomplete: BTreeSet<u32>,
}

impl Log<'_> {
    /// Reports damage before `end`; what comes behind is replay's.
    fn segment(&mut self, index: &mut Index, number: u32, end: u64) -> Result<(), StorageError> {
        let Some(segment) = index.segments.get(number).copied() else { return Ok(()) };
        let mut scan = Scan::new(self.disk, number, segment.bytes, self.salt);
        let (mut at, mut n_live) = (0, 0);
        while at < segment.used {
            let next = match scan.batch(at) {
                Some(batch) => {
                    n_live += self.batch(index, (number, at), at < end, &batch)?;
                    at + batch.header.padded_bytes()
                }
                None => {
                    let next = scan.next_header(at + 1).map_or(segment.used, |(next, _)| next);
                    if at < end {
                        self.note_broken(number, (at, next.min(end)));
                    }
                    next
                }
            };
            if at < end {
                self.found.n_bytes += next - at;
            }
            at = next;
        }
        // A write that went astray leaves a whole batch in the place of another one.
        if n_live != segment.n_live {
            self.incomplete.insert(number);
        }
        Ok(())
    }

    /// How many places in queues have their messages in the batch.
    fn batch(
        &mut self,
        index: &mut Index,
        (number, at): (u32, u64),
        reports: bool,
        batch: &Found<'_>,
    ) -> Result<u64, StorageError> {
        self.found.n_batches += u64::from(reports);
        let mut n_live = 0;
        let mut records = Records::new(batch.bytes);
        for (offset, frame) in &mut records {
            let record = &batch.bytes[offset..];
            let start = at + offset as u64;
            let messages = live_places(self.disk, index, record, (number, offset_u32(start)))?;
            n_live += messages.len() as u64;
            if reports && !parse::body_is_whole(&frame, record) {
                let bytes = (start, start + frame.total_bytes());
                self.found.damage.push(of_messages(FileName::Segment(number), bytes, messages));
            }
        }
        if reports && batch.verdict == Verdict::Broken {
            let end = at + batch.header.bytes;
            let start = match records.rest_bytes() {
                // All records are whole, but not those that were written.
                0 => at,
                rest => end - rest as u64,
            };
            self.note_broken(number, (start, end));
        }
        Ok(n_live)
    }

    fn note_broken(&mut self, number: u32, bytes: (u64, u64)) {
        let broken = of_messages(FileName::Segment(number), bytes, Vec::new());
        self.broken.insert((number, bytes.0), broken);
    }

    /// Asks the index which messages should be where none was found, and reads them.
    fn name_broken(mut self, index: &mut Index) -> Result<(), StorageError> {
        let known = self.found.damage.iter().flat_map(|damage| damage.messages.clone());
        let known: BTreeSet<(QueueId, Seq)> = known.collect();
        let ids = if self.incomplete.is_empty() { Vec::new() } else { index.queue_ids() };
        for id in ids {
            let mut from = Some(0);
            while let Some(seq) = from {
                let step = index.with(id, self.disk, |queue, around| {
                    let (run, next) = queue.live_run(seq, around)?;
                    for (seq, (entry, expires_at)) in run {
                        let location = Location::new((id, Seq(seq)), entry, expires_at);
                        if self.incomplete.contains(&entry.segment)
                            && !known.contains(&(id, Seq(seq)))
                            && !location.is_readable(self.disk)?
                        {
                            self.unreadable(&location);
                        }
                    }
                    Ok(next)
                })?;
                from = step.flatten();
            }
        }
        for Damage { file, bytes, messages, .. } in self.broken.into_values() {
            self.found.damage.push(of_messages(file, bytes, messages));
        }
        Ok(())
    }

    fn unreadable(&mut self, location: &Location) {
        let (number, start, end) = location.range();
        let before = self.broken.range_mut(..=(number, start)).next_back();
        let of_range = before.filter(|(place, it)| place.0 == number && start < it.bytes.1);
        let damage = match of_range {
            Some((_, damage)) => damage,
            None => {
                let file = FileName::Segment(number);
                let alone = of_messages(file, (start, end), Vec::new());
                self.broken.entry((number, start)).or_insert(alone)
            }
        };
        damage.messages.push((location.queue, location.seq));
    }
}

#[cfg(test)]
mod tests;
