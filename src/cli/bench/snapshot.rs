//! What was counted up to one moment, and what lies between two moments.

use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::live::Live;
use crate::cli::bench::process::Process;
use crate::cli::bench::process::Usage;

/// The counts of a run at one moment. Times are nanoseconds since the run began.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) at: u64,
    /// When the latest message was published or delivered.
    pub(super) last_at: u64,
    pub(super) published: u64,
    pub(super) confirmed: u64,
    pub(super) delivered: u64,
    /// Published messages that will not arrive: refused or returned.
    pub(super) withdrawn: u64,
    /// Deliveries that will come again.
    pub(super) given_back: u64,
    pub(super) confirm_latency: Histogram,
    pub(super) latency: Histogram,
    /// Why the broker takes no messages, if it takes none now.
    pub(super) blocked: Option<String>,
    pub(super) broker: Option<Usage>,
    pub(super) own: Option<Usage>,
}

impl Snapshot {
    /// Adds up what everybody has counted. `processes` are the broker's and this one.
    pub(super) fn take(live: &Live, processes: &Processes) -> Snapshot {
        let mut sum = Snapshot {
            at: live.clock.now(),
            broker: processes.broker.as_ref().and_then(Process::usage),
            own: processes.own.as_ref().and_then(Process::usage),
            ..Snapshot::default()
        };
        for producer in 0..live.plan.producers.len() {
            let sender = live.sender(producer);
            sum.published += sender.published;
            sum.confirmed += sender.confirmed;
            sum.withdrawn += sender.refused + sender.returned;
            sum.confirm_latency.merge(&sender.confirm_latency);
            sum.last_at = sum.last_at.max(sender.last_at);
            if sender.blocked.is_now() {
                sum.blocked.clone_from(&sender.blocked.reason);
            }
        }
        for consumer in 0..live.plan.consumers.len() {
            let taker = live.taker(consumer);
            sum.delivered += taker.delivered;
            sum.given_back += taker.given_back;
            sum.latency.merge(&taker.latency);
            sum.last_at = sum.last_at.max(taker.last_at);
        }
        sum
    }

    /// How many copies are still to arrive, when each message has `n_copies`.
    pub(super) fn behind(&self, n_copies: usize) -> u64 {
        let due = self.published.saturating_sub(self.withdrawn) * n_copies as u64;
        due.saturating_sub(self.delivered - self.given_back)
    }
}

/// Whose use of the machine is measured, as far as it can be.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes {
    pub(super) broker: Option<Process>,
    pub(super) own: Option<Process>,
}

/// What happened between two moments.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Span {
    /// `run`, `fill` or `drain`.
    pub(super) name: &'static str,
    pub(super) nanos: u64,
    pub(super) published: u64,
    pub(super) confirmed: u64,
    /// Deliveries, those that were given back included.
    pub(super) delivered: u64,
    pub(super) confirm_latency: Histogram,
    pub(super) latency: Histogram,
    /// Processor time used in between, and memory at the end.
    pub(super) broker: Option<Usage>,
    pub(super) own: Option<Usage>,
}

impl Span {
    /// From `begin` to `end`; when the run ended by itself, to its last message.
    pub(super) fn between(
        name: &'static str,
        begin: &Snapshot,
        end: &Snapshot,
        ended_by_itself: bool,
    ) -> Span {
        let end_at = if ended_by_itself { end.last_at } else { end.at };
        Span {
            name,
            nanos: end_at.saturating_sub(begin.at),
            published: end.published - begin.published,
            confirmed: end.confirmed - begin.confirmed,
            delivered: end.delivered - begin.delivered,
            confirm_latency: end.confirm_latency.since(&begin.confirm_latency),
            latency: end.latency.since(&begin.latency),
            broker: used(begin.broker, end.broker),
            own: used(begin.own, end.own),
        }
    }

    pub(super) fn secs(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    /// `n` per second of the span; 0 when it is empty.
    pub(super) fn per_second(&self, n: u64) -> f64 {
        if self.nanos == 0 { 0.0 } else { n as f64 / self.secs() }
    }

    /// Cores that were busy, on average.
    pub(super) fn cores(&self, usage: Usage) -> f64 {
        self.per_second(usage.cpu_nanos) / 1e9
    }

    /// Microseconds of processor time per delivery, or per published message when nobody
    /// consumed; `None` when there was no message.
    pub(super) fn cpu_micros_per_message(&self, usage: Usage) -> Option<f64> {
        let n = if self.delivered > 0 { self.delivered } else { self.published };
        (n > 0).then(|| usage.cpu_nanos as f64 / n as f64 / 1e3)
    }
}

fn used(begin: Option<Usage>, end: Option<Usage>) -> Option<Usage> {
    let (begin, end) = (begin?, end?);
    Some(Usage { cpu_nanos: end.cpu_nanos.saturating_sub(begin.cpu_nanos), ..end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(at: u64, delivered: u64, cpu_nanos: u64) -> Snapshot {
        let broker = Some(Usage { cpu_nanos, resident_bytes: at });
        Snapshot { at, last_at: at - 500, delivered, broker, ..Snapshot::default() }
    }

    #[test]
    fn a_span_is_the_difference_of_two_moments() {
        let (begin, end) = (snapshot(1000, 5, 100), snapshot(2_000_001_000, 205, 400_100));
        let span = Span::between("run", &begin, &end, false);
        assert_eq!((span.nanos, span.delivered), (2_000_000_000, 200));
        assert_eq!(span.broker, Some(Usage { cpu_nanos: 400_000, resident_bytes: 2_000_001_000 }));
        assert_eq!(span.per_second(span.delivered), 100.0);
        assert_eq!(span.cores(span.broker.unwrap()), 0.0002);
        assert_eq!(span.cpu_micros_per_message(span.broker.unwrap()), Some(2.0));
        assert_eq!(span.own, None);
        assert_eq!(Span::between("run", &begin, &end, true).nanos, 1_999_999_500);
    }

    #[test]
    fn an_empty_span_has_no_rates() {
        let moment = snapshot(1000, 5, 100);
        let span = Span::between("run", &moment, &moment, false);
        assert_eq!(span.per_second(7), 0.0);
        assert_eq!(span.cpu_micros_per_message(span.broker.unwrap()), None);
    }
}
