//! A vhost in memory, with a clock that is set by hand: what `[[tests]]` of topology files and
//! conversations in our own tests run against. The same queues and routing as the live broker.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::id::BatchId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::ConsumerTag;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::consume;
use crate::broker::deduplication::Change;
use crate::broker::deduplication::Windows;
use crate::broker::definition::Definition;
use crate::broker::effect::settle_later;
use crate::broker::effect::with_queue;
use crate::broker::host::Entry;
use crate::broker::host::Host;
use crate::broker::host::Moved;
use crate::broker::host::Note;
use crate::broker::host::Ports;
use crate::broker::host::Target;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::dispatch::Delivery;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::Cause;
use crate::queue::effect::Effect;
use crate::queue::effect::Fetch;
use crate::queue::entry::Mark;
use crate::queue::expiry::Loaded;
use crate::queue::expiry::LoadedMessage;

/// The connections of a vhost in memory.
pub trait Clients {
    /// As [`Outlet::deliver`], with the queue it comes from.
    fn deliver(&mut self, queue: QueueId, delivery: &Delivery<'_>) -> bool;

    fn begin_consumer(&mut self, queue: QueueId, id: ConsumerId, tag: &ConsumerTag, reply: bool);

    /// Tells a consumer's client that it was cancelled.
    fn cancel(&mut self, consumer: ConsumerId);

    /// The channel of a consumer that acks too late is to be closed.
    fn late(&mut self, consumer: ConsumerId, timeout: Millis);

    /// Delivers an answer to a channel that waits for it.
    fn reply(&mut self, to: ConsumerId, message: &Message) -> bool;
}

/// A [`Host`] without threads, disk or clock.
#[derive(Debug)]
pub struct Memory<C> {
    pub now: Timestamp,
    pub vhost: Vhost,
    pub ports: MemoryPorts<C>,
    pub notes: Vec<Note>,
    /// Everything defined and not undefined, by key.
    pub definitions: BTreeMap<Vec<u8>, Definition>,
    queues: BTreeMap<QueueId, Queue>,
    windows: Windows,
    reply_consumers: BTreeMap<String, ConsumerId>,
    next_queue: u32,
    next_batch: u64,
}

#[derive(Debug)]
pub struct MemoryPorts<C> {
    pub clients: C,
    /// What a log would hold: the messages that survive a restart.
    pub log: BTreeMap<(QueueId, Seq), Logged>,
    next_seq: BTreeMap<QueueId, Seq>,
    wakes: BTreeSet<(Timestamp, QueueId)>,
    fetches: Vec<(QueueId, Fetch)>,
    later: Vec<(QueueId, Effect)>,
    buffer: Vec<Effect>,
    /// The queue that is borrowed.
    current: QueueId,
}

#[derive(Clone, Debug)]
pub struct Logged {
    pub message: Message,
    pub mark: Mark,
    /// When its retry is due, if it waits for one.
    pub due: Option<Timestamp>,
    pub level: u8,
    pub expires_at: Timestamp,
}

impl<C: Clients> Memory<C> {
    pub fn new(vhost: Vhost, clients: C, now: Timestamp) -> Memory<C> {
        let next_queue = vhost.queues().map(|it| it.id.0).max().unwrap_or_default();
        Memory {
            now,
            vhost,
            ports: MemoryPorts {
                clients,
                log: BTreeMap::new(),
                next_seq: BTreeMap::new(),
                wakes: BTreeSet::new(),
                fetches: Vec::new(),
                later: Vec::new(),
                buffer: Vec::new(),
                current: QueueId(0),
            },
            notes: Vec::new(),
            definitions: BTreeMap::new(),
            queues: BTreeMap::new(),
            windows: Windows::default(),
            reply_consumers: BTreeMap::new(),
            next_queue,
            next_batch: 0,
        }
    }

    /// Lets time pass up to `end`, doing everything in between when it is due.
    pub fn advance(&mut self, end: Timestamp) {
        self.pump();
        while let Some((at, queue)) = self.ports.wakes.first().copied() {
            if at > end {
                break;
            }
            self.ports.wakes.remove(&(at, queue));
            self.now = self.now.max(at);
            consume::tick(self, queue);
            self.pump();
        }
        self.now = self.now.max(end);
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.ports.wakes.first().map(|(at, _)| *at)
    }

