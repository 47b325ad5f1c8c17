//! The thread that owns the store: writes batches, answers what queues want read, keeps house.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::broker::effect::settle_later;
use crate::broker::effect::with_queue;
use crate::broker::stored;
use crate::queue::effect;
use crate::queue::effect::Fetch;
use crate::queue::entry::Mark;
use crate::queue::expiry::Loaded;
use crate::queue::expiry::LoadedMessage;
use crate::server::control::Answer;
use crate::server::control::BackupRequest;
use crate::server::disk::DataFolder;
use crate::server::log::FetchRequest;
use crate::server::log::Work;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::storage::batch::Batch;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::reader::Location;
use crate::storage::reader::Reader;
use crate::storage::reader::Stored;
use crate::storage::store::Store;
use crate::storage::store::view::Wanted;

/// How long the log must be quiet before its end is sealed.
const QUIET: Duration = Duration::from_millis(50);
/// How often the thread looks whether a checkpoint is due, when nothing else wakes it.
const IDLE: Duration = Duration::from_secs(1);
/// How long it waits between two pieces of housework, for publishers to come first.
const BETWEEN_STEPS: Duration = Duration::from_millis(1);
/// Bytes of live messages one piece of housework may write again.
const STEP_BYTES: u64 = 256 * 1024;
/// Of the bytes that are committed, one in so many may be spent on housework meanwhile.
const HOUSE_SHARE: u64 = 5;

/// What the reading thread does.
enum Job {
    Read(ReadJob),
    /// The answer is known: nothing is to be read, but this thread is not to wait for a queue.
    Tell(FetchRequest, Loaded),
}

/// Messages to be read, and where they lie.
struct ReadJob {
    request: FetchRequest,
    locations: Vec<Location>,
    marks: Vec<Option<Mark>>,
    /// The answer ends before this one, when nothing lies behind what was found.
    next: Seq,
}

/// The storage thread.
pub(in crate::server) struct StorageThread<D> {
    node: Arc<Node>,
    store: Store<D>,
    jobs: mpsc::Sender<Job>,
    checkpoint: Option<mpsc::Receiver<Result<(), StorageError>>>,
    /// Comes when the backup that is being made is done.
    backup: Option<mpsc::Receiver<()>>,
    /// Bytes that housework may write while publishers are busy.
    allowance: u64,
    /// The last piece of housework said that there is more.
    has_more: bool,
    space_checked: Instant,
}

