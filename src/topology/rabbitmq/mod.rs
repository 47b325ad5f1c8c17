//! RabbitMQ's definitions: topologies as its management plugin exports and imports them.

pub(in crate::topology) mod defined;
mod export;
mod import;
#[cfg(test)]
mod tests;
mod write;

pub use crate::topology::rabbitmq::export::Exported;
pub use crate::topology::rabbitmq::export::export;
pub use crate::topology::rabbitmq::import::ImportError;
pub use crate::topology::rabbitmq::import::Imported;
pub use crate::topology::rabbitmq::import::import;
