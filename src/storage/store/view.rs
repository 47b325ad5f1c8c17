//! What a store says of its queues: where messages lie, and what a restart needs to know.

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::reader::Location;
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

/// A message a queue has, without its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveMessage {
    pub seq: Seq,
    pub priority: u8,
    pub expires_at: Option<Timestamp>,
    pub body_bytes: u32,
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
        self.index.queue(id).map(|queue| QueueView {
            id,
            next_seq: Seq(queue.next_seq),
            n_messages: queue.n_live,
            body_bytes: queue.live_bytes,
            watermark: queue.watermark,
            n_marks: queue.marks.len(),
        })
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