impl<D: Disk + Send + Sync + 'static> StorageThread<D> {
    /// Starts the storage thread and its reader; both end when the log is stopped.
    pub(in crate::server) fn start(
        node: &Arc<Node>,
        mut store: Store<D>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        // Known before the first client is there; what fails here fails again on the thread.
        if let Ok(space) = store.space() {
            node.set_disk_low(space.is_low, space.free_bytes);
        }
        let (jobs, receiver) = mpsc::channel();
        let reader = store.reader();
        let reading = Arc::clone(node);
        let reader = std::thread::Builder::new()
            .name("railpost-read".to_owned())
            .spawn(move || read_jobs(&reading, &reader, &receiver))?;
        let thread = StorageThread {
            node: Arc::clone(node),
            store,
            jobs,
            checkpoint: None,
            backup: None,
            allowance: 0,
            has_more: true,
            space_checked: Instant::now(),
        };
        std::thread::Builder::new().name("railpost-log".to_owned()).spawn(move || {
            thread.run();
            // The data directory is free for another process only when nobody reads any more.
            let _ = reader.join();
        })
    }

    fn run(mut self) {
        let mut batch = Batch::new();
        if let Err(error) = self.serve(&mut batch) {
            // What the disk has is not known any more; nothing may be confirmed, nothing retried.
            self.node.fail(&error.to_string());
        }
    }

    fn serve(&mut self, batch: &mut Batch) -> Result<(), StorageError> {
        loop {
            self.end_backup();
            let idle = match () {
                () if self.has_more => BETWEEN_STEPS,
                () if !self.store.is_sealed() || self.checkpoint.is_some() => QUIET,
                () => IDLE,
            };
            let Some(work) = self.node.log.next_work(batch, idle) else {
                self.keep_house()?;
                continue;
            };
            self.allowance += batch.bytes() as u64 / HOUSE_SHARE;
            self.commit(batch, &work)?;
            for request in work.fetches {
                self.fetch(request)?;
            }
            for request in work.backups {
                self.begin_backup(request)?;
            }
            if self.allowance >= STEP_BYTES {
                self.allowance -= STEP_BYTES;
                self.step()?;
            }
            self.checkpoint()?;
            if work.stop {
                return self.finish();
            }
        }
    }

    /// Step 8b of a message's path: the batch is written and synced; next is
    /// `broker::confirm::on_durable`.
    fn commit(&mut self, batch: &mut Batch, work: &Work) -> Result<(), StorageError> {
        let written = self.store.write(batch)?;
        if batch.needs_sync() {
            let started = Instant::now();
            self.store.sync()?;
            self.node.metrics.sync_seconds.record(started.elapsed().as_secs_f64());
        }
        // Whoever waits may go on; the index is only asked by this thread, later.
        self.node.log.set_durable(work.batch);
        if let Some(since) = work.since {
            self.node.metrics.confirm_seconds.record(since.elapsed().as_secs_f64());
        }
        self.store.apply(batch, written)
    }

    /// Finds where wanted messages lie and has them read.
    fn fetch(&mut self, request: FetchRequest) -> Result<(), StorageError> {
        let wanted = match request.fetch {
            Fetch::Written => {
                let batch = self.node.log.durable();
                let _ = self.jobs.send(Job::Tell(request, Loaded::Written { batch }));
                return Ok(());
            }
            Fetch::Prefix { from, end, bytes } => {
                Wanted { from, end, count: limit::PREFIX_COUNT, bytes, priority: None }
            }
            Fetch::Run { level, from, end, count, bytes } => {
                Wanted { from, end, count, bytes, priority: level }
            }
            Fetch::One { seq } => {
                Wanted { from: seq, end: seq.next(), count: 1, bytes: u64::MAX, priority: None }
            }
        };
        let locations = self.store.locate(request.queue, wanted)?;
        let found: u64 = locations.iter().map(|it| u64::from(it.body_bytes())).sum();
        let is_complete = locations.len() < wanted.count && found < wanted.bytes;
        let next = match locations.last() {
            Some(last) if !is_complete => last.seq.next(),
            Some(_) | None => wanted.end,
        };
        if let Fetch::Prefix { from, .. } = request.fetch {
            let count = locations.len() as u64;
            let loaded = Loaded::Prefix { from, next, count, bytes: found };
            let _ = self.jobs.send(Job::Tell(request, loaded));
            return Ok(());
        }
        let mark = |it: &Location| {
            let mark = self.store.mark(it.queue, it.seq)?;
            Mark::decode(mark).map(|(mark, _)| mark)
        };
        let marks = locations.iter().map(mark).collect();
        // The reader ends only after this thread.
        let _ = self.jobs.send(Job::Read(ReadJob { request, locations, marks, next }));
        Ok(())
    }

    /// Has another thread copy the store as it is now.
    fn begin_backup(&mut self, request: BackupRequest) -> Result<(), StorageError> {
        // Whoever asked may have gone; then nobody is told.
        let Some(backup) = self.store.begin_backup()? else {
            let _ = request.answer.send(Answer::Error("another backup is being made".to_owned()));
            return Ok(());
        };
        let (done, ended) = mpsc::channel();
        self.backup = Some(ended);
        let (node, disk) = (Arc::clone(&self.node), self.store.disk());
        let copy = move || {
            let to = request.to.display().to_string();
            let result = match DataFolder::new(&request.to) {
                Ok(folder) => backup.run(&*disk, &folder).map_err(|it| it.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let answer = match result {
                Ok(()) => Answer::Bytes(backup.bytes()),
                Err(error) => Answer::Error(format!("cannot back up to `{to}`: {error}")),
            };
            let _ = done.send(());
            node.log.nudge();
            let _ = request.answer.send(answer);
        };
        let spawned = std::thread::Builder::new().name("railpost-backup".to_owned()).spawn(copy);
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the backup");
        }
        Ok(())
    }

    /// Lets go what a backup held, once it is done.
    fn end_backup(&mut self) {
        let running = |it: &mpsc::Receiver<()>| it.try_recv() == Err(mpsc::TryRecvError::Empty);
        if self.backup.as_ref().is_some_and(|it| !running(it)) {
            self.backup = None;
            self.store.end_backup();
        }
    }

    /// What is done when there is nothing to write.
    fn keep_house(&mut self) -> Result<(), StorageError> {
        if self.has_more {
            return self.step();
        }
        if !self.store.is_sealed() {
            self.store.seal()?;
        }
        self.has_more = true;
        if self.space_checked.elapsed() >= IDLE {
            self.check_space()?;
        }
        self.checkpoint()
    }

    /// One piece of housework: something freed, prepared, or written again elsewhere.
    fn step(&mut self) -> Result<(), StorageError> {
        let progress = self.store.step(STEP_BYTES)?;
        self.has_more = progress.more;
        for location in &progress.damaged {
            quarantine(&self.node, &self.store.reader(), location);
        }
        if self.space_checked.elapsed() >= IDLE {
            self.check_space()?;
        }
        Ok(())
    }

    /// Makes publishers wait while the disk is nearly full.
    fn check_space(&mut self) -> Result<(), StorageError> {
        self.space_checked = Instant::now();
        let space = self.store.space()?;
        self.node.set_disk_low(space.is_low, space.free_bytes);
        Ok(())
    }

    /// Begins a checkpoint when one is due, and takes note of one that is done.
    fn checkpoint(&mut self) -> Result<(), StorageError> {
        if let Some(receiver) = &self.checkpoint {
            match receiver.try_recv() {
                Ok(result) => {
                    self.checkpoint = None;
                    self.store.finish_checkpoint(result)?;
                    self.has_more = true;
                }
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::TryRecvError::Disconnected) => self.checkpoint = None,
            }
        }
        let now = self.node.clock.now();
        if !self.store.wants_checkpoint(now) {
            return Ok(());
        }
        let Some(work) = self.store.begin_checkpoint(now)? else { return Ok(()) };
        let (sender, receiver) = mpsc::channel();
        let disk = self.store.disk();
        std::thread::Builder::new()
            .name("railpost-checkpoint".to_owned())
            .spawn(move || {
                let _ = sender.send(work.run(&*disk));
            })
            .map_err(StorageError::at(
                "start a thread for",
                crate::storage::disk::FileName::Store,
            ))?;
        self.checkpoint = Some(receiver);
        Ok(())
    }

    /// The last things before a clean end: a checkpoint, so that the next start is quick.
    fn finish(&mut self) -> Result<(), StorageError> {
        if let Some(receiver) = self.checkpoint.take()
            && let Ok(result) = receiver.recv()
        {
            self.store.finish_checkpoint(result)?;
        }
        self.store.seal()?;
        if let Some(work) = self.store.begin_checkpoint(self.node.clock.now())? {
            let result = work.run(&*self.store.disk());
            self.store.finish_checkpoint(result)?;
        }
        Ok(())
    }
}

