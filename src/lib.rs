//! railpost: an AMQP 0-9-1 message router with reviewed topology files.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "numbers in tests are small"
    )
)]

pub mod access;
pub mod admin;
pub mod amqp;
pub mod broker;
pub mod cli;
pub mod codec;
pub mod controller;
pub mod queue;
pub mod routing;
pub mod server;
pub mod session;
pub mod storage;
pub mod topology;
