//! Floor 1: exchanges, bindings and the way of a message. Knows queues only as [`QueueId`]s.
//!
//! One [`Table`] per vhost; the live broker, `check`, `test` and `route` all ask the same one.
//!
//! [`QueueId`]: crate::amqp::id::QueueId

pub mod delay;
mod direct;
pub mod explain;
mod fanout;
pub mod hash;
pub mod headers;
mod matcher;
mod random;
pub mod route;
pub mod table;
pub mod topic;

pub use table::Binding;
pub use table::Destination;
pub use table::Exchange;
pub use table::Kind;
pub use table::Table;
