//! A store on a simulated disk beside a model of it, and what clients do to both.

use std::collections::BTreeMap;
use std::sync::Arc;

use railpost::amqp::id::QueueId;
use railpost::amqp::id::Seq;
use railpost::amqp::time::Millis;
use railpost::amqp::time::Timestamp;
use railpost::storage::backup::Backup;
use railpost::storage::batch::Batch;
use railpost::storage::checkpoint::CheckpointWork;
use railpost::storage::config::Config;
use railpost::storage::error::StorageError;
use railpost::storage::message::Durability;
use railpost::storage::message::Target;
use railpost::storage::reader::Stored;
use railpost::storage::report::Recovery;
use railpost::storage::store::Store;
use railpost::storage::store::view::LiveMessage;
use railpost::storage::store::view::Wanted;

use crate::disk::SimulatedDisk;
use crate::model::Content;
use crate::model::Held;
use crate::model::Model;
use crate::model::Operation;
use crate::model::Queue;
use crate::random::Random;

const QUEUES: usize = 5;

pub(crate) const ALL: Wanted =
    Wanted { from: Seq(0), end: Seq(u64::MAX), count: usize::MAX, bytes: u64::MAX, priority: None };

/// Sizes at which a few dozen messages are enough for everything to happen.
pub(crate) fn config() -> Config {
    Config {
        identity: *b"simulated store!",
        segment_bytes: 64 << 10,
        chunk_entries: 16,
        index_bytes: 600,
        checkpoint_bytes: 96 << 10,
        checkpoint_every: Millis(50),
        spare_segments: 3,
        ..Config::default()
    }
}

pub(crate) struct World {
    pub(crate) disk: Arc<SimulatedDisk>,
    pub(crate) config: Config,
    pub(crate) random: Random,
    /// What is certainly durable, and the batches since, the last of which may be cut.
    durable: Model,
    pending: Vec<Vec<Operation>>,
    /// Everything, as the running store must show it.
    pub(crate) now: Model,
    next_seqs: BTreeMap<u32, u64>,
    /// Numbers are never given twice: the highest of each queue that was ever in a batch.
    highest: BTreeMap<u32, u64>,
    queues: Vec<u32>,
    next_queue: u32,
    next_id: u64,
    work: Option<CheckpointWork>,
    /// A backup being made, and what it must hold.
    backup: Option<(Backup, Model)>,
    clock: u64,
    /// Most of its messages may ride along with later syncs.
    is_lazy: bool,
    pub(crate) n_confirmed: u64,
}

impl World {
    pub(crate) fn new(seed: u64, config: Config) -> World {
        let mut random = Random::new(seed);
        World {
            disk: Arc::new(SimulatedDisk::new(random.next())),
            config,
            random,
            durable: Model::default(),
            pending: Vec::new(),
            now: Model::default(),
            next_seqs: BTreeMap::new(),
            highest: BTreeMap::new(),
            queues: (1..=QUEUES as u32).collect(),
            next_queue: QUEUES as u32 + 1,
            next_id: seed << 20,
            work: None,
            backup: None,
            clock: 0,
            is_lazy: seed % 3 == 1,
            n_confirmed: 0,
        }
    }

    pub(crate) fn open(&mut self) -> Result<(Store<SimulatedDisk>, Recovery), StorageError> {
        self.work = None;
        self.backup = None;
        Store::open(self.disk.clone(), self.config.clone())
    }

    /// One thing that a server might do. An error is the store's.
    pub(crate) fn step(&mut self, store: &mut Store<SimulatedDisk>) -> Result<(), StorageError> {
        self.clock += 1000 * self.random.below(20);
        match self.random.below(20) {
            0 => store.seal()?,
            1 | 2 => {
                let progress = store.step(3000)?;
                let faults = self.disk.n_faults();
                assert!(progress.damaged.is_empty() || faults > 0, "nothing was damaged");
            }
            3 => self.checkpoint(store)?,
            4 => self.read_some(store)?,
            5 => self.back_up(store)?,
            _ => self.commit(store)?,
        }
        Ok(())
    }

    fn checkpoint(&mut self, store: &mut Store<SimulatedDisk>) -> Result<(), StorageError> {
        if let Some(work) = self.work.take() {
            let result = work.run(&*self.disk);
            return store.finish_checkpoint(result);
        }
        if store.wants_checkpoint(Timestamp(self.clock)) || self.random.once_in(4) {
            self.work = store.begin_checkpoint(Timestamp(self.clock))?;
        }
        Ok(())
    }

