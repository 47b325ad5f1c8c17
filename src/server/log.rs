//! The log as connections see it: a batch to add to, and a number that says how far it is safe.
//! The thread that writes is in `storage_thread`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use foldhash::fast::RandomState;
use parking_lot::Condvar;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::broker::deduplication::Change;
use crate::broker::definition::Definition;
use crate::broker::host;
use crate::broker::host::Moved;
use crate::broker::stored;
use crate::queue::effect;
use crate::queue::effect::Fetch;
use crate::queue::effect::Reason;
use crate::queue::entry::Mark;
use crate::queue::expiry::Loaded;
use crate::queue::settings;
use crate::server::control::BackupRequest;
use crate::server::link::Link;
use crate::server::vhosts::LiveVhost;
use crate::storage::batch::Batch;
use crate::storage::message::Body;
use crate::storage::message::Cause;
use crate::storage::message::Durability;
use crate::storage::message::NewMessage;
use crate::storage::message::Target;

/// The front of the log, shared by all connections.
#[derive(Debug)]
pub(in crate::server) struct Log {
    open: Mutex<Open>,
    /// Wakes the storage thread.
    work: Condvar,
    durable: AtomicU64,
    /// Connections to wake when more is durable. Locked after `durable` was raised.
    waiting: Mutex<Vec<Arc<Link>>>,
    pending_bytes: AtomicUsize,
    has_room: Notify,
    /// Comes with each batch that is durable, for those who are no connection.
    more_durable: Notify,
}

/// What the storage thread takes next.
#[derive(Debug, Default)]
struct Open {
    batch: Batch,
    /// The number this batch will have; the first is 1.
    id: u64,
    /// When its first message came.
    since: Option<Instant>,
    /// Something in it is waited for; mere acks can ride along with the next thing that is.
    urgent: bool,
    fetches: Vec<FetchRequest>,
    backups: Vec<BackupRequest>,
    next_seq: HashMap<QueueId, Seq, RandomState>,
    targets: Vec<Target>,
    parked: bool,
    stop: bool,
}

/// Messages that a queue wants read.
#[derive(Clone, Debug)]
pub(in crate::server) struct FetchRequest {
    pub(in crate::server) vhost: Arc<LiveVhost>,
    pub(in crate::server) queue: QueueId,
    pub(in crate::server) fetch: Fetch,
    /// Who is told instead of the queue.
    pub(in crate::server) reader: Option<mpsc::SyncSender<Loaded>>,
}

/// One round of the storage thread's work.
#[derive(Debug, Default)]
pub(in crate::server) struct Work {
    pub(in crate::server) batch: BatchId,
    pub(in crate::server) since: Option<Instant>,
    pub(in crate::server) fetches: Vec<FetchRequest>,
    pub(in crate::server) backups: Vec<BackupRequest>,
    pub(in crate::server) stop: bool,
}

/// How long acks wait for something to ride along with.
const ACK_LINGER: Duration = Duration::from_millis(5);

/// How often and how long a thread waits for the log.
const ROOM_LOOKS: u32 = 5000;
const ROOM_PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    /// Where the head of a message is put together before the lock is taken.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether it comes true before a thread that may wait has waited for a few seconds.
fn comes_true(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..ROOM_LOOKS {
        if is_so() {
            return true;
        }
        std::thread::sleep(ROOM_PAUSE);
    }
    false
}

impl Log {
    /// A log whose queues go on with these numbers.
    pub(in crate::server) fn new(next_seq: impl Iterator<Item = (QueueId, Seq)>) -> Log {
        let open = Open { id: 1, next_seq: next_seq.collect(), ..Open::default() };
        Log {
            open: Mutex::new(open),
            work: Condvar::new(),
            durable: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
            pending_bytes: AtomicUsize::new(0),
            has_room: Notify::new(),
            more_durable: Notify::new(),
        }
    }

    pub(in crate::server) fn durable(&self) -> BatchId {
        BatchId(self.durable.load(Ordering::Acquire))
    }

    /// Step 8a of a message's path, called by `broker::publish`; next is
    /// `server::storage_thread::commit`.
    ///
    /// Numbers the message in its durable queues and adds it to the open batch.
    pub(in crate::server) fn append(
        &self,
        message: &Message,
        is_stored: bool,
        targets: &mut [host::Target],
        moved: Option<Moved>,
    ) -> BatchId {
        HEAD.with_borrow_mut(|head| {
            head.clear();
            // Measured before the lock is taken: the checksum is the largest part of the work.
            let body = is_stored.then(|| {
                stored::encode_head(message, head);
                Body::new(message.body().pieces())
            });
            self.with(is_stored || moved.is_some(), |open| {
                let durability = open.number(targets);
                match (body, moved) {
                    (Some(body), moved) => open.add(head, body, durability, moved),
                    // Nobody keeps it where it goes, so it is only taken away where it was.
                    (None, Some(it)) => {
                        open.batch.ack(it.queue, it.seq, cause_number(it.cause));
                        BatchId(0)
                    }
                    (None, None) => BatchId(0),
                }
            })
        })
    }

