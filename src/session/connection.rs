//! A connection's life: preamble, login, tuning, opening, running, closing.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::access::directory::LoginError;
use crate::access::sasl;
use crate::access::sasl::SaslError;
use crate::amqp::id::BatchId;
use crate::amqp::id::ChannelId;
use crate::amqp::id::ConnectionId;
use crate::amqp::limit;
use crate::amqp::name::ServiceName;
use crate::amqp::name::UserName;
use crate::amqp::reply_code::ReplyCode;
use crate::amqp::reply_code::Scope;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::broker::delete;
use crate::broker::publish::Scratch;
use crate::codec::encode;
use crate::codec::frame::Frame;
use crate::codec::frame::FrameError;
use crate::codec::frame::FrameKind;
use crate::codec::frame::Octets;
use crate::codec::method;
use crate::codec::method::Method;
use crate::codec::reply::Reply;
use crate::session::access::Access;
use crate::session::channel::Channel;
use crate::session::channel::ChannelState;
use crate::session::channel::Draft;
use crate::session::desk::Desk;
use crate::session::desk::Eviction;
use crate::session::desk::Gate;
use crate::session::desk::Login;
use crate::session::refusal;
use crate::session::refusal::Refusal;

/// What the operator decided for all connections.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    pub server_properties: Table,
    pub channel_max: u16,
    pub frame_max: u32,
    /// Seconds; 0 turns heartbeats off.
    pub heartbeat: u16,
    pub body_bytes_max: u64,
}

/// One client's session.
#[derive(Debug)]
pub struct Connection {
    pub(in crate::session) id: ConnectionId,
    limits: Arc<SessionLimits>,
    phase: Phase,
    tuned: Tuned,
    client: Client,
    pub(in crate::session) vhost: String,
    pub(in crate::session) service: Option<ServiceName>,
    pub(in crate::session) access: Access,
    pub(in crate::session) channels: HashMap<u16, ChannelState, RandomState>,
    pub(in crate::session) waiting: Option<Waiting>,
    pub(in crate::session) scratch: Scratch,
    pub(in crate::session) spare: Option<Box<Draft>>,
    /// Channels that have something to confirm.
    pub(in crate::session) confirming: Vec<u16>,
    /// The client understands `connection.blocked`.
    hears_blocked: bool,
    /// It wants to hear that a consumer was cancelled.
    hears_cancel: bool,
    /// It wants to hear that its login failed.
    hears_login_failure: bool,
    /// How it logs in.
    mechanism: Box<str>,
    told_blocked: bool,
    /// Publishes since somebody asked, for back-pressure.
    n_published: u64,
    /// What the server may want to log of a refusal.
    last_refusal: Option<Refusal>,
}

/// Who is on the other side.
#[derive(Clone, Debug)]
pub struct Client {
    pub user: UserName,
    /// Its `connection_name`, or its address.
    pub name: Arc<str>,
    /// Whether the name is its own word.
    pub named_itself: bool,
    pub properties: Table,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    StartOk,
    /// The login is being checked.
    Login,
    TuneOk,
    Open,
    Running,
    /// Nothing but the peer's close or close-ok counts; the socket is dropped after so long.
    Closing {
        grace_ms: u64,
    },
}

/// What both sides agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuned {
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat: u16,
}

/// What the caller does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Feed the next frame.
    Go,
    /// Feed no frame until [`Connection::resume`] says so.
    Wait,
    /// Send what is in the outbox, then close the socket.
    Hangup,
}

/// Why the session takes no frames for now.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::session) enum Waiting {
    /// A reply that must not be sent before this batch is safe.
    Durable { batch: BatchId, channel: u16, reply: Option<Reply> },
    /// `basic.get` of a message that is on disk.
    Load { channel: u16, queue: String, no_ack: bool },
    /// A publish has begun while publishers must wait.
    Alarm { channel: u16 },
}

/// `Waiting` as the server sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitsFor {
    Batch(BatchId),
    Load,
    /// The alarm that keeps publishers waiting.
    Alarm,
}

