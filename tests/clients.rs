//! The real server on a real socket: lapin as an ordinary client, and bytes no client would send.

#![allow(clippy::disallowed_methods, reason = "tests have a clock and a network")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::StreamExt as _;
use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::ExchangeKind;
use lapin::options::BasicAckOptions;
use lapin::options::BasicCancelOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicGetOptions;
use lapin::options::BasicNackOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::BasicRecoverOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::ExchangeDeclareOptions;
use lapin::options::QueueBindOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::AMQPValue;
use lapin::types::FieldTable;
use railpost::server::config::Http;
use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology::Topology;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How long anything may take before a test gives up; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

struct Broker {
    server: Server,
    folder: tempfile::TempDir,
}

async fn start_in(folder: tempfile::TempDir) -> Broker {
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        metrics: Http::At(SocketAddr::from(([127, 0, 0, 1], 0))),
        data: folder.path().join("data"),
        ..ServerConfig::default()
    };
    let topology = Topology::default();
    let server = Server::start(&config, &topology).await.expect("starts");
    Broker { server, folder }
}

async fn start() -> Broker {
    start_in(tempfile::tempdir().expect("a folder")).await
}

impl Broker {
    async fn connect(&self) -> Connection {
        let url = format!("amqp://guest:guest@{}/%2f", self.server.address());
        let properties = ConnectionProperties::default().with_connection_name("test".into());
        Connection::connect(&url, properties).await.expect("connects")
    }

    async fn channel(&self) -> (Connection, Channel) {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        (connection, channel)
    }

    async fn restart(self) -> Broker {
        self.server.stop().await;
        start_in(self.folder).await
    }

    async fn metrics(&self) -> String {
        let address = self.server.metrics_address().expect("asked for");
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reads");
        text
    }
}

async fn declare(channel: &Channel, queue: &str, arguments: FieldTable) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, arguments).await.expect("declared");
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8], mode: u8) {
    let properties = BasicProperties::default().with_delivery_mode(mode);
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    assert!(confirm.await.expect("sent").await.expect("answered").is_ack());
}

