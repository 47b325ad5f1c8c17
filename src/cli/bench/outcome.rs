//! How a run ended: what was counted, and whether that is good.

use std::time::Duration;

use crate::cli::bench::crowd::Crowd;
use crate::cli::bench::live::Live;
use crate::cli::bench::plan::Destination;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::process::Process;
use crate::cli::bench::quantity::Rate;
use crate::cli::bench::snapshot::Span;
use crate::cli::exit::Exit;

/// One run against one broker.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Outcome {
    pub(super) target: String,
    pub(super) product: String,
    pub(super) process: Option<Process>,
    /// What was measured; a backlog has two.
    pub(super) spans: Vec<Span>,
    /// The workload `connections` measures this instead.
    pub(super) crowd: Option<Crowd>,
    pub(super) counts: Counts,
    pub(super) ending: Ending,
    /// For how long nothing moved at the end of what was measured.
    pub(super) stood: Duration,
    /// Bytes; the most that was seen.
    pub(super) resident_peak: u64,
    /// What the run made and could not remove.
    pub(super) left: Option<String>,
}

/// Why a run came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// As planned.
    Complete,
    Interrupted,
    /// Nothing moved for so long, though messages were on their way.
    Stalled(Duration),
    /// The broker, or the way to it, failed after so many nanoseconds.
    Broken {
        fault: String,
        after: u64,
        is_unreachable: bool,
    },
}

/// Messages of the whole run, warm-up and end included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) confirmed: u64,
    pub(super) refused: u64,
    pub(super) returned: u64,
    pub(super) unconfirmed: u64,
    pub(super) delivered: u64,
    pub(super) given_back: u64,
    pub(super) redelivered: u64,
    /// Copies that should have arrived and did not.
    pub(super) lost: u64,
    /// Copies that did not arrive in a run that was not to wait for them.
    pub(super) undelivered: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    pub(super) foreign: u64,
    /// Nanoseconds during which publishers were blocked, of the one who waited longest.
    pub(super) blocked_nanos: u64,
    pub(super) blocked: Option<String>,
}

impl Counts {
    /// Adds up a run that is over. Without `is_awaited`, what is missing is not lost.
    pub(super) fn of(live: &Live, is_awaited: bool) -> Counts {
        let mut sum = Counts::default();
        let now = live.clock.now();
        let mut missing = 0;
        for producer in 0..live.plan.producers.len() {
            missing += n_missing(live, producer);
            let sender = live.sender(producer);
            sum.published += sender.published;
            sum.confirmed += sender.confirmed;
            sum.refused += sender.refused;
            sum.returned += sender.returned;
            let blocked_nanos = sender.blocked.total(now);
            if blocked_nanos > sum.blocked_nanos {
                sum.blocked_nanos = blocked_nanos;
                sum.blocked.clone_from(&sender.blocked.reason);
            }
        }
        if live.plan.load.confirm_window.is_some() {
            sum.unconfirmed = sum.published - sum.confirmed - sum.refused;
        }
        for consumer in 0..live.plan.consumers.len() {
            let taker = live.taker(consumer);
            sum.delivered += taker.delivered;
            sum.given_back += taker.given_back;
            sum.redelivered += taker.redelivered;
            sum.duplicated += taker.duplicated;
            sum.out_of_order += taker.out_of_order;
            sum.foreign += taker.foreign;
        }
        let into = if is_awaited { &mut sum.lost } else { &mut sum.undelivered };
        *into = missing;
        sum
    }
}

/// Copies of a producer's messages that did not arrive, but for those that need not.
fn n_missing(live: &Live, producer: usize) -> u64 {
    let (published_in, mut uncertain) = {
        let sender = live.sender(producer);
        (sender.published_in.clone(), sender.uncertain.clone())
    };
    uncertain.sort_unstable();
    uncertain.dedup();
    let mut missing = 0;
    for (slot, published) in (0..).zip(published_in) {
        let stream = live.plan.stream(producer, slot);
        let first = uncertain.partition_point(|it| it.0 < slot);
        let end = uncertain.partition_point(|it| it.0 <= slot);
        for queue in queues_of(&live.plan, slot) {
            let ledger = live.ledger(queue);
            let excused =
                uncertain[first..end].iter().filter(|it| !ledger.has_seen(stream, it.1)).count();
            missing += published.saturating_sub(ledger.n_seen(stream) + excused as u64);
        }
    }
    missing
}

fn queues_of(plan: &Plan, slot: u32) -> std::ops::Range<usize> {
    match plan.slots[slot as usize] {
        Destination::Queue(queue) => queue..queue + 1,
        Destination::EveryQueue => 0..plan.queues.len(),
    }
}

/// What a run must reach.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Limits {
    pub(super) p99_max: Option<Duration>,
    /// Deliveries per second, or published messages when nobody consumes.
    pub(super) rate_min: Option<f64>,
}

/// What is wrong with a run, in sentences, and the exit code they make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub(super) exit: Exit,
    pub(super) errors: Vec<String>,
    /// What a reader should know, though the exit code does not change by it.
    pub(super) notes: Vec<String>,
}

