//! Floor 1: the log that is also the store. Keeps records of opaque messages through crashes and
//! says where each one lies; knows queues and sequence numbers, but not what a message is.

pub mod backup;
pub mod batch;
pub mod checkpoint;
mod chunk;
pub mod config;
mod damaged;
pub mod disk;
pub mod dump;
mod entry;
pub mod error;
mod examine;
mod index;
mod journal;
pub mod message;
pub mod planted;
pub mod reader;
mod rebuild;
pub mod record;
mod recovery;
pub mod repair;
pub mod report;
mod scan;
mod segment;
pub mod statistics;
pub mod store;
mod store_file;
mod varint;
pub mod verify;