/// The reading thread: bodies come from disk without holding up the log.
fn read_jobs<D: Disk>(node: &Arc<Node>, reader: &Reader<D>, jobs: &mpsc::Receiver<Job>) {
    let mut scratch = Vec::new();
    while let Ok(job) = jobs.recv() {
        let job = match job {
            Job::Read(job) => job,
            Job::Tell(request, loaded) => {
                tell(node, &request, loaded);
                continue;
            }
        };
        match reader.read(&job.locations) {
            Ok(stored) => answer(node, reader, &job, stored, &mut scratch),
            Err(error) => {
                // Too many open files, perhaps: the messages are still there.
                tracing::error!(%error, queue = job.request.queue.0, "cannot read messages");
                std::thread::sleep(QUIET);
                node.log.fetch(job.request);
            }
        }
    }
}

/// Hands what was read to its queue.
fn answer<D: Disk>(
    node: &Arc<Node>,
    reader: &Reader<D>,
    job: &ReadJob,
    stored: Vec<Stored>,
    scratch: &mut Vec<u8>,
) {
    if stored.iter().any(|it| matches!(it, Stored::Stale)) {
        // Moved since they were located: ask again where they are now.
        node.log.fetch(job.request.clone());
        return;
    }
    let mut messages = Vec::with_capacity(stored.len());
    let mut damaged = Vec::new();
    let found = job.locations.iter().zip(&job.marks).zip(stored);
    for ((location, mark), stored) in found {
        let message = match stored {
            Stored::Message { head, body, .. } => to_message(&head, &body, scratch),
            Stored::Damaged | Stored::Stale => None,
        };
        match message {
            Some(message) => messages.push(LoadedMessage {
                seq: location.seq,
                message,
                mark: mark.clone(),
                expires_at: location.expires_at.unwrap_or(Timestamp::NEVER),
            }),
            None => damaged.push(location),
        }
    }
    for location in &damaged {
        quarantine(node, reader, location);
    }
    let loaded = match job.request.fetch {
        Fetch::Run { level, from, .. } => {
            Loaded::Run { level, from, messages, n_damaged: damaged.len() as u64, next: job.next }
        }
        Fetch::One { seq } => Loaded::One { seq, message: messages.pop() },
        // These were told.
        Fetch::Prefix { .. } | Fetch::Written => return,
    };
    tell(node, &job.request, loaded);
}

