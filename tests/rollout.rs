//! Topology files against a running broker: plans, applying them while clients work, drift.

#![allow(clippy::disallowed_methods, reason = "tests have files, processes and a network")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::StreamExt as _;
use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicAckOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueBindOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::AMQPValue;
use lapin::types::FieldTable;
use railpost::server::config::Http;
use railpost::server::config::ServerConfig;
use railpost::server::rollout;
use railpost::server::run::Server;
use railpost::topology;
use railpost::topology::Source;
use railpost::topology::day::Day;
use tempfile::TempDir;

const OLD: &str = "[services.shop]\n[services.billing]\n\
    [exchanges.orders]\ntype = \"direct\"\nmessages = [{ key = \"created\", from = \"shop\" }]\n\
    [queues.billing]\nservice = \"billing\"\nlimits = { age = \"1d\" }\n\
    bindings = [{ exchange = \"orders\", key = \"created\" }]\n";

/// A broker and a folder with `topology/a.toml`.
struct World {
    server: Server,
    folder: TempDir,
}

async fn start(data: &Path, sources: &[Source], resumes: bool) -> Server {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        listen: local,
        http: Http::At(local),
        data: data.to_owned(),
        resumes,
        ..ServerConfig::default()
    };
    let today = Day::parse("2026-06-01").expect("it is a day");
    let loaded = topology::check(sources, today);
    Server::start(&config, &loaded.topology).await.expect("starts")
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let server = start(&folder.path().join("data"), &[], true).await;
        World { server, folder }
    }

    fn write(&self, text: &str) {
        let folder = self.folder.path().join("topology");
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("a.toml"), text).expect("written");
    }

    /// Runs a command against the broker; returns its exit code and what it printed.
    async fn run(&self, args: &[&str]) -> (i32, String) {
        let address = self.server.http_address().expect("asked for");
        let mut command = Command::new(env!("CARGO_BIN_EXE_railpost"));
        command.args(args).current_dir(self.folder.path());
        command.env("RAILPOST_API", format!("http://guest:guest@{address}"));
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("runs").expect("starts");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        (output.status.code().expect("an exit code"), text)
    }

    async fn apply(&self, text: &str) {
        self.write(text);
        let (code, text) = self.run(&["apply", "--yes"]).await;
        assert_eq!(code, 0, "{text}");
    }

    /// The same broker, stopped and started again with what it was told last.
    async fn restarted(self) -> World {
        let World { server, folder } = self;
        server.stop().await;
        let data = folder.path().join("data");
        let kept = rollout::kept(&data).expect("readable");
        let server = start(&data, &kept, true).await;
        World { server, folder }
    }

    async fn channel(&self, user: &str) -> Channel {
        let name = ConnectionProperties::default().with_connection_name(user.into());
        let uri = format!("amqp://guest:guest@{}/%2f", self.server.address());
        let connection = Connection::connect(&uri, name).await.expect("connects");
        connection.create_channel().await.expect("opens")
    }
}

/// Publishes with a confirm; whether some queue took it.
async fn publish(channel: &Channel, exchange: &str, key: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let durable = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"m", durable);
    let confirm = sent.await.expect("sent").await.expect("confirmed");
    assert!(confirm.is_ack());
    confirm.take_message().is_none()
}

