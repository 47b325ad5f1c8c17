use super::*;
use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::outcome::tests::outcome;
use crate::cli::bench::process::Usage;
use crate::cli::bench::snapshot::Span;

/// A run of two seconds with so many deliveries.
fn run(target: &str, delivered: u64, cpu_nanos: u64) -> Outcome {
    let mut latency = Histogram::default();
    latency.record(1_000_000);
    let span = Span {
        name: "run",
        nanos: 2_000_000_000,
        published: delivered,
        confirmed: 0,
        delivered,
        confirm_latency: Histogram::default(),
        latency,
        broker: (cpu_nanos > 0).then_some(Usage { cpu_nanos, resident_bytes: 1 << 20 }),
        own: None,
    };
    Outcome { target: target.to_owned(), spans: vec![span], ..outcome() }
}

#[test]
fn the_median_is_in_the_middle() {
    let spread = |median, min, max| Some(Spread { median, min, max });
    let cases = [
        (vec![], None),
        (vec![7.0], spread(7.0, 7.0, 7.0)),
        (vec![9.0, 1.0, 2.0], spread(2.0, 1.0, 9.0)),
        (vec![4.0, 1.0, 2.0, 9.0], spread(3.0, 1.0, 9.0)),
    ];
    for (values, expected) in cases {
        assert_eq!(Spread::of(values.into_iter()), expected);
    }
}

#[test]
fn both_sides_stand_in_one_table() {
    let a = [run("a", 2000, 0), run("a", 6000, 0), run("a", 4000, 0)];
    let b = [run("b", 1000, 8_000_000)];
    let found = text(&a, &b);
    let received: Vec<&str> =
        found.lines().find(|it| it.contains("received")).unwrap().split_whitespace().collect();
    let expected = "received /s 2 000 (1 000 to 3 000) 500 (500 to 500) 4.00";
    assert_eq!(received.join(" "), expected);
    assert!(found.contains("lost"), "{found}");
    // Only one side's process is known.
    assert!(!found.contains("cpu"), "{found}");
    let widths: Vec<usize> = found.lines().skip(2).map(|it| it.chars().count()).collect();
    assert!(widths.iter().all(|it| *it == widths[0]), "{found}");
}

#[test]
fn a_comparison_that_ended_early_tells_what_it_has() {
    assert!(text(&[run("a", 1, 0)], &[]).contains("B: no runs"));
    assert!(rows(&[run("a", 1, 0)], &[]).is_empty());
    let found = document(&[run("a", 10, 1)], &[run("b", 20, 2)], &[json!({})]);
    assert_eq!(found["compare"][1]["figure"], "received /s");
    assert_eq!(found["compare"][1]["ratio"], 0.5);
    assert_eq!(found["runs"].as_array().map(Vec::len), Some(1));
}
