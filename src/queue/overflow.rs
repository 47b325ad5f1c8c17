//! Length limits: what goes when a queue is too long.

use crate::amqp::argument::Overflow;
use crate::queue::effect::Effect;
use crate::queue::effect::Reason;
use crate::queue::work::WorkQueue;

impl WorkQueue {
    /// Whether ready messages, with so many more added, would be over a limit.
    ///
    /// COMPAT: unacked messages do not count; bytes are those of bodies.
    pub(in crate::queue) fn exceeds(&self, more: u64, more_bytes: u64) -> bool {
        let too_many = |max| self.n_ready() + more > max;
        let too_large = |max| self.ready_bytes + more_bytes > max;
        self.settings.length_max.is_some_and(too_many)
            || self.settings.length_bytes_max.is_some_and(too_large)
    }

    /// Drops from the head until the queue is within its limits, if that is its mode.
    ///
    /// COMPAT: the head of a priority queue is its highest level, so that goes first.
    pub(in crate::queue) fn enforce_length(&mut self, effects: &mut Vec<Effect>) {
        if !self.settings.has_length_limit() || self.settings.overflow != Overflow::DropHead {
            return;
        }
        while self.exceeds(0, 0) {
            let Some(entry) = self.take_head(effects) else {
                break;
            };
            self.end(entry, Reason::MaxLength, effects);
        }
    }
}
