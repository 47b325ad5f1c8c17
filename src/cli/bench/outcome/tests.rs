use super::*;
use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::plan::tests::plan;
use crate::cli::bench::process::Usage;
use crate::cli::bench::stamp::Stamp;
use crate::cli::bench::tally::Delivery;
use crate::cli::bench::template::Template;

/// A run that ended well, without anything measured.
pub(in crate::cli::bench) fn outcome() -> Outcome {
    Outcome {
        target: "guest@localhost:5672".to_owned(),
        product: "Broker 1.0".to_owned(),
        process: None,
        spans: Vec::new(),
        crowd: None,
        counts: Counts::default(),
        ending: Ending::Complete,
        stood: Duration::ZERO,
        resident_peak: 0,
        left: None,
    }
}

/// Ten seconds with 1000 messages, each delivered after a millisecond.
pub(in crate::cli::bench) fn span() -> Span {
    let mut latency = Histogram::default();
    (0..1000).for_each(|_| latency.record(1_000_000));
    Span {
        name: "run",
        nanos: 10_000_000_000,
        published: 1000,
        confirmed: 1000,
        delivered: 1000,
        confirm_latency: latency.clone(),
        latency,
        broker: Some(Usage { cpu_nanos: 50_000_000, resident_bytes: 3 << 20 }),
        own: Some(Usage { cpu_nanos: 1_000_000, resident_bytes: 1 << 20 }),
    }
}

fn verdict(line: &str, outcome: &Outcome, limits: Limits) -> Verdict {
    Verdict::new(outcome, &plan(line).unwrap(), limits)
}

#[test]
fn what_is_wrong_decides_the_exit_code() {
    let counted = |counts| Outcome { counts, ..outcome() };
    let ended = |ending| Outcome { ending, ..outcome() };
    let broken = |is_unreachable| {
        ended(Ending::Broken { fault: "gone".to_owned(), after: 2_500_000_000, is_unreachable })
    };
    let blocked = Counts {
        blocked_nanos: 1_500_000_000,
        blocked: Some("low on disk".to_owned()),
        ..Counts::default()
    };
    let cases = [
        (outcome(), Exit::Fine, ""),
        (counted(Counts { lost: 3, ..Counts::default() }), Exit::Findings, "3 messages are lost"),
        (counted(Counts { duplicated: 1, ..Counts::default() }), Exit::Findings, "came twice"),
        (counted(Counts { out_of_order: 1, ..Counts::default() }), Exit::Findings, "out of order"),
        (counted(Counts { unconfirmed: 1, ..Counts::default() }), Exit::Findings, "not confirmed"),
        (counted(Counts { undelivered: 9, ..Counts::default() }), Exit::Fine, ""),
        (counted(blocked), Exit::Findings, "blocked publishers for 1.5 s: low on disk"),
        (ended(Ending::Interrupted), Exit::Interrupted, ""),
        (ended(Ending::Stalled(Duration::from_secs(5))), Exit::Findings, "nothing moved for 5 s"),
        (broken(true), Exit::Unreachable, "after 2.5 s: gone"),
        (broken(false), Exit::Findings, "gone"),
    ];
    for (outcome, exit, sentence) in cases {
        let verdict = verdict("work", &outcome, Limits::default());
        assert_eq!(verdict.exit, exit, "{verdict:?}");
        assert!(verdict.errors.join(" ").contains(sentence), "{verdict:?}");
        assert_eq!(verdict.errors.is_empty(), sentence.is_empty(), "{verdict:?}");
    }
}

#[test]
fn limits_have_an_exit_code_of_their_own() {
    let good = Outcome { spans: vec![span()], ..outcome() };
    let lossy = Outcome { counts: Counts { lost: 1, ..Counts::default() }, ..good.clone() };
    let p99 = |micros| Some(Duration::from_micros(micros));
    let cases = [
        (&good, p99(1100), Some(99.0), Exit::Fine),
        (&good, p99(900), None, Exit::LimitsMissed),
        (&good, None, Some(101.0), Exit::LimitsMissed),
        (&lossy, p99(900), None, Exit::Findings),
    ];
    for (outcome, p99_max, rate_min, exit) in cases {
        assert_eq!(verdict("work", outcome, Limits { p99_max, rate_min }).exit, exit);
    }
}

