//! Topology files against a real node of RabbitMQ: plans, applying them while clients work, and the
//! controller that retries and parks there.
//!
//! Needs RabbitMQ's server as Debian packages it; without, the tests say so and pass, unless
//! `RAILPOST_NEEDS_RABBITMQ` is set.

#![allow(clippy::disallowed_methods, reason = "tests have files, processes and a network")]
#![allow(unreachable_pub, clippy::print_stderr, reason = "a module shared with other tests")]

#[path = "nodes/rabbitmq.rs"]
mod node;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::BasicRejectOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueBindOptions;
use lapin::options::QueueDeclareOptions;
use lapin::options::QueueDeleteOptions;
use lapin::types::AMQPValue;
use lapin::types::FieldTable;
use node::Rabbitmq;
use tempfile::TempDir;

/// The tests share a node, and each has a vhost of its own.
fn shared() -> Option<Arc<Rabbitmq>> {
    static NODE: Mutex<Weak<Rabbitmq>> = Mutex::new(Weak::new());
    let mut slot = NODE.lock().expect("no test has died in here");
    if let Some(node) = slot.upgrade() {
        return Some(node);
    }
    let Some(node) = Rabbitmq::start(&["rabbitmq_management"]) else {
        eprintln!("RabbitMQ is not installed: nothing is tested");
        return None;
    };
    let node = Arc::new(node);
    *slot = Arc::downgrade(&node);
    Some(node)
}

/// A vhost of the node, and a folder with `topology/a.toml`.
struct World {
    node: Arc<Rabbitmq>,
    vhost: String,
    folder: TempDir,
}

impl World {
    fn new(vhost: &str) -> Option<World> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("topology")).expect("made");
        Some(World { node: shared()?, vhost: vhost.to_owned(), folder })
    }

    fn write(&self, text: &str) {
        let text = format!("vhost = \"{}\"\n{text}", self.vhost);
        fs::write(self.folder.path().join("topology/a.toml"), text).expect("written");
    }

    fn api(&self) -> String {
        format!("http://guest:guest@{}", self.node.http)
    }

    fn command(&self, api: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_railpost"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("RAILPOST_ENGINE", "rabbitmq").env("RAILPOST_API", api);
        command.env("RAILPOST_URL", format!("amqp://guest:guest@{}", self.node.amqp));
        command
    }

    /// Runs a command against the node; returns its exit code and what it printed.
    async fn run(&self, args: &[&str]) -> (i32, String) {
        self.run_by(&self.api(), args).await
    }

    async fn run_by(&self, api: &str, args: &[&str]) -> (i32, String) {
        let mut command = self.command(api, args);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("runs").expect("starts");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        (output.status.code().expect("an exit code"), text)
    }

    async fn apply(&self, text: &str) -> String {
        self.write(text);
        let (code, text) = self.run(&["apply", "--yes"]).await;
        assert_eq!(code, 0, "{text}");
        text
    }

    /// What is there is what the files say.
    async fn is_done(&self) {
        let (code, text) = self.run(&["plan", "--check"]).await;
        assert_eq!(code, 0, "{text}");
    }

    async fn channel(&self) -> Channel {
        let vhost = self.vhost.replace('/', "%2f");
        let uri = format!("amqp://guest:guest@{}/{vhost}", self.node.amqp);
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&uri, properties).await.expect("connects");
        let channel = connection.create_channel().await.expect("opens");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        channel
    }

    /// Until the statistics that the API shows have caught up.
    async fn until_planned(&self, words: &str, args: &[&str]) -> String {
        for _ in 0..100 {
            let (_, text) = self.run(args).await;
            if text.contains(words) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("`{words}` never came up");
    }
}

/// Publishes with a confirm; whether some queue took it.
async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let durable = BasicProperties::default().with_delivery_mode(2).with_message_id(body.into());
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), durable);
    let confirm = sent.await.expect("sent").await.expect("confirmed");
    confirm.is_ack() && confirm.take_message().is_none()
}

