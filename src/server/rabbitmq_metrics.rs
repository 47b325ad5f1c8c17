//! COMPAT: the names of RabbitMQ's Prometheus plugin that its Grafana dashboards and other people's
//! alerts ask for, with our numbers. What has no meaning here is left out; what is never reached is
//! said to be so.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::admin::rates::Stat;
use crate::queue::Depth;
use crate::queue::totals::Totals;
use crate::server::estate;
use crate::server::estate::About;
use crate::server::metrics::QUEUES_MAX;
use crate::server::metrics::Row;
use crate::server::node::Node;

/// For how many objects there are series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Detail {
    /// Sums only.
    Aggregated,
    /// Of each queue, as many as are allowed.
    PerObject,
}

impl Detail {
    fn as_str(self) -> &'static str {
        match self {
            Detail::Aggregated => "aggregated",
            Detail::PerObject => "per-object",
        }
    }
}

/// Name, kind, labels and value of a series. Numbers are whole except where tools want otherwise.
struct Page<'a>(&'a mut String);

impl Page<'_> {
    fn head(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.0, "# TYPE rabbitmq_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = match labels {
            "" => writeln!(self.0, "rabbitmq_{name} {value}"),
            labels => writeln!(self.0, "rabbitmq_{name}{{{labels}}} {value}"),
        };
    }

    fn gauge(&mut self, name: &str, value: u64) {
        self.head(name, "gauge");
        self.line(name, "", value);
    }

    fn counter(&mut self, name: &str, value: u64) {
        self.head(name, "counter");
        self.line(name, "", value);
    }
}

/// Everything under RabbitMQ's names.
pub(in crate::server) fn render(
    node: &Node,
    about: &About,
    rows: &[Row],
    detail: Detail,
    out: &mut String,
) {
    let mut page = Page(out);
    identity(about, detail, &mut page);
    objects(node, rows, &mut page);
    process(node, &mut page);
    messages(node, rows, &mut page);
    queues(rows, detail, &mut page);
}

/// Dashboards join every other series with these.
fn identity(about: &About, detail: Detail, page: &mut Page<'_>) {
    let node = about.node();
    page.head("identity_info", "untyped");
    let labels = format!(
        "rabbitmq_node=\"{node}\",rabbitmq_cluster=\"{node}\",\
         rabbitmq_cluster_permanent_id=\"{node}\",rabbitmq_endpoint=\"{}\"",
        detail.as_str()
    );
    page.line("identity_info", &labels, 1);
    page.head("build_info", "untyped");
    let (version, ours) = (estate::RABBITMQ_VERSION, env!("CARGO_PKG_VERSION"));
    let labels = format!(
        "rabbitmq_version=\"{version}\",prometheus_plugin_version=\"{version}\",\
         prometheus_client_version=\"0\",erlang_version=\"0\",product_name=\"railpost\",\
         product_version=\"{ours}\""
    );
    page.line("build_info", &labels, 1);
}

fn objects(node: &Node, rows: &[Row], page: &mut Page<'_>) {
    let churn = node.churn();
    let consumers = rows.iter().map(|it| it.depth.consumers).sum();
    page.gauge("connections", node.registry.len() as u64);
    page.gauge("channels", node.registry.n_channels() as u64);
    page.gauge("consumers", consumers);
    page.gauge("channel_consumers", consumers);
    page.gauge("queues", rows.len() as u64);
    page.counter("connections_opened_total", churn.connections_opened);
    page.counter("connections_closed_total", churn.connections_closed);
    page.counter("channels_opened_total", churn.channels_opened);
    page.counter("channels_closed_total", churn.channels_closed);
    page.counter("queues_declared_total", churn.queues_created);
    page.counter("queues_created_total", churn.queues_created);
    page.counter("queues_deleted_total", churn.queues_deleted);
    page.head("global_consumers", "gauge");
    page.line("global_consumers", PROTOCOL, consumers);
    let (mut received, mut sent, mut reads, mut writes) = (0, 0, 0, 0);
    for link in node.registry.all() {
        let traffic = link.traffic();
        received += traffic.received_bytes;
        sent += traffic.sent_bytes;
        reads += traffic.n_reads;
        writes += traffic.n_writes;
    }
    page.counter("connection_incoming_bytes_total", received);
    page.counter("connection_outgoing_bytes_total", sent);
    page.counter("connection_incoming_packets_total", reads);
    page.counter("connection_outgoing_packets_total", writes);
}