async fn depth(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
    declared.expect("it is there").message_count()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_applied_to_a_running_broker_and_hold_its_clients() {
    let world = World::new().await;
    world.write(OLD);
    let (code, text) = world.run(&["plan", "--check"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1. create exchange orders"), "{text}");
    let (code, _) = world.run(&["apply"]).await;
    assert_eq!(code, 5, "nobody agreed");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("applied: 3 created, 0 changed, 0 removed"), "{text}");
    let (code, text) = world.run(&["plan", "--check"]).await;
    assert_eq!(code, 0, "{text}");

    let shop = world.channel("shop").await;
    shop.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    assert!(publish(&shop, "orders", "created").await);
    let get = shop.basic_get("billing".into(), BasicGetOptions::default()).await;
    let refused = get.expect_err("it is not the shop's").to_string();
    assert!(refused.contains("FAN-002"), "{refused}");

    // What is applied counts from then on, for those who are connected already.
    let shop = world.channel("shop").await;
    world.apply(&OLD.replace("service = \"billing\"", "service = \"shop\"")).await;
    let got = shop.basic_get("billing".into(), BasicGetOptions::default()).await;
    assert!(got.expect("it is now").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_refused_when_stale_or_when_messages_are_at_stake() {
    let world = World::new().await;
    world.apply(OLD).await;
    let channel = world.channel("billing").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    assert!(publish(&channel, "orders", "created").await);

    let without = OLD.split("[queues").next().expect("the first part").replace("messages", "# ");
    world.write(&without);
    let (code, text) = world.run(&["plan", "-o", "plan.json"]).await;
    assert_eq!(code, 0, "{text}");

    assert!(text.contains("would go with 1 messages and 0 consumers"), "{text}");

    // A plan of another broker.
    let path = world.folder.path().join("plan.json");
    let plan = fs::read_to_string(&path).expect("written");
    assert!(plan.contains("\"broker\": \"railpost "), "{plan}");
    let other = world.folder.path().join("other.json");
    fs::write(other, plan.replace("\"broker\": \"railpost ", "\"broker\": \"another "))
        .expect("written");
    let (code, text) = world.run(&["apply", "other.json"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("the plan was made for `another"), "{text}");

    assert_eq!(world.run(&["apply", "plan.json"]).await.0, 5);
    assert_eq!(world.run(&["apply", "--yes"]).await.0, 5);
    assert_eq!(depth(&channel, "billing").await, 1, "nothing was done");

    let (code, _) = world.run(&["plan", "--delete", "billing", "-o", "plan.json"]).await;
    assert_eq!(code, 0);
    let spy = channel.queue_declare("spy".into(), durable(), FieldTable::default());
    spy.await.expect("declared");
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!(code, 5);
    assert!(text.contains("has changed since the plan was made"), "{text}");

    let (_, text) = world.run(&["plan", "--delete", "billing", "-o", "plan.json"]).await;
    assert!(text.contains("queue `spy` in the vhost `/`"), "{text}");
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!((code, text.as_str()), (0, "applied: 0 created, 0 changed, 2 removed\n"));
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!((code, text.as_str()), (0, "applied: 0 created, 0 changed, 0 removed\n"));

    // What a client declared is drift, until a file has it.
    let (code, text) = world.run(&["drift"]).await;
    assert_eq!(code, 1);
    assert!(text.contains("? queue `spy`"), "{text}");
    let (code, text) = world.run(&["adopt", "--to", "topology/adopted.toml"]).await;
    assert_eq!(code, 0, "{text}");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(world.run(&["drift"]).await, (0, "no drift\n".to_owned()));
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

/// A message that has a way before and after has one at every moment between, and is kept.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_unroutable_while_an_exchange_is_replaced_and_a_queue_moves() {
    let world = World::new().await;
    world.apply(OLD).await;
    let channel = world.channel("shop").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let publisher = tokio::spawn(async move {
        let mut n = 0u32;
        while stopped.try_recv().is_err() {
            assert!(publish(&channel, "orders", "created").await, "message {n} went nowhere");
            n += 1;
        }
        n
    });
    let topic = OLD.replace("\"direct\"", "\"topic\"");
    let moved = topic.replace("[queues.billing]", "[queues.invoices]").replace(
        "key = \"created\" }]\n",
        "key = \"#\" }]\n[queues.billing]\nservice = \"billing\"\nlimits = { age = \"1d\" }\n",
    );
    for text in [&topic, &moved, &topic.replace("key = \"created\" }]\n", "key = \"#\" }]\n"), OLD]
    {
        world.write(text);
        let (code, text) = world.run(&["apply", "--yes", "--delete", "invoices"]).await;
        assert_eq!(code, 0, "{text}");
    }
    stop.send(()).expect("it still publishes");
    assert!(publisher.await.expect("every message had a way") > 0);
}

/// What a queue is, as a line of a file.
const DURABLE: &str = "";
const TRANSIENT: &str = "durable = false\n";
const STREAM: &str = "arguments = { x-queue-type = \"stream\" }\n";

/// A direct exchange and a queue of this shape.
fn shaped(shape: &str) -> String {
    format!(
        "[exchanges.orders]\ntype = \"direct\"\n[queues.billing]\n{shape}\
         bindings = [{{ exchange = \"orders\", key = \"created\" }}]\n"
    )
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("text")
}

/// Reads a stream from its first message; acks and returns `n` of them.
async fn read_stream(channel: &Channel, n: usize) -> Vec<String> {
    channel.basic_qos(500, BasicQosOptions::default()).await.expect("it may");
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let (tag, options) = ("reader".into(), BasicConsumeOptions::default());
    let consumer = channel.basic_consume("billing".into(), tag, options, arguments);
    let mut consumer = consumer.await.expect("it may");
    let mut all = Vec::new();
    while all.len() < n {
        let delivery = consumer.next().await.expect("more").expect("no error");
        delivery.ack(BasicAckOptions::default()).await.expect("acked");
        all.push(text(&delivery.data));
    }
    all
}

/// Gets and acks all that is in a queue.
async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut all = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(got) = channel.basic_get(queue.into(), options).await.expect("it is there") {
        all.push(text(&got.delivery.data));
    }
    all
}

/// Longer than what a queue keeps in memory, over two restarts.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_replaced_with_its_backlog_in_order() {
    const N: usize = 9000;
    let world = World::new().await;
    world.apply(&shaped(DURABLE)).await;
    let channel = world.channel("shop").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let mut confirms = Vec::new();
    for n in 0..N {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let (options, body) = (BasicPublishOptions::default(), n.to_string());
        let (exchange, key) = ("orders".into(), "created".into());
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), persistent);
        confirms.push(sent.await.expect("sent"));
    }
    for confirm in confirms {
        assert!(confirm.await.expect("confirmed").is_ack());
    }
    // One of them is out, and its consumer goes with the queue.
    channel.basic_qos(1, BasicQosOptions::default()).await.expect("it may");
    let (tag, options) = ("worker".into(), BasicConsumeOptions::default());
    let consumer = channel.basic_consume("billing".into(), tag, options, FieldTable::default());
    let mut consumer = consumer.await.expect("it may");
    let out = consumer.next().await.expect("one").expect("no error");
    world.write(&shaped(STREAM));
    let (code, plan) = world.run(&["plan"]).await;
    assert_eq!(code, 0, "{plan}");
    let says = "queue `billing`: 9000 messages are kept in their order, 1 consumers are cancelled";
    assert!(plan.contains(says), "{plan}");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(consumer.next().await.is_none_or(|it| it.is_err()), "it was cancelled");
    out.ack(BasicAckOptions::default()).await.expect("it may, and does nothing");
    assert!(publish(&channel, "orders", "created").await);

    let mut expected: Vec<String> = (0..N).map(|it| it.to_string()).collect();
    expected.push("m".to_owned());
    assert_eq!(read_stream(&world.channel("a").await, N + 1).await, expected);
    let world = world.restarted().await;
    assert_eq!(world.run(&["plan", "--check"]).await.0, 0);
    assert_eq!(read_stream(&world.channel("b").await, N + 1).await, expected);

    world.apply(&shaped(TRANSIENT)).await;
    world.apply(&shaped(DURABLE)).await;
    let channel = world.channel("c").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    assert!(publish(&channel, "orders", "created").await);
    expected.push("m".to_owned());
    let world = world.restarted().await;
    assert_eq!(world.run(&["plan", "--check"]).await.0, 0);
    assert_eq!(drain(&world.channel("d").await, "billing").await, expected);
    world.server.stop().await;
}

/// More than the log takes at a time, all of it in memory only.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_becomes_durable_as_a_whole() {
    const N: u8 = 200;
    let world = World::new().await;
    world.apply(&shaped(TRANSIENT)).await;
    let channel = world.channel("shop").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let mut confirms = Vec::new();
    for n in 0..N {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let (options, body) = (BasicPublishOptions::default(), vec![n; 200_000]);
        let sent = channel.basic_publish("".into(), "billing".into(), options, &body, persistent);
        confirms.push(sent.await.expect("sent"));
    }
    for confirm in confirms {
        assert!(confirm.await.expect("confirmed").is_ack());
    }
    world.apply(&shaped(DURABLE)).await;
    let world = world.restarted().await;
    let channel = world.channel("end").await;
    let no_ack = BasicGetOptions { no_ack: true };
    for n in 0..N {
        let got = channel.basic_get("billing".into(), no_ack).await.expect("it is there");
        let body = got.expect("a message").delivery.data;
        assert!(body.len() == 200_000 && body.iter().all(|it| *it == n), "{n}");
    }
    assert!(channel.basic_get("billing".into(), no_ack).await.expect("there").is_none());
    world.server.stop().await;
}