    /// Adds many messages and erasures in one piece: they become durable together.
    pub(in crate::server) fn append_unit(
        &self,
        entries: &mut [host::Entry],
        erased: &[Moved],
        changes: &[Change],
    ) -> BatchId {
        let stores = entries.iter().any(|it| it.stored);
        let is_logged = stores || !erased.is_empty() || !changes.is_empty();
        self.with(is_logged, |open| {
            for entry in entries {
                let durability = open.number(&mut entry.targets);
                if entry.stored {
                    let mut head = Vec::new();
                    stored::encode_head(&entry.message, &mut head);
                    let body = Body::new(entry.message.body().pieces());
                    open.add(&head, body, durability, None);
                }
            }
            for it in erased {
                open.batch.ack(it.queue, it.seq, cause_number(it.cause));
            }
            for change in changes {
                match change {
                    Change::Define(it) => open.batch.define(&it.key(), &it.value()),
                    Change::Undefine(it) => open.batch.undefine(&it.key()),
                }
            }
            if is_logged {
                open.batch.require_sync();
                BatchId(open.id)
            } else {
                BatchId(0)
            }
        })
    }

    /// Adds what a turn settled. Nobody waits for it.
    pub(in crate::server) fn erase(&self, erased: &[(QueueId, Seq, effect::Cause)]) {
        self.with(false, |open| {
            for (queue, seq, cause) in erased {
                open.batch.ack(*queue, *seq, cause_number(*cause));
            }
        });
    }

    pub(in crate::server) fn remember(
        &self,
        queue: QueueId,
        seq: Seq,
        mark: &Mark,
        due: Option<Timestamp>,
    ) {
        let mut bytes = Vec::with_capacity(64);
        mark.encode(due, &mut bytes);
        self.with(false, |open| match due {
            Some(_) => open.batch.delayed(queue, seq, &bytes),
            None => open.batch.returned(queue, seq, &bytes),
        });
    }

    pub(in crate::server) fn may_have_delivered(&self, queue: QueueId, up_to: Seq) {
        self.with(false, |open| open.batch.watermark(queue, up_to));
    }

    pub(in crate::server) fn purge(&self, queue: QueueId, below: Seq, except: &[Seq]) {
        self.with(true, |open| open.batch.purge(queue, below, except));
    }

    pub(in crate::server) fn drop_queue(&self, queue: QueueId) {
        self.with(true, |open| {
            open.batch.drop_queue(queue);
            open.next_seq.remove(&queue);
        });
    }

    pub(in crate::server) fn define(&self, definition: &Definition) -> BatchId {
        let (key, value) = (definition.key(), definition.value());
        self.with(true, |open| {
            open.batch.define(&key, &value);
            BatchId(open.id)
        })
    }

    pub(in crate::server) fn undefine(&self, definition: &Definition) -> BatchId {
        let key = definition.key();
        self.with(true, |open| {
            open.batch.undefine(&key);
            BatchId(open.id)
        })
    }

    pub(in crate::server) fn fetch(&self, request: FetchRequest) {
        self.with(true, |open| open.fetches.push(request));
    }

    pub(in crate::server) fn back_up(&self, request: BackupRequest) {
        self.with(true, |open| open.backups.push(request));
    }

    /// Has the storage thread look around: something it waits for may have come.
    pub(in crate::server) fn nudge(&self) {
        self.work.notify_one();
    }

    /// Wakes a connection the next time more is durable than `seen`.
    pub(in crate::server) fn wake_when_durable(&self, link: &Arc<Link>, seen: BatchId) {
        if link.waits_for_log.swap(true, Ordering::AcqRel) {
            return;
        }
        self.waiting.lock().push(Arc::clone(link));
        if self.durable() > seen {
            // It became durable before we stood in line.
            link.wake.notify_one();
        }
    }

    /// Comes when `batch` is durable.
    pub(in crate::server) async fn until_durable(&self, batch: BatchId) {
        loop {
            let more = self.more_durable.notified();
            if self.durable() >= batch {
                return;
            }
            more.await;
        }
    }

    /// Comes when publishers may go on: the log is not far behind.
    pub(in crate::server) async fn room(&self) {
        loop {
            let room = self.has_room.notified();
            if self.pending_bytes.load(Ordering::Relaxed) < limit::LOG_PENDING_BYTES {
                return;
            }
            room.await;
        }
    }

    /// Waits for `batch` on a thread that may wait; `false` when that takes too long.
    pub(in crate::server) fn wait_until_durable(&self, batch: BatchId) -> bool {
        comes_true(|| self.durable() >= batch)
    }

    /// As [`Log::room`], for a thread that may wait, and not for longer than a few seconds.
    pub(in crate::server) fn wait_for_room(&self) {
        comes_true(|| self.pending_bytes.load(Ordering::Relaxed) < limit::LOG_PENDING_BYTES);
    }

