//! The answers of the management API have the fields, and the types, that RabbitMQ's have.
//!
//! `shapes.json` was drawn from answers of RabbitMQ 4.3.6 (3.10.8 where that one gave none): for each
//! path the keys of its objects, a list as what all its elements have, a value as its type.

#![allow(clippy::disallowed_methods, reason = "tests have a clock and a network")]

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use railpost::server::config::Http;
use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology::Topology;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// What RabbitMQ says and railpost does not: where, why, and which keys.
const LEFT_OUT: &[(&str, &str, &[&str])] = &[
    (
        "",
        "what Erlang's processes and RabbitMQ's stores are busy with",
        &[
            "garbage_collection",
            "cached_segments",
            "pending_raft_commands",
            "quorum_queue_dlx_procs",
            "storage_version",
            "open_files",
            "ra_open_file_metrics",
            "messages_ready_ram",
            "messages_unacknowledged_ram",
            "reductions",
            "reductions_details",
            "io_reopen_count",
            "io_reopen_count_details",
            "io_seek_avg_time",
            "io_seek_avg_time_details",
            "io_seek_count",
            "io_seek_count_details",
            "msg_store_read_count",
            "msg_store_read_count_details",
            "msg_store_write_count",
            "msg_store_write_count_details",
            "queue_index_read_count",
            "queue_index_read_count_details",
            "queue_index_write_count",
            "queue_index_write_count_details",
            "disk_reads",
            "disk_reads_details",
            "disk_writes",
            "disk_writes_details",
        ],
    ),
    (
        "nodes[].metrics_gc_queue_length",
        "the same",
        &[
            "channel_closed",
            "channel_consumer_deleted",
            "connection_closed",
            "consumer_deleted",
            "exchange_deleted",
            "node_node_deleted",
            "queue_deleted",
            "vhost_deleted",
        ],
    ),
    (
        "channels[]",
        "channels count publishes, confirms and deliveries; settling is counted by queue",
        &[
            "ack",
            "ack_details",
            "deliver",
            "deliver_details",
            "deliver_no_ack",
            "deliver_no_ack_details",
            "get",
            "get_details",
            "get_empty",
            "get_empty_details",
            "get_no_ack",
            "get_no_ack_details",
            "redeliver",
            "redeliver_details",
        ],
    ),
    (
        "channels[]",
        "counted for the whole broker",
        &[
            "drop_unroutable",
            "drop_unroutable_details",
            "return_unroutable",
            "return_unroutable_details",
        ],
    ),
    (
        "vhosts[]",
        "counted for the whole broker",
        &[
            "confirm",
            "confirm_details",
            "drop_unroutable",
            "drop_unroutable_details",
            "return_unroutable",
            "return_unroutable_details",
        ],
    ),
    (
        "overview",
        "counted with what is dropped as unroutable",
        &["return_unroutable", "return_unroutable_details"],
    ),
    ("exchanges", "exchanges have no counters of their own", &["message_stats"]),
    (
        "queues",
        "the delayed retry of RabbitMQ's quorum queues: railpost's own is in the topology and below /v1",
        &["delayed_retry", "last_delayed_at", "next_delayed_at", "messages_ready_returned"],
    ),
    (
        "queues",
        "numbers that only RabbitMQ's quorum queues have",
        &[
            "messages_active_priorities",
            "messages_by_priority",
            "messages_dlx",
            "message_bytes_dlx",
            "publishers",
        ],
    ),
    ("nodes", "rates of gauges", &["disk_free_details", "fd_used_details", "mem_used_details"]),
    ("", "said only where it was set", &["default_queue_type"]),
];

async fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let login = STANDARD.encode("guest:guest");
    let length = body.len();
    let request = format!(
        "{method} /api/{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Authorization: Basic {login}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reads");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Makes what the samples are about.