/// Hands an answer to the queue that asked.
fn tell(node: &Arc<Node>, request: &FetchRequest, loaded: Loaded) {
    if let Some(reader) = &request.reader {
        // Whoever looked into the queue may have given up.
        let _ = reader.try_send(loaded);
        return;
    }
    let mut turn = Turn::new(node, &request.vhost, None);
    with_queue(&mut turn, request.queue, |queue, ports, effects, now| {
        queue.loaded(loaded, now, ports, effects);
    });
    settle_later(&mut turn);
    turn.finish();
    node.wake_loading();
}

fn to_message(head: &Bytes, body: &Bytes, scratch: &mut Vec<u8>) -> Option<Message> {
    if body.len() <= limit::PACKED_BODY_BYTES {
        return stored::decode(head, body, scratch);
    }
    let parts = stored::decode_head(head)?;
    Some(Message::new(parts, std::slice::from_ref(body), scratch))
}

/// A stored message is not what was written: its bytes are kept aside, it is named, and the log
/// forgets it. It is never delivered.
fn quarantine<D: Disk>(node: &Arc<Node>, reader: &Reader<D>, location: &Location) {
    let kept = reader.keep_damaged(location);
    let message_id = message_id(&kept.head);
    let file = kept.kept.map(|it| it.to_string()).unwrap_or_default();
    let (queue, seq) = (location.queue, location.seq);
    tracing::error!(
        queue = %node.queue_name(queue),
        seq = seq.0,
        message_id,
        file,
        "a stored message is damaged and will not be delivered"
    );
    node.metrics.damaged.increment(1);
    node.log.erase(&[(queue, seq, effect::Cause::Damaged)]);
}

/// The message-id in the head of a stored message, if it can be read.
pub(in crate::server) fn message_id(head: &[u8]) -> String {
    let parts = stored::decode_head(head);
    parts.and_then(|it| it.properties.message_id().map(str::to_owned)).unwrap_or_default()
}