impl Connection {
    /// A session for a client that sent the right preamble; greets it.
    pub fn new<G: Gate>(
        id: ConnectionId,
        address: &str,
        limits: Arc<SessionLimits>,
        gate: &mut G,
    ) -> Connection {
        let start = Reply::ConnectionStart {
            server_properties: limits.server_properties.clone(),
            mechanisms: sasl::MECHANISMS.to_owned(),
        };
        gate.outbox(|outbox| outbox.reply(0, &start));
        Connection {
            id,
            phase: Phase::StartOk,
            tuned: Tuned {
                channel_max: limits.channel_max,
                frame_max: limit::FRAME_MAX_BEFORE_TUNE,
                heartbeat: 0,
            },
            client: Client {
                user: UserName::new(""),
                name: Arc::from(address),
                named_itself: false,
                properties: Table::default(),
            },
            vhost: String::new(),
            service: None,
            access: Access::default(),
            channels: HashMap::default(),
            waiting: None,
            scratch: Scratch::seeded(id.0),
            spare: None,
            confirming: Vec::new(),
            hears_blocked: false,
            hears_cancel: false,
            hears_login_failure: false,
            mechanism: Box::default(),
            told_blocked: false,
            n_published: 0,
            last_refusal: None,
            limits,
        }
    }

    pub fn tuned(&self) -> Tuned {
        self.tuned
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn service(&self) -> Option<&ServiceName> {
        self.service.as_ref()
    }

    pub fn n_channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether the vhost is open: frames go to [`Connection::on_frame`] from then on.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Running
    }

