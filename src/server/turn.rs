//! One turn: what one thread does for one vhost between two waits. The live [`Host`] and [`Desk`].
//!
//! Locks are taken in one order: the vhost's definitions (shared, for the whole turn), then one
//! queue, then one outbox or the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::fast::RandomState;
use parking_lot::RwLockReadGuard;

use crate::access::permission::Grant;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::ConsumerTag;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::deduplication::Change;
use crate::broker::deduplication::Windows;
use crate::broker::definition::Definition;
use crate::broker::effect::settle_later;
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
use crate::server::link::Link;
use crate::server::log::FetchRequest;
use crate::server::node::Node;
use crate::server::vhosts::Definitions;
use crate::server::vhosts::LiveQueue;
use crate::server::vhosts::LiveVhost;
use crate::session::desk::Desk;
use crate::session::outbox::Outbox;

/// A turn. Call [`Turn::finish`] at its end.
pub(in crate::server) struct Turn<'a> {
    node: &'a Node,
    vhost: &'a Arc<LiveVhost>,
    definitions: Option<RwLockReadGuard<'a, Definitions>>,
    ports: TurnPorts<'a>,
}

/// The ways out of the queues of a turn.
pub(in crate::server) struct TurnPorts<'a> {
    node: &'a Node,
    vhost: &'a Arc<LiveVhost>,
    own: Option<&'a Arc<Link>>,
    /// The queue that is borrowed.
    current: QueueId,
    /// Connections that were delivered to, and are flushed at the end.
    touched: Vec<Arc<Link>>,
    touched_at: HashMap<ConnectionId, usize, RandomState>,
    erased: Vec<(QueueId, Seq, Cause)>,
    later: Vec<(QueueId, Effect)>,
    buffer: Vec<Effect>,
    now: Timestamp,
}

impl<'a> Turn<'a> {
    /// A turn of `own`'s connection, or of nobody's.
    pub(in crate::server) fn new(
        node: &'a Node,
        vhost: &'a Arc<LiveVhost>,
        own: Option<&'a Arc<Link>>,
    ) -> Turn<'a> {
        let ports = TurnPorts {
            node,
            vhost,
            own,
            current: QueueId(0),
            touched: Vec::new(),
            touched_at: HashMap::default(),
            erased: Vec::new(),
            later: std::mem::take(&mut *vhost.later.lock()),
            buffer: Vec::new(),
            now: node.clock.now(),
        };
        Turn { node, vhost, definitions: None, ports }
    }

    /// Hands over what the turn collected: erasures to the log, frames to sockets.
    pub(in crate::server) fn finish(mut self) {
        if !self.ports.later.is_empty() {
            settle_later(&mut self);
        }
        self.definitions = None;
        let ports = self.ports;
        if !ports.later.is_empty() {
            // More than one turn's worth: the timer goes on with it at once.
            let queue = ports.later[0].0;
            ports.vhost.later.lock().extend(ports.later);
            ports.node.timers.add(ports.vhost, queue, ports.now);
        }
        if !ports.erased.is_empty() {
            ports.node.log.erase(&ports.erased);
        }
        for link in &ports.touched {
            if ports.own.is_none_or(|own| own.id != link.id) {
                link.flush_from_outside();
            }
        }
    }

    fn read(&mut self) -> &RwLockReadGuard<'a, Definitions> {
        let vhost: &'a Arc<LiveVhost> = self.vhost;
        self.definitions.get_or_insert_with(|| vhost.definitions.read())
    }

    fn write<R>(&mut self, work: impl FnOnce(&mut Definitions) -> R) -> R {
        self.definitions = None;
        work(&mut self.vhost.definitions.write())
    }
}

impl<'a> Host for Turn<'a> {
    type Ports = TurnPorts<'a>;

    fn now(&self) -> Timestamp {
        self.ports.now
    }