    /// Begins a backup, or ends it: the copy must be the store as it was at the beginning.
    fn back_up(&mut self, store: &mut Store<SimulatedDisk>) -> Result<(), StorageError> {
        // It takes long enough for segments to be used again meanwhile.
        let Some((backup, model)) = self.backup.take_if(|_| self.random.once_in(6)) else {
            if let Some(backup) = store.begin_backup()? {
                self.backup = Some((backup, self.now.clone()));
            }
            return Ok(());
        };
        let copy = Arc::new(SimulatedDisk::new(self.random.next()));
        let copied = backup.run(&*self.disk, &*copy);
        store.end_backup();
        if !self.disk.is_off() && self.disk.n_faults() == 0 {
            copied.expect("nothing was used again before the backup had it");
            copy.power_loss();
            let (mut store, report) =
                Store::open(copy, self.config.clone()).expect("the copy is whole");
            assert!(report.damaged.is_empty() && report.torn.is_none(), "{report:?}");
            assert!(observe(&mut store) == model.without_empty(), "OTHER store in the backup");
        }
        Ok(())
    }

    /// Reads a few messages of the running store; they must be the right ones.
    fn read_some(&mut self, store: &mut Store<SimulatedDisk>) -> Result<(), StorageError> {
        let queue = *self.random.pick(&self.queues).expect("there are queues");
        let wanted = Wanted { count: 1 + self.random.index(8), ..ALL };
        let locations = store.locate(QueueId(queue), wanted)?;
        let stored = store.reader().read(&locations)?;
        let messages = self.now.queues.get(&queue).map(|queue| &queue.messages);
        for (location, stored) in locations.iter().zip(stored) {
            let held = messages.and_then(|messages| messages.get(&location.seq.0));
            let held = held.expect("PHANTOM in the running store");
            // The power may have gone while reading.
            if stored != Stored::Damaged {
                assert_content(held, &stored);
            }
        }
        Ok(())
    }

    /// Commits a batch of random operations.
    pub(crate) fn commit(&mut self, store: &mut Store<SimulatedDisk>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        let mut operations = Vec::new();
        let rides_along = self.random.below(6) < if self.is_lazy { 5 } else { 1 };
        let durability = if rides_along { Durability::Write } else { Durability::Sync };
        for _ in 0..1 + self.random.below(6) {
            let operation = self.operation(durability);
            operation.push(&mut batch);
            self.now.apply(&operation);
            operations.push(operation);
        }
        if self.random.once_in(10) {
            batch.require_sync();
        }
        let syncs = batch.needs_sync();
        self.pending.push(operations);
        store.commit(&mut batch)?;
        if syncs {
            self.n_confirmed += 1;
            self.confirm_all();
        }
        Ok(())
    }

    fn confirm_all(&mut self) {
        self.pending.clear();
        self.durable = self.now.clone();
    }

    fn take_seq(&mut self, queue: u32) -> Seq {
        // Transient messages take numbers too.
        let gap = if self.random.once_in(20) { self.random.below(400) } else { 0 };
        let next = self.next_seqs.entry(queue).or_insert(1);
        let seq = *next + gap;
        *next = seq + 1;
        self.highest.insert(queue, seq);
        Seq(seq)
    }

    fn targets(&mut self) -> Vec<Target> {
        let n = 1 + self.random.index(3);
        let first = self.random.index(self.queues.len());
        let queues: Vec<u32> = self.queues.iter().cycle().skip(first).take(n).copied().collect();
        let expires = self.random.once_in(4);
        queues
            .into_iter()
            .map(|queue| {
                let seq = self.take_seq(queue);
                let expires_at = expires.then_some(Timestamp(self.clock + seq.0));
                Target { queue: QueueId(queue), seq, priority: (seq.0 % 3) as u8, expires_at }
            })
            .collect()
    }

    fn content(&mut self) -> Content {
        self.next_id += 1;
        let body_bytes = match self.random.below(20) {
            0 => self.random.index(30_000),
            1 => 0,
            2 if self.random.once_in(20) => 70_000 + self.random.index(60_000),
            _ => self.random.index(1200),
        };
        Content { id: self.next_id, body_bytes }
    }

    /// A message that is there now, mostly the oldest of its queue.
    fn some_message(&mut self) -> Option<(u32, u64)> {
        let (queue, state) = {
            let queues: Vec<_> = self.now.queues.iter().collect();
            let (queue, state) = self.random.pick(&queues)?;
            (**queue, &state.messages)
        };
        let nth = if self.random.once_in(4) { self.random.index(state.len().max(1)) } else { 0 };
        state.keys().nth(nth).map(|seq| (queue, *seq))
    }

