//! What all examples share: connecting, instances of services that consume, and a tally of who
//! handled what.
#![allow(dead_code, unreachable_pub, reason = "no example needs everything")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "examples talk to people")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use futures_lite::StreamExt as _;
use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::ExchangeKind;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicNackOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::ExchangeDeclareOptions;
use lapin::options::ExchangeDeleteOptions;
use lapin::options::QueueBindOptions;
use lapin::options::QueueDeclareOptions;
use lapin::options::QueueDeleteOptions;
use lapin::options::QueuePurgeOptions;
use lapin::types::AMQPValue;
use lapin::types::FieldTable;
use tokio::sync::Notify;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The vhost that topology/ declares everything in.
pub const DECLARED: &str = "/";
/// A vhost without any rules, where every mistake can be made.
pub const PLAYGROUND: &str = "playground";

/// Where the broker is: `AMQP_URL`, or this machine. The vhost is chosen by the example.
pub async fn connect(vhost: &str, name: &str) -> Result<Connection, Error> {
    let base = std::env::var("AMQP_URL").unwrap_or("amqp://guest:guest@127.0.0.1:5672".to_owned());
    let base = base.trim_end_matches('/').trim_end_matches("/%2f").to_owned();
    let url = format!("{base}/{}", vhost.replace('/', "%2f"));
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(&url, properties).await.map_err(|error| {
        format!("cannot connect to {url}: {error}\n(start the broker: cargo run --release -- serve topology/)").into()
    })
}

/// A channel whose publishes are confirmed.
pub async fn publisher(vhost: &str) -> Result<(Connection, Channel), Error> {
    let connection = connect(vhost, "accounts@example").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Publishes `n` numbered messages and waits for every confirm.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    n: usize,
    prefix: &str,
) -> Result<(), Error> {
    for at in 1..=n {
        publish_one(channel, exchange, key, &format!("{prefix}{at}"), FieldTable::default())
            .await?;
    }
    Ok(())
}

pub async fn publish_one(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &str,
    headers: FieldTable,
) -> Result<(), Error> {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(body.into())
        .with_headers(headers);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
    let confirm = confirm.await?.await?;
    if confirm.is_nack() {
        return Err(format!("the broker refused {body}").into());
    }
    Ok(())
}

pub fn header(name: &str, value: &str) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(name.into(), AMQPValue::LongString(value.into()));
    table
}

/// Who handled which message how often, and when.
#[derive(Clone, Default)]
pub struct Tally {
    state: Arc<Mutex<Vec<Handling>>>,
    changed: Arc<Notify>,
}

#[derive(Clone, Debug)]
pub struct Handling {
    pub instance: String,
    pub message: String,
    pub at: Instant,
}

impl Tally {
    pub fn note(&self, instance: &str, message: &str) {
        let handling = Handling {
            instance: instance.to_owned(),
            message: message.to_owned(),
            at: Instant::now(),
        };
        self.state.lock().expect("nobody panics").push(handling);
        self.changed.notify_waiters();
    }

    pub fn all(&self) -> Vec<Handling> {
        self.state.lock().expect("nobody panics").clone()
    }

    /// How many handlings there were, by the part of the instance's name before `-`.
    pub fn by_service(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for handling in self.all() {
            let service = handling.instance.split('-').next().unwrap_or_default().to_owned();
            *counts.entry(service).or_default() += 1;
        }
        counts
    }

    pub fn by_instance(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for handling in self.all() {
            *counts.entry(handling.instance).or_default() += 1;
        }
        counts
    }

    /// How often each message was handled by one service, as `times → how many messages`.
    pub fn repeats(&self, service: &str) -> BTreeMap<usize, usize> {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for handling in self.all().iter().filter(|it| it.instance.starts_with(service)) {
            *times.entry(handling.message.clone()).or_default() += 1;
        }
        let mut repeats = BTreeMap::new();
        times.into_values().for_each(|n| *repeats.entry(n).or_default() += 1);
        repeats
    }

    /// Waits until nothing more has come for a while, or until `enough` handlings have come and
    /// then nothing for a shorter while.
    pub async fn settle(&self, enough: usize) {
        loop {
            let quiet = if self.all().len() >= enough { 300 } else { 1500 };
            let changed = self.changed.notified();
            if tokio::time::timeout(Duration::from_millis(quiet), changed).await.is_err() {
                return;
            }
        }
    }

    pub fn print(&self) {
        for (instance, n) in self.by_instance() {
            println!("  {instance:<14} handled {n}");
        }
    }
}

/// What an instance does with a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ack,
    /// `basic.nack` with requeue: what most libraries do when a handler throws.
    Requeue,
    /// The process dies: its connection goes without a word.
    Die,
}

/// Starts an instance of a service: consumes `queue`, notes each delivery, and does with it what
/// `handle` says.
pub async fn consume(
    connection: &Connection,
    queue: &str,
    instance: &str,
    tally: &Tally,
    prefetch: u16,
    handle: impl Fn(&str) -> Verdict + Send + Sync + 'static,
) -> Result<(), Error> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            queue.into(),
            instance.into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let (tally, instance) = (tally.clone(), instance.to_owned());
    tokio::spawn(async move {
        let _keeps_the_channel_open = channel;
        while let Some(Ok(delivery)) = consumer.next().await {
            let Delivery { ref data, .. } = delivery;
            let message = String::from_utf8_lossy(data).into_owned();
            tally.note(&instance, &message);
            let settled = match handle(&message) {
                Verdict::Ack => delivery.ack(BasicAckOptions::default()).await,
                Verdict::Requeue => {
                    delivery.nack(BasicNackOptions { requeue: true, ..Default::default() }).await
                }
                Verdict::Die => return,
            };
            if settled.is_err() {
                return;
            }
        }
    });
    Ok(())
}

pub async fn fanout(channel: &Channel, exchange: &str) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let arguments = FieldTable::default();
    channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, options, arguments).await?;
    Ok(())
}

/// A durable queue bound to an exchange, empty.
pub async fn bound_queue(channel: &Channel, queue: &str, exchange: &str) -> Result<(), Error> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    if !exchange.is_empty() {
        bind(channel, queue, exchange).await?;
    }
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
    Ok(())
}

pub async fn bind(channel: &Channel, queue: &str, exchange: &str) -> Result<(), lapin::Error> {
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), exchange.into(), "".into(), options, FieldTable::default())
        .await
}

/// A queue of this connection's own, named by the broker, as many frameworks make one by default.
pub async fn anonymous_queue(channel: &Channel) -> Result<String, Error> {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    Ok(queue.name().to_string())
}

pub async fn clean_up(channel: &Channel, queues: &[&str], exchanges: &[&str]) -> Result<(), Error> {
    for queue in queues {
        channel.queue_delete((*queue).into(), QueueDeleteOptions::default()).await?;
    }
    for exchange in exchanges {
        channel.exchange_delete((*exchange).into(), ExchangeDeleteOptions::default()).await?;
    }
    Ok(())
}

pub async fn purge(channel: &Channel, queue: &str) -> Result<(), Error> {
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
    Ok(())
}

/// The last line of an example: whether what was to be shown has been seen.
pub fn verdict(as_expected: bool, text: &str) -> ExitCode {
    println!("\nVERDICT {} {text}", if as_expected { "ok:" } else { "NOT AS EXPECTED:" });
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
