use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::amqp::time::Timestamp;
use crate::storage::chunk::Timed;
use crate::storage::disk::FileName;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::index::sealed::ChunkPlace;
use crate::storage::record::encode;
use crate::storage::segment::Segment;

const QUEUE: QueueId = QueueId(5);
const N_SEGMENTS: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Leaves this many numbers out first.
    Insert {
        gap: u64,
        segment: u32,
        body_bytes: u32,
        expires: bool,
    },
    InsertLate {
        seq: u64,
    },
    /// Every so many of the live messages, starting at the oldest.
    Remove {
        every: usize,
        n: usize,
    },
    RemoveAny {
        seq: u64,
    },
    Mark {
        nth: usize,
    },
    Purge {
        share: usize,
        keep_every: usize,
    },
    Relocate {
        every: usize,
        segment: u32,
    },
    Spill,
    SealTails,
    Drop,
}

fn any_step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![8 => Just(0), 1 => 1..9_u64, 1 => 1000..9000_u64];
    prop_oneof![
        20 => (gap, 0..N_SEGMENTS, 0..500_u32, any::<bool>()).prop_map(
            |(gap, segment, body_bytes, expires)| Step::Insert { gap, segment, body_bytes, expires }
        ),
        1 => (0..100_u64).prop_map(|seq| Step::InsertLate { seq }),
        3 => (1..5_usize, 1..20_usize).prop_map(|(every, n)| Step::Remove { every, n }),
        1 => (0..9999_u64).prop_map(|seq| Step::RemoveAny { seq }),
        2 => (0..99_usize).prop_map(|nth| Step::Mark { nth }),
        1 => (1..5_usize, 1..9_usize)
            .prop_map(|(share, keep_every)| Step::Purge { share, keep_every }),
        1 => (1..5_usize, 0..N_SEGMENTS)
            .prop_map(|(every, segment)| Step::Relocate { every, segment }),
        2 => Just(Step::Spill),
        1 => Just(Step::SealTails),
        1 => Just(Step::Drop),
    ]
}

/// An index beside a map that says what must be in it.
struct Pair {
    disk: MemoryDisk,
    index: Index,
    model: BTreeMap<u64, Timed>,
    marks: BTreeMap<u64, Vec<u8>>,
    next: u64,
    n_spilled: u32,
}

impl Pair {
    fn new() -> Pair {
        let mut index = Index::new(8);
        for number in 0..N_SEGMENTS {
            index.segments.insert(number, Segment::default());
        }
        let (disk, model, marks) = (MemoryDisk::default(), BTreeMap::new(), BTreeMap::new());
        Pair { disk, index, model, marks, next: 1, n_spilled: 0 }
    }

