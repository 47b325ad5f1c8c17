//! Everything a running broker consists of.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::access::directory::Directory;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::definition::Definition;
use crate::broker::host::LetterLoss;
use crate::broker::host::Note;
use crate::broker::vhost::Vhost;
use crate::queue::totals::Totals;
use crate::server::access::Access;
use crate::server::clock::Clock;
use crate::server::link::Identity;
use crate::server::link::Link;
use crate::server::log::Log;
use crate::server::metrics::Metrics;
use crate::server::sampler::Sampler;
use crate::server::timer::Timers;
use crate::server::vhosts::LiveVhost;
use crate::session::connection::SessionLimits;
use crate::session::desk::Eviction;
use crate::session::desk::OpenError;
use crate::session::outbox::ConfirmCounts;
use crate::topology::Topology;

/// A running broker.
pub(in crate::server) struct Node {
    pub(in crate::server) clock: Clock,
    pub(in crate::server) access: Access,
    pub(in crate::server) session_limits: Arc<SessionLimits>,
    pub(in crate::server) registry: Registry,
    pub(in crate::server) log: Log,
    pub(in crate::server) timers: Timers,
    pub(in crate::server) metrics: Metrics,
    pub(in crate::server) sampler: Sampler,
    pub(in crate::server) read_buffers: Buffers,
    retired_work: Mutex<Totals>,
    retired_streams: Mutex<Totals>,
    /// What connections counted that are gone since.
    pub(in crate::server) retired_confirms: Mutex<ConfirmCounts>,
    vhosts: RwLock<BTreeMap<VhostName, Arc<LiveVhost>>>,
    next_connection: AtomicU64,
    /// The next queue id, and the first that the log has not set aside yet.
    next_queue: AtomicU32,
    reserved_queues: Mutex<u32>,
    disk_low: AtomicBool,
    disk_free_bytes: AtomicU64,
    /// Channels that wait for answers, by their vhost and an unguessable token.
    reply_consumers: DashMap<(VhostName, String), ConsumerId>,
    /// Warnings that were logged lately: a client that repeats its mistake is counted, not quoted.
    warnings: Mutex<Repeated>,
    /// What clients are held to; held for as long as another one is applied.
    pub(in crate::server) topology: Mutex<Arc<Topology>>,
    stage: watch::Sender<Stage>,
    failure: watch::Sender<Option<String>>,
    /// Connections that wait for a message to be read.
    loading: Mutex<Vec<Arc<Link>>>,
    /// How often messages have been read.
    n_loaded: AtomicU64,
}

/// How far the end of the server has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(in crate::server) enum Stage {
    Running,
    /// No new connections; the ones there are told to go.
    Stopping,
    Stopped,
}

/// Queue ids set aside in the log at a time.
const QUEUE_IDS: u32 = 1024;

impl Node {
    pub(in crate::server) fn new(
        clock: Clock,
        directory: Directory,
        session_limits: SessionLimits,
        connections_max: usize,
        log: Log,
        next_queue: u32,
    ) -> Node {
        Node {
            clock,
            access: Access::new(directory),
            session_limits: Arc::new(session_limits),
            registry: Registry {
                links: DashMap::new(),
                max: connections_max,
                opened: Mutex::new(Opened::default()),
            },
            log,
            timers: Timers::default(),
            metrics: Metrics::new(),
            sampler: Sampler::default(),
            read_buffers: Buffers::default(),
            retired_work: Mutex::default(),
            retired_streams: Mutex::default(),
            retired_confirms: Mutex::default(),
            vhosts: RwLock::new(BTreeMap::new()),
            next_connection: AtomicU64::new(1),
            next_queue: AtomicU32::new(next_queue),
            reserved_queues: Mutex::new(next_queue),
            disk_low: AtomicBool::new(false),
            disk_free_bytes: AtomicU64::new(0),
            reply_consumers: DashMap::new(),
            warnings: Mutex::new(Repeated::default()),
            topology: Mutex::default(),
            stage: watch::Sender::new(Stage::Running),
            failure: watch::Sender::new(None),
            loading: Mutex::new(Vec::new()),
            n_loaded: AtomicU64::new(0),
        }
    }

    pub(in crate::server) fn vhost(&self, name: &str) -> Option<Arc<LiveVhost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// All vhosts by name.
    pub(in crate::server) fn vhosts(&self) -> Vec<Arc<LiveVhost>> {
        self.vhosts.read().values().cloned().collect()
    }

