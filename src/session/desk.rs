//! What a session needs of whoever runs it, beside the broker's [`Host`].

use crate::access::sasl::Credentials;
use crate::access::user::LoginError;
use crate::amqp::id::BatchId;
use crate::amqp::name::ServiceName;
use crate::amqp::name::UserName;
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
}

/// The surroundings of a session that has no vhost yet.
pub trait Gate {
    fn outbox<R>(&mut self, work: impl FnOnce(&mut Outbox) -> R) -> R;

    /// Checks a login; the answer is who it is.
    fn login(&mut self, credentials: &Credentials) -> Result<UserName, LoginError>;

    /// Opens a vhost for a user; from now on the session is run at a [`Desk`] of that vhost.
    fn open(
        &mut self,
        user: &UserName,
        vhost: &str,
        connection_name: Option<&str>,
    ) -> Result<Opened, OpenError>;
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
    TooManyConnections { max: usize },
}
