//! RabbitMQ's definitions: topologies as its management plugin exports and imports them.

pub(in crate::topology) mod defined;
pub mod detour;
mod export;
mod import;
pub mod node;
pub mod observe;
pub mod policy;
pub mod rollout;
#[cfg(test)]
mod tests;
mod translate;
mod write;

pub use crate::topology::rabbitmq::export::Exported;
pub use crate::topology::rabbitmq::export::export;
pub use crate::topology::rabbitmq::export::export_for;
pub use crate::topology::rabbitmq::import::ImportError;
pub use crate::topology::rabbitmq::import::Imported;
pub use crate::topology::rabbitmq::import::import;
pub use crate::topology::rabbitmq::translate::Loss;
pub use crate::topology::rabbitmq::translate::Translated;
pub use crate::topology::rabbitmq::translate::translate;