    /// The vhost of this name, made if there is none.
    pub(in crate::server) fn vhost_or_new(&self, name: &str) -> Arc<LiveVhost> {
        let mut vhosts = self.vhosts.write();
        if let Some(vhost) = vhosts.get(name) {
            return Arc::clone(vhost);
        }
        self.log.define(&Definition::vhost(name));
        let vhost = LiveVhost::new(Vhost::new(VhostName::new(name)));
        vhosts.insert(vhost.name.clone(), Arc::clone(&vhost));
        vhost
    }

    /// Takes a vhost out of the list; nobody opens it any more.
    pub(in crate::server) fn take_vhost(&self, name: &str) -> Option<Arc<LiveVhost>> {
        self.vhosts.write().remove(name)
    }

    pub(in crate::server) fn add_vhost(&self, vhost: Arc<LiveVhost>) -> Arc<LiveVhost> {
        self.vhosts.write().insert(vhost.name.clone(), Arc::clone(&vhost));
        vhost
    }

    pub(in crate::server) fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// What queues counted that are deleted since: streams, or all others.
    pub(in crate::server) fn retired(&self, is_stream: bool) -> &Mutex<Totals> {
        if is_stream { &self.retired_streams } else { &self.retired_work }
    }

    /// Since the broker started.
    pub(in crate::server) fn n_connections_opened(&self) -> u64 {
        self.next_connection.load(Ordering::Relaxed) - 1
    }

    /// An id no queue of this data directory ever had.
    ///
    /// Ids are set aside in the log many at a time; those not used before a crash are skipped.
    pub(in crate::server) fn new_queue_id(&self) -> QueueId {
        let id = self.next_queue.fetch_add(1, Ordering::Relaxed);
        let mut reserved = self.reserved_queues.lock();
        if id >= *reserved {
            *reserved = id + QUEUE_IDS;
            self.log.define(&Definition::QueueIds { next: *reserved });
        }
        QueueId(id)
    }

    /// `vhost/queue`, for a person.
    pub(in crate::server) fn queue_name(&self, id: QueueId) -> String {
        let name = |vhost: &Arc<LiveVhost>| {
            // The thread of the log asks, too, and must not wait for who waits for the log.
            let definitions = vhost.definitions.try_read_for(Duration::from_millis(100))?;
            let name = definitions.vhost.table.queue_name(id);
            name.map(|name| format!("{}/{name}", vhost.name.trim_end_matches('/')))
        };
        self.vhosts().iter().find_map(name).unwrap_or_else(|| id.to_string())
    }

    /// Whether publishers must wait because the disk is nearly full.
    pub(in crate::server) fn is_disk_low(&self) -> bool {
        self.disk_low.load(Ordering::Relaxed)
    }

    /// As it was found last.
    pub(in crate::server) fn disk_free_bytes(&self) -> u64 {
        self.disk_free_bytes.load(Ordering::Relaxed)
    }

    pub(in crate::server) fn set_disk_low(&self, low: bool, free_bytes: u64) {
        self.disk_free_bytes.store(free_bytes, Ordering::Relaxed);
        if self.disk_low.swap(low, Ordering::AcqRel) == low {
            return;
        }
        if low {
            tracing::error!(free_bytes, "the disk is nearly full; publishers wait");
        } else {
            tracing::info!(free_bytes, "there is room on the disk again");
            self.registry.wake_all();
        }
    }

    pub(in crate::server) fn set_reply_consumer(
        &self,
        vhost: &VhostName,
        token: &str,
        consumer: Option<ConsumerId>,
    ) {
        let key = (vhost.clone(), token.to_owned());
        match consumer {
            Some(consumer) => self.reply_consumers.insert(key, consumer),
            None => self.reply_consumers.remove(&key).map(|(_, consumer)| consumer),
        };
    }

    pub(in crate::server) fn reply_consumer(
        &self,
        vhost: &VhostName,
        token: &str,
    ) -> Option<ConsumerId> {
        let key = (vhost.clone(), token.to_owned());
        self.reply_consumers.get(&key).map(|it| *it.value())
    }

