//! The broker as a whole: numbers, nodes, health, and what this broker is.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::estate::Vitals;
use crate::admin::list;
use crate::admin::rates;
use crate::admin::rates::Churn;
use crate::admin::rates::History;
use crate::admin::rates::Moment;
use crate::admin::rates::Stat;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::broker::host::Host;

const PRODUCT: &str = "railpost";
const CLUSTER: &str = "railpost";

/// Exchange types, for the places where tools look for them.
const EXCHANGE_TYPES: [&str; 9] = [
    "direct",
    "fanout",
    "headers",
    "topic",
    "x-consistent-hash",
    "x-delayed-message",
    "x-local-random",
    "x-modulus-hash",
    "x-random",
];

/// COMPAT: numbers are there even when they are zero; exporters take their absence for an error.
pub fn overview<E: Estate>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    let vitals = estate.vitals();
    let connections = estate.connections();
    let (moment, history) = (estate.moment(), estate.history());
    let vhosts = caller.vhosts(estate, None)?;
    let (mut queues, mut exchanges) = (0, 0);
    for vhost in &vhosts {
        estate.in_vhost(vhost, |turn| {
            queues += turn.vhost().table.n_queues();
            exchanges += turn.vhost().table.n_exchanges() + 1;
        });
    }
    // Who sees everything also sees what was counted by queues that are gone.
    let all = caller.check_monitoring().is_ok();
    let count = |it: &Moment| {
        let mut sum = rates::sum(vhosts.iter().filter_map(|name| it.vhosts.get(name).copied()));
        if all {
            sum.totals.add(&it.retired);
        }
        sum
    };
    let now = count(&moment);
    let mut stats = rates::message_stats(&now.totals, &history, |it| Some(count(it).totals));
    if all {
        let rate = history.counter_rate(|it| Some(it.published));
        rates::insert(&mut stats, "publish", moment.published, rate);
        let rate = history.counter_rate(|it| Some(it.confirmed));
        rates::insert(&mut stats, "confirm", moment.confirmed, rate);
        let rate = history.counter_rate(|it| Some(it.unroutable));
        rates::insert(&mut stats, "drop_unroutable", moment.unroutable, rate);
    }
    let channels: usize = connections.iter().map(|it| it.channels.len()).sum();
    let body = json!({
        "management_version": vitals.rabbitmq_version,
        "rabbitmq_version": vitals.rabbitmq_version,
        "product_name": PRODUCT,
        "product_version": vitals.version,
        "erlang_version": "0",
        "erlang_full_version": "none",
        "cluster_name": CLUSTER,
        "cluster_tags": {},
        "node": vitals.node,
        "node_tags": {},
        "default_queue_type": "classic",
        "release_series_support_status": "supported",
        "rates_mode": "basic",
        "sample_retention_policies": { "global": [600], "basic": [600], "detailed": [600] },
        "disable_stats": false,
        "enable_queue_totals": false,
        "statistics_db_event_queue": 0,
        "exchange_types": exchange_types(),
        "listeners": listeners(&vitals),
        "contexts": [],
        "message_stats": stats,
        "churn_rates": churn(&moment.churn, &history),
        "queue_totals": rates::queue_totals(&now.depth, &history, |it| Some(count(it).depth)),
        "object_totals": {
            "connections": connections.len(),
            "channels": channels,
            "queues": queues,
            "exchanges": exchanges,
            "consumers": now.depth.consumers,
        },
    });
    list::single(body, request)
}

fn churn(now: &Churn, history: &History) -> Value {
    let of: [Stat<Churn>; 7] = [
        ("connection_created", |it| it.connections_opened),
        ("connection_closed", |it| it.connections_closed),
        ("channel_created", |it| it.channels_opened),
        ("channel_closed", |it| it.channels_closed),
        ("queue_declared", |it| it.queues_created),
        ("queue_created", |it| it.queues_created),
        ("queue_deleted", |it| it.queues_deleted),
    ];
    let mut rates = Map::new();
    for (key, of) in of {
        let rate = history.counter_rate(|it| Some(of(&it.churn)));
        rates::insert(&mut rates, key, of(now), rate);
    }
    Value::Object(rates)
}