    /// Answers what queues asked of the log, and carries out what was put off.
    pub fn pump(&mut self) {
        while !self.ports.fetches.is_empty() {
            for (id, fetch) in std::mem::take(&mut self.ports.fetches) {
                let loaded = self.ports.load(id, fetch);
                with_queue(self, id, |queue, ports, effects, now| {
                    queue.loaded(loaded, now, ports, effects);
                });
            }
            settle_later(self);
        }
    }

    /// A queue, to look at.
    pub fn peek(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(&id)
    }
}

impl<C> MemoryPorts<C> {
    /// Numbers a message in a durable queue, and keeps it if the log would.
    fn write_down(&mut self, message: &Message, target: &mut Target) {
        let next = self.next_seq.entry(target.queue).or_default();
        let seq = *next;
        *next = seq.next();
        target.seq = Some(seq);
        if target.stored {
            let logged = Logged {
                message: message.clone(),
                mark: Mark::default(),
                due: None,
                level: target.level,
                expires_at: target.expires_at,
            };
            self.log.insert((target.queue, seq), logged);
        }
    }

    fn load(&self, queue: QueueId, fetch: Fetch) -> Loaded {
        let load = |((_, seq), logged): (&(QueueId, Seq), &Logged)| LoadedMessage {
            seq: *seq,
            message: logged.message.clone(),
            mark: Some(logged.mark.clone()),
            expires_at: logged.expires_at,
        };
        match fetch {
            Fetch::One { seq } => {
                let message = self.log.get_key_value(&(queue, seq)).map(load);
                Loaded::One { seq, message }
            }
            Fetch::Written => Loaded::Written { batch: BatchId(u64::MAX) },
            Fetch::Prefix { from, end, bytes } => {
                let (mut next, mut count, mut found) = (end, 0, 0);
                for ((_, seq), logged) in self.log.range((queue, from)..(queue, end)) {
                    count += 1;
                    found += logged.message.body_bytes();
                    if found >= bytes {
                        next = seq.next();
                        break;
                    }
                }
                Loaded::Prefix { from, next, count, bytes: found }
            }
            Fetch::Run { level, from, end, count, .. } => {
                let all = self.log.range((queue, from)..(queue, end));
                let of_level = all.filter(|(_, it)| level.is_none_or(|level| it.level == level));
                let messages: Vec<LoadedMessage> = of_level.take(count).map(load).collect();
                let next = match messages.last() {
                    Some(last) if messages.len() == count => last.seq.next(),
                    Some(_) | None => end,
                };
                Loaded::Run { level, from, messages, n_damaged: 0, next }
            }
        }
    }
}

impl<C: Clients> Host for Memory<C> {
    type Ports = MemoryPorts<C>;

    fn now(&self) -> Timestamp {
        self.now
    }

    fn vhost(&mut self) -> &Vhost {
        &self.vhost
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut Vhost) -> R) -> R {
        change(&mut self.vhost)
    }