#[test]
fn what_a_reader_should_know_is_noted() {
    let run = |change: fn(&mut Outcome)| {
        let mut outcome = Outcome { spans: vec![span()], ..outcome() };
        change(&mut outcome);
        outcome
    };
    let cases = [
        ("work", run(|_| {}), ""),
        ("work -r 50", run(|_| {}), ""),
        ("work -r 52", run(|_| {}), "not held: 100/s of 104/s"),
        ("work", run(|it| it.spans[0].own.as_mut().unwrap().cpu_nanos = 9_500_000_000), "busy"),
        ("work", run(|it| it.stood = Duration::from_secs(2)), "nothing moved in the last 2.0 s"),
        ("work -r 1", run(|it| it.stood = Duration::from_secs(2)), ""),
        ("work", run(|it| it.counts.foreign = 2), "2 messages of others"),
        ("work", run(|it| it.left = Some("could not".to_owned())), "could not"),
    ];
    for (line, outcome, sentence) in cases {
        let verdict = verdict(line, &outcome, Limits::default());
        assert_eq!(verdict.exit, Exit::Fine);
        let notes = verdict.notes.join(" ");
        assert!(notes.contains(sentence), "{line}: {notes}");
        assert_eq!(notes.is_empty(), sentence.is_empty(), "{line}: {notes}");
    }
}

/// A run of two producers that published five messages each.
fn published(line: &str) -> Live {
    let plan = plan(line).unwrap();
    let template = Template::new(&plan, 4096);
    let live = Live::new(plan, template);
    for producer in 0..2 {
        let mut sender = live.sender(producer);
        sender.published = 5;
        sender.published_in[0] = 5;
    }
    live
}

fn arrive(live: &Live, queue: usize, producer: usize, sequences: &[u64]) {
    for &sequence in sequences {
        let stamp = Stamp { run: 4, stream: live.plan.stream(producer, 0), sequence, sent_at: 0 };
        let delivery = Delivery { stamp, redelivered: false, given_back: false };
        live.ledger(queue).take(&delivery);
        live.received(producer, 1);
    }
}

#[test]
fn what_did_not_arrive_is_lost_unless_it_need_not_arrive() {
    let live = published("work -x 2");
    arrive(&live, 0, 0, &[0, 1, 3]);
    arrive(&live, 0, 1, &[0, 1, 2, 3, 4]);
    assert!(!live.is_all_arrived());
    assert_eq!(Counts::of(&live, true).lost, 2);
    // The broker refused one of the missing, and one that arrived all the same.
    live.sender(0).uncertain.extend([(0, 2), (0, 3), (0, 2)]);
    let counts = Counts::of(&live, true);
    assert_eq!((counts.lost, counts.published), (1, 10));
    let counts = Counts::of(&live, false);
    assert_eq!((counts.lost, counts.undelivered), (0, 1));
    arrive(&live, 0, 0, &[4]);
    assert_eq!(Counts::of(&live, true).lost, 0);
}

#[test]
fn every_queue_must_get_its_copy() {
    let live = published("broadcast -x 2 --queues 3");
    for queue in 0..3 {
        (0..2).for_each(|producer| arrive(&live, queue, producer, &[0, 1, 2, 3]));
    }
    arrive(&live, 1, 0, &[4]);
    assert_eq!(Counts::of(&live, true).lost, 5);
    assert!(!live.is_all_arrived());
    (0..2).for_each(|queue| arrive(&live, queue, 1, &[4]));
    arrive(&live, 2, 1, &[4]);
    arrive(&live, 0, 0, &[4]);
    assert!(!live.is_all_arrived());
    arrive(&live, 2, 0, &[4]);
    assert!(live.is_all_arrived());
}
