//! Two brokers side by side: runs that alternate, their medians, and the ratios of these.

use serde_json::Value;
use serde_json::json;

use crate::cli::bench::document::SCHEMA;
use crate::cli::bench::numeral;
use crate::cli::bench::outcome::Outcome;

/// One figure of each run. It is told when every run has it.
struct Figure {
    name: String,
    of: fn(&Outcome, usize) -> Option<f64>,
    /// Of which of the run's phases.
    phase: usize,
}

/// A figure of several runs.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// `None` without values.
    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), min, max })
    }
}

/// A figure of both sides.
#[derive(Clone, PartialEq, Debug)]
struct Row {
    name: String,
    a: Spread,
    b: Spread,
}

impl Row {
    /// What A has for one of B; `None` when B has nothing.
    fn ratio(&self) -> Option<f64> {
        (self.b.median != 0.0).then(|| self.a.median / self.b.median)
    }
}

type Of = fn(&Outcome, usize) -> Option<f64>;

const OF_PHASES: [(&str, Of); 10] = [
    ("published /s", |it, at| {
        it.spans.get(at).map(|it| it.per_second(it.published)).filter(|it| *it > 0.0)
    }),
    ("received /s", |it, at| {
        it.spans.get(at).map(|it| it.per_second(it.delivered)).filter(|it| *it > 0.0)
    }),
    ("confirm p50 ms", |it, at| confirm(it, at, 0.5)),
    ("confirm p99 ms", |it, at| confirm(it, at, 0.99)),
    ("end-to-end p50 ms", |it, at| end_to_end(it, at, 0.5)),
    ("end-to-end p99 ms", |it, at| end_to_end(it, at, 0.99)),
    ("end-to-end p99.9 ms", |it, at| end_to_end(it, at, 0.999)),
    ("broker cpu µs/message", |it, at| {
        let span = it.spans.get(at)?;
        span.cpu_micros_per_message(span.broker?)
    }),
    ("broker cores", |it, at| it.spans.get(at).and_then(|it| it.broker.map(|own| it.cores(own)))),
    ("bench cpu µs/message", |it, at| {
        let span = it.spans.get(at)?;
        span.cpu_micros_per_message(span.own?)
    }),
];

const OF_RUNS: [(&str, Of); 7] = [
    ("broker rss max MiB", |it, _| {
        (it.resident_peak > 0).then_some(it.resident_peak as f64 / f64::from(1 << 20))
    }),
    ("connections /s", |it, _| it.crowd.as_ref().map(|it| it.per_second())),
    ("KiB per connection", |it, _| it.crowd.as_ref()?.bytes_each().map(|it| it / 1024.0)),
    ("cpu µs per connection", |it, _| it.crowd.as_ref()?.cpu_micros_each()),
    ("lost", |it, _| it.crowd.is_none().then_some(it.counts.lost as f64)),
    ("duplicated", |it, _| it.crowd.is_none().then_some(it.counts.duplicated as f64)),
    ("out of order", |it, _| it.crowd.is_none().then_some(it.counts.out_of_order as f64)),
];

fn confirm(outcome: &Outcome, phase: usize, share: f64) -> Option<f64> {
    let latency = &outcome.spans.get(phase)?.confirm_latency;
    (latency.total() > 0).then(|| latency.quantile(share) as f64 / 1e6)
}

fn end_to_end(outcome: &Outcome, phase: usize, share: f64) -> Option<f64> {
    let latency = &outcome.spans.get(phase)?.latency;
    (latency.total() > 0).then(|| latency.quantile(share) as f64 / 1e6)
}

fn figures(outcome: &Outcome) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (phase, span) in outcome.spans.iter().enumerate() {
        let prefix = if span.name == "run" { String::new() } else { format!("{} ", span.name) };
        for (name, of) in OF_PHASES {
            figures.push(Figure { name: format!("{prefix}{name}"), of, phase });
        }
    }
    figures.extend(OF_RUNS.map(|(name, of)| Figure { name: name.to_owned(), of, phase: 0 }));
    figures
}

/// The figures that all runs of both sides have.
fn rows(a: &[Outcome], b: &[Outcome]) -> Vec<Row> {
    let Some(first) = a.first() else { return Vec::new() };
    let spread = |runs: &[Outcome], figure: &Figure| {
        let values: Option<Vec<f64>> =
            runs.iter().map(|it| (figure.of)(it, figure.phase)).collect();
        Spread::of(values?.into_iter())
    };
    let row = |figure: Figure| {
        let (a, b) = (spread(a, &figure)?, spread(b, &figure)?);
        Some(Row { name: figure.name, a, b })
    };
    figures(first).into_iter().filter_map(row).collect()
}

/// A table: median (smallest to largest) of both, and how many times B's A's median is.
pub(super) fn text(a: &[Outcome], b: &[Outcome]) -> String {
    let side = |name: &str, runs: &[Outcome]| match runs.first() {
        Some(first) => {
            format!("{name}: {} ({})  {} runs\n", first.target, first.product, runs.len())
        }
        None => format!("{name}: no runs\n"),
    };
    let mut text = format!("compare {}        {}", side("A", a), side("B", b));
    let cells = |it: &Spread| {
        let [median, min, max] = [it.median, it.min, it.max].map(figure_text);
        format!("{median} ({min} to {max})")
    };
    text.push_str(&format!("        {:<24}{:>34}{:>34}{:>9}\n", "median", "A", "B", "A/B"));
    for row in rows(a, b) {
        let ratio = row.ratio().map_or("-".to_owned(), numeral::digits);
        let (a, b) = (cells(&row.a), cells(&row.b));
        text.push_str(&format!("        {:<24}{a:>34}{b:>34}{ratio:>9}\n", row.name));
    }
    text
}

fn figure_text(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number >= 1000.0 => numeral::grouped(number),
        number => numeral::digits(number),
    }
}

/// The same as JSON; `runs` are those of [`crate::cli::bench::document`], in the order they ran.
pub(super) fn document(a: &[Outcome], b: &[Outcome], runs: &[Value]) -> Value {
    let spread = |it: &Spread| json!({ "median": it.median, "min": it.min, "max": it.max });
    let rows = rows(a, b).into_iter().map(|row| {
        json!({
            "figure": row.name, "a": spread(&row.a), "b": spread(&row.b), "ratio": row.ratio(),
        })
    });
    json!({
        "schema": SCHEMA,
        "compare": rows.collect::<Vec<Value>>(),
        "runs": runs,
    })
}

#[cfg(test)]
mod tests;
