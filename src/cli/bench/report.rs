//! The result of a run, as text.

use crate::cli::bench::args::Workload;
use crate::cli::bench::crowd::Crowd;
use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::numeral;
use crate::cli::bench::outcome::Counts;
use crate::cli::bench::outcome::Outcome;
use crate::cli::bench::plan::Ack;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::process::Usage;
use crate::cli::bench::quantity::Rate;
use crate::cli::bench::snapshot::Span;

/// Shares of the messages whose latency is told, and their names.
pub(super) const QUANTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// What is done, in one line.
pub(super) fn headline(plan: &Plan, target: &str, product: &str) -> String {
    let load = &plan.load;
    let workload =
        plan.workload.map_or("(as PerfTest)".to_owned(), |it| format!("{it:?}").to_lowercase());
    let mut parts = vec![format!("bench {workload}")];
    if plan.workload == Some(Workload::Connections) {
        parts.push(format!("connections {}", load.connections));
        parts.extend(load.time.map(|it| format!("idle {} s", it.as_secs_f64())));
    } else {
        parts.push(format!("producers {}", plan.producers.len()));
        parts.push(format!("consumers {}", plan.consumers.len()));
        parts.push(format!("queues {}", plan.queues.len()));
        parts.push(format!("size {}", numeral::bytes(load.body_bytes as f64)));
        parts.push(if load.persistent { "persistent" } else { "transient" }.to_owned());
        parts.push(match load.confirm_window {
            Some(window) => format!("confirm-window {window}"),
            None => "without confirms".to_owned(),
        });
        parts.extend(load.window.map(|it| format!("window {it}")));
        parts.push(match load.ack {
            Ack::Automatic => "autoack".to_owned(),
            Ack::Every(1) => format!("prefetch {}", load.prefetch),
            Ack::Every(every) => format!("prefetch {} ack-every {every}", load.prefetch),
        });
        if let Rate::PerSecond(rate) = load.rate {
            parts.push(format!("rate {} × {}/s", plan.producers.len(), numeral::digits(rate)));
        }
        parts.extend(load.messages_per_producer.map(|it| format!("messages {it}")));
    }
    if let Some(time) = load.time.filter(|_| plan.workload != Some(Workload::Connections)) {
        let warm_up = match load.warm_up.as_secs_f64() {
            0.0 => String::new(),
            secs => format!(" + {secs} s warm-up"),
        };
        parts.push(format!("{} s{warm_up}", time.as_secs_f64()));
    }
    parts.push(target.to_owned());
    parts.push(product.to_owned());
    parts.join("  ")
}

/// The result, some lines.
pub(super) fn text(plan: &Plan, outcome: &Outcome) -> String {
    let mut lines = vec![headline(plan, &outcome.target, &outcome.product)];
    for span in &outcome.spans {
        lines.extend(span_lines(plan, span, outcome));
    }
    if let Some(crowd) = &outcome.crowd {
        lines.extend(crowd_lines(crowd, outcome));
    } else {
        lines.push(labelled("counted", &counted(&outcome.counts)));
    }
    lines.join("\n") + "\n"
}

fn labelled(label: &str, text: &str) -> String {
    format!("{label:<8}{text}")
}

fn span_lines(plan: &Plan, span: &Span, outcome: &Outcome) -> Vec<String> {
    let name = if span.name == "run" { "result" } else { span.name };
    let rate = |n: u64| {
        let rate = span.per_second(n);
        let bytes = numeral::bytes(rate * plan.load.body_bytes as f64);
        format!("{}/s ~ {bytes}/s", numeral::grouped(rate))
    };
    let mut rates = Vec::new();
    if span.published > 0 {
        rates.push(format!("pub {}", rate(span.published)));
    }
    if span.confirmed > 0 {
        rates.push(format!("confirmed {}/s", numeral::grouped(span.per_second(span.confirmed))));
    }
    if span.delivered > 0 {
        rates.push(format!("recv {}", rate(span.delivered)));
    }
    rates.push(format!("in {:.1} s", span.secs()));
    let mut lines = vec![labelled(name, &rates.join("   "))];
    for (name, latency) in [("confirm", &span.confirm_latency), ("end-to-end", &span.latency)] {
        if latency.total() > 0 {
            lines.push(labelled("", &format!("{name:<10}  {} ms", latencies(latency))));
        }
    }
    if let (Some(usage), Some(process)) = (span.broker, &outcome.process) {
        let memory = format!(
            "   rss {}, at most {}   ({}, pid {})",
            numeral::bytes(usage.resident_bytes as f64),
            numeral::bytes(outcome.resident_peak as f64),
            process.name,
            process.pid
        );
        lines.push(labelled("", &format!("broker      {}{memory}", cpu(span, usage))));
    }
    if let Some(usage) = span.own {
        lines.push(labelled("", &format!("bench       {}", cpu(span, usage))));
    }
    lines
}

fn latencies(latency: &Histogram) -> String {
    let mut parts: Vec<String> = QUANTILES
        .iter()
        .map(|(name, share)| format!("{name} {}", numeral::millis(latency.quantile(*share))))
        .collect();
    parts.push(format!("max {}", numeral::millis(latency.max())));
    parts.join("  ")
}

fn cpu(span: &Span, usage: Usage) -> String {
    let cores = numeral::digits(span.cores(usage));
    match span.cpu_micros_per_message(usage) {
        Some(micros) => format!("cpu {} µs/message, {cores} cores", numeral::digits(micros)),
        None => format!("cpu {cores} cores"),
    }
}

/// The first four are always told, the others when there are any.
fn counted(counts: &Counts) -> String {
    let always = [
        ("published", counts.published),
        ("lost", counts.lost),
        ("duplicated", counts.duplicated),
        ("out of order", counts.out_of_order),
    ];
    let sometimes = [
        ("unconfirmed", counts.unconfirmed),
        ("refused", counts.refused),
        ("returned", counts.returned),
        ("not waited for", counts.undelivered),
        ("given back", counts.given_back),
        ("redelivered", counts.redelivered),
        ("foreign", counts.foreign),
    ];
    let sometimes = sometimes.iter().filter(|(_, n)| *n > 0);
    let parts: Vec<String> =
        always.iter().chain(sometimes).map(|(name, n)| format!("{name} {n}")).collect();
    parts.join("  ")
}

fn crowd_lines(crowd: &Crowd, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![labelled(
        "result",
        &format!(
            "opened {} of {}   {}/s in {:.2} s",
            crowd.n_opened,
            crowd.n_asked,
            numeral::grouped(crowd.per_second()),
            crowd.opening_nanos as f64 / 1e9,
        ),
    )];
    lines.push(labelled("", &format!("opening     {} ms", latencies(&crowd.opening))));
    if let (Some(process), Some(bytes), Some(micros), Some(cores)) =
        (&outcome.process, crowd.bytes_each(), crowd.cpu_micros_each(), crowd.idle_cores())
    {
        let text = format!(
            "broker      {} and cpu {} µs per connection   idle {} cores   rss {}   ({}, pid {})",
            numeral::bytes(bytes),
            numeral::digits(micros),
            numeral::digits(cores),
            numeral::bytes(outcome.resident_peak as f64),
            process.name,
            process.pid
        );
        lines.push(labelled("", &text));
    }
    lines
}

#[cfg(test)]
mod tests;