/// Publishes numbers in order until it is told to stop, each confirmed and routed; how many.
async fn publish_numbers(channel: Channel, stop: Arc<AtomicBool>) -> u64 {
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let mut n = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let (exchange, key, body) = ("orders".into(), "created".into(), n.to_string());
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), persistent);
        let confirm = sent.await.expect("sent").await.expect("confirmed");
        assert!(confirm.is_ack(), "message {n} was refused");
        assert!(confirm.take_message().is_none(), "message {n} went nowhere");
        n += 1;
    }
    n
}

/// Consumes and acks what is in `billing`, whatever kind of queue it is; a new subscription when
/// the last one was cancelled. Returns all it saw.
async fn work(channel: Channel, stop: Arc<AtomicBool>) -> BTreeSet<u64> {
    channel.basic_qos(10, BasicQosOptions::default()).await.expect("it may");
    let mut seen = BTreeSet::new();
    for subscription in 0.. {
        let (tag, options) = (format!("s{subscription}"), BasicConsumeOptions::default());
        let consumer =
            channel.basic_consume("billing".into(), tag.into(), options, FieldTable::default());
        let mut consumer = consumer.await.expect("the queue is always there");
        let mut last = None;
        loop {
            if stop.load(Ordering::Relaxed) {
                return seen;
            }
            let delivery = match tokio::time::timeout(PAUSE, consumer.next()).await {
                Err(_) => continue,
                Ok(None | Some(Err(_))) => break,
                Ok(Some(Ok(delivery))) => delivery,
            };
            let number: u64 = text(&delivery.data).parse().expect("a number");
            if !delivery.redelivered {
                assert!(last < Some(number), "{number} came behind {last:?}");
                last = Some(number);
            }
            seen.insert(number);
            delivery.ack(BasicAckOptions::default()).await.expect("it may");
        }
    }
    seen
}

