//! Floor 3: one client's connection. Frames come in, broker commands go down, replies and
//! deliveries go into an [`Outbox`]. No socket, no clock: the same session runs behind a TCP
//! stream and in a test.
//!
//! [`Outbox`]: outbox::Outbox

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod content;
pub mod desk;
pub mod exchange;
pub mod outbox;
pub mod queue;
pub mod refusal;
pub mod reply_to;
pub mod tx;

pub use connection::Connection;
pub use connection::Next;
