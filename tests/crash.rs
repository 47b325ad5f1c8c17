//! The real binary, killed with -9 again and again under load: nothing that was confirmed may be
//! missing, and nothing may appear that was never published.
//!
//! `RAILPOST_CRASH_SECONDS` sets how long it goes on.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "kills a process, has a clock, and says what it counted"
)]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use futures_lite::StreamExt as _;
use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicAckOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicNackOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueBindOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::AMQPValue;
use lapin::types::FieldTable;

const PUBLISHERS: u64 = 2;
const QUEUES: [&str; 2] = ["crash.a", "crash.b"];
/// Where the failed messages of each queue end: one queue is declared by a topology file and parks
/// them, the other by a client and dead-letters them.
const ENDS: [&str; 2] = ["crash.a.parked", "crash.dead"];

/// A stream that gets every message as well, and keeps it.
const STREAM: &str = "crash.stream";

/// Without a delivery for so long a consumer looks whether anything is missing, and so often, if
/// something is, before it gives up. Far beyond any retry's wait.
const QUIET: Duration = Duration::from_millis(500);
const QUIET_MAX: u32 = 60;

const TOPOLOGY: &str = r#"
[exchanges.crash]
type = "fanout"

[queues."crash.a"]
bindings = [{ exchange = "crash" }]
retry = { attempts = 4, first = "20ms", max = "100ms", delivery_limit = 0 }
"#;

/// A broker process.
struct Broker {
    process: Child,
    port: u16,
}

