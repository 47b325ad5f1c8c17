//! Counters of the whole process, held as handles; and the text Prometheus reads, in which the
//! numbers of each queue come straight from the queue.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use metrics::Counter;
use metrics::Gauge;
use metrics::Histogram;
use metrics_exporter_prometheus::Matcher;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_exporter_prometheus::PrometheusHandle;
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::queue::Depth;
use crate::queue::Queue;
use crate::queue::settings::Durability;
use crate::queue::totals::Totals;
use crate::server::estate::About;
use crate::server::node::Node;
use crate::server::rabbitmq_metrics;
use crate::server::rabbitmq_metrics::Detail;

/// Handles of what is counted outside of queues.
pub(in crate::server) struct Metrics {
    handle: PrometheusHandle,
    /// Messages published by clients, and how many of them no queue got; read by more than one.
    pub(in crate::server) published: AtomicU64,
    pub(in crate::server) unroutable: AtomicU64,
    pub(in crate::server) channels_opened: AtomicU64,
    pub(in crate::server) channels_closed: AtomicU64,
    pub(in crate::server) queues_created: AtomicU64,
    pub(in crate::server) queues_deleted: AtomicU64,
    pub(in crate::server) logins_refused: AtomicU64,
    pub(in crate::server) dropped: Counter,
    pub(in crate::server) duplicates: Counter,
    pub(in crate::server) letters_lost: Counter,
    pub(in crate::server) refused: Counter,
    pub(in crate::server) warned: Counter,
    connections: Gauge,
    channels: Gauge,
    consumers: Gauge,
    pub(in crate::server) confirm_seconds: Histogram,
    pub(in crate::server) sync_seconds: Histogram,
    pub(in crate::server) damaged: Counter,
}

/// Bounds of time histograms, in seconds: 50 µs to 10 s.
const SECONDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

impl Metrics {
    /// A recorder of this broker's own: two brokers in one process do not mix.
    pub(in crate::server) fn new() -> Metrics {
        let recorder: PrometheusRecorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .expect("bounds are given")
            .build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::describe_counter!(
                "railpost_unroutable_dropped_total",
                "unroutable messages dropped because their exchange says so"
            );
            metrics::describe_counter!(
                "railpost_duplicates_total",
                "messages that had come before and were not taken again"
            );
            metrics::describe_counter!(
                "railpost_dead_letters_lost_total",
                "dead letters that no queue took"
            );
            metrics::describe_counter!(
                "railpost_requests_refused_total",
                "channels and connections refused"
            );
            metrics::describe_counter!("railpost_rule_warnings_total", "rules broken under `warn`");
            metrics::describe_counter!(
                "railpost_damaged_total",
                "stored messages that are damaged"
            );
            metrics::describe_gauge!("railpost_connections", "open connections");
            metrics::describe_gauge!("railpost_channels", "open channels");
            metrics::describe_gauge!("railpost_consumers", "consumers of all queues");
            metrics::describe_histogram!(
                "railpost_confirm_seconds",
                "from the first message of a batch to its confirm"
            );
            metrics::describe_histogram!("railpost_sync_seconds", "one sync of the log");
            Metrics {
                published: AtomicU64::new(0),
                unroutable: AtomicU64::new(0),
                channels_opened: AtomicU64::new(0),
                channels_closed: AtomicU64::new(0),
                queues_created: AtomicU64::new(0),
                queues_deleted: AtomicU64::new(0),
                logins_refused: AtomicU64::new(0),
                dropped: metrics::counter!("railpost_unroutable_dropped_total"),
                duplicates: metrics::counter!("railpost_duplicates_total"),
                letters_lost: metrics::counter!("railpost_dead_letters_lost_total"),
                refused: metrics::counter!("railpost_requests_refused_total"),
                warned: metrics::counter!("railpost_rule_warnings_total"),
                damaged: metrics::counter!("railpost_damaged_total"),
                connections: metrics::gauge!("railpost_connections"),
                channels: metrics::gauge!("railpost_channels"),
                consumers: metrics::gauge!("railpost_consumers"),
                confirm_seconds: metrics::histogram!("railpost_confirm_seconds"),
                sync_seconds: metrics::histogram!("railpost_sync_seconds"),
                handle,
            }
        })
    }
}