    fn operation(&mut self, durability: Durability) -> Operation {
        let queue = *self.random.pick(&self.queues).expect("there are queues");
        let choice = self.random.below(100);
        if choice < 45 {
            let (targets, content) = (self.targets(), self.content());
            return Operation::Publish { targets, content, durability };
        }
        if choice < 85
            && let Some((queue, seq)) = self.some_message()
        {
            return match choice {
                45..77 => Operation::Ack { queue, seq },
                77..81 => {
                    let mark = self.random.next().to_le_bytes().to_vec();
                    Operation::Mark { queue, seq, mark, delayed: self.random.once_in(2) }
                }
                _ => {
                    let (targets, content) = (self.targets(), self.content());
                    Operation::Move { from: (queue, seq), targets, content }
                }
            };
        }
        let key = vec![b'k', self.random.index(6) as u8];
        match choice {
            85..88 => Operation::Watermark { queue, seq: self.random.below(5000) },
            88..92 => {
                let value = vec![b'v'; self.random.index(300)];
                Operation::Define { key, value }
            }
            92..94 => Operation::Undefine { key },
            94..96 => self.purge(queue),
            96 => self.drop_queue(),
            _ => {
                // Settled twice, or never stored: no harm. Settled before it is stored: no client can.
                let next = self.next_seqs.get(&queue).copied().unwrap_or(1);
                Operation::Ack { queue, seq: self.random.below(next) }
            }
        }
    }

    fn purge(&mut self, queue: u32) -> Operation {
        let next = self.next_seqs.get(&queue).copied().unwrap_or(1);
        let below = if self.random.once_in(3) { self.random.below(next) } else { next };
        let messages = self.now.queues.get(&queue).map(|queue| queue.messages.keys());
        let except = messages.into_iter().flatten().filter(|seq| *seq % 7 == 0).copied();
        Operation::Purge { queue, below, except: except.collect() }
    }

    fn drop_queue(&mut self) -> Operation {
        let at = self.random.index(self.queues.len());
        let queue = std::mem::replace(&mut self.queues[at], self.next_queue);
        self.next_queue += 1;
        Operation::Drop { queue }
    }

    /// After a restart: the store must hold what was durable and a number of the batches since,
    /// in order. Goes on from there.
    pub(crate) fn check_restart(&mut self, store: &mut Store<SimulatedDisk>) {
        let found = observe(store);
        let mut expected = std::mem::take(&mut self.durable);
        let mut pending = std::mem::take(&mut self.pending).into_iter();
        let mut nearest = None;
        let last = loop {
            if expected.clone().without_empty() == found {
                nearest = Some(expected.clone());
            }
            match pending.next() {
                Some(operations) => operations.iter().for_each(|it| expected.apply(it)),
                None => break expected,
            }
        };
        let Some(nearest) = nearest else {
            panic!("{}", difference(&last.without_empty(), &found));
        };
        self.durable = nearest.clone();
        self.now = nearest;
        self.check_numbers(store);
    }

    fn check_numbers(&mut self, store: &Store<SimulatedDisk>) {
        for view in store.queues() {
            let highest = self.highest.get(&view.id.0).copied().unwrap_or(0);
            assert!(view.next_seq.0 > highest, "REUSED numbers of queue {}", view.id);
            self.next_seqs.insert(view.id.0, view.next_seq.0);
        }
        let known: Vec<u32> = store.queues().iter().map(|view| view.id.0).collect();
        for queue in &mut self.queues {
            // A queue the store does not know starts anew; the broker would give it a new id.
            if !known.contains(queue) {
                *queue = self.next_queue;
                self.next_queue += 1;
            }
        }
    }

    /// Nothing is pending any more: what is now is what must be found.
    pub(crate) fn settle(&mut self) {
        self.confirm_all();
    }
}

/// Everything a store holds, read back.
pub(crate) fn observe(store: &mut Store<SimulatedDisk>) -> Model {
    let mut model = Model::default();
    for (key, value) in store.defined() {
        model.defined.insert(key.to_vec(), value.to_vec());
    }
    for view in store.queues() {
        let mut queue = Queue { watermark: view.watermark.0, ..Queue::default() };
        let locations = store.locate(view.id, ALL).expect("the index can be read");
        let stored = store.reader().read(&locations).expect("the disk can be read");
        for (location, stored) in locations.iter().zip(&stored) {
            let mark = store.mark(view.id, location.seq).map(<[u8]>::to_vec);
            let (priority, expires_at) = (location.priority(), location.expires_at);
            let held = Held { content: content_of(stored), priority, expires_at, mark };
            assert_content(&held, stored);
            queue.messages.insert(location.seq.0, held);
        }
        assert_eq!(view.n_messages, queue.messages.len() as u64, "COUNT of {}", view.id);
        let bytes: usize = queue.messages.values().map(|held| held.content.body_bytes).sum();
        assert_eq!(view.body_bytes, bytes as u64, "BYTES of {}", view.id);
        assert_eq!(store.marks(view.id).count(), view.n_marks);
        check_views(store, view.id, &queue);
        model.queues.insert(view.id.0, queue);
    }
    model.without_empty()
}