impl Broker {
    fn start(data: &Path) -> Broker {
        let mut process = Command::new(env!("CARGO_BIN_EXE_railpost"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg(data.with_extension("toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker starts");
        let mut port = None;
        let output = BufReader::new(process.stdout.take().expect("piped"));
        for line in output.lines() {
            let line = line.expect("text");
            if let Some(address) = line.strip_prefix("listening amqp 127.0.0.1:") {
                port = address.split(' ').next().and_then(|it| it.parse().ok());
            }
            if line.starts_with("Server startup complete") {
                break;
            }
        }
        Broker { process, port: port.expect("it said where it listens") }
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    fn kill(mut self) {
        self.process.kill().expect("it was alive");
        self.process.wait().expect("it ended");
    }

    async fn connect(&self) -> Result<Connection, lapin::Error> {
        connect(self.port).await
    }
}

async fn connect(port: u16) -> Result<Connection, lapin::Error> {
    let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    Connection::connect(&url, ConnectionProperties::default()).await
}

/// What the clients know: all that was ever sent, and what the broker confirmed.
#[derive(Default)]
struct Ledger {
    sent: BTreeSet<String>,
    confirmed: BTreeSet<String>,
    /// How often each message came, per queue.
    seen: BTreeMap<(&'static str, String), usize>,
    /// What ended, by the queue it ended in.
    ended: BTreeSet<(&'static str, String)>,
}

type Shared = Arc<Mutex<Ledger>>;

async fn declare(channel: &Channel) -> Result<(), lapin::Error> {
    let [_, queue] = QUEUES;
    let [_, dead] = ENDS;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(dead.into(), durable, FieldTable::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-delayed-retry-min".into(), AMQPValue::LongInt(20));
    arguments.insert("x-delayed-retry-max".into(), AMQPValue::LongInt(100));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(3));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.into()));
    channel.queue_declare(queue.into(), durable, arguments).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    channel.queue_declare(STREAM.into(), durable, arguments).await?;
    for queue in [queue, STREAM] {
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.into(), "crash".into(), "".into(), bind, none).await?;
    }
    Ok(())
}

/// Reads the whole stream: every confirmed message once, at offsets without a gap.
async fn read_stream(port: u16, ledger: &Shared) -> Result<(), lapin::Error> {
    let connection = connect(port).await?;
    let channel = connection.create_channel().await?;
    let count = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(STREAM.into(), count, FieldTable::default()).await?;
    channel.basic_qos(1000, BasicQosOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(STREAM.into(), "s".into(), options, arguments).await?;
    let mut seen = BTreeSet::new();
    for offset in 0..i64::from(declared.message_count()) {
        let delivery = consumer.next().await.expect("one more")?;
        let headers = delivery.properties.headers().as_ref().expect("has headers");
        let told = headers.inner().get("x-stream-offset").and_then(AMQPValue::as_long_long_int);
        assert_eq!(told, Some(offset));
        let id = String::from_utf8_lossy(&delivery.data).into_owned();
        assert!(seen.insert(id.clone()), "{id} is twice in the stream");
        delivery.ack(BasicAckOptions::default()).await?;
    }
    let ledger = ledger.lock().expect("fine");
    let lost: Vec<&String> = ledger.confirmed.difference(&seen).take(20).collect();
    assert!(lost.is_empty(), "lost of the stream: {lost:?}");
    let phantom: Vec<&String> = seen.difference(&ledger.sent).take(20).collect();
    assert!(phantom.is_empty(), "phantom in the stream: {phantom:?}");
    println!("{} in the stream", seen.len());
    Ok(())
}

/// Publishes until the connection breaks; every message goes to both queues.
async fn publish(
    port: u16,
    round: u64,
    publisher: u64,
    ledger: Shared,
) -> Result<(), lapin::Error> {
    let connection = connect(port).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut window = std::collections::VecDeque::new();
    for n in 0u64.. {
        let poison = n.is_multiple_of(50);
        let id = format!("{}{round}-{publisher}-{n}", if poison { "poison-" } else { "" });
        ledger.lock().expect("fine").sent.insert(id.clone());
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let body = id.as_bytes();
        let sent = channel.basic_publish("crash".into(), "".into(), options, body, properties);
        let confirm = sent.await?;
        window.push_back((id, confirm));
        if window.len() > 50
            && let Some((id, confirm)) = window.pop_front()
        {
            assert!(confirm.await?.is_ack());
            ledger.lock().expect("fine").confirmed.insert(id);
        }
    }
    Ok(())
}

/// Consumes until the connection breaks; if `to_the_end`, until everything has come that must, or
/// nothing comes any more.
async fn consume(
    port: u16,
    queue: &'static str,
    ledger: Shared,
    to_the_end: bool,
) -> Result<(), lapin::Error> {
    let connection = connect(port).await?;
    let channel = connection.create_channel().await?;
    let prefetch = if to_the_end { 500 } else { 20 };
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(queue.into(), "c".into(), options, FieldTable::default()).await?;
    let mut quiet = 0;
    while quiet < QUIET_MAX {
        let Ok(delivery) = tokio::time::timeout(QUIET, consumer.next()).await else {
            if to_the_end && missing(&ledger.lock().expect("fine"), queue).is_empty() {
                return Ok(());
            }
            quiet += u32::from(to_the_end);
            continue;
        };
        quiet = 0;
        let Some(delivery) = delivery else { return Ok(()) };
        let delivery = delivery?;
        let id = String::from_utf8_lossy(&delivery.data).into_owned();
        if ENDS.contains(&queue) {
            ledger.lock().expect("fine").ended.insert((queue, id));
            delivery.ack(BasicAckOptions::default()).await?;
        } else if id.starts_with("poison-") {
            delivery.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
        } else {
            *ledger.lock().expect("fine").seen.entry((queue, id)).or_default() += 1;
            delivery.ack(BasicAckOptions::default()).await?;
        }
    }
    Ok(())
}

fn seconds() -> u64 {
    std::env::var("RAILPOST_CRASH_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(6)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::write(data.with_extension("toml"), TOPOLOGY).expect("written");
    let ledger = Shared::default();
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        let broker = Broker::start(&data);
        let connection = broker.connect().await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        declare(&channel).await.expect("declared");
        for publisher in 0..PUBLISHERS {
            tokio::spawn(publish(broker.port, round, publisher, Arc::clone(&ledger)));
        }
        for queue in QUEUES {
            tokio::spawn(consume(broker.port, queue, Arc::clone(&ledger), false));
        }
        // Between a fifth of a second and two, different each time.
        let wait = 200 + (round * 7919) % 1800;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        broker.kill();
    }
    // A last start: everything that is left is taken out.
    let broker = Broker::start(&data);
    let drains = QUEUES
        .into_iter()
        .chain(ENDS)
        .map(|queue| tokio::spawn(consume(broker.port, queue, Arc::clone(&ledger), true)));
    for drain in drains.collect::<Vec<_>>() {
        drain.await.expect("does not panic").expect("consumes");
    }
    read_stream(broker.port, &ledger).await.expect("reads");
    broker.kill();
    report(&ledger.lock().expect("fine"), round);
}

/// What was confirmed, must come out of `queue`, and has not yet.
fn missing(ledger: &Ledger, queue: &'static str) -> Vec<String> {
    let confirmed = ledger.confirmed.iter();
    let is_missing = |id: &&String| {
        let key = (queue, (*id).clone());
        match (id.starts_with("poison-"), ENDS.contains(&queue)) {
            (true, true) => !ledger.ended.contains(&key),
            (false, false) => !ledger.seen.contains_key(&key),
            (true, false) | (false, true) => false,
        }
    };
    confirmed.filter(is_missing).cloned().collect()
}

fn report(ledger: &Ledger, rounds: u64) {
    let all = QUEUES.into_iter().chain(ENDS);
    let lost: Vec<String> = all
        .flat_map(|queue| {
            let missing = missing(ledger, queue).into_iter();
            missing.map(move |id| format!("{id} never came out of {queue}"))
        })
        .collect();
    let phantom: Vec<&String> = ledger
        .seen
        .keys()
        .map(|(_, id)| id)
        .chain(ledger.ended.iter().map(|(_, id)| id))
        .filter(|id| !ledger.sent.contains(*id))
        .collect();
    let duplicates: usize = ledger.seen.values().map(|n| n - 1).sum();
    println!(
        "{rounds} kills, {} sent, {} confirmed, {} parked or dead, {} lost, {} phantom, {duplicates} \
         delivered again",
        ledger.sent.len(),
        ledger.confirmed.len(),
        ledger.ended.len(),
        lost.len(),
        phantom.len()
    );
    assert!(ledger.confirmed.len() > 100, "too little was confirmed to say anything");
    assert!(lost.is_empty(), "lost: {:?}", &lost[..lost.len().min(20)]);
    assert!(phantom.is_empty(), "phantom: {:?}", &phantom[..phantom.len().min(20)]);
}