const PAUSE: Duration = Duration::from_millis(20);

/// Under continuous confirmed publishing nothing is lost, nothing unroutable, nothing out of order,
/// whatever is applied.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_everything_is_replaced_under_load() {
    let file = |kind: &str, billing: &str, audit: &str, more: &str| {
        format!(
            "[exchanges.orders]\ntype = \"{kind}\"\n\
             [queues.billing]\n{billing}bindings = [{{ exchange = \"orders\", key = \"created\" }}]\n\
             [queues.audit]\n{audit}bindings = [{{ exchange = \"orders\", key = \"created\" }}]\n{more}"
        )
    };
    let invoices = "[queues.invoices]\nbindings = [{ exchange = \"orders\", key = \"created\" }]\n";
    let world = World::new().await;
    let first = file("direct", DURABLE, DURABLE, "");
    world.apply(&first).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = publish_numbers(world.channel("shop").await, Arc::clone(&stop));
    let publisher = tokio::spawn(publisher);
    let worker = tokio::spawn(work(world.channel("worker").await, Arc::clone(&stop)));
    let applied = [
        file("topic", DURABLE, TRANSIENT, invoices),
        file("topic", STREAM, DURABLE, ""),
        file("fanout", STREAM, STREAM, invoices),
        file("direct", TRANSIENT, TRANSIENT, ""),
        file("topic", STREAM, DURABLE, invoices),
        file("direct", DURABLE, STREAM, ""),
        first,
    ];
    for text in &applied {
        world.write(text);
        let (code, text) = world.run(&["apply", "--yes", "--delete", "invoices"]).await;
        assert_eq!(code, 0, "{text}");
    }
    stop.store(true, Ordering::Relaxed);
    let n = publisher.await.expect("every message had a way");
    let mut seen = worker.await.expect("it consumed");
    assert!(n > 0 && !seen.is_empty());
    let channel = world.channel("end").await;
    seen.extend(drain(&channel, "billing").await.iter().map(|it| it.parse::<u64>().expect("one")));
    assert_eq!(seen, (0..n).collect());
    let all: Vec<String> = (0..n).map(|it| it.to_string()).collect();
    assert_eq!(drain(&channel, "audit").await, all);
    assert_eq!(world.run(&["drift"]).await, (0, "no drift\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_files_goes_on_with_those_applied_last() {
    let world = World::new().await;
    world.apply(OLD).await;
    let (code, text) = world.run(&["backup", "copy", "--data", "data"]).await;
    assert_eq!(code, 0, "{text}");
    let World { server, folder } = world;
    server.stop().await;
    let data = folder.path().join("data");
    let kept = rollout::kept(&data).expect("readable");
    assert_eq!(kept.len(), 1);
    assert_eq!(rollout::kept(&folder.path().join("copy")).expect("a backup has them"), kept);
    let server = start(&data, &kept, true).await;
    let world = World { server, folder };
    assert_eq!(world.run(&["plan", "--check"]).await.0, 0);
    let shop = world.channel("shop").await;
    let consume = shop.basic_consume(
        "billing".into(),
        "c".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let refused = consume.await.expect_err("it is not the shop's").to_string();
    assert!(refused.contains("FAN-002"), "{refused}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_itself_is_a_side_of_diff_and_route() {
    let world = World::new().await;
    world.apply(OLD).await;
    let (code, text) = world.run(&["diff", "live", "topology"]).await;
    assert_eq!(code, 0, "{text}");
    world.write(&OLD.replace("key = \"created\" }]\n[queues", "key = \"x\" }]\n[queues"));
    let (code, text) = world.run(&["route", "orders", "created", "--live"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("billing"), "{text}");
    let unreachable = ["plan", "--api", "http://127.0.0.1:1"];
    assert_eq!(world.run(&unreachable).await.0, 4);
    let address = world.server.http_address().expect("asked for");
    let wrong = format!("http://guest:wrong@{address}");
    assert_eq!(world.run(&["plan", "--api", &wrong]).await.0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_comes_to_hold_messages_back_and_does_not_go() {
    let world = World::new().await;
    world.apply(OLD).await;
    let later = "type = \"x-delayed-message\"\narguments = { x-delayed-type = \"direct\" }\n";
    let delayed = OLD.replace("type = \"direct\"\n", later);
    world.apply(&delayed).await;
    let (code, text) = world.run(&["plan", "--check"]).await;
    assert_eq!(code, 0, "{text}");

    let channel = world.channel("billing").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let mut headers = FieldTable::default();
    headers.insert("x-delay".into(), lapin::types::AMQPValue::LongInt(3_600_000));
    let held = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("orders".into(), "created".into(), options, b"m", held);
    assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    assert_eq!(depth(&channel, "billing").await, 0, "it is held back");
    assert!(publish(&channel, "orders", "created").await);
    assert_eq!(depth(&channel, "billing").await, 1, "the other one is not");

    for other in
        [OLD, &delayed.replace("x-delayed-type = \"direct\"", "x-delayed-type = \"topic\"")]
    {
        world.write(other);
        let (code, text) = world.run(&["apply", "--yes"]).await;
        assert_eq!(code, 5, "{text}");
        assert!(text.contains("holds messages back that would go with it"), "{text}");
    }
}

/// An apply that ended before its first step, and one of other files than the broker is started with.
#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_was_interrupted_is_finished_at_the_start() {
    let world = World::new().await;
    world.apply(&shaped(DURABLE)).await;
    let channel = world.channel("shop").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    assert!(publish(&channel, "orders", "created").await);
    let World { server, folder } = world;
    server.stop().await;
    let data = folder.path().join("data");
    let file = data.join(rollout::APPLIED);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/topology/2.json");
    fs::copy(golden, &file).expect("copied");
    let other = Source { path: "b.toml".to_owned(), text: shaped(DURABLE) };
    start(&data, &[other], false).await.stop().await;
    assert!(fs::read_to_string(&file).expect("there").contains("unfinished"), "it is not its own");

    let kept = rollout::kept(&data).expect("readable");
    let server = start(&data, &kept, false).await;
    assert!(!fs::read_to_string(&file).expect("there").contains("unfinished"));
    let world = World { server, folder };
    world.write(&kept[0].text);
    assert_eq!(world.run(&["drift"]).await, (0, "no drift\n".to_owned()));
    let channel = world.channel("shop").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    assert!(publish(&channel, "orders", "anything").await);
    assert_eq!(drain(&channel, "invoices").await, ["m"]);
    world.server.stop().await;
}

/// Bindings that clients made go to the files that declare what they lead to.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_bound_is_adopted_into_the_files_that_declare_it() {
    let world = World::new().await;
    let file = "# Orders of all shops.\n[exchanges.orders]\ntype = \"topic\"\n\n\
        [queues.billing] # of accounting\nbindings = [\n  \
        { exchange = \"orders\", key = \"created\" }, # every order\n]\nttl = \"1d\"\n";
    world.apply(file).await;
    let channel = world.channel("shop").await;
    let spy = channel.queue_declare("spy".into(), durable(), FieldTable::default());
    spy.await.expect("declared");
    for (queue, key) in [("billing", "paid"), ("spy", "#")] {
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(queue.into(), "orders".into(), key.into(), options, none);
        bound.await.expect("it may");
    }
    let (code, text) = world.run(&["adopt", "--to", "topology/adopted.toml"]).await;
    let said = "changed topology/a.toml\n  orders → billing (paid)\nwrote topology/adopted.toml\n";
    assert_eq!((code, text.as_str()), (0, said));
    let path = |name: &str| world.folder.path().join("topology").join(name);
    let expected = file.replace(
        " # every order\n",
        " # every order\n  { exchange = \"orders\", key = \"paid\" },\n",
    );
    assert_eq!(fs::read_to_string(path("a.toml")).expect("there"), expected);
    let adopted = fs::read_to_string(path("adopted.toml")).expect("there");
    assert!(adopted.contains("bindings = [{ exchange = \"orders\", key = \"#\" }]"), "{adopted}");
    assert_eq!(fs::read_dir(path("")).expect("a folder").count(), 2, "nothing is left beside");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(world.run(&["drift"]).await, (0, "no drift\n".to_owned()));
    let (code, text) = world.run(&["adopt", "--to", "topology/adopted.toml"]).await;
    assert_eq!((code, text.as_str()), (0, "there is nothing to adopt in the vhost `/`\n"));
}
