//! `railpost bench`: a load generator that works against any AMQP 0-9-1 broker.

mod args;
mod connection;
mod consumer;
mod fault;
mod histogram;
mod incoming;
mod input;
mod live;
mod pace;
mod plan;
mod producer;
mod quantity;
mod request;
mod sequence;
mod stamp;
mod tally;
mod target;
mod template;
mod window;