async fn get(channel: &Channel, queue: &str) -> Option<(String, bool)> {
    let options = BasicGetOptions { no_ack: true };
    let got = channel.basic_get(queue.into(), options).await.expect("answered")?;
    Some((String::from_utf8_lossy(&got.data).into_owned(), got.redelivered))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_flow_and_are_counted() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "work", FieldTable::default()).await;
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let none = FieldTable::default();
    channel
        .exchange_declare("orders".into(), ExchangeKind::Topic, options, none.clone())
        .await
        .expect("declared");
    let bind = QueueBindOptions::default();
    channel
        .queue_bind("work".into(), "orders".into(), "order.#".into(), bind, none.clone())
        .await
        .expect("bound");
    channel.basic_qos(10, BasicQosOptions::default()).await.expect("qos");
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume("work".into(), "c".into(), options, none).await.expect("consumes");
    for n in 0..100 {
        publish(&channel, "orders", "order.created", format!("{n}").as_bytes(), 2).await;
    }
    for n in 0..100 {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time");
        let delivery = delivery.expect("there").expect("fine");
        assert_eq!(delivery.data, format!("{n}").into_bytes());
        delivery.ack(BasicAckOptions::default()).await.expect("acked");
    }
    // The acks are on their way; a reply on the same channel comes after them.
    channel.basic_qos(10, BasicQosOptions::default()).await.expect("qos");
    let metrics = broker.metrics().await;
    let mut types: Vec<&str> = metrics.lines().filter(|it| it.starts_with("# TYPE")).collect();
    let n_types = types.len();
    types.sort_unstable();
    types.dedup_by_key(|it| it.split(' ').nth(2).unwrap_or_default().to_owned());
    assert_eq!(types.len(), n_types, "a metric is there twice");
    for line in [
        "railpost_connections 1",
        "railpost_channels 1",
        "railpost_consumers 1",
        "railpost_published_total 100",
        "railpost_routed_total 100",
        "railpost_queue_published_total{vhost=\"/\",queue=\"work\"} 100",
        "railpost_queue_acked_total{vhost=\"/\",queue=\"work\"} 100",
        "railpost_queue_messages_ready{vhost=\"/\",queue=\"work\"} 0",
        "railpost_acked_total 100",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    broker.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_is_there_after_a_restart() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "work", FieldTable::default()).await;
    for (body, mode) in [("kept-1", 2), ("transient", 1), ("kept-2", 2), ("acked", 2)] {
        publish(&channel, "", "work", body.as_bytes(), mode).await;
    }
    // One is delivered and stays unacked; the last is acked.
    let first = channel.basic_get("work".into(), BasicGetOptions::default()).await.expect("ok");
    assert!(first.is_some());
    for body in ["transient", "kept-2"] {
        let got = channel.basic_get("work".into(), BasicGetOptions::default()).await.expect("ok");
        assert_eq!(got.expect("there").data, body.as_bytes());
    }
    assert_eq!(get(&channel, "work").await, Some(("acked".into(), false)));

    let broker = broker.restart().await;
    assert_eq!(broker.server.recovered.messages, 2);
    let (_keep, channel) = broker.channel().await;
    assert_eq!(get(&channel, "work").await, Some(("kept-1".into(), true)));
    assert_eq!(get(&channel, "work").await, Some(("kept-2".into(), true)));
    assert_eq!(get(&channel, "work").await, None);
    broker.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_wait_through_a_restart_and_end_as_dead_letters() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "dead", FieldTable::default()).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-delayed-retry-min".into(), AMQPValue::LongInt(200));
    arguments.insert("x-delayed-retry-max".into(), AMQPValue::LongInt(400));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(2));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("dead".into()));
    declare(&channel, "work", arguments).await;
    publish(&channel, "", "work", b"poison", 2).await;
    let nack = BasicNackOptions { requeue: true, ..Default::default() };
    let first = channel.basic_get("work".into(), BasicGetOptions::default()).await.expect("ok");
    first.expect("there").nack(nack).await.expect("nacked");
    assert_eq!(get(&channel, "work").await, None);

    let broker = broker.restart().await;
    assert_eq!(broker.server.recovered.delayed, 1);
    let (_keep, channel) = broker.channel().await;
    let options = BasicConsumeOptions::default();
    let none = FieldTable::default();
    let mut consumer =
        channel.basic_consume("work".into(), "c".into(), options, none).await.expect("consumes");
    for count in [1, 2] {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time");
        let delivery = delivery.expect("there").expect("fine");
        let headers = delivery.properties.headers().clone().expect("headers");
        let of = |name: &str| headers.inner().get(name).cloned();
        assert_eq!(of("x-delivery-count"), Some(AMQPValue::LongLongInt(count)));
        assert_eq!(of("x-retry-count"), Some(AMQPValue::LongLongInt(count)));
        delivery.nack(nack).await.expect("nacked");
    }
    let mut parked = None;
    let end = tokio::time::Instant::now() + PATIENCE;
    while parked.is_none() && tokio::time::Instant::now() < end {
        parked = get(&channel, "dead").await;
    }
    assert_eq!(parked, Some(("poison".into(), false)));
    broker.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_read_back_from_disk_in_order() {
    const N: u32 = 30_000;
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "work", FieldTable::default()).await;
    let mut confirms = Vec::new();
    for n in 0..N {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let body = n.to_be_bytes();
        let confirm = channel.basic_publish("".into(), "work".into(), options, &body, properties);
        confirms.push(confirm.await.expect("sent"));
    }
    for confirm in confirms {
        assert!(confirm.await.expect("answered").is_ack());
    }
    drain(&channel, 0, N / 2).await;
    let broker = broker.restart().await;
    assert_eq!(broker.server.recovered.messages, u64::from(N / 2));
    let (_keep, channel) = broker.channel().await;
    drain(&channel, N / 2, N).await;
    assert_eq!(get(&channel, "work").await, None);
    broker.server.stop().await;
}

/// Gets and acks messages `from..to`, which must come in order.
async fn drain(channel: &Channel, from: u32, to: u32) {
    channel.basic_qos(200, BasicQosOptions::default()).await.expect("qos");
    let options = BasicConsumeOptions::default();
    let none = FieldTable::default();
    let mut consumer =
        channel.basic_consume("work".into(), "c".into(), options, none).await.expect("consumes");
    for n in from..to {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time");
        let delivery = delivery.expect("there").expect("fine");
        assert_eq!(delivery.data, n.to_be_bytes());
        delivery.ack(BasicAckOptions::default()).await.expect("acked");
    }
    let cancel = BasicCancelOptions::default();
    channel.basic_cancel("c".into(), cancel).await.expect("cancelled");
    // What was prefetched beyond that goes back.
    channel.basic_recover(BasicRecoverOptions { requeue: true }).await.expect("recovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_arrive_whole() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "work", FieldTable::default()).await;
    for size in [16 * 1024, 131_064, 131_065, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        publish(&channel, "", "work", &body, 2).await;
        let got = channel
            .basic_get("work".into(), BasicGetOptions { no_ack: true })
            .await
            .expect("answered")
            .expect("there");
        assert!(got.data == body, "{size} bytes");
    }
    broker.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_disturbs_nobody() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "slow", FieldTable::default()).await;
    declare(&channel, "work", FieldTable::default()).await;

    // A consumer without prefetch that takes its consume-ok and then nothing more.
    let mut deaf = raw_open(broker.server.address()).await;
    let consume = b"\x01\0\x01\0\0\0\x14\0\x3c\0\x14\0\0\x04slow\x01x\0\0\0\0\0\0\0\xce";
    deaf.write_all(&fix_size(consume)).await.expect("writes");
    let body = vec![7; 100_000];
    for _ in 0..200 {
        publish(&channel, "", "slow", &body, 1).await;
    }
    publish(&channel, "", "work", b"passes", 1).await;
    assert_eq!(get(&channel, "work").await, Some(("passes".into(), false)));
    let metrics = broker.metrics().await;
    let ready = "railpost_queue_messages_ready{vhost=\"/\",queue=\"slow\"} ";
    let ready = metrics.lines().find_map(|line| line.strip_prefix(ready)).expect("a line");
    // Most of the 20 MB wait in the queue, not in memory for the socket.
    assert!(ready.parse::<u32>().expect("a number") > 100, "{ready} ready");
    drop(deaf);
    // What it held comes back.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let metrics = broker.metrics().await;
        let back = "railpost_queue_messages_ready{vhost=\"/\",queue=\"slow\"} 200";
        if metrics.contains(back) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "messages did not come back");
    }
    broker.server.stop().await;
}

