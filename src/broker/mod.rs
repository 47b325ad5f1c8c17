//! Floor 2: how routing, queues and access combine into what a client can ask of a vhost.
//!
//! Everything here is written against a [`Host`]: the live server, with its locks and its log, or
//! a world in memory. A function borrows the vhost's definitions shared and at most one queue
//! exclusively at a time.
//!
//! [`Host`]: host::Host

pub mod alter;
pub mod confirm;
pub mod consume;
pub mod dead_letter;
pub mod declare;
pub mod deduplication;
pub mod definition;
pub mod delete;
pub mod effect;
pub mod effective;
pub mod host;
pub mod memory;
pub mod parking;
pub mod policy;
pub mod publish;
pub mod redrive;
pub mod replace;
pub mod reply_to;
pub mod rules;
pub mod schedule;
pub mod stored;
pub mod transaction;
pub mod vhost;
