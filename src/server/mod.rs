//! Floor 4: the outside world. Files, sockets, threads and clocks; no decisions about AMQP.
#![allow(clippy::disallowed_methods, reason = "this floor is where files are opened")]

pub mod disk;
