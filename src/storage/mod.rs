//! Floor 1: the log that is also the store. Keeps records of opaque messages through crashes and
//! says where each one lies; knows queues and sequence numbers, but not what a message is.

pub mod batch;
mod chunk;
pub mod disk;
mod entry;
pub mod error;
mod index;
pub mod message;
mod record;
mod segment;
mod varint;
