//! Topology files against a running broker: plans, applying them while clients work, drift.

#![allow(clippy::disallowed_methods, reason = "tests have files, processes and a network")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueDeclareOptions;
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
