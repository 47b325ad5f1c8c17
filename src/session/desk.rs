//! What a session needs of whoever runs it, beside the broker's [`Host`].

use std::sync::Arc;

use crate::access::directory::LoginError;
use crate::access::permission::Grant;
use crate::access::sasl::Credentials;
use crate::amqp::id::BatchId;
use crate::amqp::name::ServiceName;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::broker::host::Host;
use crate::session::outbox::Outbox;

/// The surroundings of a session that has a vhost.
pub trait Desk: Host {
    /// Works with this connection's own outbox. Never while a queue is borrowed.
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R;

    /// The last batch of the log that is safe.
    fn durable(&self) -> BatchId;

    /// Why publishers must wait, when they must.
    fn alarm(&self) -> Option<&'static str>;

    /// A name nobody else has: `prefix` and 22 random characters.
    fn fresh_name(&mut self, prefix: &str) -> String;

    /// Another number, never 0, whenever anything about users or permissions has changed.
    fn access_generation(&self) -> u64;

    /// What a user may do in this vhost.
    fn grant(&mut self, user: &str) -> Arc<Grant>;

    /// Channels that a user has open on other connections.
    fn n_channels_elsewhere(&mut self, user: &str) -> usize;
}

/// The surroundings of a session that has no vhost yet.
pub trait Gate {
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R;

    /// Checks a login.
    fn login(&mut self, credentials: &Credentials) -> Login;

    /// Opens a vhost for a user; from now on the session is run at a [`Desk`] of that vhost.
    fn open(
        &mut self,
        user: &UserName,
        vhost: &str,
        connection_name: Option<&str>,
    ) -> Result<Opened, OpenError>;
}

/// What is known of a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// Who it is, or why not.
    Now(Result<UserName, LoginError>),
    /// Checking takes time: the answer comes with [`Connection::on_login`], no frame before.
    ///
    /// [`Connection::on_login`]: crate::session::Connection::on_login
    Later,
}

/// Why the broker ends a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Eviction {
    Shutdown,
    ByOperator { reason: String },
    UserDeleted { user: UserName },
    VhostDeleted { vhost: VhostName },
}

/// What a session learns when its vhost is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The service this connection is an instance of.
    pub service: Option<ServiceName>,
}

/// Why a vhost cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    NoSuchVhost,
    NotAllowed,
    /// In the vhost.
    TooManyConnections {
        max: u64,
    },
    UserHasTooMany {
        max: u64,
    },
}
