//! Floor 1: one queue as a state machine. Commands come in as method calls with `now`, deliveries
//! go out through an [`Outlet`], and everything else the queue wants done is an [`Effect`].
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
mod lane;
mod machine;
mod overflow;
mod ready;
pub mod retry;
pub mod settings;
pub mod settle;
pub mod totals;

pub use machine::Depth;
pub use machine::Queue;
pub use machine::Restored;