    /// Counts and logs what the broker noticed.
    pub(in crate::server) fn note(&self, vhost: &LiveVhost, note: &Note) {
        let vhost = &vhost.name;
        match note {
            Note::Published { routed } => {
                self.metrics.published.fetch_add(1, Ordering::Relaxed);
                if !*routed {
                    self.metrics.unroutable.fetch_add(1, Ordering::Relaxed);
                }
            }
            Note::Warned(breach) => {
                self.metrics.warned.increment(1);
                if self.warnings.lock().is_new(&breach.text, self.clock.now()) {
                    tracing::warn!(%vhost, rule = breach.rule, "{}", breach.text);
                }
            }
            Note::DeadLetterLost { queue, exchange, reason, why } => {
                self.metrics.letters_lost.increment(1);
                let why = match why {
                    LetterLoss::NoSuchExchange => "the exchange does not exist",
                    LetterLoss::NoQueue => "no queue takes it there",
                    LetterLoss::Cycle => "it went round in a circle without a rejection",
                };
                let reason = reason.as_str();
                tracing::warn!(%vhost, %queue, %exchange, reason, "dead letter not delivered: {why}");
            }
            Note::Parked { queue, reason } => {
                let reason = reason.as_str();
                tracing::warn!(%vhost, %queue, reason, "message parked");
            }
            Note::Dropped { exchange } => {
                self.metrics.dropped.increment(1);
                tracing::debug!(%vhost, %exchange, "unroutable message dropped as declared");
            }
            Note::Duplicate { at } => {
                self.metrics.duplicates.increment(1);
                tracing::debug!(%vhost, at, "a message that had come before was not taken again");
            }
            Note::QueueDeleted { queue, why, messages } => {
                tracing::debug!(%vhost, %queue, messages, "queue deleted: {why}");
            }
            Note::ConsumerCancelled { connection } => {
                tracing::debug!(%vhost, connection = connection.0, "consumer cancelled");
            }
        }
    }

    pub(in crate::server) fn n_loaded(&self) -> u64 {
        self.n_loaded.load(Ordering::Acquire)
    }

    /// Wakes a connection when messages have been read since `seen` was [`Node::n_loaded`].
    pub(in crate::server) fn wake_when_loaded(&self, link: &Arc<Link>, seen: u64) {
        self.loading.lock().push(Arc::clone(link));
        if self.n_loaded() != seen {
            link.wake.notify_one();
        }
    }

    pub(in crate::server) fn wake_loading(&self) {
        self.n_loaded.fetch_add(1, Ordering::AcqRel);
        for link in std::mem::take(&mut *self.loading.lock()) {
            link.wake.notify_one();
        }
    }

    /// The disk failed: nothing more can be promised.
    pub(in crate::server) fn fail(&self, why: &str) {
        tracing::error!(why, "the disk failed; nothing more is confirmed");
        self.failure.send_replace(Some(why.to_owned()));
    }

    /// Comes when [`Node::fail`] was called.
    pub(in crate::server) async fn failed(&self) -> String {
        let mut receiver = self.failure.subscribe();
        let failure = receiver.wait_for(Option::is_some).await;
        failure.ok().and_then(|it| it.clone()).unwrap_or_default()
    }

    pub(in crate::server) fn set_stage(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Comes when the server begins to stop.
    pub(in crate::server) async fn stopping(&self) {
        self.at_least(Stage::Stopping).await;
    }

    /// Comes when the server has stopped.
    pub(in crate::server) async fn stopped(&self) {
        self.at_least(Stage::Stopped).await;
    }

    async fn at_least(&self, stage: Stage) {
        let mut receiver = self.stage.subscribe();
        // An error would mean that the sender is gone, and with it this node.
        let _ = receiver.wait_for(|it| *it >= stage).await;
    }
}

/// The connections there are.
pub(in crate::server) struct Registry {
    links: DashMap<ConnectionId, Arc<Link>>,
    max: usize,
    opened: Mutex<Opened>,
}

/// How many connections each vhost and each user has.
#[derive(Debug, Default)]
struct Opened {
    of_vhost: HashMap<VhostName, u64>,
    of_user: HashMap<UserName, u64>,
}

impl Registry {
    /// Adds a connection, unless there are as many as may be.
    pub(in crate::server) fn add(&self, link: &Arc<Link>) -> bool {
        if self.links.len() >= self.max {
            return false;
        }
        self.links.insert(link.id, Arc::clone(link));
        true
    }

    pub(in crate::server) fn get(&self, id: ConnectionId) -> Option<Arc<Link>> {
        self.links.get(&id).map(|it| Arc::clone(it.value()))
    }

    pub(in crate::server) fn remove(&self, link: &Link) {
        self.leave(link);
        self.links.remove(&link.id);
    }

