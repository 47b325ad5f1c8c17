//! What a store must hold: plain maps, changed by the same operations.

use std::collections::BTreeMap;

use railpost::amqp::id::QueueId;
use railpost::amqp::id::Seq;
use railpost::amqp::time::Timestamp;
use railpost::storage::batch::Batch;
use railpost::storage::message::Body;
use railpost::storage::message::Cause;
use railpost::storage::message::Durability;
use railpost::storage::message::NewMessage;
use railpost::storage::message::Target;

use crate::random::Random;

/// A message is known by a number, which its head and body are made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    pub(crate) id: u64,
    pub(crate) body_bytes: usize,
}

impl Content {
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = vec![0; self.body_bytes];
        Random::new(self.id).fill(&mut body);
        body
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = self.id.to_le_bytes().to_vec();
        head.resize(8 + (self.id % 40) as usize, 0x55);
        head
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) content: Content,
    pub(crate) priority: u8,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) mark: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) messages: BTreeMap<u64, Held>,
    pub(crate) watermark: u64,
}

/// The whole content of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Model {
    pub(crate) queues: BTreeMap<u32, Queue>,
    pub(crate) defined: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One thing put into a batch.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Publish { targets: Vec<Target>, content: Content, durability: Durability },
    Move { from: (u32, u64), targets: Vec<Target>, content: Content },
    Ack { queue: u32, seq: u64 },
    Mark { queue: u32, seq: u64, mark: Vec<u8>, delayed: bool },
    Watermark { queue: u32, seq: u64 },
    Define { key: Vec<u8>, value: Vec<u8> },
    Undefine { key: Vec<u8> },
    Purge { queue: u32, below: u64, except: Vec<u64> },
    Drop { queue: u32 },
}

impl Operation {
    /// Puts the operation into a batch of the store.
    pub(crate) fn push(&self, batch: &mut Batch) {
        match self {
            Operation::Publish { targets, content, durability } => {
                with_message(targets, *content, *durability, |message| batch.message(message));
            }
            Operation::Move { from: (queue, seq), targets, content } => {
                let from = (QueueId(*queue), Seq(*seq));
                with_message(targets, *content, Durability::Sync, |message| {
                    batch.moved(from, Cause(9), message);
                });
            }
            Operation::Ack { queue, seq } => {
                batch.ack(QueueId(*queue), Seq(*seq), Cause((seq % 2) as u8));
            }
            Operation::Mark { queue, seq, mark, delayed: false } => {
                batch.returned(QueueId(*queue), Seq(*seq), mark);
            }
            Operation::Mark { queue, seq, mark, delayed: true } => {
                batch.delayed(QueueId(*queue), Seq(*seq), mark);
            }
            Operation::Watermark { queue, seq } => batch.watermark(QueueId(*queue), Seq(*seq)),
            Operation::Define { key, value } => batch.define(key, value),
            Operation::Undefine { key } => batch.undefine(key),
            Operation::Purge { queue, below, except } => {
                let except: Vec<Seq> = except.iter().map(|seq| Seq(*seq)).collect();
                batch.purge(QueueId(*queue), Seq(*below), &except);
            }
            Operation::Drop { queue } => batch.drop_queue(QueueId(*queue)),
        }
    }
}

fn with_message(
    targets: &[Target],
    content: Content,
    durability: Durability,
    then: impl FnOnce(&NewMessage<'_, std::slice::Chunks<'_, u8>>),
) {
    let (head, body) = (content.head(), content.body());
    let flags = content.id.to_le_bytes()[0];
    let body = Body::new(body.chunks(1000));
    then(&NewMessage { targets, flags, head: &head, body, durability });
}

impl Model {
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Publish { targets, content, .. } => self.insert(targets, *content),
            Operation::Move { from: (queue, seq), targets, content } => {
                self.remove(*queue, *seq);
                self.insert(targets, *content);
            }
            Operation::Ack { queue, seq } => self.remove(*queue, *seq),
            Operation::Mark { queue, seq, mark, .. } => {
                let queue = self.queues.get_mut(queue);
                if let Some(held) = queue.and_then(|queue| queue.messages.get_mut(seq)) {
                    held.mark = Some(mark.clone());
                }
            }
            Operation::Watermark { queue, seq } => {
                let queue = self.queues.entry(*queue).or_default();
                queue.watermark = queue.watermark.max(*seq);
            }
            Operation::Define { key, value } => {
                self.defined.insert(key.clone(), value.clone());
            }
            Operation::Undefine { key } => {
                self.defined.remove(key);
            }
            Operation::Purge { queue, below, except } => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.messages.retain(|seq, _| seq >= below || except.contains(seq));
                }
            }
            Operation::Drop { queue } => {
                self.queues.remove(queue);
            }
        }
    }

    fn insert(&mut self, targets: &[Target], content: Content) {
        for target in targets {
            let queue = self.queues.entry(target.queue.0).or_default();
            let (priority, expires_at) = (target.priority, target.expires_at);
            let held = Held { content, priority, expires_at, mark: None };
            queue.messages.insert(target.seq.0, held);
        }
    }

    fn remove(&mut self, queue: u32, seq: u64) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.messages.remove(&seq);
        }
    }

    /// Queues without anything worth remembering look the same as queues that never were.
    pub(crate) fn without_empty(mut self) -> Model {
        self.queues.retain(|_, queue| *queue != Queue::default());
        self
    }
}
