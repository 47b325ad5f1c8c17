//! What a store says of its queues: where messages lie, and what a restart needs to know.

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::storage::chunk::Timed;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::index::levels::Level;
use crate::storage::index::queue::QueueIndex;
use crate::storage::reader::Location;
use crate::storage::statistics::Statistics;
use crate::storage::store::Store;

/// Which messages of a queue are asked for: see [`Store::locate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub from: Seq,
    /// Not this one and none behind it; `Seq(u64::MAX)` for all.
    pub end: Seq,
    pub count: usize,
    /// Stop when the bodies reach this; one message is given whatever its size.
    pub bytes: u64,
    /// Only messages of this priority.
    pub priority: Option<u8>,
}

/// A queue as the log left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueView {
    pub id: QueueId,
    /// The number its next message takes.
    pub next_seq: Seq,
    pub n_messages: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Messages up to this one may have been delivered.
    pub watermark: Seq,
    pub n_marks: usize,
}

/// The messages of one priority that a queue has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LevelView {
    pub priority: u8,
    pub n_messages: u64,
    /// None of them comes before this number, which may be that of a settled one.
    pub first: Seq,
    /// All of them come before this number.
    pub end: Seq,
}

/// A message that has a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkedMessage {
    pub message: LiveMessage,
    pub mark: Box<[u8]>,
}

/// A message a queue has, without its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveMessage {
    pub seq: Seq,
    pub priority: u8,
    pub expires_at: Option<Timestamp>,
    pub body_bytes: u32,
}

impl QueueView {
    pub(crate) fn new(id: QueueId, queue: &QueueIndex) -> QueueView {
        QueueView {
            id,
            next_seq: Seq(queue.next_seq),
            n_messages: queue.n_live,
            body_bytes: queue.live_bytes,
            watermark: queue.watermark,
            n_marks: queue.marks.len(),
        }
    }
}

impl LiveMessage {
    fn new(seq: u64, (entry, expires_at): Timed) -> LiveMessage {
        let (priority, body_bytes) = (entry.priority(), entry.body_bytes);
        LiveMessage { seq: Seq(seq), priority, expires_at, body_bytes }
    }
}

