//! Floor 4: sockets, files, threads, clocks and signals. Decides nothing that AMQP or a topology
//! file would have a word in.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the floor that has a clock, a file system and a network"
)]

mod access;
mod audit;
pub mod clock;
pub mod config;
mod connection;
pub mod control;
mod declare;
pub mod disk;
mod estate;
mod events;
mod http;
mod jobs;
mod link;
mod listen;
mod log;
mod management;
mod metrics;
mod node;
pub mod operator;
mod rabbitmq_metrics;
pub mod recovery;
pub mod rollout;
pub mod run;
mod sampler;
mod storage_thread;
mod timer;
mod turn;
mod vhosts;
mod web;
