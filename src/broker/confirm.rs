//! When a publisher may be told that its message is safe.

use std::collections::VecDeque;

use crate::amqp::id::BatchId;

/// What a publish waits for before it is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// Nothing: no durable queue has it, or none asked for it to be kept.
    Now,
    /// This batch of the log.
    After(BatchId),
    /// A queue refused it.
    Refused,
}

/// The outstanding confirms of one channel, in publishing order.
#[derive(Debug, Default)]
pub struct Confirms {
    next: u64,
    outstanding: VecDeque<Confirm>,
}

/// One confirm frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Ack { delivery_tag: u64, multiple: bool },
    Nack { delivery_tag: u64 },
}

impl Confirms {
    /// Notes the next publish of the channel; they count from 1.
    pub fn push(&mut self, confirm: Confirm) {
        self.next += 1;
        self.outstanding.push_back(confirm);
    }

    /// Step 9 of a message's path, called by `session::confirm` when the log has synced up to
    /// `durable`, and at the end of each turn; next is `queue::dispatch`, long since done.
    ///
    /// Answers in order, one ack for a whole run. A publish behind one that still waits for the
    /// log waits with it: a multiple ack must not cover what is not safe.
    pub fn on_durable(&mut self, durable: BatchId, mut answer: impl FnMut(Answer)) {
        let mut run = 0;
        loop {
            let first = self.next - self.outstanding.len() as u64 + 1;
            let settled = match self.outstanding.front() {
                Some(Confirm::Now) => true,
                Some(Confirm::After(batch)) => *batch <= durable,
                Some(Confirm::Refused) | None => false,
            };
            if settled {
                self.outstanding.pop_front();
                run += 1;
                continue;
            }
            if run > 0 {
                answer(Answer::Ack { delivery_tag: first - 1, multiple: run > 1 });
                run = 0;
            }
            if self.outstanding.front() != Some(&Confirm::Refused) {
                return;
            }
            self.outstanding.pop_front();
            answer(Answer::Nack { delivery_tag: first });
        }
    }

    /// Publishes so far, and how many of them are not answered yet.
    pub fn counts(&self) -> (u64, u64) {
        (self.next, self.outstanding.len() as u64)
    }

    /// Whether something waits for the log.
    pub fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(confirms: &mut Confirms, durable: u64) -> Vec<Answer> {
        let mut answers = Vec::new();
        confirms.on_durable(BatchId(durable), |it| answers.push(it));
        answers
    }

    #[test]
    fn runs_are_acked_at_once_and_nothing_unsafe_is() {
        use Answer::*;
        use Confirm::*;
        let mut confirms = Confirms::default();
        assert_eq!(answers(&mut confirms, 9), []);
        let all = [Now, Now, After(BatchId(1)), Refused, Now, After(BatchId(2)), Now];
        all.into_iter().for_each(|it| confirms.push(it));
        assert_eq!(answers(&mut confirms, 0), [Ack { delivery_tag: 2, multiple: true }]);
        assert_eq!(
            answers(&mut confirms, 1),
            [
                Ack { delivery_tag: 3, multiple: false },
                Nack { delivery_tag: 4 },
                Ack { delivery_tag: 5, multiple: false }
            ]
        );
        assert!(confirms.is_waiting());
        assert_eq!(answers(&mut confirms, 2), [Ack { delivery_tag: 7, multiple: true }]);
        assert!(!confirms.is_waiting());
        assert_eq!(confirms.counts(), (7, 0));
    }
}