impl<D: Disk> Store<D> {
    /// Where messages of a queue lie, in order of number.
    pub fn locate(
        &mut self,
        queue: QueueId,
        wanted: Wanted,
    ) -> Result<Vec<Location>, StorageError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        self.walk(queue, wanted.from, |location| {
            if location.seq >= wanted.end || found.len() == wanted.count || bytes >= wanted.bytes {
                return false;
            }
            if wanted.priority.is_none_or(|priority| priority == location.priority()) {
                bytes += u64::from(location.body_bytes());
                found.push(location);
            }
            true
        })?;
        Ok(found)
    }

    /// The live messages of a queue from `from` on, `count` at most. Cheap in memory however many
    /// there are: ask again from behind the last one.
    pub fn live(
        &mut self,
        queue: QueueId,
        from: Seq,
        count: usize,
    ) -> Result<Vec<LiveMessage>, StorageError> {
        let mut found = Vec::new();
        self.walk(queue, from, |location| {
            if found.len() == count {
                return false;
            }
            found.push(LiveMessage {
                seq: location.seq,
                priority: location.priority(),
                expires_at: location.expires_at,
                body_bytes: location.body_bytes(),
            });
            true
        })?;
        Ok(found)
    }

    /// The priorities a queue has messages of, rising. Costs nothing: they are counted as they come
    /// and go.
    pub fn levels(&self, queue: QueueId) -> Vec<LevelView> {
        let levels = self.index.queue(queue).map(|queue| queue.levels.iter());
        let view = |level: &Level| LevelView {
            priority: level.priority,
            n_messages: level.n_live,
            first: Seq(level.first),
            end: Seq(level.end),
        };
        levels.into_iter().flatten().map(view).collect()
    }

    /// The live messages of a queue from `from` on that expire, `count` at most. Passes over the
    /// others without reading their index: cheap however long the queue is.
    pub fn expiring(
        &mut self,
        queue: QueueId,
        from: Seq,
        count: usize,
    ) -> Result<Vec<LiveMessage>, StorageError> {
        let mut found = Vec::new();
        let disk = &*self.disk;
        let mut from = Some(from.0);
        while let Some(seq) = from.filter(|_| found.len() < count) {
            let next = self.index.with(queue, disk, |index, around| {
                let (run, next) = index.expiring_run(seq, around)?;
                let run = run.map(|(seq, timed)| LiveMessage::new(seq, timed));
                found.extend(run.take(count - found.len()));
                Ok(next)
            })?;
            from = next.flatten();
            self.index.trim(self.config.index_bytes);
        }
        Ok(found)
    }

    /// The messages of a queue from `from` on that have a mark, `count` at most, with their marks.
    pub fn marked(
        &mut self,
        queue: QueueId,
        from: Seq,
        count: usize,
    ) -> Result<Vec<MarkedMessage>, StorageError> {
        let disk = &*self.disk;
        let found = self.index.with(queue, disk, |index, around| {
            let marks = index.marks.range(from..).take(count);
            let marks: Vec<_> = marks.map(|(seq, mark)| (seq.0, mark.clone())).collect();
            let mut found = Vec::with_capacity(marks.len());
            for (seq, mark) in marks {
                if let Some(timed) = index.get(seq, around)? {
                    found.push(MarkedMessage { message: LiveMessage::new(seq, timed), mark });
                }
            }
            Ok(found)
        })?;
        self.index.trim(self.config.index_bytes);
        Ok(found.unwrap_or_default())
    }

    /// Shows live messages in order until `visit` says false.
    fn walk(
        &mut self,
        queue: QueueId,
        from: Seq,
        mut visit: impl FnMut(Location) -> bool,
    ) -> Result<(), StorageError> {
        let disk = &*self.disk;
        let mut from = Some(from.0);
        while let Some(seq) = from {
            let next = self.index.with(queue, disk, |index, around| {
                let (mut run, next) = index.live_run(seq, around)?;
                let all = run.all(|(seq, (entry, expires_at))| {
                    visit(Location::new((queue, Seq(seq)), entry, expires_at))
                });
                Ok(next.filter(|_| all))
            })?;
            from = next.flatten();
            self.index.trim(self.config.index_bytes);
        }
        Ok(())
    }

    /// All queues that ever had a message and were not dropped, in order of number.
    pub fn queues(&self) -> Vec<QueueView> {
        self.index.queue_ids().into_iter().filter_map(|id| self.queue(id)).collect()
    }

    pub fn queue(&self, id: QueueId) -> Option<QueueView> {
        self.index.queue(id).map(|queue| QueueView::new(id, queue))
    }

    /// What the store holds, in numbers.
    pub fn statistics(&self) -> Statistics {
        let spares = self.journal.spares();
        Statistics {
            n_spares: spares.len() as u64,
            spare_bytes: spares.iter().map(|spare| spare.bytes).sum(),
            replay_bytes: self.new_bytes(),
            ..Statistics::new(&self.index)
        }
    }

    /// The latest mark of a message.
    pub fn mark(&self, queue: QueueId, seq: Seq) -> Option<&[u8]> {
        self.index.queue(queue)?.marks.get(&seq).map(|mark| &**mark)
    }

    /// The messages of a queue that have a mark, in order of number.
    pub fn marks(&self, queue: QueueId) -> impl Iterator<Item = (Seq, &[u8])> {
        let marks = self.index.queue(queue).map(|queue| &queue.marks);
        marks.into_iter().flatten().map(|(seq, mark)| (*seq, &**mark))
    }

    /// Everything durable that is no message, in order of key.
    pub fn defined(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.index.defined.iter().map(|(key, value)| (&**key, &**value))
    }
}