    fn vhost(&mut self) -> &Vhost {
        &self.read().vhost
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut Vhost) -> R) -> R {
        self.write(|it| change(&mut it.vhost))
    }

    fn queue<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Queue, &mut TurnPorts<'a>) -> R,
    ) -> Option<R> {
        let vhost: &'a Arc<LiveVhost> = self.vhost;
        let definitions = self.definitions.get_or_insert_with(|| vhost.definitions.read());
        let live = definitions.queues.get(&id)?;
        let mut state = live.state.lock();
        let queue = state.as_mut()?;
        self.ports.current = id;
        Some(work(queue, &mut self.ports))
    }

    fn replace<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Vhost, &mut Queue, &mut TurnPorts<'a>) -> (R, Vec<Change>),
    ) -> Option<(R, BatchId)> {
        self.definitions = None;
        let mut definitions = self.vhost.definitions.write();
        let live = Arc::clone(definitions.queues.get(&id)?);
        let mut state = live.state.lock();
        let queue = state.as_mut()?;
        self.ports.current = id;
        let (was_stream, totals) = (queue.settings().stream.is_some(), *queue.totals());
        let (result, changes) = work(&mut definitions.vhost, queue, &mut self.ports);
        if was_stream != queue.settings().stream.is_some() {
            self.node.retired(was_stream).lock().add(&totals);
        }
        let batch = self.node.log.append_unit(&mut [], &[], &changes);
        Some((result, batch))
    }

    fn new_queue_id(&mut self) -> QueueId {
        self.node.new_queue_id()
    }

    fn add_queue(&mut self, id: QueueId, queue: Queue) {
        self.write(|it| it.queues.insert(id, LiveQueue::new(queue)));
        self.node.metrics.queues_created.fetch_add(1, Ordering::Relaxed);
    }

    fn remove_queue(&mut self, id: QueueId) -> Option<Queue> {
        let live = self.write(|it| it.queues.remove(&id))?;
        let queue = live.state.lock().take()?;
        let is_stream = queue.settings().stream.is_some();
        self.node.retired(is_stream).lock().add(queue.totals());
        self.node.metrics.queues_deleted.fetch_add(1, Ordering::Relaxed);
        if queue.is_logged() {
            self.node.log.drop_queue(id);
        }
        Some(queue)
    }

    fn append(
        &mut self,
        message: &Message,
        stored: bool,
        targets: &mut [Target],
        moved: Option<Moved>,
    ) -> BatchId {
        self.node.log.append(message, stored, targets, moved)
    }

    fn append_unit(
        &mut self,
        entries: &mut [Entry],
        erased: &[Moved],
        changes: &[Change],
    ) -> BatchId {
        self.node.log.append_unit(entries, erased, changes)
    }

    fn windows<R>(&mut self, work: impl FnOnce(&mut Windows) -> R) -> R {
        work(&mut self.vhost.windows.lock())
    }

    /// Under the definitions' lock, so that what is defined in a vhost that is being deleted is
    /// undefined after it.
    fn define(&mut self, definition: &Definition) -> BatchId {
        if self.read().vhost.is_deleted {
            return BatchId(0);
        }
        self.node.log.define(definition)
    }

    fn undefine(&mut self, definition: &Definition) -> BatchId {
        self.node.log.undefine(definition)
    }

    fn later(&mut self) -> &mut Vec<(QueueId, Effect)> {
        &mut self.ports.later
    }

    fn cancel(&mut self, consumer: ConsumerId) {
        if let Some(link) = self.ports.link(consumer.connection) {
            link.outbox.lock().cancel(consumer);
        }
    }

    fn late(&mut self, consumer: ConsumerId, timeout: Millis) {
        if let Some(link) = self.ports.link(consumer.connection) {
            link.outbox.lock().late(consumer.channel, timeout);
        }
    }

    fn set_reply_consumer(&mut self, token: &str, consumer: Option<ConsumerId>) {
        self.node.set_reply_consumer(&self.vhost.name, token, consumer);
    }

    fn reply_consumer(&mut self, token: &str) -> Option<ConsumerId> {
        self.node.reply_consumer(&self.vhost.name, token)
    }

    fn reply(&mut self, to: ConsumerId, message: &Message) -> bool {
        let link = self.ports.link(to.connection);
        link.is_some_and(|it| it.outbox.lock().reply_message(to, message))
    }

    fn note(&mut self, note: Note) {
        self.node.note(self.vhost, &note);
    }
}

