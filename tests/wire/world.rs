//! Sessions on a vhost in memory.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use railpost::access::directory::Directory;
use railpost::access::directory::LoginError;
use railpost::access::permission::Grant;
use railpost::access::permission::Permission;
use railpost::access::sasl::Credentials;
use railpost::access::user::Origin;
use railpost::access::user::User;
use railpost::access::user::UserLimits;
use railpost::amqp::id::BatchId;
use railpost::amqp::id::ConnectionId;
use railpost::amqp::id::ConsumerId;
use railpost::amqp::id::QueueId;
use railpost::amqp::limit;
use railpost::amqp::message::Message;
use railpost::amqp::name::ConsumerTag;
use railpost::amqp::name::UserName;
use railpost::amqp::table::Table;
use railpost::amqp::time::Millis;
use railpost::amqp::time::Timestamp;
use railpost::broker::memory::Clients;
use railpost::broker::memory::Memory;
use railpost::broker::vhost::Vhost;
use railpost::codec::frame;
use railpost::queue::dispatch::Delivery;
use railpost::session::Connection;
use railpost::session::Next;
use railpost::session::connection::SessionLimits;
use railpost::session::desk::Desk;
use railpost::session::desk::Eviction;
use railpost::session::desk::Gate;
use railpost::session::desk::Login;
use railpost::session::desk::OpenError;
use railpost::session::desk::Opened;
use railpost::session::outbox::Outbox;
use railpost::topology::Source;
use railpost::topology::apply::apply;
use railpost::topology::load;
use railpost::topology::render;
use railpost::topology::render::Color;

/// Every connection's outbox, and whose turn it is.
#[derive(Default)]
pub struct Outboxes {
    all: BTreeMap<ConnectionId, Outbox>,
    turn: Option<ConnectionId>,
    names: u64,
    alarm: bool,
    /// Whoever logs in and is not in it may do everything.
    pub directory: Directory,
    pub generation: u64,
    /// Whose channels each connection has open, and how many.
    channels: BTreeMap<ConnectionId, (String, usize)>,
}

impl Clients for Outboxes {
    fn deliver(&mut self, queue: QueueId, delivery: &Delivery<'_>) -> bool {
        let outbox = self.all.get_mut(&delivery.consumer.connection);
        outbox.is_some_and(|it| it.deliver(queue, delivery))
    }

    fn begin_consumer(&mut self, queue: QueueId, id: ConsumerId, tag: &ConsumerTag, reply: bool) {
        if let Some(outbox) = self.all.get_mut(&id.connection) {
            outbox.begin_consumer(queue, id, tag, reply);
        }
    }

    fn reply(&mut self, to: ConsumerId, message: &Message) -> bool {
        let outbox = self.all.get_mut(&to.connection);
        outbox.is_some_and(|it| it.reply_message(to, message))
    }

    fn cancel(&mut self, consumer: ConsumerId) {
        if let Some(outbox) = self.all.get_mut(&consumer.connection) {
            outbox.cancel(consumer);
        }
    }

    fn late(&mut self, consumer: ConsumerId, timeout: Millis) {
        if let Some(outbox) = self.all.get_mut(&consumer.connection) {
            outbox.late(consumer.channel, timeout);
        }
    }
}

/// A memory world at which sessions can sit down.
pub struct Seat(pub Memory<Outboxes>);

impl Seat {
    fn own(&mut self) -> &mut Outbox {
        let clients = &mut self.0.ports.clients;
        let turn = clients.turn.expect("somebody's turn");
        clients.all.get_mut(&turn).expect("it has an outbox")
    }
}

mod delegate {
    //! The desk is the memory host, and knows whose turn it is.

    use railpost::broker::deduplication::Change;
    use railpost::broker::deduplication::Windows;
    use railpost::broker::definition::Definition;
    use railpost::broker::host::Entry;
    use railpost::broker::host::Host;
    use railpost::broker::host::Moved;
    use railpost::broker::host::Note;
    use railpost::broker::host::Target;
    use railpost::queue::Queue;
    use railpost::queue::effect::Effect;