    /// How long the peer has to say good-bye, once the connection is closing.
    pub fn closing_grace_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Closing { grace_ms } => Some(grace_ms),
            Phase::StartOk | Phase::Login | Phase::TuneOk | Phase::Open | Phase::Running => None,
        }
    }

    /// Whether the answer to a login is awaited; no frame is taken before.
    pub fn is_logging_in(&self) -> bool {
        self.phase == Phase::Login
    }

    pub fn waiting_for(&self) -> Option<WaitsFor> {
        match &self.waiting {
            None => None,
            Some(Waiting::Durable { batch, .. }) => Some(WaitsFor::Batch(*batch)),
            Some(Waiting::Load { .. }) => Some(WaitsFor::Load),
            Some(Waiting::Alarm { .. }) => Some(WaitsFor::Alarm),
        }
    }

    /// Whether confirms wait for the log.
    pub fn has_unconfirmed(&self) -> bool {
        !self.confirming.is_empty()
    }

    /// Publishes taken since the last call.
    pub fn take_published(&mut self) -> u64 {
        std::mem::take(&mut self.n_published)
    }

    /// The last refusal, once, for the log.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.last_refusal.take()
    }

    /// Gives working memory back; for a connection that has gone quiet.
    pub fn release_memory(&mut self) {
        let seed = self.scratch.routes.seed();
        self.scratch = Scratch::seeded(seed);
        self.spare = None;
    }

    pub(in crate::session) fn count_publish(&mut self) {
        self.n_published += 1;
    }

    pub(in crate::session) fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// A frame before the vhost is open.
    ///
    /// COMPAT: a method out of order here is answered 504 or 530 before the socket goes, where
    /// RabbitMQ says nothing.
    pub fn on_handshake_frame<G: Gate>(&mut self, frame: &Frame<'_>, gate: &mut G) -> Next {
        let parsed = match frame.kind {
            FrameKind::Heartbeat => return Next::Go,
            FrameKind::Method if frame.channel == 0 => method::parse(frame.payload),
            FrameKind::Method | FrameKind::Header | FrameKind::Body => {
                return self.refuse_at_gate(
                    &Refusal::anonymous(ReplyCode::ChannelError, "connection is not open yet"),
                    (0, 0),
                    gate,
                );
            }
        };
        let ids = method_ids(frame.payload);
        let handled = match parsed {
            Err(error) => Err(refusal::method(&error.fault, frame.payload)),
            Ok(Method::ConnectionClose { .. }) => {
                gate.outbox(|outbox| outbox.reply(0, &Reply::ConnectionCloseOk));
                return Next::Hangup;
            }
            Ok(Method::ConnectionCloseOk) => return Next::Hangup,
            Ok(method) => match (self.phase, method) {
                (Phase::Closing { .. }, _) => return Next::Go,
                (
                    Phase::StartOk,
                    Method::ConnectionStartOk { client_properties, mechanism, response },
                ) => self.on_start_ok(client_properties, &mechanism, &response, gate),
                (Phase::TuneOk, Method::ConnectionTuneOk { channel_max, frame_max, heartbeat }) => {
                    self.on_tune_ok(channel_max, frame_max, heartbeat, gate)
                }
                (Phase::Open, Method::ConnectionOpen { vhost }) => self.on_open(&vhost, gate),
                (
                    Phase::StartOk | Phase::Login | Phase::TuneOk | Phase::Open | Phase::Running,
                    _,
                ) => Err(Refusal::new(
                    ReplyCode::ChannelError,
                    "unexpected method before the connection is open",
                )),
            },
        };
        match handled {
            Ok(()) => Next::Go,
            Err(refusal) => self.refuse_at_gate(&refusal, ids, gate),
        }
    }

    fn on_start_ok<G: Gate>(
        &mut self,
        client_properties: Table,
        mechanism: &str,
        response: &[u8],
        gate: &mut G,
    ) -> Result<(), Refusal> {
        let capability = |name: &str| {
            let capabilities = client_properties.get("capabilities").and_then(Value::as_table);
            capabilities.and_then(|it| it.get(name)).and_then(Value::as_bool) == Some(true)
        };
        self.hears_cancel = capability("consumer_cancel_notify");
        self.hears_login_failure = capability("authentication_failure_close");
        self.hears_blocked = capability("connection.blocked");
        self.mechanism = mechanism.into();
        if let Some(name) = client_properties.get("connection_name").and_then(Value::as_text) {
            self.client.name = Arc::from(name);
            self.client.named_itself = true;
        }
        self.client.properties = client_properties;
        let login = match sasl::parse(mechanism, response) {
            Ok(credentials) => gate.login(&credentials),
            Err(SaslError::UnknownMechanism | SaslError::Malformed) => {
                Login::Now(Err(LoginError::WrongPassword))
            }
        };
        match login {
            Login::Now(user) => self.finish_login(user, gate),
            Login::Later => {
                self.phase = Phase::Login;
                Ok(())
            }
        }
    }

    /// The answer to [`Login::Later`].
    pub fn on_login<G: Gate>(&mut self, user: Result<UserName, LoginError>, gate: &mut G) {
        const START_OK: (u16, u16) = (10, 11);
        if self.phase == Phase::Login
            && let Err(refusal) = self.finish_login(user, gate)
        {
            self.refuse_at_gate(&refusal, START_OK, gate);
        }
    }

    fn finish_login<G: Gate>(
        &mut self,
        user: Result<UserName, LoginError>,
        gate: &mut G,
    ) -> Result<(), Refusal> {
        match user {
            Ok(user) => {
                self.client.user = user;
                self.phase = Phase::TuneOk;
                let tune = Reply::ConnectionTune {
                    channel_max: self.limits.channel_max,
                    frame_max: self.limits.frame_max,
                    heartbeat: self.limits.heartbeat,
                };
                let tells_cancel = self.hears_cancel;
                gate.outbox(|outbox| {
                    outbox.tells_cancel = tells_cancel;
                    outbox.reply(0, &tune);
                });
                Ok(())
            }
            Err(_) if self.hears_login_failure => Err(refusal::login(&self.mechanism)),
            Err(_) => {
                // COMPAT: a client that cannot be told is left without an answer.
                self.last_refusal = Some(refusal::login(&self.mechanism));
                self.phase = Phase::Closing { grace_ms: limit::CLOSE_AFTER_FRAME_ERROR_MS };
                Ok(())
            }
        }
    }

    fn on_tune_ok<G: Gate>(
        &mut self,
        channel_max: u16,
        frame_max: u32,
        heartbeat: u16,
        gate: &mut G,
    ) -> Result<(), Refusal> {
        check_tune("channel_max", channel_max.into(), self.limits.channel_max.into(), 1)?;
        check_tune("frame_max", frame_max, self.limits.frame_max, limit::FRAME_MIN)?;
        let or_ours = |theirs: u32, ours: u32| if theirs == 0 { ours } else { theirs };
        self.tuned = Tuned {
            channel_max: if channel_max == 0 { self.limits.channel_max } else { channel_max },
            frame_max: or_ours(frame_max, self.limits.frame_max),
            heartbeat,
        };
        gate.outbox(|outbox| outbox.frame_max = self.tuned.frame_max);
        self.phase = Phase::Open;
        Ok(())
    }

    fn on_open<G: Gate>(&mut self, vhost: &str, gate: &mut G) -> Result<(), Refusal> {
        let name = Some(&*self.client.name).filter(|_| self.client.named_itself);
        let opened = gate.open(&self.client.user, vhost, name);
        let opened = opened.map_err(|it| refusal::open(it, vhost, &self.client.user))?;
        vhost.clone_into(&mut self.vhost);
        self.service = opened.service;
        self.phase = Phase::Running;
        gate.outbox(|outbox| outbox.reply(0, &Reply::ConnectionOpenOk));
        Ok(())
    }

    fn refuse_at_gate<G: Gate>(
        &mut self,
        refusal: &Refusal,
        (class, method): (u16, u16),
        gate: &mut G,
    ) -> Next {
        if self.closing_grace_ms().is_none() {
            let close = Reply::ConnectionClose(refusal.close(class, method));
            gate.outbox(|outbox| outbox.reply(0, &close));
            self.last_refusal = Some(refusal.clone());
            self.phase = Phase::Closing { grace_ms: limit::CLOSE_AFTER_FRAME_ERROR_MS };
        }
        Next::Go
    }

    /// Bytes before the vhost is open that are no frame.
    pub fn on_handshake_frame_error<G: Gate>(&mut self, error: &FrameError, gate: &mut G) {
        let refusal = Refusal::anonymous(ReplyCode::FrameError, error.to_string());
        self.refuse_at_gate(&refusal, (0, 0), gate);
    }

    /// Step 3 of a message's path, called by `server::connection::read_loop`; next is
    /// `session::basic::on_basic_publish`, then `session::content::on_body`.
    ///
    /// One frame of an open connection.
    pub fn on_frame<D: Desk>(&mut self, frame: &Frame<'_>, desk: &mut D) -> Next {
        if self.phase != Phase::Running {
            return self.on_frame_while_closing(frame, desk);
        }
        let handled = match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) if frame.payload.is_empty() => Ok(()),
            (FrameKind::Heartbeat, 0) => {
                let octets = Octets::of(frame.payload);
                let text = format!("type 8, {octets}: unknown_frame");
                Err(Refusal::anonymous(ReplyCode::FrameError, text))
            }
            (FrameKind::Heartbeat, _) | (FrameKind::Header | FrameKind::Body, 0) => {
                let octets = Octets::of(frame.payload);
                let text = format!("type {}, {octets}", frame.kind as u8);
                Err(Refusal::anonymous(ReplyCode::UnexpectedFrame, text))
            }
            (FrameKind::Method, _) => match method::parse(frame.payload) {
                Ok(method) if frame.channel == 0 => {
                    return self.on_connection(&method, frame, desk);
                }
                Ok(method) => self.on_method(frame.channel, method, desk),
                Err(error) => Err(refusal::method(&error.fault, frame.payload)),
            },
            (FrameKind::Header, channel) => self.on_header(channel, frame.payload),
            (FrameKind::Body, channel) => self.on_body(channel, frame.payload, desk),
        };
        if let Err(refusal) = handled {
            let ids = match frame.kind {
                // Errors in content carry the publish it belongs to, also when it is a method that
                // came instead.
                FrameKind::Method if refusal.code == ReplyCode::UnexpectedFrame => (60, 40),
                FrameKind::Header | FrameKind::Body => (60, 40),
                FrameKind::Method => method_ids(frame.payload),
                FrameKind::Heartbeat => (0, 0),
            };
            self.refuse(&refusal, frame.channel, ids, desk);
        } else if frame.kind == FrameKind::Header {
            if let Some(reason) = desk.alarm() {
                self.block(frame.channel, reason, desk);
            } else {
                self.finish_header(frame.channel, desk);
            }
        }
        if self.waiting.is_some() { Next::Wait } else { Next::Go }
    }

    /// A method of class `connection` on channel 0, when the connection is open.
    fn on_connection<D: Desk>(
        &mut self,
        method: &Method<'_>,
        frame: &Frame<'_>,
        desk: &mut D,
    ) -> Next {
        if matches!(method, Method::ConnectionClose { .. }) {
            // COMPAT: exclusive queues are gone before the client hears close-ok.
            self.release(desk);
            desk.outbox(|outbox| outbox.reply(0, &Reply::ConnectionCloseOk));
            self.phase = Phase::Closing { grace_ms: limit::CLOSE_MS };
            return Next::Hangup;
        }
        if matches!(method, Method::ConnectionUpdateSecret { .. }) {
            desk.outbox(|outbox| outbox.reply(0, &Reply::ConnectionUpdateSecretOk));
            return Next::Go;
        }
        let text = "unexpected method in connection state running";
        let refusal = Refusal::new(ReplyCode::ChannelError, text);
        self.refuse(&refusal, 0, method_ids(frame.payload), desk);
        Next::Go
    }

    fn on_frame_while_closing<D: Desk>(&mut self, frame: &Frame<'_>, desk: &mut D) -> Next {
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return Next::Go;
        }
        match method::parse(frame.payload) {
            Ok(Method::ConnectionClose { .. }) => {
                desk.outbox(|outbox| outbox.reply(0, &Reply::ConnectionCloseOk));
                Next::Hangup
            }
            Ok(Method::ConnectionCloseOk) => Next::Hangup,
            Ok(_) | Err(_) => Next::Go,
        }
    }

    /// A method on a channel other than 0.
    fn on_method<D: Desk>(
        &mut self,
        channel: u16,
        method: Method<'_>,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        match self.channels.get_mut(&channel) {
            Some(ChannelState::Open(it)) => it.expects_method()?,
            Some(ChannelState::Closing) => {
                return self.on_method_while_closing(channel, &method, desk);
            }
            None if method == Method::ChannelOpen => return self.on_channel_open(channel, desk),
            None => {
                return Err(Refusal::new(ReplyCode::ChannelError, "expected 'channel.open'"));
            }
        }
        match method {
            Method::BasicPublish { exchange, routing_key, mandatory, immediate } => {
                self.on_basic_publish(channel, exchange, routing_key, mandatory, immediate)
            }
            Method::BasicAck { delivery_tag, multiple } => {
                self.on_basic_ack(channel, delivery_tag, multiple, desk)
            }
            Method::BasicNack { delivery_tag, multiple, requeue } => {
                self.on_basic_nack(channel, delivery_tag, multiple, requeue, desk)
            }
            Method::BasicReject { delivery_tag, requeue } => {
                self.on_basic_reject(channel, delivery_tag, requeue, desk)
            }
            Method::BasicQos { prefetch_size, prefetch_count, global } => {
                self.on_basic_qos(channel, prefetch_size, prefetch_count, global, desk)
            }
            Method::BasicConsume(consume) => self.on_basic_consume(channel, consume, desk),
            Method::BasicCancel { consumer_tag, nowait } => {
                self.on_basic_cancel(channel, consumer_tag, nowait, desk);
                Ok(())
            }
            // COMPAT: an answer to a cancel of ours, which is sent without waiting for one.
            Method::BasicCancelOk | Method::ChannelCloseOk => Ok(()),
            Method::BasicGet { queue, no_ack } => self.on_basic_get(channel, queue, no_ack, desk),
            Method::BasicRecover { requeue } => self.on_basic_recover(channel, requeue, true, desk),
            Method::BasicRecoverAsync { requeue } => {
                self.on_basic_recover(channel, requeue, false, desk)
            }
            Method::ChannelOpen => {
                Err(Refusal::new(ReplyCode::ChannelError, "second 'channel.open' seen"))
            }
            Method::ChannelFlow { active } => Self::on_channel_flow(channel, active, desk),
            Method::ChannelClose { .. } => {
                self.on_channel_close(channel, desk);
                Ok(())
            }
            Method::AccessRequest => {
                desk.outbox(|outbox| outbox.reply(channel, &Reply::AccessRequestOk));
                Ok(())
            }
            Method::ExchangeDeclare(it) => self.on_exchange_declare(channel, it, desk),
            Method::ExchangeDelete { exchange, if_unused, nowait } => {
                self.on_exchange_delete(channel, &exchange, if_unused, nowait, desk)
            }
            Method::ExchangeBind(it) => self.on_exchange_bind(channel, it, desk),
            Method::ExchangeUnbind(it) => self.on_exchange_unbind(channel, it, desk),
            Method::QueueDeclare(it) => self.on_queue_declare(channel, it, desk),
            Method::QueueBind(it) => self.on_queue_bind(channel, it, desk),
            Method::QueueUnbind(it) => self.on_queue_unbind(channel, it, desk),
            Method::QueuePurge { queue, nowait } => {
                self.on_queue_purge(channel, queue, nowait, desk)
            }
            Method::QueueDelete { queue, if_unused, if_empty, nowait } => {
                self.on_queue_delete(channel, queue, if_unused, if_empty, nowait, desk)
            }
            Method::ConfirmSelect { nowait } => self.on_confirm_select(channel, nowait, desk),
            Method::TxSelect => self.on_tx_select(channel, desk),
            Method::TxCommit => self.on_tx_commit(channel, desk),
            Method::TxRollback => self.on_tx_rollback(channel, desk),
            Method::ChannelFlowOk
            | Method::ConnectionStartOk { .. }
            | Method::ConnectionSecureOk { .. }
            | Method::ConnectionTuneOk { .. }
            | Method::ConnectionOpen { .. }
            | Method::ConnectionClose { .. }
            | Method::ConnectionCloseOk
            | Method::ConnectionUpdateSecret { .. } => {
                Err(Refusal::new(ReplyCode::CommandInvalid, "unimplemented method"))
            }
        }
    }

    fn on_channel_open<D: Desk>(&mut self, channel: u16, desk: &mut D) -> Result<(), Refusal> {
        // COMPAT: the number of open channels is limited, not their numbers.
        let max = self.tuned.channel_max;
        if self.channels.len() >= usize::from(max) {
            let text = format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({max})",
                self.channels.len()
            );
            return Err(Refusal::anonymous(ReplyCode::NotAllowed, text));
        }
        self.check_channels(desk)?;
        let id = ChannelId(channel);
        self.channels.insert(channel, ChannelState::Open(Box::new(Channel::new(id))));
        desk.outbox(|outbox| {
            outbox.open_channel(id);
            outbox.reply(channel, &Reply::ChannelOpenOk);
        });
        Ok(())
    }

    fn on_channel_flow<D: Desk>(channel: u16, active: bool, desk: &mut D) -> Result<(), Refusal> {
        if !active {
            return Err(Refusal::new(ReplyCode::NotImplemented, "active=false"));
        }
        desk.outbox(|outbox| outbox.reply(channel, &Reply::ChannelFlowOk { active }));
        Ok(())
    }

    fn on_channel_close<D: Desk>(&mut self, channel: u16, desk: &mut D) {
        self.release_channel(channel, desk);
        self.channels.remove(&channel);
        desk.outbox(|outbox| outbox.reply(channel, &Reply::ChannelCloseOk));
    }

    /// COMPAT: a channel the broker closed answers the client's own close, and is free after
    /// close-ok; opening it before that is an error.
    fn on_method_while_closing<D: Desk>(
        &mut self,
        channel: u16,
        method: &Method<'_>,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if *method == Method::ChannelCloseOk {
            self.channels.remove(&channel);
        } else if matches!(method, Method::ChannelClose { .. }) {
            desk.outbox(|outbox| outbox.reply(channel, &Reply::ChannelCloseOk));
        } else if *method == Method::ChannelOpen {
            return Err(Refusal::new(ReplyCode::ChannelError, "second 'channel.open' seen"));
        }
        Ok(())
    }

    /// Sends a refusal: it closes the channel, or the connection.
    pub fn refuse<D: Desk>(
        &mut self,
        refusal: &Refusal,
        channel: u16,
        (class, method): (u16, u16),
        desk: &mut D,
    ) {
        self.last_refusal = Some(refusal.clone());
        let close = refusal.close(class, method);
        if refusal.scope() == Scope::Channel && channel != 0 {
            self.release_channel(channel, desk);
            self.channels.insert(channel, ChannelState::Closing);
            desk.outbox(|outbox| outbox.reply(channel, &Reply::ChannelClose(close)));
            return;
        }
        self.release(desk);
        let unreadable = refusal.code == ReplyCode::FrameError && refusal.anonymous;
        let grace_ms = if unreadable { limit::CLOSE_AFTER_FRAME_ERROR_MS } else { limit::CLOSE_MS };
        self.phase = Phase::Closing { grace_ms };
        desk.outbox(|outbox| outbox.reply(0, &Reply::ConnectionClose(close)));
    }

    /// Bytes of an open connection that are no frame.
    pub fn on_frame_error<D: Desk>(&mut self, error: &FrameError, desk: &mut D) {
        if self.phase == Phase::Running {
            let refusal = Refusal::anonymous(ReplyCode::FrameError, error.to_string());
            self.refuse(&refusal, 0, (0, 0), desk);
        }
    }

    /// What the session waited for may have come.
    pub fn resume<D: Desk>(&mut self, desk: &mut D) -> Next {
        match self.waiting.take() {
            None => {}
            Some(Waiting::Durable { batch, channel, reply }) => {
                if batch > desk.durable() {
                    self.waiting = Some(Waiting::Durable { batch, channel, reply });
                } else if let Some(reply) = reply {
                    desk.outbox(|outbox| outbox.reply(channel, &reply));
                }
            }
            Some(Waiting::Alarm { channel }) => {
                if desk.alarm().is_some() {
                    self.waiting = Some(Waiting::Alarm { channel });
                } else {
                    if std::mem::take(&mut self.told_blocked) {
                        desk.outbox(|outbox| outbox.reply(0, &Reply::ConnectionUnblocked));
                    }
                    self.finish_header(channel, desk);
                }
            }
            Some(Waiting::Load { channel, queue, no_ack }) => {
                if let Err(refusal) = self.on_basic_get(channel, queue, no_ack, desk) {
                    self.refuse(&refusal, channel, (60, 70), desk);
                }
            }
        }
        if self.waiting.is_some() { Next::Wait } else { Next::Go }
    }

    /// A message without a body is complete with its header.
    fn finish_header<D: Desk>(&mut self, channel: u16, desk: &mut D) {
        if let Err(refusal) = self.finish_empty(channel, desk) {
            self.refuse(&refusal, channel, (60, 40), desk);
        }
    }

    /// COMPAT: the first content of a connection during an alarm blocks it; nothing it sends after
    /// that is read until the alarm is over.
    fn block<D: Desk>(&mut self, channel: u16, reason: &str, desk: &mut D) {
        self.waiting = Some(Waiting::Alarm { channel });
        if self.hears_blocked && !self.told_blocked {
            self.told_blocked = true;
            let reason = reason.to_owned();
            desk.outbox(|outbox| outbox.reply(0, &Reply::ConnectionBlocked { reason }));
        }
    }

    /// Sends `reply` when `batch` is safe, and takes no frame before.
    pub(in crate::session) fn reply_after<D: Desk>(
        &mut self,
        batch: BatchId,
        channel: u16,
        reply: Option<Reply>,
        desk: &mut D,
    ) {
        let Some(reply) = reply else { return };
        if batch <= desk.durable() {
            desk.outbox(|outbox| outbox.reply(channel, &reply));
        } else {
            self.waiting = Some(Waiting::Durable { batch, channel, reply: Some(reply) });
        }
    }

    /// A heartbeat to the client.
    pub fn beat<D: Desk>(&mut self, desk: &mut D) {
        desk.outbox(|outbox| encode::heartbeat(outbox.frames.open()));
    }

    /// The broker ends the connection.
    pub fn evict<D: Desk>(&mut self, eviction: &Eviction, desk: &mut D) {
        if self.phase == Phase::Running {
            self.refuse(&refusal::eviction(eviction), 0, (0, 0), desk);
        }
    }

    /// Gives back everything the connection holds: consumers, unsettled messages, exclusive
    /// queues. Called also when the socket has gone.
    pub fn release<D: Desk>(&mut self, desk: &mut D) {
        let mut open: Vec<u16> = self.channels.keys().copied().collect();
        open.sort_unstable();
        for channel in open {
            self.release_channel(channel, desk);
        }
        self.channels.clear();
        self.waiting = None;
        desk.outbox(|outbox| outbox.close());
        delete::delete_exclusive(desk, self.id);
    }
}

/// COMPAT: 0 asks for no limit where we have one; that, more than ours, or too little is refused.
fn check_tune(name: &str, theirs: u32, ours: u32, minimum: u32) -> Result<(), Refusal> {
    let text = if theirs > ours || (theirs == 0 && ours != 0) {
        format!("negotiated {name} = {theirs} is higher than the maximum allowed value ({ours})")
    } else if theirs < minimum && theirs != 0 {
        format!("negotiated {name} = {theirs} is lower than the minimum allowed value ({minimum})")
    } else {
        return Ok(());
    };
    Err(Refusal::new(ReplyCode::NotAllowed, text))
}

/// The class and method numbers a payload begins with.
fn method_ids(payload: &[u8]) -> (u16, u16) {
    match payload {
        [a, b, c, d, ..] => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
        _ => (0, 0),
    }
}