impl Desk for Turn<'_> {
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R {
        let own = self.ports.own.expect("only a connection's own turn has an outbox");
        work(&mut own.outbox.lock())
    }

    fn durable(&self) -> BatchId {
        self.node.log.durable()
    }

    fn alarm(&self) -> Option<&'static str> {
        // COMPAT: RabbitMQ's words for this alarm.
        self.node.is_disk_low().then_some("low on disk")
    }

    fn fresh_name(&mut self, prefix: &str) -> String {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system has randomness");
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random))
    }

    fn access_generation(&self) -> u64 {
        self.node.access.generation()
    }

    fn grant(&mut self, user: &str) -> Arc<Grant> {
        self.node.access.grant(user, &self.vhost.name)
    }

    fn n_channels_elsewhere(&mut self, user: &str) -> usize {
        let own = self.ports.own.expect("only a connection's own turn opens channels");
        self.node.registry.n_channels_of(user, own.id)
    }
}

impl TurnPorts<'_> {
    /// A connection, remembered for the flush at the end of the turn.
    fn link(&mut self, id: ConnectionId) -> Option<&Arc<Link>> {
        // Nearly always the one before.
        if self.touched.last().is_some_and(|it| it.id == id) {
            return self.touched.last();
        }
        let at = match self.touched_at.get(&id) {
            Some(at) => *at,
            None => {
                let link = self.node.registry.get(id)?;
                self.touched.push(link);
                self.touched_at.insert(id, self.touched.len() - 1);
                self.touched.len() - 1
            }
        };
        self.touched.get(at)
    }
}

impl Outlet for TurnPorts<'_> {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> bool {
        let queue = self.current;
        match self.link(delivery.consumer.connection) {
            Some(link) => link.outbox.lock().deliver(queue, delivery),
            None => false,
        }
    }
}

impl Ports for TurnPorts<'_> {
    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.buffer)
    }

    fn keep(&mut self, effects: Vec<Effect>) {
        self.buffer = effects;
    }

    fn written(&self) -> BatchId {
        self.node.log.durable()
    }

    fn erase(&mut self, queue: QueueId, seq: Seq, cause: Cause) {
        self.erased.push((queue, seq, cause));
    }

    fn remember(&mut self, queue: QueueId, seq: Seq, mark: &Mark, due: Option<Timestamp>) {
        self.node.log.remember(queue, seq, mark, due);
    }

    fn may_have_delivered(&mut self, queue: QueueId, up_to: Seq) {
        self.node.log.may_have_delivered(queue, up_to);
    }

    fn purge(&mut self, queue: QueueId, below: Seq, except: &[Seq]) {
        self.node.log.purge(queue, below, except);
    }

    fn number(&mut self, queue: QueueId, next: Seq) -> Seq {
        self.node.log.number(queue, next)
    }

    fn write(&mut self, message: &Message, target: &mut Target) -> BatchId {
        self.node.log.wait_for_room();
        self.node.log.append(message, true, std::slice::from_mut(target), None)
    }

    fn wake(&mut self, queue: QueueId, at: Timestamp) {
        self.node.timers.add(self.vhost, queue, at);
    }

    fn fetch(&mut self, queue: QueueId, fetch: Fetch) {
        let vhost = Arc::clone(self.vhost);
        self.node.log.fetch(FetchRequest { vhost, queue, fetch, reader: None });
    }

    fn later(&mut self, queue: QueueId, effect: Effect) {
        self.later.push((queue, effect));
    }

    fn begin_consumer(&mut self, queue: QueueId, id: ConsumerId, tag: &ConsumerTag, reply: bool) {
        if let Some(link) = self.link(id.connection) {
            link.outbox.lock().begin_consumer(queue, id, tag, reply);
        }
    }
}