fn exchange_types() -> Value {
    let of = |it: &&str| json!({ "name": it, "description": "", "enabled": true });
    EXCHANGE_TYPES.iter().map(of).collect()
}

fn listeners(vitals: &Vitals) -> Value {
    let of = |(protocol, address, port): &(&str, String, u16)| {
        json!({
            "node": vitals.node, "protocol": protocol, "ip_address": address, "port": port,
            "socket_opts": {},
        })
    };
    vitals.listeners.iter().map(of).collect()
}

pub fn nodes<E: Estate>(estate: &E, request: &Request) -> Outcome {
    list::whole(vec![node_view(&estate.vitals())], request)
}

pub fn node<E: Estate>(estate: &E, request: &Request, name: &str) -> Outcome {
    let vitals = estate.vitals();
    if vitals.node != name {
        return Err(Problem::NotFound);
    }
    list::single(node_view(&vitals), request)
}

/// COMPAT: what only an Erlang machine has is 0.
fn node_view(vitals: &Vitals) -> Value {
    let mut view = json!({
        "name": vitals.node, "type": "disc", "running": true, "being_drained": false,
        "uptime": vitals.uptime_ms, "os_pid": vitals.process_id.to_string(),
        "processors": vitals.n_processors, "run_queue": 0, "rates_mode": "basic",
        "mem_used": vitals.memory_bytes, "mem_limit": 0, "mem_alarm": false,
        "mem_calculation_strategy": "rss",
        "disk_free": vitals.disk_free_bytes, "disk_free_limit": 0,
        "disk_free_alarm": vitals.disk_alarm,
        "db_dir": vitals.data, "config_files": [], "log_files": [], "partitions": [],
        "enabled_plugins": [], "applications": [], "cluster_links": [], "contexts": [],
        "net_ticktime": 60, "metrics_gc_queue_length": {},
        "fd_used": vitals.n_open_files, "fd_total": vitals.open_files_max,
        "sockets_total": vitals.connections_max, "exchange_types": exchange_types(),
        "auth_mechanisms": [
            { "name": "PLAIN", "description": "", "enabled": true },
            { "name": "AMQPLAIN", "description": "", "enabled": true },
        ],
    });
    for key in [
        "sockets_used",
        "proc_total",
        "proc_used",
        "gc_num",
        "gc_bytes_reclaimed",
        "context_switches",
        "mnesia_ram_tx_count",
        "mnesia_disk_tx_count",
        "io_read_avg_time",
        "io_read_bytes",
        "io_read_count",
        "io_write_avg_time",
        "io_write_bytes",
        "io_write_count",
        "io_sync_avg_time",
        "io_sync_count",
    ] {
        view[key] = Value::from(0);
        view[format!("{key}_details")] = json!({ "rate": 0.0 });
    }
    view
}

pub fn memory<E: Estate>(estate: &E, request: &Request, name: &str) -> Outcome {
    let vitals = estate.vitals();
    if vitals.node != name {
        return Err(Problem::NotFound);
    }
    let bytes = vitals.memory_bytes;
    let mut memory = json!({
        "strategy": "rss",
        "total": { "rss": bytes, "allocated": bytes, "erlang": 0 },
    });
    for key in [
        "connection_readers",
        "connection_writers",
        "connection_channels",
        "connection_other",
        "queue_procs",
        "quorum_queue_procs",
        "stream_queue_procs",
        "stream_queue_replica_reader_procs",
        "stream_queue_coordinator_procs",
        "plugins",
        "metadata_store",
        "other_proc",
        "metrics",
        "mgmt_db",
        "mnesia",
        "quorum_ets",
        "metadata_store_ets",
        "other_ets",
        "binary",
        "msg_index",
        "code",
        "atom",
        "other_system",
        "allocated_unused",
        "reserved_unallocated",
    ] {
        memory[key] = Value::from(0);
    }
    list::single(json!({ "memory": memory }), request)
}