    use super::*;

    impl Host for Seat {
        type Ports = <Memory<Outboxes> as Host>::Ports;

        fn now(&self) -> Timestamp {
            self.0.now
        }
        fn vhost(&mut self) -> &Vhost {
            self.0.vhost()
        }
        fn change<R>(&mut self, change: impl FnOnce(&mut Vhost) -> R) -> R {
            self.0.change(change)
        }
        fn queue<R>(
            &mut self,
            id: QueueId,
            work: impl FnOnce(&mut Queue, &mut Self::Ports) -> R,
        ) -> Option<R> {
            self.0.queue(id, work)
        }
        fn replace<R>(
            &mut self,
            id: QueueId,
            work: impl FnOnce(&mut Vhost, &mut Queue, &mut Self::Ports) -> (R, Vec<Change>),
        ) -> Option<(R, BatchId)> {
            self.0.replace(id, work)
        }
        fn new_queue_id(&mut self) -> QueueId {
            self.0.new_queue_id()
        }
        fn add_queue(&mut self, id: QueueId, queue: Queue) {
            self.0.add_queue(id, queue);
        }
        fn remove_queue(&mut self, id: QueueId) -> Option<Queue> {
            self.0.remove_queue(id)
        }
        fn append(
            &mut self,
            message: &Message,
            stored: bool,
            targets: &mut [Target],
            moved: Option<Moved>,
        ) -> BatchId {
            self.0.append(message, stored, targets, moved)
        }
        fn append_unit(
            &mut self,
            entries: &mut [Entry],
            erased: &[Moved],
            changes: &[Change],
        ) -> BatchId {
            self.0.append_unit(entries, erased, changes)
        }

        fn windows<R>(&mut self, work: impl FnOnce(&mut Windows) -> R) -> R {
            self.0.windows(work)
        }
        fn define(&mut self, definition: &Definition) -> BatchId {
            self.0.define(definition)
        }
        fn undefine(&mut self, definition: &Definition) -> BatchId {
            self.0.undefine(definition)
        }
        fn later(&mut self) -> &mut Vec<(QueueId, Effect)> {
            self.0.later()
        }
        fn cancel(&mut self, consumer: ConsumerId) {
            self.0.cancel(consumer);
        }
        fn late(&mut self, consumer: ConsumerId, timeout: Millis) {
            self.0.late(consumer, timeout);
        }
        fn set_reply_consumer(&mut self, token: &str, consumer: Option<ConsumerId>) {
            self.0.set_reply_consumer(token, consumer);
        }
        fn reply_consumer(&mut self, token: &str) -> Option<ConsumerId> {
            self.0.reply_consumer(token)
        }
        fn reply(&mut self, to: ConsumerId, message: &Message) -> bool {
            self.0.reply(to, message)
        }
        fn note(&mut self, note: Note) {
            self.0.note(note);
        }
    }
}

impl Desk for Seat {
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R {
        work(self.own())
    }

    fn durable(&self) -> BatchId {
        BatchId(u64::MAX)
    }

    fn alarm(&self) -> Option<&'static str> {
        self.0.ports.clients.alarm.then_some("low on disk")
    }

    fn fresh_name(&mut self, prefix: &str) -> String {
        self.0.ports.clients.names += 1;
        format!("{prefix}{:022}", self.0.ports.clients.names)
    }

    fn access_generation(&self) -> u64 {
        self.0.ports.clients.generation
    }

    fn grant(&mut self, user: &str) -> Arc<Grant> {
        Arc::new(self.0.ports.clients.directory.grant(user, "/"))
    }

    fn n_channels_elsewhere(&mut self, user: &str) -> usize {
        let clients = &self.0.ports.clients;
        let others = clients.channels.iter().filter(|(id, _)| Some(**id) != clients.turn);
        others.filter(|(_, (of, _))| of == user).map(|(_, (_, n))| n).sum()
    }
}

