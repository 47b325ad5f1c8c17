//! One client's socket: reading, turning bytes into turns, writing, heartbeats, good-byes.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::access::directory::LoginError;
use crate::access::sasl::Credentials;
use crate::access::setback;
use crate::amqp::limit;
use crate::amqp::name::UserName;
use crate::codec::encode;
use crate::codec::frame;
use crate::codec::preamble;
use crate::codec::preamble::PREAMBLE;
use crate::codec::preamble::Preamble;
use crate::server::link::Flushed;
use crate::server::link::Identity;
use crate::server::link::Introduction;
use crate::server::link::Link;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::server::vhosts::LiveVhost;
use crate::session::Connection;
use crate::session::Next;
use crate::session::connection::WaitsFor;
use crate::session::desk::Eviction;
use crate::session::desk::Gate;
use crate::session::desk::Login;
use crate::session::desk::OpenError;
use crate::session::desk::Opened;
use crate::session::outbox::Outbox;

/// Bytes taken from a socket at a time.
const READ_BYTES: usize = 64 * 1024;
/// An input buffer larger than this is given back when it is empty.
const KEPT_BYTES: usize = 16 * 1024;

/// A client from its first byte to its last.
pub(in crate::server) struct Client {
    node: Arc<Node>,
    link: Arc<Link>,
    vhost: Option<Arc<LiveVhost>>,
    session: Option<Connection>,
    /// A login that is being checked.
    login: Option<LoginAnswer>,
    /// Bytes of a frame that has not arrived whole, or that must wait.
    input: Vec<u8>,
    received: u64,
    beats: Beats,
    /// When the handshake, or the good-bye, must be over.
    deadline: Option<Instant>,
    hangup: bool,
    warned_of_refusal: bool,
}

/// Comes when a password has been checked.
type LoginAnswer = oneshot::Receiver<Result<UserName, LoginError>>;

/// Both sides' signs of life.
struct Beats {
    /// Half the agreed interval; `None` before tuning and without heartbeats.
    every: Option<Duration>,
    next: Option<Instant>,
    sent_then: u64,
    received_then: u64,
    n_half_intervals: u32,
    n_silent: u32,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Closed,
    PeerClosed,
    Broken,
    NoHeartbeat,
    HandshakeTimeout,
}

impl Client {
    pub(in crate::server) fn new(node: Arc<Node>, link: Arc<Link>) -> Client {
        Client {
            node,
            link,
            vhost: None,
            session: None,
            login: None,
            input: Vec::new(),
            received: 0,
            beats: Beats {
                every: None,
                next: None,
                sent_then: 0,
                received_then: 0,
                n_half_intervals: 0,
                n_silent: 0,
            },
            deadline: Some(Instant::now() + Duration::from_millis(limit::HANDSHAKE_MS)),
            hangup: false,
            warned_of_refusal: false,
        }
    }

    /// Serves the client until it goes.
    pub(in crate::server) async fn run(mut self) {
        let end = self.serve().await;
        if let (Some(session), Some(vhost)) = (&mut self.session, &self.vhost) {
            let mut turn = Turn::new(&self.node, vhost, Some(&self.link));
            session.release(&mut turn);
            turn.finish();
        }
        self.node.count_channels(&self.link, 0);
        self.node.retire_confirms(&self.link);
        self.node.registry.remove(&self.link);
        self.log_end(end);
    }

    fn log_end(&self, end: End) {
        let peer = self.link.peer;
        let name = self.session.as_ref().map(|it| it.client().name.to_string());
        let name = name.unwrap_or_default();
        let was_open = self.vhost.is_some();
        match end {
            End::Closed => tracing::debug!(%peer, name, "connection closed"),
            End::PeerClosed if was_open => {
                tracing::info!(%peer, name, "client closed its socket without connection.close");
            }
            End::PeerClosed => tracing::debug!(%peer, "socket closed before the handshake ended"),
            End::Broken => tracing::info!(%peer, name, "socket broke"),
            End::NoHeartbeat => tracing::warn!(%peer, name, "client missed its heartbeats"),
            End::HandshakeTimeout => tracing::warn!(%peer, "handshake took too long"),
        }
    }