    fn with<T>(
        &mut self,
        then: impl FnOnce(&mut QueueIndex, &mut Around<'_>) -> Result<T, StorageError>,
    ) -> Option<T> {
        self.index.with(QUEUE, &self.disk, then).unwrap()
    }

    fn insert(&mut self, seq: u64, timed: Timed) {
        let (segments, memory) = (&mut self.index.segments, &mut self.index.memory);
        let mut around = Around { id: QUEUE, disk: &self.disk, segments, memory };
        let queue = self.index.queues.entry(QUEUE).or_default();
        queue.insert(seq, timed, &mut around).unwrap();
        self.model.entry(seq).or_insert(timed);
    }

    fn remove(&mut self, seq: u64) {
        let removed = self.with(|queue, around| queue.remove(seq, around)).unwrap_or(false);
        assert_eq!(removed, self.model.remove(&seq).is_some());
        self.marks.remove(&seq);
    }

    fn every(&self, every: usize) -> Vec<u64> {
        self.model.keys().step_by(every).copied().collect()
    }

    /// Applies a record to the index.
    fn apply(&mut self, write: impl FnOnce(&mut Vec<u8>) -> u32) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let frame = Frame::parse(&bytes).unwrap();
        let record = frame.record().unwrap();
        self.index.apply(&self.disk, (0, 0), &frame, &record).unwrap();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert { gap, segment, body_bytes, expires } => {
                let seq = self.next + gap;
                self.next = seq + 1;
                let entry =
                    Entry::new(segment, seq as u32 * 10, 40, body_bytes, (seq / 40 % 3) as u8);
                self.insert(seq, (entry, expires.then_some(Timestamp(seq * 7))));
            }
            Step::InsertLate { seq } => {
                if seq < self.next {
                    let entry = Entry::new(1, 1, 40, 9, 0);
                    self.insert(seq, (entry, Some(Timestamp(seq))));
                }
            }
            Step::Remove { every, n } => {
                for seq in self.every(every).into_iter().take(n) {
                    self.remove(seq);
                }
            }
            Step::RemoveAny { seq } => self.remove(seq),
            Step::Mark { nth } => {
                let seq = self.model.keys().nth(nth).copied().unwrap_or(nth as u64);
                let mark = vec![nth as u8; 3];
                self.apply(|out| encode::returned(out, QUEUE, Seq(seq), &mark));
                if self.model.contains_key(&seq) {
                    self.marks.insert(seq, mark);
                }
            }
            Step::Purge { share, keep_every } => {
                let below = self.next - self.next / share as u64;
                let keeps = self.every(keep_every);
                let except: Vec<Seq> = keeps.iter().map(|seq| Seq(*seq)).collect();
                self.apply(|out| encode::purge(out, QUEUE, Seq(below), &except));
                self.model.retain(|seq, _| *seq >= below || keeps.contains(seq));
                self.marks.retain(|seq, _| *seq >= below || keeps.contains(seq));
            }
            Step::Relocate { every, segment } => {
                for seq in self.every(every) {
                    let (old, expires_at) = self.model[&seq];
                    let to = Entry::new(segment, seq as u32, 40, old.body_bytes, old.priority());
                    self.index.relocations.push((QUEUE, seq, to));
                    self.model.insert(seq, (to, expires_at));
                }
                self.index.relocations.push((QUEUE, 1 << 40, Entry::new(1, 2, 3, 4, 5)));
                self.index.finish_batch(&self.disk).unwrap();
            }
            Step::Spill => self.spill(),
            Step::SealTails => {
                self.index.seal_tails(0);
                let queue = self.index.queue(QUEUE);
                assert!(queue.is_none_or(|queue| queue.tail.is_empty()));
            }
            Step::Drop => {
                self.apply(|out| encode::drop_queue(out, QUEUE));
                self.model.clear();
                self.marks.clear();
            }
        }
    }

    fn spill(&mut self) {
        let Pair { disk, index, n_spilled, .. } = self;
        let Some(queue) = index.queues.get_mut(&QUEUE) else { return };
        for chunk in &mut queue.chunks {
            let Some(bytes) = chunk.bytes().cloned() else { continue };
            let file = *n_spilled;
            *n_spilled += 1;
            disk.create(FileName::Index(file), 0).unwrap();
            disk.write_at(FileName::Index(file), 8, &bytes).unwrap();
            let (n_bytes, crc) = (bytes.len() as u32, crc32c::crc32c(&bytes));
            chunk.place = Some(ChunkPlace { file, offset: 8, bytes: n_bytes, crc });
            index.memory.shrink(chunk.spill());
        }
    }

    fn check(&mut self) {
        let mut found = BTreeMap::new();
        let mut from = Some(0);
        while let Some(seq) = from {
            from = self
                .with(|queue, around| {
                    let (run, next) = queue.live_run(seq, around)?;
                    found.extend(run);
                    Ok(next)
                })
                .flatten();
        }
        assert_eq!(found, self.model);
        let Some(queue) = self.index.queue(QUEUE) else { return };
        assert_eq!(queue.n_live, self.model.len() as u64);
        let bytes: u64 = self.model.values().map(|(entry, _)| u64::from(entry.body_bytes)).sum();
        assert_eq!(queue.live_bytes, bytes);
        for priority in 0..3 {
            let ours = || self.model.iter().filter(|(_, (it, _))| it.priority() == priority);
            let level = queue.levels.iter().find(|level| level.priority == priority);
            assert_eq!(level.map_or(0, |level| level.n_live), ours().count() as u64);
            let inside = |seq: &u64| level.is_some_and(|it| (it.first..it.end).contains(seq));
            assert!(ours().all(|(seq, _)| inside(seq)));
        }
        let marks: BTreeMap<u64, Vec<u8>> =
            queue.marks.iter().map(|(seq, mark)| (seq.0, mark.to_vec())).collect();
        assert_eq!(marks, self.marks);
    }

    fn check_segments(&mut self) {
        self.index.collect(&self.disk, usize::MAX).unwrap();
        for number in 0..N_SEGMENTS {
            let segment = self.index.segments.get(number).unwrap();
            let here = || self.model.values().filter(|(entry, _)| entry.segment == number);
            assert_eq!(segment.n_live, here().count() as u64);
            let bytes: u64 = here().map(|(entry, _)| entry.record_bytes()).sum();
            assert_eq!(segment.live_bytes, bytes);
        }
        let chunks = self.index.queues.values().flat_map(|queue| &queue.chunks);
        let resident: usize = chunks.map(Sealed::resident_bytes).sum();
        assert_eq!(self.index.memory.resident, resident);
    }
}

proptest! {
    #[test]
    fn the_index_knows_what_a_map_would(steps in vec(any_step(), 1..200)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            pair.check();
        }
        pair.check_segments();
    }
}

#[test]
fn numbering_goes_on_behind_a_reserve() {
    let mut pair = Pair::new();
    pair.insert(41, (Entry::new(0, 0, 1, 1, 0), None));
    assert_eq!(pair.index.queue(QUEUE).unwrap().next_seq, 42);
    pair.index.skip_numbers(1000);
    assert_eq!(pair.index.queue(QUEUE).unwrap().next_seq, 1042);
}

#[test]
fn a_damaged_chunk_is_an_error_and_not_an_answer() {
    let mut pair = Pair::new();
    for seq in 1..20 {
        pair.insert(seq, (Entry::new(0, seq as u32, 1, 1, 0), None));
    }
    pair.spill();
    pair.disk.edit(FileName::Index(0), |bytes| bytes[20] ^= 1);
    let error = pair.index.with(QUEUE, &pair.disk, |queue, around| queue.get(1, around));
    assert!(matches!(error, Err(StorageError::Damaged { file: FileName::Index(0), .. })));
}