impl Gate for Seat {
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R {
        work(self.own())
    }

    fn login(&mut self, credentials: &Credentials) -> Login {
        if credentials.password != credentials.user {
            return Login::Now(Err(LoginError::WrongPassword));
        }
        let name = UserName::new(&credentials.user);
        let directory = &mut self.0.ports.clients.directory;
        if directory.user(&name).is_none() {
            directory.put_user(user(&name, UserLimits::default()));
            directory.put_permission(name.clone(), "/".into(), Permission::all());
        }
        Login::Now(Ok(name))
    }

    fn open(
        &mut self,
        user: &UserName,
        vhost: &str,
        connection_name: Option<&str>,
    ) -> Result<Opened, OpenError> {
        match vhost {
            "/" if !self.0.ports.clients.directory.may_open(user, "/") => {
                Err(OpenError::NotAllowed)
            }
            "/" => {
                let rules = &self.0.vhost.rules;
                let service = rules.service_of(&[], user, connection_name).cloned();
                Ok(Opened { service })
            }
            "forbidden" => Err(OpenError::NotAllowed),
            _ => Err(OpenError::NoSuchVhost),
        }
    }
}

/// A user who needs no password of ours: the gate takes the name for it.
pub fn user(name: &str, limits: UserLimits) -> User {
    User {
        name: name.into(),
        password: None,
        tags: Vec::new(),
        limits,
        loopback_only: false,
        origin: Origin::Stored,
    }
}

/// The broker and its clients' sockets.
pub struct World {
    pub desk: Seat,
    sessions: BTreeMap<ConnectionId, Session>,
    limits: Arc<SessionLimits>,
}

struct Session {
    connection: Connection,
    input: Vec<u8>,
    hung_up: bool,
}

impl World {
    pub fn new() -> World {
        let vhost = Vhost::new("/".into());
        let now = Timestamp::from_millis(1_700_000_000_000);
        let limits = SessionLimits {
            server_properties: Table::default(),
            channel_max: 2047,
            frame_max: limit::FRAME_MAX,
            heartbeat: 60,
            body_bytes_max: 1_000_000,
        };
        World {
            desk: Seat(Memory::new(vhost, Outboxes { generation: 1, ..Outboxes::default() }, now)),
            sessions: BTreeMap::new(),
            limits: Arc::new(limits),
        }
    }

    /// Makes the vhost what a topology file says.
    pub fn declare(&mut self, source: Source) -> Result<(), String> {
        let loaded = load(&[source]);
        if !loaded.diagnostics.is_empty() {
            return Err(render::text(&loaded.diagnostics, &loaded.topology.sources, Color::Plain));
        }
        let topology = &loaded.topology;
        let declared = topology.vhost("/").expect("the file is about it");
        apply(&mut self.desk.0, declared, &topology.sources).map_err(|it| it.join("; "))?;
        Ok(())
    }

    pub fn connect(&mut self, id: ConnectionId) {
        self.desk.0.ports.clients.all.insert(id, Outbox::new());
        self.desk.0.ports.clients.turn = Some(id);
        let limits = Arc::clone(&self.limits);
        let connection = Connection::new(id, "127.0.0.1:1", limits, &mut self.desk);
        let session = Session { connection, input: Vec::new(), hung_up: false };
        self.sessions.insert(id, session);
    }

    pub fn connections(&self) -> BTreeSet<ConnectionId> {
        self.sessions.keys().copied().collect()
    }

