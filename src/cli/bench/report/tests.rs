use super::*;
use crate::cli::bench::document;
use crate::cli::bench::outcome::Limits;
use crate::cli::bench::outcome::Verdict;
use crate::cli::bench::outcome::tests::outcome;
use crate::cli::bench::outcome::tests::span;
use crate::cli::bench::plan::tests::plan;
use crate::cli::bench::process::Process;

fn measured() -> Outcome {
    let counts = Counts { published: 1234, delivered: 1234, redelivered: 5, ..Counts::default() };
    Outcome {
        spans: vec![span()],
        counts,
        process: Some(Process { pid: 77, name: "broker".to_owned() }),
        resident_peak: 4 << 20,
        ..outcome()
    }
}

#[test]
fn a_result_is_a_few_lines() {
    let text = text(&plan("work -z 10").unwrap(), &measured());
    let expected = "\
bench work  producers 2  consumers 2  queues 1  size 256 B  persistent  confirm-window 200  \
window 1000  prefetch 100  10 s + 3 s warm-up  guest@localhost:5672  Broker 1.0
result  pub 100/s ~ 25.0 KiB/s   confirmed 100/s   recv 100/s ~ 25.0 KiB/s   in 10.0 s
        confirm     p50 1.00  p95 1.00  p99 1.00  p99.9 1.00  max 1.00 ms
        end-to-end  p50 1.00  p95 1.00  p99 1.00  p99.9 1.00  max 1.00 ms
        broker      cpu 50.0 µs/message, 0.005 cores   rss 3.00 MiB, at most 4.00 MiB   \
(broker, pid 77)
        bench       cpu 1.00 µs/message, 0.000 cores
counted published 1234  lost 0  duplicated 0  out of order 0  redelivered 5
";
    assert_eq!(text, expected);
}

#[test]
fn the_first_line_says_what_was_done() {
    let cases = [
        ("work -r 500 -A 10", "  prefetch 100 ack-every 10  rate 2 × 500/s  30 s + 3 s warm-up  "),
        ("-u q -a", "(as PerfTest)  producers 1  consumers 1  queues 1  size 16 B  transient  "),
        ("backlog -C 9", "  messages 9  T  P"),
        ("connections", "bench connections  connections 1000  idle 3 s  T  P"),
    ];
    for (line, expected) in cases {
        let found = headline(&plan(line).unwrap(), "T", "P");
        assert!(found.contains(expected), "{line}: {found}");
    }
}

#[test]
fn the_document_says_the_same() {
    let (plan, outcome) = (plan("work -z 10").unwrap(), measured());
    let verdict = Verdict::new(&outcome, &plan, Limits::default());
    let found = document::run(&plan, &outcome, &verdict, Some("nightly"));
    let phase = &found["phases"][0];
    assert_eq!((&found["schema"], &found["id"]), (&"railpost.bench/1".into(), &"nightly".into()));
    assert_eq!((&phase["received_per_s"], &phase["seconds"]), (&100.0.into(), &10.0.into()));
    assert_eq!(
        (&phase["end_to_end_us"]["p99"], &found["counts"]["lost"]),
        (&1e3.into(), &0.into())
    );
    assert_eq!(phase["broker"]["cpu_us_per_message"], 50.0);
    assert_eq!(
        (&found["plan"]["workload"], &found["ending"]),
        (&"work".into(), &"complete".into())
    );
    assert!(found["connections"].is_null() && found["errors"].as_array().unwrap().is_empty());
}