/// One counter or gauge of a queue.
type Column = (&'static str, &'static str, &'static str, fn(&Row) -> u64);

/// Queues that have series of their own; more only count in the sums.
pub(in crate::server) const QUEUES_MAX: usize = 2000;

/// What is read of a queue while it is locked.
pub(in crate::server) struct Row {
    /// Names, ready to be labels.
    pub(in crate::server) vhost: String,
    pub(in crate::server) queue: String,
    pub(in crate::server) depth: Depth,
    pub(in crate::server) totals: Totals,
    pub(in crate::server) is_stream: bool,
    durability: Durability,
    latency: Vec<(u64, u64)>,
    latency_sum_micros: u64,
}

const COLUMNS: [Column; 19] = [
    ("messages_ready", "gauge", "messages waiting for a consumer", |it| it.depth.ready),
    ("messages_unacked", "gauge", "messages delivered and not settled", |it| it.depth.unacked),
    ("messages_delayed", "gauge", "messages waiting for their retry", |it| it.depth.delayed),
    ("ready_bytes", "gauge", "bytes of ready bodies", |it| it.depth.ready_bytes),
    ("consumers", "gauge", "consumers", |it| it.depth.consumers),
    ("durability_write", "gauge", "1 when confirms wait for the write only, not the sync", |it| {
        u64::from(it.durability == Durability::Write)
    }),
    ("published_total", "counter", "messages taken in", |it| it.totals.published),
    ("delivered_total", "counter", "messages delivered, gets included", |it| {
        let totals = &it.totals;
        totals.delivered + totals.delivered_no_ack + totals.got + totals.got_no_ack
    }),
    ("redelivered_total", "counter", "of these, not for the first time", |it| {
        it.totals.redelivered
    }),
    ("acked_total", "counter", "messages acked, or delivered without acks", |it| it.totals.acked),
    ("rejected_total", "counter", "deliveries rejected or nacked", |it| it.totals.rejected),
    ("retried_total", "counter", "failed attempts that waited for a retry", |it| it.totals.retried),
    ("parked_total", "counter", "messages moved to the parking lot", |it| it.totals.parked),
    ("dead_lettered_total", "counter", "messages dead-lettered", |it| it.totals.dead_lettered),
    ("expired_total", "counter", "messages that expired", |it| it.totals.expired),
    ("dropped_total", "counter", "messages dropped for want of room or of a place to go", |it| {
        it.totals.dropped
    }),
    ("refused_total", "counter", "messages refused because the queue was full", |it| {
        it.totals.refused
    }),
    ("damaged_total", "counter", "messages whose stored bytes are damaged", |it| it.totals.damaged),
    ("ack_seconds_count", "counter", "deliveries acked", |it| {
        it.latency.last().map_or(0, |(_, n)| *n)
    }),
];

/// Everything, in the text format of Prometheus.
pub(in crate::server) fn render(node: &Node, about: &About, detail: Detail) -> String {
    let rows = rows(node);
    set_gauges(node, &rows);
    let mut out = node.metrics.handle.render();
    render_published(&node.metrics, &mut out);
    rabbitmq_metrics::render(node, about, &rows, detail, &mut out);
    let shown = &rows[..rows.len().min(QUEUES_MAX)];
    let _ = writeln!(out, "# HELP railpost_queues_not_shown queues without series of their own");
    let _ = writeln!(out, "# TYPE railpost_queues_not_shown gauge");
    let _ = writeln!(out, "railpost_queues_not_shown {}", rows.len() - shown.len());
    for (name, kind, help, value) in COLUMNS {
        let _ = writeln!(out, "# HELP railpost_queue_{name} {help}");
        let _ = writeln!(out, "# TYPE railpost_queue_{name} {kind}");
        for row in shown {
            let (vhost, queue) = (&row.vhost, &row.queue);
            let _ = writeln!(
                out,
                "railpost_queue_{name}{{vhost=\"{vhost}\",queue=\"{queue}\"}} {}",
                value(row)
            );
        }
    }
    render_latency(shown, &mut out);
    render_totals(node, &rows, &mut out);
    out
}

#[allow(clippy::cast_precision_loss, reason = "far fewer of all these than 2^53")]
fn set_gauges(node: &Node, rows: &[Row]) {
    let metrics = &node.metrics;
    metrics.connections.set(node.registry.len() as f64);
    metrics.channels.set(node.registry.n_channels() as f64);
    metrics.consumers.set(rows.iter().map(|it| it.depth.consumers).sum::<u64>() as f64);
}

fn render_published(metrics: &Metrics, out: &mut String) {
    let published = metrics.published.load(Ordering::Relaxed);
    let unroutable = metrics.unroutable.load(Ordering::Relaxed);
    for (name, help, value) in [
        ("published_total", "messages published by clients", published),
        ("routed_total", "of these, routed to a queue", published.saturating_sub(unroutable)),
        ("unroutable_total", "of these, routed to none", unroutable),
    ] {
        let _ = writeln!(out, "# HELP railpost_{name} {help}");
        let _ = writeln!(out, "# TYPE railpost_{name} counter");
        let _ = writeln!(out, "railpost_{name} {value}");
    }
}

/// The time from delivery to ack, as cumulative buckets.
#[allow(clippy::cast_precision_loss, reason = "microseconds of a day are far below 2^53")]
fn render_latency(rows: &[Row], out: &mut String) {
    out.push_str("# HELP railpost_queue_ack_seconds time from delivery to ack\n");
    out.push_str("# TYPE railpost_queue_ack_seconds histogram\n");
    for row in rows.iter().filter(|it| it.latency.last().is_some_and(|(_, n)| *n > 0)) {
        let labels = format!("vhost=\"{}\",queue=\"{}\"", row.vhost, row.queue);
        for (bound_micros, n) in row.latency.iter().filter(|(_, n)| *n > 0) {
            let bound = *bound_micros as f64 / 1e6;
            let _ =
                writeln!(out, "railpost_queue_ack_seconds_bucket{{{labels},le=\"{bound}\"}} {n}");
        }
        let n = row.latency.last().map_or(0, |(_, n)| *n);
        let _ = writeln!(out, "railpost_queue_ack_seconds_bucket{{{labels},le=\"+Inf\"}} {n}");
        let sum = row.latency_sum_micros as f64 / 1e6;
        let _ = writeln!(out, "railpost_queue_ack_seconds_sum{{{labels}}} {sum}");
    }
}

/// Sums over all queues that are and were.
fn render_totals(node: &Node, rows: &[Row], out: &mut String) {
    let mut retired = *node.retired(false).lock();
    retired.add(&node.retired(true).lock());
    let retired = Row {
        vhost: String::new(),
        queue: String::new(),
        depth: Depth::default(),
        durability: Durability::Sync,
        totals: retired,
        is_stream: false,
        latency: Vec::new(),
        latency_sum_micros: 0,
    };
    for (name, kind, help, value) in COLUMNS.iter().filter(|(_, kind, ..)| *kind == "counter") {
        if ["ack_seconds_count", "published_total", "damaged_total"].contains(name) {
            continue;
        }
        let sum: u64 = rows.iter().chain([&retired]).map(value).sum();
        let _ = writeln!(out, "# HELP railpost_{name} {help}, all queues");
        let _ = writeln!(out, "# TYPE railpost_{name} {kind}");
        let _ = writeln!(out, "railpost_{name} {sum}");
    }
}

fn rows(node: &Node) -> Vec<Row> {
    let mut rows = Vec::new();
    for vhost in node.vhosts() {
        let definitions = vhost.definitions.read();
        for record in definitions.vhost.queues() {
            let live = definitions.queues.get(&record.id);
            if let Some(row) = live.and_then(|it| it.state.lock().as_ref().map(row)) {
                rows.push(Row { vhost: escape(&vhost.name), ..row });
            }
        }
    }
    rows
}

fn row(queue: &Queue) -> Row {
    Row {
        vhost: String::new(),
        queue: escape(queue.name()),
        depth: queue.depth(),
        durability: queue.settings().durability,
        totals: *queue.totals(),
        is_stream: queue.settings().stream.is_some(),
        latency: queue.latency().cumulative(),
        latency_sum_micros: queue.latency().sum_micros(),
    }
}

/// Label values: backslash, quote and line end are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