    /// Has a queue's numbers go on with `next`; where they would have gone on.
    pub(in crate::server) fn number(&self, queue: QueueId, next: Seq) -> Seq {
        let mut open = self.open.lock();
        open.next_seq.insert(queue, next).unwrap_or_default()
    }

    /// Lets the storage thread end once everything so far is durable.
    pub(in crate::server) fn stop(&self) {
        self.with(true, |open| open.stop = true);
    }

    fn with<R>(&self, urgent: bool, work: impl FnOnce(&mut Open) -> R) -> R {
        let mut open = self.open.lock();
        let result = work(&mut open);
        if urgent && open.since.is_none() {
            open.since = Some(Instant::now());
        }
        let newly_urgent = urgent && !open.urgent;
        open.urgent |= urgent;
        self.pending_bytes.store(open.batch.bytes(), Ordering::Relaxed);
        let wakes = open.parked && (newly_urgent || !open.batch.is_empty());
        open.parked &= !wakes;
        drop(open);
        if wakes {
            self.work.notify_one();
        }
        result
    }

    /// The storage thread's next round: waits up to `idle` for something to do and swaps the open
    /// batch for `batch`, which is empty. `None` when nothing came.
    pub(in crate::server) fn next_work(&self, batch: &mut Batch, idle: Duration) -> Option<Work> {
        let mut open = self.open.lock();
        let is_idle = |open: &Open| {
            let asked = !open.fetches.is_empty() || !open.backups.is_empty();
            open.batch.is_empty() && !asked && !open.stop
        };
        if is_idle(&open) {
            open.parked = true;
            self.work.wait_for(&mut open, idle);
            open.parked = false;
        }
        if !open.urgent && !is_idle(&open) && !open.stop {
            // Acks only: something they can ride along with may come.
            open.parked = true;
            self.work.wait_while_for(&mut open, |it| !it.urgent && !it.stop, ACK_LINGER);
            open.parked = false;
        }
        if is_idle(&open) {
            return None;
        }
        std::mem::swap(&mut open.batch, batch);
        let work = Work {
            batch: BatchId(open.id),
            since: open.since.take(),
            fetches: std::mem::take(&mut open.fetches),
            backups: std::mem::take(&mut open.backups),
            stop: open.stop,
        };
        open.id += 1;
        open.urgent = false;
        self.pending_bytes.store(0, Ordering::Relaxed);
        drop(open);
        self.has_room.notify_waiters();
        Some(work)
    }

    /// Everything up to `batch` is safe: whoever waits is woken.
    pub(in crate::server) fn set_durable(&self, batch: BatchId) {
        self.durable.store(batch.0, Ordering::Release);
        self.more_durable.notify_waiters();
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for link in waiting {
            link.waits_for_log.store(false, Ordering::Release);
            link.wake.notify_one();
        }
    }
}

impl Open {
    /// Gives each durable target its number, and notes them for the record; returns how safe the
    /// message must be before it is confirmed.
    fn number(&mut self, targets: &mut [host::Target]) -> Durability {
        self.targets.clear();
        let durable = || targets.iter().filter(|it| it.durable);
        let weak = durable().all(|it| it.durability == settings::Durability::Write);
        let durability = if weak { Durability::Write } else { Durability::Sync };
        for target in targets.iter_mut().filter(|it| it.durable) {
            let next = self.next_seq.entry(target.queue).or_default();
            let seq = *next;
            *next = seq.next();
            target.seq = Some(seq);
            if target.stored {
                self.targets.push(Target {
                    queue: target.queue,
                    seq,
                    priority: target.level,
                    expires_at: Some(target.expires_at).filter(|it| *it != Timestamp::NEVER),
                });
            }
        }
        durability
    }
}

impl Open {
    /// Adds a message for the targets that [`Open::number`] left.
    fn add<'b>(
        &mut self,
        head: &[u8],
        body: Body<impl Iterator<Item = &'b [u8]> + Clone>,
        durability: Durability,
        moved: Option<Moved>,
    ) -> BatchId {
        let targets = std::mem::take(&mut self.targets);
        let new = NewMessage { targets: &targets, flags: 0, head, body, durability };
        match moved {
            Some(it) => self.batch.moved((it.queue, it.seq), cause_number(it.cause), &new),
            None => self.batch.message(&new),
        }
        self.targets = targets;
        BatchId(self.id)
    }
}

/// The causes as `docs/format.md` numbers them.
pub(in crate::server) fn cause_number(cause: effect::Cause) -> Cause {
    Cause(match cause {
        effect::Cause::Acked => 0,
        effect::Cause::Dropped(Reason::Rejected) => 1,
        effect::Cause::Dropped(Reason::Expired) => 2,
        effect::Cause::Dropped(Reason::MaxLength) => 3,
        effect::Cause::Dropped(Reason::DeliveryLimit) => 4,
        effect::Cause::Refused => 5,
        effect::Cause::Damaged => 6,
        effect::Cause::Moved => 7,
    })
}