    /// Waits for whatever comes first and handles it, until the end.
    async fn serve(&mut self) -> End {
        loop {
            if let Some(end) = self.flush() {
                return end;
            }
            let unsent = !self.link.outbox.lock().frames.is_empty();
            let wants_read = !self.is_waiting() && !self.hangup;
            let interest = match (wants_read, unsent) {
                (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
                (true, false) => Some(Interest::READABLE),
                (false, true) => Some(Interest::WRITABLE),
                (false, false) => None,
            };
            let wake_at = [self.deadline, self.beats.next].into_iter().flatten().min();
            tokio::select! {
                ready = async { self.link.stream.ready(interest.expect("guarded")).await },
                    if interest.is_some() =>
                {
                    match ready {
                        Err(_) => return End::Broken,
                        Ok(ready) if wants_read && ready.is_readable() => {
                            if let Some(end) = self.read_loop() {
                                return end;
                            }
                            self.make_room().await;
                            // A connection that can always be read lets others have their turn.
                            tokio::task::consume_budget().await;
                        }
                        Ok(_) => {}
                    }
                }
                answer = async { self.login.as_mut().expect("guarded").await },
                    if self.login.is_some() =>
                {
                    // The task that checks only goes without an answer when the server does.
                    self.on_login(answer.unwrap_or(Err(LoginError::WrongPassword)));
                }
                () = self.link.wake.notified() => self.on_wake(),
                () = sleep_until(wake_at), if wake_at.is_some() => {
                    if let Some(end) = self.on_time() {
                        return end;
                    }
                }
                () = self.node.stopping(), if !self.is_closing() => self.on_stopping(),
            }
        }
    }

    /// Writes what is unsent; the end of the connection, when it was only waiting for that.
    fn flush(&mut self) -> Option<End> {
        match self.link.write_loop() {
            Flushed::Broken => return Some(End::Broken),
            Flushed::Blocked => return None,
            Flushed::All => {}
        }
        if self.hangup {
            return Some(End::Closed);
        }
        if self.link.outbox.lock().has_work() {
            self.turn(|session, turn| session.serve_outbox(turn));
        }
        None
    }

    fn is_waiting(&self) -> bool {
        let waits = |it: &Connection| it.waiting_for().is_some() || it.is_logging_in();
        self.session.as_ref().is_some_and(waits)
    }

    fn is_closing(&self) -> bool {
        self.session.as_ref().is_some_and(|it| it.closing_grace_ms().is_some())
    }

    /// Runs one turn of this connection.
    fn turn<R>(&mut self, work: impl FnOnce(&mut Connection, &mut Turn<'_>) -> R) -> Option<R> {
        let session = self.session.as_mut()?;
        let vhost = self.vhost.as_ref()?;
        // Read before the session looks, so that nothing can come in between unnoticed.
        let n_loaded = self.node.n_loaded();
        let seen = self.node.log.durable();
        let mut turn = Turn::new(&self.node, vhost, Some(&self.link));
        let result = work(session, &mut turn);
        session.on_durable(&mut turn);
        turn.finish();
        self.node.count_channels(&self.link, session.n_channels());
        match session.waiting_for() {
            Some(WaitsFor::Load) => self.node.wake_when_loaded(&self.link, n_loaded),
            Some(WaitsFor::Batch(_)) => self.node.log.wake_when_durable(&self.link, seen),
            // Everybody is woken when the alarm is over.
            Some(WaitsFor::Alarm) => {}
            None if session.has_unconfirmed() => self.node.log.wake_when_durable(&self.link, seen),
            None => {}
        }
        Some(result)
    }

    /// Step 1 of a message's path: bytes arrive; next is `codec::frame::next_frame`.
    ///
    /// Reads once what the socket has and handles every whole frame of it in one turn.
    fn read_loop(&mut self) -> Option<End> {
        let mut buffer = self.node.read_buffers.take(READ_BYTES);
        let end = match self.link.stream.try_read(&mut buffer) {
            Ok(0) => Some(End::PeerClosed),
            Ok(n) => {
                self.received += n as u64;
                self.link.received.store(self.received, Ordering::Relaxed);
                self.link.n_reads.fetch_add(1, Ordering::Relaxed);
                if self.input.is_empty() {
                    let used = self.on_bytes(&buffer[..n]);
                    self.input.extend_from_slice(&buffer[used..n]);
                    None
                } else {
                    self.input.extend_from_slice(&buffer[..n]);
                    self.on_input();
                    None
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(_) => Some(End::Broken),
        };
        self.node.read_buffers.give_back(buffer);
        end
    }

    /// Handles the frames that are whole in the input buffer.
    fn on_input(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.on_bytes(&input);
        input.drain(..used);
        if input.is_empty() && input.capacity() > KEPT_BYTES {
            input = Vec::new();
        }
        self.input = input;
    }

    /// Handles whole frames from the front of `bytes`; returns how many bytes they took.
    fn on_bytes(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.vhost.is_none() && !self.hangup {
            if self.login.is_some() {
                return used;
            }
            match self.on_handshake_bytes(&bytes[used..]) {
                0 => return used,
                n => used += n,
            }
        }
        if self.vhost.is_none() || self.hangup {
            return bytes.len();
        }
        let outcome = self.turn(|session, turn| {
            let mut used = used;
            let mut hangup = false;
            while session.waiting_for().is_none() {
                let frame_max = session.tuned().frame_max;
                match frame::next_frame(&bytes[used..], frame_max) {
                    Ok(None) => break,
                    Ok(Some((frame, len))) => {
                        used += len;
                        if session.on_frame(&frame, turn) == Next::Hangup {
                            hangup = true;
                            break;
                        }
                    }
                    Err(error) => {
                        // Nothing after this can be made sense of.
                        session.on_frame_error(&error, turn);
                        used = bytes.len();
                        break;
                    }
                }
            }
            (used, hangup)
        });
        let (used, hangup) = outcome.unwrap_or((bytes.len(), true));
        self.hangup |= hangup;
        self.after_frames();
        used
    }

    /// One step of the handshake; returns how many bytes it took, 0 when more must come.
    fn on_handshake_bytes(&mut self, bytes: &[u8]) -> usize {
        let mut gate = ClientGate::new(&self.node, &self.link);
        let Some(session) = &mut self.session else {
            return match preamble::check(bytes) {
                Preamble::Incomplete => 0,
                Preamble::Accepted => {
                    let limits = Arc::clone(&self.node.session_limits);
                    let address = self.link.peer.to_string();
                    let session = Connection::new(self.link.id, &address, limits, &mut gate);
                    self.session = Some(session);
                    PREAMBLE.len()
                }
                Preamble::Refused => {
                    self.link.outbox.lock().frames.open().extend_from_slice(&PREAMBLE);
                    self.hangup = true;
                    tracing::warn!(peer = %self.link.peer, "client does not speak AMQP 0-9-1");
                    bytes.len()
                }
            };
        };
        let frame_max = session.tuned().frame_max;
        let used = match frame::next_frame(bytes, frame_max) {
            Ok(None) => return 0,
            Ok(Some((frame, len))) => {
                if session.on_handshake_frame(&frame, &mut gate) == Next::Hangup {
                    self.hangup = true;
                }
                len
            }
            Err(error) => {
                session.on_handshake_frame_error(&error, &mut gate);
                bytes.len()
            }
        };
        self.login = gate.login.take();
        if self.login.is_some() {
            // The client is not hurried while it is the broker that takes its time.
            let patience = limit::HANDSHAKE_MS + setback::LONGEST.0;
            self.deadline = Some(Instant::now() + Duration::from_millis(patience));
        }
        if let Some(vhost) = gate.opened.take() {
            self.vhost = Some(vhost);
            let client = session.client();
            *self.link.client.lock() = Some(Introduction {
                name: Arc::clone(&client.name),
                named_itself: client.named_itself,
                properties: client.properties.clone(),
                tuned: session.tuned(),
            });
            self.deadline = None;
            self.begin_beats();
        }
        self.after_frames();
        used
    }

    /// A password has been checked; what the client sent meanwhile is read now.
    fn on_login(&mut self, answer: Result<UserName, LoginError>) {
        self.login = None;
        self.deadline = Some(Instant::now() + Duration::from_millis(limit::HANDSHAKE_MS));
        // Refused logins are logged where they are counted.
        self.warned_of_refusal |= answer.is_err();
        let mut gate = ClientGate::new(&self.node, &self.link);
        if let Some(session) = &mut self.session {
            session.on_login(answer, &mut gate);
        }
        self.on_input();
        self.after_frames();
    }

    /// Logs a refusal and sets the deadline of a good-bye.
    fn after_frames(&mut self) {
        let Some(session) = &mut self.session else { return };
        if let Some(refusal) = session.take_refusal() {
            let peer = self.link.peer;
            let name = session.client().name.to_string();
            let user = session.client().user.to_string();
            let (code, text) = (refusal.code.number(), &refusal.text);
            self.node.metrics.refused.increment(1);
            if self.warned_of_refusal {
                tracing::debug!(%peer, name, user, code, text, "refused");
            } else {
                tracing::warn!(%peer, name, user, code, text, "refused");
            }
            // One line per connection is enough for a client that repeats its mistake.
            self.warned_of_refusal = true;
        }
        if let (Some(grace_ms), true) = (session.closing_grace_ms(), self.vhost.is_some()) {
            let end = Instant::now() + Duration::from_millis(grace_ms);
            self.deadline.get_or_insert(end);
        }
    }

    /// Keeps a publisher waiting while the log is far behind.
    async fn make_room(&mut self) {
        let published = self.session.as_mut().map_or(0, Connection::take_published);
        if published > 0 {
            self.node.log.room().await;
        }
    }

    /// Somebody delivered, the log synced, or a message was loaded.
    fn on_wake(&mut self) {
        let eviction = self.link.eviction.lock().take();
        if let Some(eviction) = eviction {
            self.evict(&eviction);
        }
        let low = self.node.is_disk_low();
        let Some(waiting) = self.session.as_ref().and_then(Connection::waiting_for) else {
            self.turn(|_, _| ());
            return;
        };
        let is_over = match waiting {
            WaitsFor::Batch(batch) => batch <= self.node.log.durable(),
            WaitsFor::Load => true,
            WaitsFor::Alarm => !low,
        };
        if !is_over {
            self.turn(|_, _| ());
            return;
        }
        let next = self.turn(|session, turn| session.resume(turn));
        if next == Some(Next::Hangup) {
            self.hangup = true;
        }
        if !self.is_waiting() {
            self.on_input();
        }
        self.after_frames();
    }

    /// A deadline or a heartbeat is due.
    fn on_time(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.deadline.is_some_and(|it| it <= now) {
            let end = if self.vhost.is_none() { End::HandshakeTimeout } else { End::Closed };
            return Some(end);
        }
        self.beat(now)
    }

    fn begin_beats(&mut self) {
        let secs = self.session.as_ref().map_or(0, |it| it.tuned().heartbeat);
        if secs > 0 {
            let every = Duration::from_secs(u64::from(secs)) / 2;
            self.beats.every = Some(every);
            self.beats.next = Some(Instant::now() + every);
            self.beats.received_then = self.received;
        }
    }

    /// COMPAT: each half interval a heartbeat is sent if nothing else was; a client that sends
    /// nothing for two whole intervals is gone.
    fn beat(&mut self, now: Instant) -> Option<End> {
        let every = self.beats.every?;
        if self.beats.next.is_none_or(|it| it > now) {
            return None;
        }
        self.beats.next = Some(now + every);
        if self.link.sent() == self.beats.sent_then {
            encode::heartbeat(self.link.outbox.lock().frames.open());
        }
        self.beats.sent_then = self.link.sent();
        self.beats.n_half_intervals += 1;
        if self.beats.n_half_intervals.is_multiple_of(2) {
            let silent = self.received == self.beats.received_then;
            self.beats.n_silent = if silent { self.beats.n_silent + 1 } else { 0 };
            self.beats.received_then = self.received;
            if self.beats.n_silent >= 2 {
                return Some(End::NoHeartbeat);
            }
        }
        None
    }

    /// The server is stopping: the client is told.
    fn on_stopping(&mut self) {
        self.evict(&Eviction::Shutdown);
    }

    /// Ends the connection; one that has no vhost yet without a word.
    fn evict(&mut self, eviction: &Eviction) {
        if self.turn(|session, turn| session.evict(eviction, turn)).is_none() {
            self.hangup = true;
        }
        self.after_frames();
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

/// What a session may ask before it has a vhost.
struct ClientGate<'a> {
    node: &'a Arc<Node>,
    link: &'a Arc<Link>,
    login: Option<LoginAnswer>,
    opened: Option<Arc<LiveVhost>>,
}

impl<'a> ClientGate<'a> {
    fn new(node: &'a Arc<Node>, link: &'a Arc<Link>) -> ClientGate<'a> {
        ClientGate { node, link, login: None, opened: None }
    }

    /// Everything that may keep a user out of a vhost. COMPAT: the order is RabbitMQ's.
    fn enter(&self, user: &UserName, vhost: &str) -> Result<Arc<LiveVhost>, OpenError> {
        let live = self.node.vhost(vhost).ok_or(OpenError::NoSuchVhost)?;
        let vhost_max = live.definitions.read().vhost.profile.connections_max;
        let user_max =
            self.node.access.read(|it| it.user(user).and_then(|it| it.limits.connections_max));
        let identity = Identity { user: user.clone(), vhost: live.name.clone() };
        self.node.registry.enter(self.link, identity, vhost_max, user_max)?;
        // Asked again now that everybody knows of the connection.
        let is_there = self.node.vhost(vhost).is_some_and(|it| Arc::ptr_eq(&it, &live));
        let is_allowed = self.node.access.read(|it| it.may_open(user, vhost));
        let refused = match (is_there, is_allowed) {
            (true, true) => return Ok(live),
            (false, _) => OpenError::NoSuchVhost,
            (true, false) => OpenError::NotAllowed,
        };
        self.node.registry.leave(self.link);
        Err(refused)
    }
}

impl Gate for ClientGate<'_> {
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R {
        work(&mut self.link.outbox.lock())
    }

    fn login(&mut self, credentials: &Credentials) -> Login {
        let loopback = self.link.peer.ip().to_canonical().is_loopback();
        let access = &self.node.access;
        let claim = access.claim(credentials, loopback);
        let peer = self.link.peer;
        if access.known(&claim, credentials) == Some(true) {
            let login = claim.clone().settle(true);
            if login.is_ok() {
                self.node.note_login(&self.node.metrics.logins, peer, &credentials.user, &login);
                return Login::Now(login);
            }
        }
        let (mut answer, answered) = oneshot::channel();
        let node = Arc::clone(self.node);
        let credentials = credentials.clone();
        tokio::spawn(async move {
            let user = credentials.user.clone();
            let login = node.access.login(claim, credentials).await;
            if let Some(setback) = node.note_login(&node.metrics.logins, peer, &user, &login) {
                tokio::select! {
                    () = node.access.hold_back(setback) => {}
                    () = answer.closed() => {}
                }
            }
            // The client may have gone meanwhile.
            let _ = answer.send(login);
        });
        self.login = Some(answered);
        Login::Later
    }

    fn open(
        &mut self,
        user: &UserName,
        vhost: &str,
        connection_name: Option<&str>,
    ) -> Result<Opened, OpenError> {
        let live = self.enter(user, vhost)?;
        let service = {
            let definitions = live.definitions.read();
            let rules = &definitions.vhost.rules;
            rules.service_of(&[], user, connection_name).cloned()
        };
        tracing::info!(
            peer = %self.link.peer,
            user = %user,
            vhost,
            name = connection_name.unwrap_or_default(),
            service = service.as_ref().map(|it| it.as_str()).unwrap_or_default(),
            "connected"
        );
        self.opened = Some(live);
        Ok(Opened { service })
    }
}
