//! Floor 5: what a person types and reads.
#![allow(
    clippy::disallowed_methods,
    reason = "the command line has a clock, files, sockets and an environment"
)]

pub mod bench;
