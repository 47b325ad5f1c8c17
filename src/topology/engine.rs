//! Which broker carries a topology: what can change in place differs.

use serde::Deserialize;
use serde::Serialize;

use crate::topology::rabbitmq::policy;

/// The broker that a topology is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// This program.
    #[default]
    Railpost,
    /// A node or cluster of RabbitMQ.
    Rabbitmq,
}

impl Engine {
    /// Whether an argument of a queue with this value makes it another queue.
    pub fn fixes(self, key: &str, is_stream: bool) -> bool {
        match self {
            // Classic and quorum queues are one thing here; a stream is another.
            Engine::Railpost => key == "x-queue-type" && is_stream,
            Engine::Rabbitmq => !policy::FLEXIBLE.contains(&key),
        }
    }
}