/// Writes the size of the one frame in `bytes` over what stands there.
fn fix_size(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let size = u32::try_from(bytes.len() - 8).expect("small");
    bytes[3..7].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// A connection with channel 1 open, in raw bytes.
async fn raw_open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(b"AMQP\0\0\x09\x01").await.expect("writes");
    let start_ok =
        b"\x01\0\0\0\0\0\0\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US\xce";
    let tune_ok = b"\x01\0\0\0\0\0\0\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xce";
    let open = b"\x01\0\0\0\0\0\0\0\x0a\0\x28\x01/\0\0\xce";
    let channel = b"\x01\0\x01\0\0\0\0\0\x14\0\x0a\0\xce";
    for frame in [&start_ok[..], tune_ok, open, channel] {
        stream.write_all(&fix_size(frame)).await.expect("writes");
    }
    // Start, tune, open-ok, channel.open-ok: the last one ends with its class and method.
    let mut seen = Vec::new();
    while !seen.windows(4).any(|it| it == [0, 20, 0, 11]) {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).await.expect("reads");
        assert!(n > 0, "closed after {seen:02x?}");
        seen.extend_from_slice(&piece[..n]);
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_amqp_are_answered_and_closed() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    declare(&channel, "work", FieldTable::default()).await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0", b"AMQP\0\x01\0\0"] {
        let mut stream = TcpStream::connect(broker.server.address()).await.expect("connects");
        stream.write_all(bytes).await.expect("writes");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
        // A reset after the answer is as good as an end.
        let _ = read.await.expect("closed in time");
        assert_eq!(answer, b"AMQP\0\0\x09\x01");
    }
    for garbage in [&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x01\0\x01\xff\xff\xff\xff"] {
        let mut stream = raw_open(broker.server.address()).await;
        stream.write_all(garbage).await.expect("writes");
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer[7..11], [0, 10, 0, 50], "connection.close");
    }
    publish(&channel, "", "work", b"passes", 2).await;
    assert_eq!(get(&channel, "work").await, Some(("passes".into(), false)));
    broker.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_channels_open_and_close() {
    let broker = start().await;
    let connection = broker.connect().await;
    let mut channels = Vec::new();
    for _ in 0..2000 {
        channels.push(connection.create_channel().await.expect("a channel"));
    }
    declare(&channels[1999], "work", FieldTable::default()).await;
    publish_plain(&channels[0], b"passes").await;
    drop(channels);
    let (_keep, channel) = broker.channel().await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while get(&channel, "work").await.is_none() {
        assert!(tokio::time::Instant::now() < end, "the message did not come");
    }
    broker.server.stop().await;
}

async fn publish_plain(channel: &Channel, body: &[u8]) {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    let sent = channel.basic_publish("".into(), "work".into(), options, body, properties);
    sent.await.expect("sent").await.expect("fine");
}