    /// Bytes from a client, in whatever pieces they come.
    pub fn receive(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.desk.0.ports.clients.turn = Some(id);
        let session = self.sessions.get_mut(&id).expect("connected");
        session.input.extend_from_slice(bytes);
        while session.connection.waiting_for().is_none() {
            let frame_max = session.connection.tuned().frame_max;
            let (next, used) = match frame::next_frame(&session.input, frame_max) {
                Ok(None) => break,
                Ok(Some((frame, used))) if session.connection.is_open() => {
                    (session.connection.on_frame(&frame, &mut self.desk), used)
                }
                Ok(Some((frame, used))) => {
                    (session.connection.on_handshake_frame(&frame, &mut self.desk), used)
                }
                Err(error) if session.connection.is_open() => {
                    session.connection.on_frame_error(&error, &mut self.desk);
                    (Next::Go, session.input.len())
                }
                Err(error) => {
                    session.connection.on_handshake_frame_error(&error, &mut self.desk);
                    (Next::Go, session.input.len())
                }
            };
            session.input.drain(..used);
            match next {
                Next::Go => {}
                Next::Wait => {
                    self.desk.0.pump();
                    self.desk.0.ports.clients.turn = Some(id);
                    if session.connection.resume(&mut self.desk) == Next::Wait {
                        break;
                    }
                }
                Next::Hangup => {
                    session.hung_up = true;
                    break;
                }
            }
        }
        session.connection.on_durable(&mut self.desk);
        let user = session.connection.client().user.to_string();
        let n_channels = session.connection.n_channels();
        self.desk.0.ports.clients.channels.insert(id, (user, n_channels));
        self.desk.0.pump();
    }

    /// Something about users and permissions changes, at once.
    pub fn change_access(&mut self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.desk.0.ports.clients.directory);
        self.desk.0.ports.clients.generation += 1;
    }

    /// A user is deleted: its connections end.
    pub fn delete_user(&mut self, name: &str) {
        self.change_access(|it| {
            it.remove_user(name);
        });
        for (id, session) in &mut self.sessions {
            if session.connection.client().user == *name {
                self.desk.0.ports.clients.turn = Some(*id);
                let eviction = Eviction::UserDeleted { user: name.into() };
                session.connection.evict(&eviction, &mut self.desk);
            }
        }
    }

    /// The disk is nearly full, or not any more.
    pub fn set_alarm(&mut self, on: bool) {
        self.desk.0.ports.clients.alarm = on;
        for id in self.connections() {
            let session = self.sessions.get_mut(&id).expect("connected");
            self.desk.0.ports.clients.turn = Some(id);
            session.connection.resume(&mut self.desk);
            self.receive(id, &[]);
        }
    }

    /// The client's socket breaks.
    pub fn break_off(&mut self, id: ConnectionId) {
        self.desk.0.ports.clients.turn = Some(id);
        if let Some(mut session) = self.sessions.remove(&id) {
            session.connection.release(&mut self.desk);
        }
        self.desk.0.ports.clients.all.remove(&id);
        self.desk.0.ports.clients.channels.remove(&id);
        self.desk.0.pump();
    }

    /// Takes what the broker wrote to a client.
    pub fn written(&mut self, id: ConnectionId) -> Vec<u8> {
        self.desk.0.ports.clients.turn = Some(id);
        if let Some(it) = self.sessions.get_mut(&id).filter(|it| it.connection.is_open()) {
            it.connection.serve_outbox(&mut self.desk);
        }
        let Some(outbox) = self.desk.0.ports.clients.all.get_mut(&id) else { return Vec::new() };
        let mut bytes = Vec::new();
        while !outbox.frames.is_empty() {
            let (slices, n) = outbox.frames.slices::<16>();
            let piece = slices[..n].concat();
            outbox.frames.consume(piece.len());
            bytes.extend_from_slice(&piece);
        }
        if let Some(it) = self.sessions.get_mut(&id).filter(|it| it.connection.is_open()) {
            it.connection.serve_outbox(&mut self.desk);
        }
        bytes
    }

    pub fn hung_up(&self, id: ConnectionId) -> bool {
        self.sessions.get(&id).is_none_or(|it| it.hung_up)
    }

    pub fn wait(&mut self, ms: u64) {
        let end = self.desk.0.now + Millis(ms);
        self.desk.0.advance(end);
    }
}
