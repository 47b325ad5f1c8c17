//! The result of a run, as JSON of a stable shape.

use serde_json::Value;
use serde_json::json;

use crate::cli::bench::args::Workload;
use crate::cli::bench::crowd::Crowd;
use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::outcome::Counts;
use crate::cli::bench::outcome::Ending;
use crate::cli::bench::outcome::Outcome;
use crate::cli::bench::outcome::Verdict;
use crate::cli::bench::plan::Ack;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::process::Usage;
use crate::cli::bench::quantity::Rate;
use crate::cli::bench::report::QUANTILES;
use crate::cli::bench::snapshot::Span;

/// Changes when a field goes or changes its meaning, not when one is added.
pub(super) const SCHEMA: &str = "railpost.bench/1";

/// One run, with what is wrong about it.
pub(super) fn run(plan: &Plan, outcome: &Outcome, verdict: &Verdict, id: Option<&str>) -> Value {
    json!({
        "schema": SCHEMA,
        "id": id,
        "target": outcome.target,
        "product": outcome.product,
        "process": outcome.process.as_ref().map(|it| json!({ "pid": it.pid, "name": it.name })),
        "plan": plan_of(plan),
        "phases": outcome.spans.iter().map(span).collect::<Vec<Value>>(),
        "connections": outcome.crowd.as_ref().map(crowd),
        "counts": outcome.crowd.is_none().then(|| counts(&outcome.counts)),
        "broker_rss_bytes_max": outcome.resident_peak,
        "ending": ending(&outcome.ending),
        "errors": verdict.errors,
        "notes": verdict.notes,
    })
}

fn plan_of(plan: &Plan) -> Value {
    let load = &plan.load;
    let workload = plan.workload.map(|it| format!("{it:?}").to_lowercase());
    if plan.workload == Some(Workload::Connections) {
        return json!({ "workload": workload, "connections": load.connections });
    }
    let rate = |it| match it {
        Rate::Unlimited => None,
        Rate::PerSecond(rate) => Some(rate),
    };
    let ack_every = match load.ack {
        Ack::Automatic => None,
        Ack::Every(every) => Some(every),
    };
    json!({
        "workload": workload,
        "producers": plan.producers.len(),
        "consumers": plan.consumers.len(),
        "queues": plan.queues.len(),
        "bindings": plan.bindings.len(),
        "body_bytes": load.body_bytes,
        "persistent": load.persistent,
        "mandatory": load.mandatory,
        "confirm_window": load.confirm_window,
        "window": load.window,
        "prefetch": load.prefetch,
        "autoack": load.ack == Ack::Automatic,
        "ack_every": ack_every,
        "rate_per_producer": rate(load.rate),
        "rate_per_consumer": rate(load.consumer_rate),
        "messages_per_producer": load.messages_per_producer,
        "messages_per_consumer": load.messages_per_consumer,
        "seconds": load.time.map(|it| it.as_secs_f64()),
        "warm_up_seconds": load.warm_up.as_secs_f64(),
        "nack_share": load.nack_share,
        "threads": plan.threads,
    })
}

fn span(span: &Span) -> Value {
    let usage = |it: Option<Usage>| {
        it.map(|it| {
            json!({
                "cpu_us_per_message": span.cpu_micros_per_message(it),
                "cpu_cores": span.cores(it),
                "rss_bytes": it.resident_bytes,
            })
        })
    };
    json!({
        "phase": span.name,
        "seconds": span.secs(),
        "published": span.published,
        "confirmed": span.confirmed,
        "received": span.delivered,
        "published_per_s": span.per_second(span.published),
        "confirmed_per_s": span.per_second(span.confirmed),
        "received_per_s": span.per_second(span.delivered),
        "confirm_us": latencies(&span.confirm_latency),
        "end_to_end_us": latencies(&span.latency),
        "broker": usage(span.broker),
        "bench": usage(span.own),
    })
}

/// Microseconds; null when there was nothing to measure.
fn latencies(latency: &Histogram) -> Value {
    if latency.total() == 0 {
        return Value::Null;
    }
    let micros = |nanos: u64| nanos as f64 / 1e3;
    let mut all: serde_json::Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, share)| ((*name).to_owned(), json!(micros(latency.quantile(*share)))))
        .collect();
    all.insert("max".to_owned(), json!(micros(latency.max())));
    Value::Object(all)
}

fn counts(counts: &Counts) -> Value {
    json!({
        "published": counts.published,
        "confirmed": counts.confirmed,
        "refused": counts.refused,
        "returned": counts.returned,
        "unconfirmed": counts.unconfirmed,
        "received": counts.delivered,
        "given_back": counts.given_back,
        "redelivered": counts.redelivered,
        "lost": counts.lost,
        "not_waited_for": counts.undelivered,
        "duplicated": counts.duplicated,
        "out_of_order": counts.out_of_order,
        "foreign": counts.foreign,
        "blocked_seconds": counts.blocked_nanos as f64 / 1e9,
        "blocked": counts.blocked,
    })
}

fn crowd(crowd: &Crowd) -> Value {
    json!({
        "asked": crowd.n_asked,
        "opened": crowd.n_opened,
        "seconds": crowd.opening_nanos as f64 / 1e9,
        "opened_per_s": crowd.per_second(),
        "opening_us": latencies(&crowd.opening),
        "broker_bytes_each": crowd.bytes_each(),
        "broker_cpu_us_each": crowd.cpu_micros_each(),
        "broker_idle_cores": crowd.idle_cores(),
    })
}

fn ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::Interrupted => "interrupted",
        Ending::Stalled(_) => "stalled",
        Ending::Broken { .. } => "broken",
    }
}