/// Each answer waits for the disk; none may be forgotten when the disk is quicker than the session.
#[tokio::test(flavor = "multi_thread")]
async fn every_declare_is_answered_however_fast_the_disk_is() {
    let broker = start().await;
    let mut tasks = Vec::new();
    for client in 0..4 {
        let (connection, channel) = broker.channel().await;
        tasks.push(tokio::spawn(async move {
            for n in 0..300 {
                declare(&channel, &format!("q{client}.{n}"), FieldTable::default()).await;
            }
            drop(connection);
        }));
    }
    for task in tasks {
        tokio::time::timeout(PATIENCE, task).await.expect("in time").expect("fine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_held_back_by_an_exchange_survive_a_restart() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-delayed-type".into(), AMQPValue::LongString("direct".into()));
    let kind = ExchangeKind::Custom("x-delayed-message".into());
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare("later".into(), kind, options, arguments).await.expect("declared");
    declare(&channel, "mail", FieldTable::default()).await;
    let bind = QueueBindOptions::default();
    let bound =
        channel.queue_bind("mail".into(), "later".into(), "k".into(), bind, FieldTable::default());
    bound.await.expect("bound");
    for (body, delay) in [("never yet", 3_600_000), ("soon", 300)] {
        let mut headers = FieldTable::default();
        headers.insert("x-delay".into(), AMQPValue::LongInt(delay));
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish("later".into(), "k".into(), options, body.as_bytes(), properties);
        assert!(sent.await.expect("sent").await.expect("answered").is_ack());
    }
    let broker = broker.restart().await;
    let (_keep, channel) = broker.channel().await;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consume = channel.basic_consume("mail".into(), "c".into(), options, FieldTable::default());
    let mut consumer = consume.await.expect("consumes");
    let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
    let delivery = delivery.expect("in time").expect("a delivery").expect("whole");
    assert_eq!(delivery.data, b"soon");
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let name = "amq.delayed.later";
    let waiting = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
    assert_eq!(waiting.expect("is there").message_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_once_is_known_after_a_restart() {
    let broker = start().await;
    let (_keep, channel) = broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
    declare(&channel, "once", arguments).await;
    publish_named(&channel, "once", "m1").await;
    let broker = broker.restart().await;
    let (_keep, channel) = broker.channel().await;
    publish_named(&channel, "once", "m1").await;
    publish_named(&channel, "once", "m2").await;
    assert_eq!(get(&channel, "once").await.map(|it| it.0), Some("m1".into()));
    assert_eq!(get(&channel, "once").await.map(|it| it.0), Some("m2".into()));
    assert_eq!(get(&channel, "once").await, None);
    assert!(broker.metrics().await.contains("railpost_duplicates_total 1"));
}

/// Publishes a persistent message whose body is its id.
async fn publish_named(channel: &Channel, queue: &str, id: &str) {
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish("".into(), queue.into(), options, id.as_bytes(), properties).await;
    assert!(sent.expect("sent").await.expect("answered").is_ack());
}

/// Reads `n` messages of a stream; their offsets and bodies.
async fn read_stream(channel: &Channel, from: AMQPValue, n: usize) -> Vec<(i64, String)> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), from);
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume("log".into(), "".into(), options, arguments);
    let mut consumer = consumer.await.expect("consumes");
    let mut read = Vec::new();
    while read.len() < n {
        let delivery = consumer.next().await.expect("one more").expect("delivered");
        let headers = delivery.properties.headers().as_ref().expect("has headers");
        let offset = headers.inner().get("x-stream-offset").expect("an offset");
        let body = String::from_utf8_lossy(&delivery.data).into_owned();
        read.push((offset.as_long_long_int().expect("a long"), body));
        delivery.ack(BasicAckOptions::default()).await.expect("acked");
    }
    let tag = consumer.tag();
    channel.basic_cancel(tag, BasicCancelOptions::default()).await.expect("cancelled");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_again_and_again_also_after_restarts() {
    const N: usize = 6000;
    let text = |it: &str| AMQPValue::LongString(it.into());
    let mut broker = start().await;
    let (mut keep, mut channel) = broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("stream"));
    declare(&channel, "log", arguments).await;
    let mut n_published = 0;
    for _ in 0..3 {
        let mut confirms = Vec::new();
        for n in n_published..n_published + N {
            let options = BasicPublishOptions::default();
            let (body, properties) = (n.to_string(), BasicProperties::default());
            let sent = channel.basic_publish(
                "".into(),
                "log".into(),
                options,
                body.as_bytes(),
                properties,
            );
            confirms.push(sent.await.expect("sent"));
        }
        for confirm in confirms {
            assert!(confirm.await.expect("answered").is_ack());
        }
        n_published += N;
        for _ in 0..2 {
            channel.basic_qos(200, BasicQosOptions::default()).await.expect("qos");
            let all = read_stream(&channel, text("first"), n_published).await;
            let expected = (0..n_published).map(|n| (n as i64, n.to_string()));
            assert!(all.into_iter().eq(expected), "{n_published}");
            let last = read_stream(&channel, text("last"), 1).await;
            assert_eq!(last[0].0, n_published as i64 - 1);
            let from = AMQPValue::LongLongInt(N as i64 - 2);
            assert_eq!(read_stream(&channel, from, 2).await[1].1, (N - 1).to_string());
            drop((keep, channel));
            broker = broker.restart().await;
            (keep, channel) = broker.channel().await;
        }
    }
    broker.server.stop().await;
}