    /// Counts a connection among those of its vhost and its user, before anything else is asked,
    /// so that it is not overlooked when either goes.
    pub(in crate::server) fn enter(
        &self,
        link: &Link,
        identity: Identity,
        vhost_max: Option<u64>,
        user_max: Option<u64>,
    ) -> Result<(), OpenError> {
        let mut opened = self.opened.lock();
        let Identity { user, vhost } = identity.clone();
        let of_vhost = opened.of_vhost.get(&vhost).copied().unwrap_or_default();
        let of_user = opened.of_user.get(&user).copied().unwrap_or_default();
        if let Some(max) = vhost_max.filter(|max| of_vhost >= *max) {
            return Err(OpenError::TooManyConnections { max });
        }
        if let Some(max) = user_max.filter(|max| of_user >= *max) {
            return Err(OpenError::UserHasTooMany { max });
        }
        opened.of_vhost.insert(vhost, of_vhost + 1);
        opened.of_user.insert(user, of_user + 1);
        *link.identity.lock() = Some(identity);
        Ok(())
    }

    /// Undoes [`Registry::enter`].
    pub(in crate::server) fn leave(&self, link: &Link) {
        let Some(Identity { user, vhost }) = link.identity.lock().take() else { return };
        let mut opened = self.opened.lock();
        let opened = &mut *opened;
        let counts = [opened.of_vhost.get_mut(&vhost), opened.of_user.get_mut(&user)];
        counts.into_iter().flatten().for_each(|count| *count -= 1);
        opened.of_vhost.retain(|_, n| *n > 0);
        opened.of_user.retain(|_, n| *n > 0);
    }

    /// Ends the connections that `is_meant` says.
    pub(in crate::server) fn evict(
        &self,
        is_meant: impl Fn(&Identity) -> bool,
        eviction: &Eviction,
    ) {
        for link in &self.links {
            if link.identity.lock().as_ref().is_some_and(&is_meant) {
                link.evict(eviction.clone());
            }
        }
    }

    /// Channels a user has open on other connections than `but`.
    pub(in crate::server) fn n_channels_of(&self, user: &str, but: ConnectionId) -> usize {
        let is_meant = |link: &Link| {
            let identity = link.identity.lock();
            link.id != but && identity.as_ref().is_some_and(|it| it.user == *user)
        };
        let links = self.links.iter().filter(|it| is_meant(it));
        links.map(|it| it.n_channels.load(Ordering::Relaxed)).sum()
    }

    pub(in crate::server) fn len(&self) -> usize {
        self.links.len()
    }

    /// How many there may be.
    pub(in crate::server) fn max(&self) -> usize {
        self.max
    }

    pub(in crate::server) fn all(&self) -> Vec<Arc<Link>> {
        self.links.iter().map(|it| Arc::clone(it.value())).collect()
    }

    /// Open channels of all connections.
    pub(in crate::server) fn n_channels(&self) -> usize {
        self.links.iter().map(|it| it.n_channels.load(Ordering::Relaxed)).sum()
    }

    /// Something that connections may wait for has changed.
    pub(in crate::server) fn wake_all(&self) {
        self.links.iter().for_each(|it| it.wake.notify_one());
    }
}

/// What was said lately.
#[derive(Debug, Default)]
struct Repeated(HashMap<String, Timestamp>);

impl Repeated {
    const PAUSE: Millis = Millis(60_000);
    const MAX: usize = 1024;

    /// Whether `text` has not been said within the last minute.
    fn is_new(&mut self, text: &str, now: Timestamp) -> bool {
        if self.0.get(text).is_some_and(|at| now < *at + Repeated::PAUSE) {
            return false;
        }
        if self.0.len() == Repeated::MAX {
            self.0.clear();
        }
        self.0.insert(text.to_owned(), now);
        true
    }
}

/// Buffers for reading, lent for one read at a time, so that an idle connection has none.
#[derive(Default)]
pub(in crate::server) struct Buffers {
    idle: Mutex<Vec<Vec<u8>>>,
}

/// Buffers kept when nobody reads.
const IDLE_BUFFERS: usize = 16;

impl Buffers {
    pub(in crate::server) fn take(&self, bytes: usize) -> Vec<u8> {
        self.idle.lock().pop().unwrap_or_else(|| vec![0; bytes])
    }

    pub(in crate::server) fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_BUFFERS {
            idle.push(buffer);
        }
    }
}