pub fn cluster_name(request: &Request) -> Outcome {
    if request.method == Method::Get {
        return list::single(json!({ "name": CLUSTER }), request);
    }
    Err(Problem::bad("the cluster's name cannot be changed"))
}

pub fn version() -> Outcome {
    Ok(Response::ok(Value::from(env!("CARGO_PKG_VERSION"))))
}

/// COMPAT: some clients only start when they find these.
pub fn feature_flags(request: &Request) -> Outcome {
    let of = |(name, what): (&str, &str)| {
        json!({
            "name": name, "state": "enabled", "desc": what, "doc_url": "", "stability": "stable",
            "provided_by": PRODUCT,
        })
    };
    let flags = [("quorum_queue", "durable queues"), ("stream_queue", "queues of type stream")];
    list::whole(flags.map(of).to_vec(), request)
}

/// Something that is not here: there are none of it.
pub fn nothing(request: &Request) -> Outcome {
    match request.method {
        Method::Get => list::paged(Vec::new(), request),
        Method::Put | Method::Post | Method::Delete => Err(Problem::bad("not supported here")),
    }
}

/// COMPAT: newer versions declare no queue for this.
pub fn aliveness<E: Estate>(estate: &E, caller: &Caller, vhost: &str) -> Outcome {
    caller.vhost(estate, vhost)?;
    Ok(Response::ok(json!({ "status": "ok" })))
}

/// COMPAT: 200 when all is well, 503 when it is not.
pub fn health<E: Estate>(estate: &E, check: &[&str]) -> Outcome {
    let vitals = estate.vitals();
    let ok = |body: Value| Ok(Response::ok(body));
    let failed = |body: Value| Ok(Response { status: 503, ..Response::ok(body) });
    let no_listener = "No active listener";
    match check {
        ["alarms" | "local-alarms"] if vitals.disk_alarm => failed(json!({
            "status": "failed",
            "reason": "resource alarm(s) in effect",
            "alarms": [{ "node": vitals.node, "resource": "disk" }],
        })),
        ["port-listener", port] => {
            let wanted: u16 = port.parse().map_err(|_| Problem::bad("no port number"))?;
            let ports: Vec<u16> = vitals.listeners.iter().map(|(.., port)| *port).collect();
            if ports.contains(&wanted) {
                return ok(json!({ "status": "ok", "port": wanted }));
            }
            failed(json!({
                "status": "failed", "reason": no_listener, "missing": wanted, "ports": ports,
            }))
        }
        ["protocol-listener", wanted] => {
            let there: Vec<&str> = vitals.listeners.iter().map(|(it, ..)| *it).collect();
            let alias = |it: &str| match it {
                "amqp091" | "amqp0.9.1" => "amqp".to_owned(),
                "amqps" => "amqp/ssl".to_owned(),
                other => other.to_owned(),
            };
            let wanted: Vec<String> = wanted.split(',').map(alias).collect();
            let missing: Vec<&String> =
                wanted.iter().filter(|it| !there.contains(&it.as_str())).collect();
            if missing.is_empty() {
                return ok(json!({ "status": "ok", "protocols": wanted }));
            }
            failed(json!({
                "status": "failed", "reason": no_listener, "missing": missing, "protocols": there,
            }))
        }
        ["node-is-quorum-critical" | "node-is-mirror-sync-critical"] => {
            ok(json!({ "status": "ok", "reason": "single node cluster" }))
        }
        [
            "alarms"
            | "local-alarms"
            | "virtual-hosts"
            | "is-in-service"
            | "ready-to-serve-clients"
            | "below-node-connection-limit",
        ]
        | ["metadata-store", "initialized"] => ok(json!({ "status": "ok" })),
        _ => Err(Problem::NotFound),
    }
}
