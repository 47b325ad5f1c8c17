//! Replays the log behind a checkpoint, and tells its torn end from damage.
//!
//! Every batch says which batch came before it and which one was the newest synced. So the end of
//! the log is where no batch fits; and if a batch anywhere says that something behind this place
//! was synced, what is missing had been promised to somebody.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::parse::Header;
use crate::storage::batch::parse::Verdict;
use crate::storage::damaged;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::journal::Position;
use crate::storage::planted::Bugs;
use crate::storage::planted::PlantedBug;
use crate::storage::record::Frame;
use crate::storage::record::Record;
use crate::storage::report::DamagedMessage;
use crate::storage::report::Loss;
use crate::storage::report::Recovery;
use crate::storage::report::TornTail;
use crate::storage::scan::Scan;
use crate::storage::segment::Segment;

/// A replay in progress. [`Replay::run`] brings `index` to the end of the log.
pub(crate) struct Replay<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) index: &'a mut Index,
    /// Sizes of all segment files there are.
    pub(crate) files: &'a BTreeMap<u32, u64>,
    pub(crate) salt: u32,
    /// Look for evidence everywhere: the checkpoint may not be the newest there was.
    pub(crate) thorough: bool,
    pub(crate) bugs: Bugs,
    pub(crate) position: Position,
    pub(crate) report: Recovery,
    pub(crate) damaged: Vec<DamagedRecord>,
    /// Segments that hold a part of the replayed log.
    pub(crate) visited: BTreeSet<u32>,
}

/// A record whose header is whole and whose body is damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DamagedRecord {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// What comes at a place of the log.
enum Coming {
    /// A batch that fits; the body of the records at these places are damaged.
    Batch { header: Header, damaged: Vec<usize> },
    /// Nothing that can be used.
    Broken,
}

/// What was done about the end of what fits.
enum Turn {
    GoOn,
    End,
}