impl Verdict {
    pub(super) fn new(outcome: &Outcome, plan: &Plan, limits: Limits) -> Verdict {
        let mut errors = Vec::new();
        let mut exit = match &outcome.ending {
            Ending::Complete => Exit::Fine,
            Ending::Interrupted => Exit::Interrupted,
            Ending::Stalled(span) => {
                errors.push(format!("nothing moved for {} s", span.as_secs_f64()));
                Exit::Findings
            }
            Ending::Broken { fault, after, is_unreachable } => {
                errors.push(format!("after {:.1} s: {fault}", *after as f64 / 1e9));
                if *is_unreachable { Exit::Unreachable } else { Exit::Findings }
            }
        };
        let findings = findings(outcome);
        if !findings.is_empty() && exit != Exit::Unreachable {
            exit = Exit::Findings;
        }
        errors.extend(findings);
        let missed = missed(outcome, limits);
        if !missed.is_empty() && exit == Exit::Fine {
            exit = Exit::LimitsMissed;
        }
        errors.extend(missed);
        Verdict { exit, errors, notes: notes(outcome, plan) }
    }
}

fn findings(outcome: &Outcome) -> Vec<String> {
    let counts = &outcome.counts;
    let mut found = Vec::new();
    let cases = [
        (counts.lost, "messages are lost"),
        (counts.duplicated, "messages came twice, though they were settled"),
        (counts.out_of_order, "messages came out of order"),
        (counts.unconfirmed, "messages were not confirmed"),
        (counts.refused, "messages were refused by the broker"),
        (counts.returned, "messages came back: no queue took them"),
    ];
    found.extend(
        cases.iter().filter(|(n, _)| *n > 0).map(|(n, sentence)| format!("{n} {sentence}")),
    );
    if counts.blocked_nanos > 0 {
        let reason = counts.blocked.as_deref().unwrap_or("no reason given");
        let secs = counts.blocked_nanos as f64 / 1e9;
        found.push(format!("the broker blocked publishers for {secs:.1} s: {reason}"));
    }
    if let Some(crowd) = &outcome.crowd {
        found.extend(crowd.shortfall());
    }
    found
}

fn missed(outcome: &Outcome, limits: Limits) -> Vec<String> {
    let mut missed = Vec::new();
    for span in &outcome.spans {
        let p99 = Duration::from_nanos(span.latency.quantile(0.99));
        if let Some(max) = limits.p99_max.filter(|max| span.latency.total() > 0 && p99 > *max) {
            missed.push(format!("{}: p99 is {p99:?}, more than {max:?}", span.name));
        }
        let n = if span.delivered > 0 { span.delivered } else { span.published };
        let rate = span.per_second(n);
        if let Some(min) = limits.rate_min.filter(|min| rate < *min) {
            missed.push(format!("{}: {rate:.0} messages/s, fewer than {min}", span.name));
        }
    }
    missed
}

/// Shorter standstills are told as latencies.
const STANDSTILL: Duration = Duration::from_secs(1);
/// A thread of ours that is busy for this share of the time may be what limits the run.
const BUSY_SHARE: f64 = 0.9;
/// A rate is held when this share of what was due was sent.
const HELD_SHARE: f64 = 0.99;

fn notes(outcome: &Outcome, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    for span in &outcome.spans {
        if let Some(own) = span.own
            && span.cores(own) > BUSY_SHARE * plan.threads as f64
        {
            notes.push(format!(
                "{}: bench itself was busy all the time; the broker may do more (`--threads`)",
                span.name
            ));
        }
        let n_producers = plan.producers.len() as f64;
        if let Rate::PerSecond(rate) = plan.load.rate
            && plan.load.messages_per_producer.is_none()
        {
            let due = rate * n_producers * span.secs();
            if (span.published as f64 + n_producers) < HELD_SHARE * due {
                let sent = span.per_second(span.published);
                notes.push(format!(
                    "the rate was not held: {sent:.0}/s of {:.0}/s were sent; latencies count \
                     from when messages were due",
                    rate * n_producers
                ));
            }
        }
    }
    if outcome.stood > STANDSTILL.max(longest_gap(plan)) {
        let secs = outcome.stood.as_secs_f64();
        notes.push(format!("nothing moved in the last {secs:.1} s of what was measured"));
    }
    let counts = &outcome.counts;
    if counts.undelivered > 0 {
        notes.push(format!("{} messages were not waited for", counts.undelivered));
    }
    if counts.foreign > 0 {
        notes.push(format!("{} messages of others were in the queues", counts.foreign));
    }
    notes.extend(outcome.left.clone());
    notes
}

/// A few times the span between two messages at the slowest rate that was asked for.
fn longest_gap(plan: &Plan) -> Duration {
    const N_GAPS: f64 = 4.0;
    let rates = [plan.load.rate, plan.load.consumer_rate];
    let gaps = rates.iter().filter_map(|it| it.gap_nanos());
    Duration::from_secs_f64(gaps.fold(0.0, f64::max) * N_GAPS / 1e9)
}

#[cfg(test)]
pub(super) mod tests;
