//! Retry with exponential backoff: how long a failed message waits, and what it says of its past
//! when it is delivered again.

use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::QueueName;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::queue::dead_letter;
use crate::queue::dead_letter::Death;
use crate::queue::effect::Reason;
use crate::queue::entry::Failure;
use crate::queue::entry::Mark;

/// How failed deliveries are retried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, the first delivery included; 0 means without end.
    pub attempts: u32,
    /// The wait after the first failed attempt.
    pub first: Millis,
    /// Each further wait is this many thousandths of the one before.
    pub multiplier_milli: u32,
    /// No wait is longer.
    pub max: Millis,
    /// Each wait is moved by up to this many thousandths of itself, either way.
    pub jitter_milli: u32,
    pub counts: Counts,
    pub then: Then,
}

/// Which failures are attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    pub rejected: bool,
    pub nacked: bool,
    pub ack_timeout: bool,
}

/// What becomes of a message after its last attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Then {
    #[default]
    Park,
    DeadLetter,
    Drop,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts: 0,
            first: Millis(1000),
            multiplier_milli: 2000,
            max: Millis::from_secs(60),
            jitter_milli: 0,
            counts: Counts::default(),
            then: Then::Park,
        }
    }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { rejected: true, nacked: true, ack_timeout: true }
    }
}

impl Counts {
    pub fn includes(self, failure: Failure) -> bool {
        match failure {
            Failure::Rejected => self.rejected,
            Failure::Nacked => self.nacked,
            Failure::AckTimeout => self.ack_timeout,
            Failure::Lost => false,
        }
    }
}

impl RetryPolicy {
    /// Whether a message is not tried again once this many attempts have failed.
    pub fn is_last(&self, attempts: u32) -> bool {
        self.attempts > 0 && attempts >= self.attempts
    }

    /// The wait after the `n`-th failed attempt (from 1), jitter apart:
    /// `min(first × multiplier^(n−1), max)`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by `max`, which is far below 2^53"
    )]
    pub fn wait(&self, n: u32) -> Millis {
        let factor = f64::from(self.multiplier_milli) / 1000.0;
        let exponent = i32::try_from(n.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.first.0 as f64 * factor.powi(exponent);
        Millis((wait.min(self.max.0 as f64)) as u64)
    }

    /// The wait with its jitter, which depends on nothing but the message and the attempt, so that
    /// the same history always gives the same times.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a fraction of a bounded wait"
    )]
    pub(in crate::queue) fn jittered_wait(&self, n: u32, seq: Seq) -> Millis {
        let wait = self.wait(n);
        if self.jitter_milli == 0 {
            return wait;
        }
        let mut bits = seq.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(n);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = (bits >> 11) as f64 / (1u64 << 53) as f64;
        let share = (unit * 2.0 - 1.0) * f64::from(self.jitter_milli) / 1000.0;
        Millis((wait.0 as f64 * (1.0 + share)).max(0.0) as u64)
    }
}

/// The properties of a message that is delivered again, with its past in the headers:
/// `x-delivery-count`, `x-acquired-count`, and for retries `x-retry-count` and `x-death` as a
/// ladder of dead-letter queues would have left it.
///
/// COMPAT: RabbitMQ 4.3 quorum queues: the counts are absent on a first delivery.
pub fn redelivered_properties(message: &Message, mark: &Mark, queue: &QueueName) -> Vec<u8> {
    let mut list = message.properties().edit();
    if mark.attempts > 0 {
        let first = mark.attempts_made().first();
        let death = Death {
            queue,
            reason: Reason::Rejected,
            exchange: message.exchange(),
            routing_key: message.routing_key().0,
            secs: first.map(|it| it.at.as_secs()).unwrap_or_default(),
            times: i64::from(mark.attempts),
            original_expiration: None,
        };
        dead_letter::record(list.headers_mut(), &death);
        list.headers_mut().set("x-retry-count", Value::I64(i64::from(mark.attempts)));
    }
    if mark.failures > 0 {
        list.headers_mut().set("x-delivery-count", Value::I64(i64::from(mark.failures)));
    }
    if mark.returns > 0 {
        list.headers_mut().set("x-acquired-count", Value::I64(i64::from(mark.returns)));
    }
    list.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let policy = RetryPolicy { max: Millis::from_secs(10), ..RetryPolicy::default() };
        let waits: Vec<u64> = (1..=6).map(|n| policy.wait(n).0).collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(policy.wait(u32::MAX), Millis(10_000));
    }

    #[test]
    fn jitter_stays_within_its_share_and_repeats() {
        let policy = RetryPolicy { jitter_milli: 100, ..RetryPolicy::default() };
        let waits: Vec<u64> = (0..1000).map(|n| policy.jittered_wait(1, Seq(n)).0).collect();
        assert!(waits.iter().all(|it| (900..=1100).contains(it)));
        assert!(waits.iter().any(|it| *it < 950) && waits.iter().any(|it| *it > 1050));
        assert_eq!(policy.jittered_wait(3, Seq(7)), policy.jittered_wait(3, Seq(7)));
    }
}