    fn queue<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Queue, &mut MemoryPorts<C>) -> R,
    ) -> Option<R> {
        let queue = self.queues.get_mut(&id)?;
        self.ports.current = id;
        Some(work(queue, &mut self.ports))
    }

    fn replace<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Vhost, &mut Queue, &mut MemoryPorts<C>) -> (R, Vec<Change>),
    ) -> Option<(R, BatchId)> {
        let queue = self.queues.get_mut(&id)?;
        self.ports.current = id;
        let (result, changes) = work(&mut self.vhost, queue, &mut self.ports);
        Some((result, self.append_unit(&mut [], &[], &changes)))
    }

    fn new_queue_id(&mut self) -> QueueId {
        self.next_queue += 1;
        QueueId(self.next_queue)
    }

    fn add_queue(&mut self, id: QueueId, queue: Queue) {
        self.queues.insert(id, queue);
    }

    fn remove_queue(&mut self, id: QueueId) -> Option<Queue> {
        self.ports.log.retain(|(queue, _), _| *queue != id);
        self.queues.remove(&id)
    }

    fn append(
        &mut self,
        message: &Message,
        stored: bool,
        targets: &mut [Target],
        moved: Option<Moved>,
    ) -> BatchId {
        for target in targets.iter_mut().filter(|it| it.durable) {
            self.ports.write_down(message, target);
        }
        if let Some(moved) = moved {
            self.ports.log.remove(&(moved.queue, moved.seq));
        }
        self.next_batch += 1;
        BatchId(if stored { self.next_batch } else { 0 })
    }

    fn append_unit(
        &mut self,
        entries: &mut [Entry],
        erased: &[Moved],
        changes: &[Change],
    ) -> BatchId {
        let mut batch = BatchId(0);
        for change in changes {
            batch = match change {
                Change::Define(definition) => self.define(definition),
                Change::Undefine(definition) => self.undefine(definition),
            };
        }
        for entry in entries {
            let of_entry = self.append(&entry.message, entry.stored, &mut entry.targets, None);
            batch = batch.max(of_entry);
        }
        for it in erased {
            self.ports.log.remove(&(it.queue, it.seq));
        }
        batch
    }

    fn define(&mut self, definition: &Definition) -> BatchId {
        self.definitions.insert(definition.key(), definition.clone());
        self.next_batch += 1;
        BatchId(self.next_batch)
    }

    fn undefine(&mut self, definition: &Definition) -> BatchId {
        self.definitions.remove(&definition.key());
        self.next_batch += 1;
        BatchId(self.next_batch)
    }

    fn windows<R>(&mut self, work: impl FnOnce(&mut Windows) -> R) -> R {
        work(&mut self.windows)
    }

    fn later(&mut self) -> &mut Vec<(QueueId, Effect)> {
        &mut self.ports.later
    }

    fn cancel(&mut self, consumer: ConsumerId) {
        self.ports.clients.cancel(consumer);
    }

    fn late(&mut self, consumer: ConsumerId, timeout: Millis) {
        self.ports.clients.late(consumer, timeout);
    }

    fn set_reply_consumer(&mut self, token: &str, consumer: Option<ConsumerId>) {
        match consumer {
            Some(consumer) => self.reply_consumers.insert(token.to_owned(), consumer),
            None => self.reply_consumers.remove(token),
        };
    }

    fn reply_consumer(&mut self, token: &str) -> Option<ConsumerId> {
        self.reply_consumers.get(token).copied()
    }

    fn reply(&mut self, to: ConsumerId, message: &Message) -> bool {
        self.ports.clients.reply(to, message)
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}

impl<C: Clients> Outlet for MemoryPorts<C> {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> bool {
        self.clients.deliver(self.current, delivery)
    }
}

impl<C: Clients> Ports for MemoryPorts<C> {
    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.buffer)
    }

    fn keep(&mut self, effects: Vec<Effect>) {
        self.buffer = effects;
    }

    fn written(&self) -> BatchId {
        BatchId(u64::MAX)
    }

    fn erase(&mut self, queue: QueueId, seq: Seq, _: Cause) {
        self.log.remove(&(queue, seq));
    }

    fn remember(&mut self, queue: QueueId, seq: Seq, mark: &Mark, due: Option<Timestamp>) {
        if let Some(logged) = self.log.get_mut(&(queue, seq)) {
            logged.mark = mark.clone();
            logged.due = due;
        }
    }

    fn may_have_delivered(&mut self, _: QueueId, _: Seq) {}

    fn purge(&mut self, queue: QueueId, below: Seq, except: &[Seq]) {
        self.log.retain(|(it, seq), _| *it != queue || *seq >= below || except.contains(seq));
    }

    fn number(&mut self, queue: QueueId, next: Seq) -> Seq {
        self.next_seq.insert(queue, next).unwrap_or_default()
    }

    fn write(&mut self, message: &Message, target: &mut Target) -> BatchId {
        self.write_down(message, target);
        BatchId(1)
    }

    fn wake(&mut self, queue: QueueId, at: Timestamp) {
        self.wakes.insert((at, queue));
    }

    fn fetch(&mut self, queue: QueueId, fetch: Fetch) {
        self.fetches.push((queue, fetch));
    }

    fn later(&mut self, queue: QueueId, effect: Effect) {
        self.later.push((queue, effect));
    }

    fn begin_consumer(&mut self, queue: QueueId, id: ConsumerId, tag: &ConsumerTag, reply: bool) {
        self.clients.begin_consumer(queue, id, tag, reply);
    }
}