async fn furnish(http: SocketAddr) {
    let all = [
        ("vhosts/shop", r#"{"description":"a shop","tags":"a,b"}"#),
        ("users/app", r#"{"password":"pw","tags":"management"}"#),
        ("permissions/shop/app", r#"{"configure":"^a","write":".*","read":".*"}"#),
        ("topic-permissions/shop/app", r#"{"exchange":"orders.topic","write":"a","read":"b"}"#),
        ("user-limits/app/max-connections", r#"{"value":5}"#),
        ("vhost-limits/shop/max-queues", r#"{"value":50}"#),
        ("exchanges/shop/orders.topic", r#"{"type":"topic","durable":true}"#),
        ("queues/shop/billing", r#"{"durable":true,"arguments":{"x-max-length":100}}"#),
        ("queues/shop/email", r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#),
        (
            "policies/shop/ttl",
            r#"{"pattern":"^email$","definition":{"message-ttl":60000},"apply-to":"queues"}"#,
        ),
        (
            "operator-policies/shop/cap",
            r#"{"pattern":"^b","definition":{"max-length":50},"apply-to":"queues"}"#,
        ),
    ];
    for (path, body) in all {
        let (status, answer) = call(http, "PUT", path, body).await;
        assert!([201, 204].contains(&status), "{path}: {status} {answer}");
    }
    for queue in ["email", "billing"] {
        let path = format!("bindings/shop/e/orders.topic/q/{queue}");
        let (status, answer) = call(http, "POST", &path, r##"{"routing_key":"#"}"##).await;
        assert_eq!(status, 201, "{path}: {answer}");
    }
}

/// Publishes, and consumes one message.
async fn traffic(amqp: SocketAddr) -> Connection {
    let uri = format!("amqp://guest:guest@{amqp}/shop");
    let properties = ConnectionProperties::default().with_connection_name("shapes".into());
    let connection = Connection::connect(&uri, properties);
    let connection = connection.await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for _ in 0..3 {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent =
            channel.basic_publish("orders.topic".into(), "a".into(), options, b"hello", properties);
        sent.await.expect("sent").await.expect("confirmed");
    }
    let consumed = channel.basic_consume(
        "email".into(),
        "c".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    // It takes all and acknowledges none.
    std::mem::forget(consumed.await.expect("consumes"));
    connection
}

fn is_left_out(at: &str, key: &str) -> bool {
    LEFT_OUT.iter().any(|(from, _, keys)| at.starts_with(from) && keys.contains(&key))
}

/// Everything at which `found` is not what `wanted` says.
fn differences(at: &str, wanted: &Value, found: &Value, all: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, wanted) in wanted {
                let at = format!("{at}.{key}");
                match found.get(key) {
                    Some(found) => differences(&at, wanted, found, all),
                    None if *wanted == "any" || is_left_out(&at, key) => {}
                    None => all.push(format!("{at} is missing")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            let Some(wanted) = wanted.first() else { return };
            let is_list = !at.contains(['.', '[']);
            if is_list && found.is_empty() {
                all.push(format!("{at} has no element to look at"));
            }
            for found in found {
                differences(&format!("{at}[]"), wanted, found, all);
            }
        }
        (Value::String(wanted), found) => {
            let is = match found {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            // Nothing to say, where there would be such a thing.
            if wanted != "any" && wanted != is && is != "null" {
                all.push(format!("{at} is {found}, no {wanted}"));
            }
        }
        (wanted, found) => all.push(format!("{at} is {found}, no {wanted}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_shape_of_rabbitmqs() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        listen: local,
        http: Http::At(local),
        data: folder.path().join("data"),
        ..ServerConfig::default()
    };
    let server = Server::start(&config, &Topology::default()).await.expect("starts");
    let http = server.http_address().expect("asked for");
    furnish(http).await;
    let connection = traffic(server.address()).await;
    let (_, nodes) = call(http, "GET", "nodes", "").await;
    let node = nodes[0]["name"].as_str().expect("a node");
    let shapes: Value = serde_json::from_str(include_str!("shapes.json")).expect("JSON");
    let mut all = Vec::new();
    for (path, wanted) in shapes.as_object().expect("an object") {
        let (status, found) = call(http, "GET", &path.replace("{node}", node), "").await;
        assert_eq!(status, 200, "{path}: {found}");
        differences(path, wanted, &found, &mut all);
    }
    all.sort();
    all.dedup();
    assert!(all.is_empty(), "{}", all.join("\n"));
    drop(connection);
    server.stop().await;
}
