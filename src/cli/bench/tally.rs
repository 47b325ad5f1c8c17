//! What the producers and consumers of a run have counted so far.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::sequence::Arrival;
use crate::cli::bench::sequence::OrderCheck;
use crate::cli::bench::sequence::SeenSet;
use crate::cli::bench::stamp::Stamp;

/// What one producer did. Times are nanoseconds since the run began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SendTally {
    pub(super) published: u64,
    pub(super) confirmed: u64,
    /// Messages that the broker answered with `basic.nack`.
    pub(super) refused: u64,
    /// Mandatory messages that came back because no queue took them.
    pub(super) returned: u64,
    /// From writing a message, or from when it was due, to its confirm.
    pub(super) confirm_latency: Histogram,
    /// Messages published in each slot.
    pub(super) published_in: Vec<u64>,
    /// Slot and sequence of messages that need not arrive: refused, returned, or unconfirmed
    /// when the connection ended.
    pub(super) uncertain: Vec<(u32, u64)>,
    /// When the last message was written.
    pub(super) last_at: u64,
    /// How long after it was due the latest message was written, at a fixed rate.
    pub(super) lag: u64,
    pub(super) blocked: Blocked,
}

/// Whether and how long the broker kept a producer from publishing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Blocked {
    pub(super) reason: Option<String>,
    since: Option<u64>,
    nanos: u64,
}

impl Blocked {
    pub(super) fn begin(&mut self, now: u64, reason: String) {
        self.reason = Some(reason);
        self.since.get_or_insert(now);
    }

    pub(super) fn end(&mut self, now: u64) {
        self.nanos = self.total(now);
        self.since = None;
    }

    pub(super) fn is_now(&self) -> bool {
        self.since.is_some()
    }

    /// Nanoseconds in all.
    pub(super) fn total(&self, now: u64) -> u64 {
        self.nanos + self.since.map_or(0, |since| now.saturating_sub(since))
    }
}

/// What one consumer got.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct TakeTally {
    pub(super) delivered: u64,
    /// Given back with `basic.nack`, to come again.
    pub(super) given_back: u64,
    /// Delivered with the mark that this was tried before.
    pub(super) redelivered: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    /// Messages that this run did not send.
    pub(super) foreign: u64,
    /// From writing a message, or from when it was due, to its delivery.
    pub(super) latency: Histogram,
    /// When the last delivery came.
    pub(super) last_at: u64,
}

/// A delivery of one of the run's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Delivery {
    pub(super) stamp: Stamp,
    pub(super) redelivered: bool,
    pub(super) given_back: bool,
}

/// The order in which the messages of each stream came.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    streams: HashMap<u32, OrderCheck, FixedState>,
}

impl Order {
    /// Whether the delivery is in order. What comes again comes when it can: a redelivery is
    /// never out of order.
    pub(super) fn check(&mut self, delivery: &Delivery) -> bool {
        let in_order = self
            .streams
            .entry(delivery.stamp.stream)
            .or_default()
            .in_order(delivery.stamp.sequence);
        in_order || delivery.redelivered
    }
}

/// What has arrived from one queue, of every stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    streams: HashMap<u32, SeenSet, FixedState>,
    /// The order across all consumers, for keyed queues.
    pub(super) order: Order,
}

impl Ledger {
    /// Takes a delivery in; one that is given back does not count as arrived.
    pub(super) fn take(&mut self, delivery: &Delivery) -> Arrival {
        let seen = self.streams.entry(delivery.stamp.stream).or_default();
        if delivery.given_back {
            seen.look(delivery.stamp.sequence)
        } else {
            seen.insert(delivery.stamp.sequence)
        }
    }

    pub(super) fn n_seen(&self, stream: u32) -> u64 {
        self.streams.get(&stream).map_or(0, SeenSet::n_seen)
    }

    pub(super) fn has_seen(&self, stream: u32, sequence: u64) -> bool {
        self.streams.get(&stream).is_some_and(|it| it.contains(sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(stream: u32, sequence: u64) -> Delivery {
        let stamp = Stamp { run: 0, stream, sequence, sent_at: 0 };
        Delivery { stamp, redelivered: false, given_back: false }
    }

    #[test]
    fn what_is_given_back_may_come_again() {
        let mut ledger = Ledger::default();
        let first = Delivery { given_back: true, ..delivery(1, 0) };
        let again = Delivery { redelivered: true, ..delivery(1, 0) };
        assert_eq!(ledger.take(&first), Arrival::New);
        assert_eq!(ledger.n_seen(1), 0);
        assert_eq!(ledger.take(&again), Arrival::New);
        assert_eq!(ledger.take(&again), Arrival::Duplicate);
        assert!(ledger.has_seen(1, 0) && !ledger.has_seen(2, 0));
    }

    #[test]
    fn streams_are_ordered_each_for_itself() {
        let mut order = Order::default();
        let cases = [(1, 5, true), (2, 0, true), (2, 1, true), (1, 4, false), (1, 6, true)];
        for (stream, sequence, expected) in cases {
            assert_eq!(order.check(&delivery(stream, sequence)), expected);
        }
        assert!(order.check(&Delivery { redelivered: true, ..delivery(1, 2) }));
    }

    #[test]
    fn blocked_time_adds_up() {
        let mut blocked = Blocked::default();
        blocked.begin(100, "disk".to_owned());
        blocked.begin(110, "memory".to_owned());
        assert_eq!((blocked.is_now(), blocked.total(130)), (true, 30));
        blocked.end(150);
        blocked.begin(1000, "disk".to_owned());
        assert_eq!((blocked.total(1001), blocked.reason.as_deref()), (51, Some("disk")));
    }
}