async fn declared(channel: &Channel, queue: &str) -> Option<u32> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
    declared.ok().map(|it| it.message_count())
}

async fn get(channel: &Channel, queue: &str) -> Option<Delivery> {
    let options = BasicGetOptions { no_ack: true };
    let got = channel.basic_get(queue.into(), options).await.expect("answered");
    got.map(|it| it.delivery)
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).expect("text")
}

fn integer(delivery: &Delivery, header: &str) -> Option<i64> {
    let value = delivery.properties.headers().as_ref()?.inner().get(header)?;
    let short = value.as_long_int().map(i64::from);
    short.or_else(|| value.as_long_long_int())
}

const ORDERS: &str = "[services.shop]\n[services.billing]\n\
    [exchanges.orders]\ntype = \"topic\"\nunroutable = \"park\"\n\
    messages = [{ key = \"created\", from = \"shop\" }]\n\
    [queues.billing]\nservice = \"billing\"\nlimits = { age = \"1d\" }\n\
    retry = { attempts = 3, first = \"300ms\", multiplier = 2.0 }\n\
    bindings = [{ exchange = \"orders\", key = \"created\" }]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_becomes_what_files_say_and_nothing_is_lost_on_the_way() {
    let Some(world) = World::new("becomes") else { return };
    world.write(ORDERS);
    let (code, text) = world.run(&["plan", "-o", "plan.json"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("queue     billing.wait.600"), "{text}");
    assert!(text.contains("not as the files say"), "{text}");
    assert!(text.contains("1 of 1 flows changed"), "{text}");
    let (code, _) = world.run(&["apply"]).await;
    assert_eq!(code, 5, "nobody agreed");
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!(code, 0, "{text}");
    world.is_done().await;
    let (code, text) = world.run(&["drift"]).await;
    assert_eq!((code, text.as_str()), (0, "no drift\n"));

    let channel = world.channel().await;
    assert!(publish(&channel, "orders", "created", "a").await);
    assert!(publish(&channel, "orders", "nobody-wants-it", "b").await);
    assert_eq!(get(&channel, "orders.parked").await.map(|it| body(&it)).as_deref(), Some("b"));

    // What can change in place does, with the message in it.
    let changed = ORDERS.replace("\"1d\"", "\"2d\"").replace("attempts = 3", "attempts = 4");
    let text = world.apply(&changed).await;
    assert!(text.contains("ttl") && text.contains("billing.wait.1200"), "{text}");
    world.is_done().await;
    assert_eq!(declared(&channel, "billing").await, Some(1));

    // Two at once would be one too many.
    let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let alone = channel.queue_declare("railpost.applying".into(), own, FieldTable::default());
    alone.await.expect("declared");
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("somebody else is applying"), "{text}");
    let gone = channel.queue_delete("railpost.applying".into(), QueueDeleteOptions::default());
    gone.await.expect("deleted");

    // The plan that was made before is stale now.
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("has changed since"), "{text}");

    // Nothing goes that has messages.
    world.write("[services.shop]\n");
    let text = world.until_planned("with 1 messages", &["plan"]).await;
    assert!(text.contains("--delete billing"), "{text}");
    let (code, _) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 5);
    let (code, text) = world.run(&["apply", "--yes", "--delete", "billing"]).await;
    assert_eq!(code, 0, "{text}");
    world.is_done().await;
    let (_, text) = world.run(&["drift"]).await;
    assert_eq!(text, "no drift\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_routed_compared_adopted_and_exported() {
    let Some(world) = World::new("looked/at") else { return };
    world.apply(ORDERS).await;
    let vhost = ["-V", "looked/at"];
    let (code, text) =
        world.run(&["route", "orders", "created", "--live", vhost[0], vhost[1]]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("billing") && text.contains("a.toml"), "{text}");

    let channel = world.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("spy".into(), durable, FieldTable::default()).await.expect("declared");
    let bind = channel.queue_bind(
        "spy".into(),
        "orders".into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.expect("bound");
    let (code, text) = world.run(&["drift"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("? queue `spy`"), "{text}");
    let (code, text) = world.run(&["diff", "live", "topology"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("spy"), "{text}");
    let to = ["--to", "topology/b.toml"];
    let (code, text) = world.run(&["adopt", to[0], to[1], vhost[0], vhost[1]]).await;
    assert_eq!(code, 0, "{text}");
    let adopted = fs::read_to_string(world.folder.path().join(to[1])).expect("written");
    assert!(adopted.contains("[queues.spy]"), "{adopted}");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    let (_, text) = world.run(&["drift"]).await;
    assert_eq!(text, "no drift\n");

    // Definitions of the files are those of the node, and back.
    let (code, text) = world.run(&["export", "--engine", "rabbitmq"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("billing.wait.300"), "{text}");
    let (code, text) = world.run(&["export", "--live"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\"billing.wait.300\"") && text.contains("railpost:queue:billing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_with_a_reason_and_a_code() {
    let Some(world) = World::new("bad") else { return };
    world.write(ORDERS);
    let wrong = format!("http://guest:wrong@{}", world.node.http);
    let (code, text) = world.run_by(&wrong, &["plan"]).await;
    assert_eq!(code, 4, "{text}");
    let (code, text) = world.run_by("http://guest:guest@127.0.0.1:9", &["plan"]).await;
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("cannot reach"), "{text}");

    let (code, _) = world.run(&["plan", "-o", "plan.json"]).await;
    assert_eq!(code, 0);
    let path = world.folder.path().join("plan.json");
    let plan = fs::read_to_string(&path).expect("written");
    let mut plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    plan["broker"] = "another".into();
    fs::write(&path, plan.to_string()).expect("written");
    let (code, text) = world.run(&["apply", "plan.json"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("was made for `another`"), "{text}");

    // An exchange of a type whose plugin is not enabled.
    world.write("[exchanges.e]\ntype = \"x-consistent-hash\"\n");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("rabbitmq_consistent_hash_exchange"), "{text}");

    // Not applied yet.
    world.write(ORDERS);
    let (code, text) = world.run(&["controller"]).await;
    assert!(code == 1 || code == 4, "{code} {text}");
}

/// A controller, until it is killed or this is dropped.
struct Controller(Child);

impl Controller {
    fn start(world: &World) -> Controller {
        let mut command = world.command(&world.api(), &["controller"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        Controller(child)
    }

    /// Asks it to end; whether it does so soon.
    async fn ends(&mut self) -> bool {
        let id = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill is there");
        for _ in 0..200 {
            if self.0.try_wait().expect("it is ours").is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    fn kill(&mut self) {
        self.0.kill().expect("it ran");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What consumers saw of one message.
#[derive(Default)]
struct Seen {
    at: Vec<Instant>,
    is_done: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_messages_wait_come_back_and_are_parked_however_often_controllers_are_killed() {
    const N: usize = 300;
    let Some(world) = World::new("retries") else { return };
    world.apply(ORDERS).await;
    let mut controllers = [Controller::start(&world), Controller::start(&world)];
    let channel = world.channel().await;
    let seen: Arc<Mutex<BTreeMap<String, Seen>>> = Arc::default();
    channel.basic_qos(20, BasicQosOptions::default()).await.expect("set");
    let mut consumer = channel
        .basic_consume(
            "billing".into(),
            "c".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("consumes");
    let notes = Arc::clone(&seen);
    // One in three always fails, one in three fails once.
    let consuming = tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.next().await {
            let body = body(&delivery);
            let number: usize = body.parse().expect("a number");
            let attempt = integer(&delivery, "x-retry-count").unwrap_or_default();
            assert_eq!(delivery.routing_key.as_str(), "created");
            assert_eq!(
                delivery.properties.message_id().as_ref().map(|it| it.as_str()),
                Some(&*body)
            );
            let fails = number.is_multiple_of(3) || (number % 3 == 1 && attempt == 0);
            {
                let mut seen = notes.lock().expect("unpoisoned");
                let it = seen.entry(body).or_default();
                it.at.push(Instant::now());
                it.is_done |= !fails;
            }
            let done = match fails {
                true => delivery.acker.reject(BasicRejectOptions { requeue: false }).await,
                false => delivery.acker.ack(BasicAckOptions::default()).await,
            };
            done.expect("settled");
        }
    });
    let publisher = world.channel().await;
    for number in 0..N {
        assert!(publish(&publisher, "orders", "created", &number.to_string()).await);
        if number % 50 == 25 {
            let one = &mut controllers[(number / 50) % 2];
            one.kill();
            *one = Controller::start(&world);
        }
    }
    let mut parked: BTreeMap<String, Delivery> = BTreeMap::new();
    let started = Instant::now();
    loop {
        while let Some(delivery) = get(&publisher, "billing.parked").await {
            parked.insert(body(&delivery), delivery);
        }
        let done = seen.lock().expect("unpoisoned").values().filter(|it| it.is_done).count();
        if done + parked.len() >= N {
            break;
        }
        let state = format!("{done} done, {} parked", parked.len());
        assert!(started.elapsed() < Duration::from_secs(60), "{state}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    consuming.abort();
    assert_eq!(declared(&publisher, "billing.retry.in").await, Some(0));

    // One of those that were parked goes back as new, and to its queue alone.
    let one = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let again = parked.values().next().expect("one");
    let properties = again.properties.clone();
    let sent =
        publisher.basic_publish("".into(), "billing.parked".into(), one, &again.data, properties);
    assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    let (code, text) = world.run(&["controller", "--redrive", "billing"]).await;
    assert_eq!((code, text.as_str()), (0, "sent 1 messages back to `billing`\n"));
    let back = get(&publisher, "billing").await.expect("it is back");
    assert_eq!((body(&back), integer(&back, "x-retry-count")), (body(again), None));
    let seen = seen.lock().expect("unpoisoned");
    let expected: BTreeSet<String> = (0..N).step_by(3).map(|it| it.to_string()).collect();
    assert_eq!(parked.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (body, it) in seen.iter() {
        assert_eq!(it.is_done, !parked.contains_key(body), "{body}");
        // Never early. A message that was handed on twice may come back in between.
        if it.at.len() == 3 && parked.contains_key(body) {
            let waits = [it.at[1] - it.at[0], it.at[2] - it.at[1]];
            assert!(waits[0] >= Duration::from_millis(290), "{waits:?}");
            assert!(waits[1] >= Duration::from_millis(590), "{waits:?}");
        }
    }
    let thrice = parked.keys().filter(|it| seen[*it].at.len() == 3).count();
    assert!(thrice > expected.len() / 2, "{thrice} were tried three times");
    for delivery in parked.values() {
        let headers = delivery.properties.headers().clone().expect("headers");
        let queue = headers.inner().get("x-railpost-parked-queue").cloned();
        assert_eq!(queue, Some(AMQPValue::LongString("billing".into())));
        let Some(AMQPValue::FieldArray(attempts)) = headers.inner().get("x-railpost-attempts")
        else {
            panic!("{headers:?}")
        };
        assert_eq!(attempts.as_slice().len(), 3);
    }
}

/// Publishes without a pause until it is told to stop; returns what was confirmed.
fn keep_publishing(channel: Channel, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let taken = publish(&channel, "orders", "created", &n.to_string()).await;
            assert!(taken, "message {n} had nowhere to go");
            n += 1;
        }
        n
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_replaced_under_load_with_everything_in_it() {
    const CLASSIC: &str = "arguments = { x-queue-type = \"classic\" }\n";
    let Some(world) = World::new("replaces") else { return };
    let plain =
        ORDERS.replace("retry = { attempts = 3, first = \"300ms\", multiplier = 2.0 }\n", "");
    let old = format!("{plain}{CLASSIC}");
    world.apply(&old).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = keep_publishing(world.channel().await, Arc::clone(&stop));
    let channel = world.channel().await;
    while declared(&channel, "billing").await.unwrap_or_default() < 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.write(
        &plain.replace("service = \"billing\"\n", "service = \"billing\"\nmax_priority = 5\n"),
    );
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("moved back to `billing`"), "{text}");
    world.is_done().await;
    stop.store(true, Ordering::Relaxed);
    let n = publishing.await.expect("all were taken");
    assert_order(&world.channel().await, n, "replaced").await;
}

/// Takes all messages out; each is there, and their first copies come nearly in order.
async fn assert_order(channel: &Channel, n: usize, what: &str) {
    let mut first: Vec<usize> = Vec::new();
    let mut known: BTreeSet<usize> = BTreeSet::new();
    let mut copies = 0;
    while let Some(delivery) = get(channel, "billing").await {
        let number = body(&delivery).parse().expect("a number");
        copies += 1;
        if known.insert(number) {
            first.push(number);
        }
    }
    assert_eq!(known.len(), n, "{what}: some of {n} are lost");
    let swapped = first.windows(2).filter(|it| it[0] > it[1]).count();
    // Only what was published in the two moments while bindings move can be there twice, or
    // overtake.
    assert!(swapped <= n / 20, "{what}: out of order {swapped} times");
    assert!(copies < n + n / 4 + 50, "{what}: {copies} copies of {n}");
}

/// Passes requests on, and is gone after some of those that change something.
fn cut_after(to: SocketAddr, n_changes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let left = Arc::new(AtomicUsize::new(n_changes));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(to) else { return };
            let (mut back, mut out) =
                (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            std::thread::spawn(move || std::io::copy(&mut back, &mut out));
            let left = Arc::clone(&left);
            std::thread::spawn(move || pass_on(client, server, &left));
        }
    });
    address
}

fn pass_on(mut client: TcpStream, mut server: TcpStream, left: &AtomicUsize) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        let changes = [&b"PUT "[..], b"POST ", b"DELETE "];
        let is_change = changes.iter().any(|it| buffer[..n].starts_with(it));
        let take = |it: usize| it.checked_sub(usize::from(is_change));
        let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        if taken.is_err() || server.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_apply_is_ended_by_the_next_one() {
    let Some(world) = World::new("resumes") else { return };
    let plain =
        ORDERS.replace("retry = { attempts = 3, first = \"300ms\", multiplier = 2.0 }\n", "");
    // Each time the queue is another one, and something goes or comes beside it.
    let kinds = [
        plain.replace("limits", "max_priority = 5\nlimits"),
        plain.clone()
            + "[exchanges.more]\ntype = \"fanout\"\n[queues.more]\n\
               bindings = [{ exchange = \"more\" }]\n",
    ];
    world.apply(&kinds[0]).await;
    let channel = world.channel().await;
    let mut n = 0;
    for (at, n_changes) in [1, 3, 6, 9, 11, 13, 15, 17, 19].into_iter().enumerate() {
        for _ in 0..10 {
            assert!(publish(&channel, "orders", "created", &n.to_string()).await);
            n += 1;
        }
        world.write(&kinds[(at + 1) % 2]);
        let by = format!("http://guest:guest@{}", cut_after(world.node.http, n_changes));
        let (code, text) = world.run(&["plan", "-o", "plan.json"]).await;
        assert_eq!(code, 0, "{text}");
        let (code, text) = world.run_by(&by, &["apply", "plan.json"]).await;
        assert!(code == 4 || code == 0, "after {n_changes}: {code} {text}");
        let (code, text) = world.run(&["apply", "plan.json"]).await;
        assert_eq!(code, 0, "after {n_changes}: {text}");
        world.is_done().await;
        let (_, drift) = world.run(&["drift"]).await;
        assert_eq!(drift, "no drift\n", "after {n_changes}: {text}");
    }
    let mut known = BTreeSet::new();
    while let Some(delivery) = get(&channel, "billing").await {
        known.insert(body(&delivery));
    }
    assert_eq!(known.len(), n, "some are lost");
}

/// Lets a controller put one message of `billing` into a queue where it waits.
async fn one_waits(world: &World, channel: &Channel, wait_queue: &str) {
    let _controller = Controller::start(world);
    assert!(publish(channel, "orders", "created", "it").await);
    let got = channel.basic_get("billing".into(), BasicGetOptions::default()).await;
    let got = got.expect("answered").expect("it is there");
    got.acker.reject(BasicRejectOptions { requeue: false }).await.expect("rejected");
    for _ in 0..100 {
        if declared(channel, wait_queue).await == Some(1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to {wait_queue}");
}

async fn comes_back(channel: &Channel) {
    for _ in 0..200 {
        if let Some(delivery) = get(channel, "billing").await {
            assert_eq!(body(&delivery), "it");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("what waited is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_comes_back_when_retries_change_and_when_they_go() {
    let Some(world) = World::new("waits") else { return };
    let retry = "retry = { attempts = 3, first = \"300ms\", multiplier = 2.0 }\n";
    let of = |first: &str| ORDERS.replace("300ms", first);
    world.apply(&of("3s")).await;
    let channel = world.channel().await;
    one_waits(&world, &channel, "billing.wait.3000").await;
    world.write(&of("4s"));
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("`billing.wait.3000` runs empty"), "{text}");
    comes_back(&channel).await;
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    world.is_done().await;

    one_waits(&world, &channel, "billing.wait.4000").await;
    world.write(&ORDERS.replace(retry, ""));
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 3, "{text}");
    comes_back(&channel).await;
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    world.is_done().await;
    let (_, text) = world.run(&["drift"]).await;
    assert_eq!(text, "no drift\n");

    // Its queue does not go before it has come back.
    world.apply(&of("4s")).await;
    one_waits(&world, &channel, "billing.wait.4000").await;
    world.write("[services.shop]\n");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert!(code == 5 || code == 3, "{code} {text}");
    comes_back(&channel).await;
}

/// Publishes into a queue itself, with headers.
async fn put(channel: &Channel, queue: &str, body: &str, headers: FieldTable) {
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties);
    assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
}

/// Until so many messages are ready in a queue.
async fn holds(channel: &Channel, queue: &str, n: u32) {
    let mut found = None;
    for _ in 0..200 {
        found = declared(channel, queue).await;
        if found == Some(n) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{queue} has {found:?} messages, not {n}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_goes_nowhere_is_parked_and_no_other_in_its_place() {
    const N: u32 = 2000;
    let Some(world) = World::new("nowhere") else { return };
    let ends = "multiplier = 2.0, then = \"dead-letter\" }\nparking = true\n\
                dead_letter = { exchange = \"dead\" }";
    let files = ORDERS.replace("multiplier = 2.0 }", ends);
    world
        .apply(&format!(
            "{files}[exchanges.dead]\ntype = \"direct\"\n[queues.d]\n\
             bindings = [{{ exchange = \"dead\", key = \"created\" }}]\n"
        ))
        .await;
    let channel = world.channel().await;
    let mut worn_out = FieldTable::default();
    worn_out.insert("x-railpost-attempt".into(), AMQPValue::LongLongInt(7));
    for number in 0..N {
        let headers = if number % 2 == 0 { worn_out.clone() } else { FieldTable::default() };
        put(&channel, "billing.retry.in", &number.to_string(), headers).await;
    }
    let _controller = Controller::start(&world);
    holds(&channel, "billing", N / 2).await;
    holds(&channel, "billing.parked", N / 2).await;
    holds(&channel, "billing.retry.in", 0).await;
    while let Some(delivery) = get(&channel, "billing.parked").await {
        let number: u32 = body(&delivery).parse().expect("a number");
        assert_eq!(number % 2, 0, "{number} was worth another attempt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_queue_that_is_in_trouble_is_no_trouble_for_others() {
    let Some(world) = World::new("trouble") else { return };
    let files = format!(
        "{ORDERS}[queues.other]\nservice = \"billing\"\n\
         retry = {{ attempts = 3, first = \"300ms\" }}\n\
         bindings = [{{ exchange = \"orders\", key = \"created\" }}]\n"
    );
    world.apply(&files).await;
    let mut controller = Controller::start(&world);
    let channel = world.channel().await;
    let put_one = async |queue: &str| {
        put(&channel, &format!("{queue}.retry.in"), "it", FieldTable::default()).await;
    };
    put_one("billing").await;
    put_one("other").await;
    holds(&channel, "other", 1).await;
    holds(&channel, "billing", 1).await;

    // Its inbox goes, and is there again.
    let gone = channel.queue_delete("billing.retry.in".into(), QueueDeleteOptions::default());
    gone.await.expect("deleted");
    for n in 2..5 {
        put_one("other").await;
        holds(&channel, "other", n).await;
    }
    world.apply(&files).await;
    put_one("billing").await;
    holds(&channel, "billing", 2).await;

    // Nothing takes what failed, and something has too many headers to be published again.
    let wait = [("railpost-wait", "300"), ("x-match", "all")];
    let mut arguments = FieldTable::default();
    for (key, value) in wait {
        arguments.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    let (queue, exchange) = ("billing.wait.300".into(), "billing.wait".into());
    channel.queue_unbind(queue, exchange, "".into(), arguments).await.expect("unbound");
    put_one("billing").await;
    let mut headers = FieldTable::default();
    headers.insert("much".into(), AMQPValue::LongString("x".repeat(130_000).into()));
    put(&channel, "other.retry.in", "much", headers).await;
    for n in 5..8 {
        put_one("other").await;
        holds(&channel, "other", n).await;
    }
    assert!(controller.ends().await, "it does not end");
    holds(&channel, "billing.retry.in", 1).await;
    holds(&channel, "other.retry.in", 1).await;
    world.apply(&files).await;
    let _controller = Controller::start(&world);
    holds(&channel, "billing", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_others_are_left_alone_and_refused_where_they_count_more() {
    let Some(world) = World::new("policed") else { return };
    let files = format!(
        "{ORDERS}[queues.\"a/b %ü\"]\nservice = \"billing\"\n\
        bindings = [{{ exchange = \"orders\", key = \"created\" }}]\n"
    );
    world.apply(&files).await;
    world.is_done().await;
    let put_policy = async |name: &str, pattern: &str, priority: i64| {
        let policy = serde_json::json!({
            "pattern": pattern, "priority": priority, "apply-to": "queues",
            "definition": { "max-length": 1000 },
        });
        let path = format!("/api/policies/policed/{name}");
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n\
             {policy}",
            policy.to_string().len()
        );
        let mut stream = TcpStream::connect(world.node.http).expect("connects");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    };
    put_policy("limits", ".*", 1).await;
    world.is_done().await;
    let (_, text) = world.run(&["plan"]).await;
    // Of RabbitMQ 4 each queue has a policy of ours.
    assert!(text.contains("queue `billing`: the policy `limits` does not give it"), "{text}");
    assert!(text.contains("queue `a/b %ü`: the policy `limits` "), "{text}");

    // One of ours that somebody has changed is put right.
    put_policy("railpost:queue:billing", "^billing$", 0).await;
    let (code, text) = world.run(&["plan", "--check"]).await;
    assert_eq!(code, 1, "{text}");
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    world.is_done().await;

    put_policy("above", "billing", 5000).await;
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("`above` of priority 5000 counts for `billing`"), "{text}");

    // Names that would be too long are refused before anything is done.
    let long = files
        .replace("a/b %ü", &"q".repeat(246))
        .replace("key = \"created\" }]\n", "key = \"created\" }]\nretry = { attempts = 2 }\n");
    world.write(&long.replacen("retry = { attempts = 2 }\n", "", 1));
    let (code, text) = world.run(&["apply", "--yes"]).await;
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("a name has 255 bytes at most"), "{text}");
}