impl Replay<'_> {
    pub(crate) fn run(&mut self) -> Result<(), StorageError> {
        while let Turn::GoOn = self.segment()? {}
        Ok(())
    }

    /// Replays the segment at the position to where it ends or goes on elsewhere.
    fn segment(&mut self) -> Result<Turn, StorageError> {
        let segment = self.position.segment;
        let Some(n_bytes) = self.files.get(&segment).copied() else {
            return Ok(self.lost_segment());
        };
        self.visited.insert(segment);
        self.check_length(segment, n_bytes);
        let mut scan = Scan::new(self.disk, segment, n_bytes, self.salt);
        while self.position.segment == segment {
            let damaged = match coming(&mut scan, self.position) {
                Coming::Batch { header, damaged } if damaged.is_empty() => {
                    self.accept(&mut scan, header, &[])?;
                    continue;
                }
                Coming::Batch { header, damaged } => Some((header, damaged)),
                Coming::Broken => None,
            };
            // An earlier start may have dropped what is here and gone on elsewhere.
            if let Some(linked) = self.linked() {
                self.position = linked;
            } else if !self.was_promised(&mut scan) && !self.takes_anyway(damaged.is_some()) {
                let (offset, after) = (self.position.offset, self.position.last);
                let torn = any_header(&mut scan, offset, |header| header.place.id > after);
                self.report.torn = torn.then_some(TornTail { segment, offset, after });
                return Ok(Turn::End);
            } else if let Some((header, damaged)) = damaged {
                let left_out = self.note_damaged(&mut scan, &damaged);
                self.accept(&mut scan, header, &left_out)?;
            } else if let Turn::End = self.lost_batches(&mut scan) {
                return Ok(Turn::End);
            }
        }
        Ok(Turn::GoOn)
    }

    /// Finds a segment to be shorter than it was made: nothing says what its end held.
    fn check_length(&mut self, segment: u32, n_bytes: u64) {
        let known = self.index.segments.get(segment).copied();
        let known = known.unwrap_or(Segment { bytes: n_bytes, ..Segment::default() });
        if n_bytes < known.bytes {
            self.report.losses.push(Loss {
                file: FileName::Segment(segment),
                bytes: (n_bytes, known.bytes),
                batches: None,
                messages: Vec::new(),
            });
            self.thorough = true;
        }
        self.index.segments.insert(segment, Segment { bytes: n_bytes, ..known });
    }

    /// Applies the batch at the position and moves behind it.
    fn accept(
        &mut self,
        scan: &mut Scan<'_>,
        header: Header,
        left_out: &[usize],
    ) -> Result<(), StorageError> {
        let Position { segment, offset, .. } = self.position;
        let found = scan.batch(offset).expect("it was there a moment ago");
        let at = (segment, offset_u32(offset));
        let next = self.index.apply_batch(self.disk, at, found.bytes, left_out)?;
        let end = offset + header.padded_bytes();
        self.index.segments.use_up_to(segment, end);
        self.report.batches += 1;
        self.report.bytes += header.padded_bytes();
        self.position =
            Position { segment, offset: end, last: header.place.id, last_segment: segment };
        if let Some((next, bytes)) = next {
            self.position.segment = next;
            self.position.offset = 0;
            self.index.segments.insert(next, Segment { bytes, ..Segment::default() });
        }
        Ok(())
    }

    /// Notes records whose bodies are damaged; gives those to be left out.
    ///
    /// A message is taken into the index all the same, as it may have been settled later. A copy is
    /// left out: the original is still where it was.
    fn note_damaged(&mut self, scan: &mut Scan<'_>, damaged: &[usize]) -> Vec<usize> {
        let Position { segment, offset, .. } = self.position;
        let Some(found) = scan.batch(offset) else { return Vec::new() };
        let mut left_out = Vec::new();
        for at in damaged {
            let Ok(frame) = Frame::parse(&found.bytes[*at..]) else { continue };
            match frame.record() {
                Ok(Record::Message(message)) if message.relocated => left_out.push(*at),
                _ => self.damaged.push(DamagedRecord {
                    segment,
                    offset: offset + *at as u64,
                    bytes: frame.total_bytes(),
                }),
            }
        }
        left_out
    }

    /// The segment whose first batch says that it comes right behind the position.
    fn linked(&self) -> Option<Position> {
        let Position { last, last_segment, segment, .. } = self.position;
        self.unvisited().find_map(|(number, n_bytes)| {
            let mut scan = Scan::new(self.disk, number, n_bytes, self.salt);
            let place = scan.header(0)?.place;
            let follows = (place.previous, place.previous_segment) == (last, last_segment);
            // A batch that only says where the log goes on may be missing: this is where.
            let next = BatchId(last.0 + 1);
            let skips_next = place.previous == next
                && place.id.0 == next.0 + 1
                && place.previous_segment == segment;
            let offset = 0;
            (follows || skips_next).then_some(Position {
                segment: number,
                offset,
                last: place.previous,
                last_segment: place.previous_segment,
            })
        })
    }

    /// Segment files that are not part of the replayed log, with their sizes.
    fn unvisited(&self) -> impl Iterator<Item = (u32, u64)> {
        let known = |number: &u32| {
            self.visited.contains(number) || self.index.segments.get(*number).is_some()
        };
        self.files.iter().filter(move |(number, _)| !known(number)).map(|(n, bytes)| (*n, *bytes))
    }

    fn takes_anyway(&self, has_header: bool) -> bool {
        self.bugs.has(PlantedBug::TornEndRefused)
            || (has_header && self.bugs.has(PlantedBug::TornBatchApplied))
    }

    /// Whether a batch somewhere says that a batch behind the position was synced.
    fn was_promised(&self, scan: &mut Scan<'_>) -> bool {
        let last = self.position.last;
        let promises = |header: &Header| header.place.synced > last;
        // A torn write leaves other bytes, but not a block that cannot be read.
        if scan.is_unreadable(self.position.offset)
            || any_header(scan, self.position.offset, promises)
        {
            return true;
        }
        self.unvisited().any(|(number, n_bytes)| {
            let mut scan = Scan::new(self.disk, number, n_bytes, self.salt);
            if self.thorough {
                any_header(&mut scan, 0, promises)
            } else {
                scan.header(0).is_some_and(|header| promises(&header))
            }
        })
    }

    /// Passes over what is broken at the position, to the next batch behind it.
    fn lost_batches(&mut self, scan: &mut Scan<'_>) -> Turn {
        let Position { segment, offset, last, .. } = self.position;
        let mut from = offset;
        let next = loop {
            match scan.next_header(from) {
                Some((at, header)) if header.place.id > last && at > offset => {
                    break Some((at, header));
                }
                Some((at, _)) => from = at + 1,
                None => break None,
            }
        };
        let mut loss = Loss {
            file: FileName::Segment(segment),
            bytes: (offset, scan.bytes),
            batches: None,
            messages: Vec::new(),
        };
        let turn = match next {
            Some((at, header)) => {
                loss.bytes.1 = at;
                loss.batches = Some((BatchId(last.0 + 1), BatchId(header.place.id.0 - 1)));
                self.position = before(segment, at, &header);
                Turn::GoOn
            }
            None => self.nearest_segment(),
        };
        self.report.losses.push(loss);
        // Where something is missing, nothing can be taken for granted any more.
        self.thorough = true;
        turn
    }

    /// The file the log should go on in is not there.
    fn lost_segment(&mut self) -> Turn {
        self.report.losses.push(Loss {
            file: FileName::Segment(self.position.segment),
            bytes: (0, 0),
            batches: None,
            messages: Vec::new(),
        });
        self.nearest_segment()
    }

    /// Goes to the unvisited segment with the lowest batch above the position.
    fn nearest_segment(&mut self) -> Turn {
        let last = self.position.last;
        let firsts = self.unvisited().filter_map(|(number, n_bytes)| {
            let mut scan = Scan::new(self.disk, number, n_bytes, self.salt);
            let (at, header) = scan.next_header(0)?;
            (header.place.id > last).then_some((header.place.id, number, at, header))
        });
        match firsts.min_by_key(|(id, ..)| *id) {
            Some((_, number, at, header)) => {
                self.position = before(number, at, &header);
                Turn::GoOn
            }
            None => Turn::End,
        }
    }

    /// Finds segments that messages lie in and that are missing or too short.
    pub(crate) fn check_segments(&mut self) -> Result<(), StorageError> {
        let whole = |number: u32, segment: &Segment| {
            self.files.get(&number).is_some_and(|n_bytes| *n_bytes >= segment.used)
        };
        let missing: Vec<(u32, Segment)> = self
            .index
            .segments
            .iter()
            .filter(|(number, segment)| !whole(*number, segment))
            .map(|(number, segment)| (number, *segment))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.index.collect(self.disk, usize::MAX)?;
        for (number, segment) in missing {
            let still = self.index.segments.remove(number);
            if still.is_some_and(|segment| segment.n_live > 0) {
                let messages: Vec<_> = self.index.forget_segment(self.disk, number)?;
                for (queue, Seq(seq)) in &messages {
                    self.index.use_number(*queue, Seq(*seq));
                }
                self.report.losses.push(Loss {
                    file: FileName::Segment(number),
                    bytes: (self.files.get(&number).copied().unwrap_or(0), segment.used),
                    batches: None,
                    messages,
                });
            }
        }
        Ok(())
    }
}