/// What a restart asks of a queue instead of all its messages.
fn check_views(store: &mut Store<SimulatedDisk>, id: QueueId, queue: &Queue) {
    let levels = store.levels(id);
    let n_messages: u64 = levels.iter().map(|level| level.n_messages).sum();
    assert_eq!(n_messages, queue.messages.len() as u64, "LEVELS of {id}");
    for level in levels {
        let here = queue.messages.iter().filter(|(_, held)| held.priority == level.priority);
        let seqs: Vec<u64> = here.map(|(seq, _)| *seq).collect();
        assert_eq!(level.n_messages, seqs.len() as u64, "LEVEL of {id}");
        assert!(seqs.iter().all(|seq| (level.first.0..level.end.0).contains(seq)));
    }
    let expiring = pages(|from| store.expiring(id, from, 3).expect("the index can be read"));
    let expiring: Vec<_> = expiring.iter().map(|it| (it.seq.0, it.expires_at)).collect();
    let held = queue.messages.iter().filter(|(_, held)| held.expires_at.is_some());
    assert_eq!(expiring, held.map(|(seq, held)| (*seq, held.expires_at)).collect::<Vec<_>>());
    let marked = store.marked(id, Seq(0), usize::MAX).expect("the index can be read");
    let held = queue.messages.iter().filter(|(_, held)| held.mark.is_some());
    assert!(held.map(|(seq, _)| *seq).eq(marked.iter().map(|it| it.message.seq.0)));
    for it in marked {
        let held = &queue.messages[&it.message.seq.0];
        assert_eq!(held.mark.as_deref(), Some(&it.mark[..]), "MARK");
        assert_eq!(it.message.body_bytes as usize, held.content.body_bytes);
    }
}

/// All that comes, some at a time.
fn pages(mut page: impl FnMut(Seq) -> Vec<LiveMessage>) -> Vec<LiveMessage> {
    let mut all: Vec<LiveMessage> = Vec::new();
    loop {
        let from = all.last().map_or(Seq(0), |last| Seq(last.seq.0 + 1));
        let some = page(from);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn content_of(stored: &Stored) -> Content {
    let Stored::Message { head, body, .. } = stored else { panic!("UNREADABLE: {stored:?}") };
    let id = head.first_chunk().expect("heads have eight bytes and more");
    Content { id: u64::from_le_bytes(*id), body_bytes: body.len() }
}

/// Panics unless the bytes read are those that were published.
pub(crate) fn assert_content(held: &Held, stored: &Stored) {
    let Stored::Message { flags, head, body } = stored else { panic!("UNREADABLE: {stored:?}") };
    let content = held.content;
    let right = *flags == content.id.to_le_bytes()[0]
        && head[..] == content.head()[..]
        && body[..] == content.body()[..];
    assert!(right, "CORRUPT message {content:?}");
}

fn difference(expected: &Model, found: &Model) -> String {
    let mut lines =
        vec![String::from("the store holds no state it went through; to the last one:")];
    for (id, queue) in &expected.queues {
        let there = found.queues.get(id).cloned().unwrap_or_default();
        for (seq, held) in &queue.messages {
            match there.messages.get(seq) {
                None => lines.push(format!("q{id}: LOST {seq}")),
                Some(other) if other != held => {
                    lines.push(format!("q{id}: CHANGED {seq}: {held:?} to {other:?}"));
                }
                Some(_) => {}
            }
        }
        if there.watermark != queue.watermark {
            lines.push(format!("q{id}: WATERMARK {} to {}", queue.watermark, there.watermark));
        }
    }
    for (id, queue) in &found.queues {
        let should = expected.queues.get(id).cloned().unwrap_or_default();
        for seq in queue.messages.keys().filter(|seq| !should.messages.contains_key(seq)) {
            lines.push(format!("q{id}: PHANTOM {seq}"));
        }
    }
    if expected.defined != found.defined {
        lines.push(format!("DEFINED {:?} to {:?}", expected.defined, found.defined));
    }
    lines.truncate(20);
    lines.join("\n")
}
