//! Floor 1: one queue as a state machine. Commands come in as method calls with `now`, deliveries
//! go out through an [`Outlet`], and everything else the queue wants done is an [`Effect`].
//!
//! [`Queue`] is either a [`WorkQueue`], which gives each message to one consumer, or a [`Stream`],
//! which keeps its messages and lets every consumer read them.
//!
//! Nothing here waits, locks, reads a clock or knows another queue.
//!
//! [`Outlet`]: dispatch::Outlet
//! [`Effect`]: effect::Effect

pub mod consumer;
pub mod dead_letter;
pub mod dispatch;
pub mod effect;
pub mod enqueue;
pub mod entry;
pub mod expiry;
pub mod incoming;
mod lane;
mod machine;
mod overflow;
pub mod peek;
mod ready;
pub mod replace;
pub mod retry;
pub mod settings;
pub mod settle;
mod stream;
pub mod totals;
mod work;

pub use machine::Depth;
pub use machine::Queue;
pub use machine::Restored;
pub use stream::Stream;
pub use stream::numbering::Numbering;
pub use work::WorkQueue;