fn process(node: &Node, page: &mut Page<'_>) {
    let connections = node.registry.len() as u64;
    page.gauge("process_resident_memory_bytes", estate::memory_bytes());
    page.gauge("process_open_fds", estate::open_files());
    page.gauge("process_max_fds", estate::open_files_max());
    page.gauge("process_open_tcp_sockets", connections);
    page.gauge("process_max_tcp_sockets", node.registry.max() as u64);
    page.gauge("disk_space_available_bytes", node.disk_free_bytes());
    page.gauge("erlang_uptime_seconds", node.clock.uptime_ms() / 1000);
    page.gauge("alarms_free_disk_space_watermark", u64::from(node.is_disk_low()));
    // There is no alarm for these here.
    page.gauge("alarms_memory_used_watermark", 0);
    page.gauge("alarms_file_descriptor_limit", 0);
    page.head("auth_attempts_failed_total", "counter");
    let failed = node.metrics.logins_refused.load(Ordering::Relaxed);
    page.line("auth_attempts_failed_total", PROTOCOL, failed);
}

const PROTOCOL: &str = "protocol=\"amqp091\"";

const GLOBAL: [Stat<Totals>; 7] = [
    ("delivered_total", |it| it.delivered + it.delivered_no_ack + it.got + it.got_no_ack),
    ("delivered_consume_manual_ack_total", |it| it.delivered),
    ("delivered_consume_auto_ack_total", |it| it.delivered_no_ack),
    ("delivered_get_manual_ack_total", |it| it.got),
    ("delivered_get_auto_ack_total", |it| it.got_no_ack),
    ("redelivered_total", |it| it.redelivered),
    ("acknowledged_total", |it| it.acked),
];

/// Sums over the queues that are and were, by what they are.
fn messages(node: &Node, rows: &[Row], page: &mut Page<'_>) {
    let published = node.metrics.published.load(Ordering::Relaxed);
    let unroutable = node.metrics.unroutable.load(Ordering::Relaxed);
    let confirms = node.confirms();
    for (name, value) in [
        ("received_confirm_total", confirms.published),
        ("confirmed_total", confirms.confirmed),
        ("received_total", published),
        ("routed_total", published.saturating_sub(unroutable)),
        ("unroutable_dropped_total", unroutable),
    ] {
        let name = format!("global_messages_{name}");
        page.head(&name, "counter");
        page.line(&name, PROTOCOL, value);
    }
    let of_kind = |is_stream: bool| {
        let mut sum = *node.retired(is_stream).lock();
        rows.iter().filter(|it| it.is_stream == is_stream).for_each(|it| sum.add(&it.totals));
        sum
    };
    let kinds = [("rabbit_classic_queue", of_kind(false)), ("rabbit_stream_queue", of_kind(true))];
    for (name, of) in GLOBAL {
        let name = format!("global_messages_{name}");
        page.head(&name, "counter");
        for (kind, totals) in &kinds {
            page.line(&name, &format!("{PROTOCOL},queue_type=\"{kind}\""), of(totals));
        }
    }
}

const DEPTHS: [Stat<Depth>; 5] = [
    ("queue_messages", |it| it.ready + it.unacked + it.delayed),
    ("queue_messages_ready", |it| it.ready),
    ("queue_messages_unacked", |it| it.unacked),
    ("queue_messages_ready_bytes", |it| it.ready_bytes),
    ("queue_consumers", |it| it.consumers),
];

/// Gauges of queues, one series each or one for all.
fn queues(rows: &[Row], detail: Detail, page: &mut Page<'_>) {
    let shown = &rows[..rows.len().min(QUEUES_MAX)];
    let labels = |it: &Row| format!("vhost=\"{}\",queue=\"{}\"", it.vhost, it.queue);
    let mut series = |name: &str, kind: &str, of: &dyn Fn(&Row) -> u64| {
        page.head(name, kind);
        match detail {
            Detail::Aggregated => page.line(name, "", rows.iter().map(of).sum()),
            Detail::PerObject => {
                shown.iter().for_each(|it| page.line(name, &labels(it), of(it)));
            }
        }
    };
    for (name, of) in DEPTHS {
        series(name, "gauge", &|it: &Row| of(&it.depth));
    }
    let published = |it: &Row| it.totals.published;
    series("queue_messages_published_total", "counter", &published);
    if detail == Detail::PerObject {
        page.gauge("queue_series_truncated", u64::from(rows.len() > QUEUES_MAX));
    }
}