/// Names the messages that are in a queue and whose bodies are damaged, keeps their bytes aside,
/// and takes them out.
pub(crate) fn quarantine(
    disk: &dyn Disk,
    index: &mut Index,
    salt: u32,
    damaged: &[DamagedRecord],
) -> Result<Vec<DamagedMessage>, StorageError> {
    let mut named = Vec::new();
    for DamagedRecord { segment, offset, bytes } in damaged {
        let mut scan = Scan::new(disk, *segment, offset + bytes, salt);
        let record = scan.bytes(*offset);
        let places = live_places(disk, index, record, (*segment, offset_u32(*offset)))?;
        if !places.is_empty() {
            named.push(damaged::keep(disk, record, &places));
        }
        for (queue, seq) in places {
            index.with(queue, disk, |queue, around| queue.remove(seq.0, around))?;
        }
    }
    Ok(named)
}

/// The queues, and their numbers, that still need the message at the front of `record`.
pub(crate) fn live_places(
    disk: &dyn Disk,
    index: &mut Index,
    record: &[u8],
    place: (u32, u32),
) -> Result<Vec<(QueueId, Seq)>, StorageError> {
    let Ok(frame) = Frame::parse(record) else { return Ok(Vec::new()) };
    let Ok(Record::Message(message)) = frame.record() else { return Ok(Vec::new()) };
    let live = index.live_targets(disk, &message, place)?;
    Ok(live.iter().map(|target| (target.queue, target.seq)).collect())
}

fn any_header(scan: &mut Scan<'_>, mut from: u64, holds: impl Fn(&Header) -> bool) -> bool {
    while let Some((at, header)) = scan.next_header(from) {
        if holds(&header) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// The position at which the batch of `header`, found at `offset`, comes next.
fn before(segment: u32, offset: u64, header: &Header) -> Position {
    let place = header.place;
    Position { segment, offset, last: place.previous, last_segment: place.previous_segment }
}

fn coming(scan: &mut Scan<'_>, position: Position) -> Coming {
    let Some(found) = scan.batch(position.offset) else { return Coming::Broken };
    let place = found.header.place;
    let fits = (place.previous, place.previous_segment) == (position.last, position.last_segment)
        && place.id > position.last;
    match found.verdict {
        Verdict::Whole if fits => Coming::Batch { header: found.header, damaged: Vec::new() },
        Verdict::Bodies(damaged) if fits => Coming::Batch { header: found.header, damaged },
        Verdict::Whole | Verdict::Bodies(_) | Verdict::Broken => Coming::Broken,
    }
}

pub(crate) fn offset_u32(offset: u64) -> u32 {
    offset.try_into().expect("segments are shorter than 4 GiB")
}
