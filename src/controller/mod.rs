//! Floor 4: what RabbitMQ does not do for a topology by itself, done by a client beside it: failed
//! messages wait, come back and are parked in the end, and queues are emptied into others.
//!
//! A message is acked where it was only once RabbitMQ has confirmed it where it goes, so that one
//! may be there twice when a controller dies, and none is lost. Controllers know nothing that is
//! not in the message: any number of them work side by side.

#![allow(clippy::disallowed_methods, reason = "this floor talks to brokers, at times of the clock")]

pub mod moving;
mod outbox;
mod property;
mod retry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::topology::rabbitmq::detour::Detour;

/// The first wait before a lost connection is made anew, and the longest.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a broker may take for a connection, and for its end.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
const CLOSED_WITHIN: Duration = Duration::from_secs(5);
/// How long the work on a queue may take to end.
const OVERDUE: Duration = Duration::from_secs(12);

/// How a controller works.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// `amqp://user:password@host:port`; its vhost does not count.
    pub url: String,
    /// Messages of one queue that may be on their way at once.
    pub window: u16,
    /// The user has the tag `impersonator`: messages keep the user who published them.
    pub impersonates: bool,
}

/// Why a controller does not begin.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("`{0}` is no address of a broker: {1}")]
    Address(String, String),
    #[error("{0}")]
    Unreachable(#[from] lapin::Error),
    #[error("the broker does not answer")]
    Silent,
    #[error("vhost `{vhost}` has no queue `{queue}`; run `railpost apply --engine rabbitmq` first")]
    NotApplied { vhost: String, queue: String },
}

/// What a controller has done, by queue.
pub type Counts = BTreeMap<String, Count>;

/// What became of the failed messages of one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    pub retried: u64,
    pub parked: u64,
    pub dead_lettered: u64,
    pub dropped: u64,
}

/// Works until `stop` says so; messages on their way then are handed on first.
///
/// # Errors
/// When it cannot begin. A connection that is lost later is made anew.
pub async fn run(
    detours: Vec<Detour>,
    config: ControllerConfig,
    stop: watch::Receiver<bool>,
) -> Result<Counts, ControllerError> {
    let config = Arc::new(config);
    let mut vhosts: BTreeMap<String, Vec<Arc<Detour>>> = BTreeMap::new();
    for it in detours {
        vhosts.entry(it.vhost.to_string()).or_default().push(Arc::new(it));
    }
    for (vhost, detours) in &vhosts {
        let connection = connect(&config.url, vhost).await?;
        for detour in detours {
            exists(&connection, vhost, &detour.inbox()).await?;
        }
        close(&connection).await;
    }
    let mut work = JoinSet::new();
    for (vhost, detours) in vhosts {
        work.spawn(serve_vhost(vhost, detours, Arc::clone(&config), stop.clone()));
    }
    let mut counts = Counts::new();
    while let Some(done) = work.join_next().await {
        counts.extend(done.unwrap_or_default());
    }
    Ok(counts)
}

/// One vhost, through as many connections as it takes.
async fn serve_vhost(
    vhost: String,
    detours: Vec<Arc<Detour>>,
    config: Arc<ControllerConfig>,
    mut stop: watch::Receiver<bool>,
) -> Counts {
    let tallies = retry::Tallies::new(&detours);
    let mut pause = RECONNECT.0;
    while !*stop.borrow() {
        let connected = tokio::select! {
            connected = connect(&config.url, &vhost) => connected,
            () = stopped(&mut stop) => break,
        };
        match connected {
            Ok(connection) => {
                tracing::info!(vhost, queues = detours.len(), "connected");
                pause = RECONNECT.0;
                serve(Arc::new(connection), &detours, &tallies, &config, &stop).await;
                if !*stop.borrow() {
                    tracing::warn!(vhost, "the connection is lost");
                }
            }
            Err(error) => tracing::warn!(vhost, %error, "cannot connect"),
        }
        let _ = tokio::time::timeout(pause, stopped(&mut stop)).await;
        pause = (pause * 2).min(RECONNECT.1);
    }
    tallies.counts()
}

/// All queues of a vhost, until the connection is lost or `stop` says so.
async fn serve(
    connection: Arc<Connection>,
    detours: &[Arc<Detour>],
    tallies: &retry::Tallies,
    config: &Arc<ControllerConfig>,
    stop: &watch::Receiver<bool>,
) {
    let mut work = JoinSet::new();
    for detour in detours {
        let (connection, detour) = (Arc::clone(&connection), Arc::clone(detour));
        let (tally, config) = (tallies.of(&detour), Arc::clone(config));
        work.spawn(serve_queue(connection, detour, tally, config, stop.clone()));
    }
    while let Some(done) = work.join_next().await {
        if let Err(error) = done {
            tracing::error!(%error, "a task has failed");
        }
    }
    close(&connection).await;
}

/// One queue, through as many channels as it takes: what is wrong with it is not for others to
/// suffer from.
async fn serve_queue(
    connection: Arc<Connection>,
    detour: Arc<Detour>,
    tally: Arc<retry::Tally>,
    config: Arc<ControllerConfig>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = RECONNECT.0;
    while connection.status().connected() && !*stop.borrow() {
        let started = Instant::now();
        let served = async {
            let channel = connection.create_channel().await?;
            let (detour, tally, config) =
                (Arc::clone(&detour), Arc::clone(&tally), Arc::clone(&config));
            let desk =
                retry::Desk::new(&connection, channel.clone(), detour, tally, config, stop.clone());
            let served = desk.serve().await;
            let _ = tokio::time::timeout(CLOSED_WITHIN, channel.close(200, "done".into())).await;
            served
        };
        let served: Result<(), lapin::Error> = tokio::select! {
            served = served => served,
            () = overdue(stop.clone()) => return,
        };
        if let Err(error) = served {
            tracing::warn!(queue = %detour.queue, %error, "its channel is lost");
        }
        if started.elapsed() > RECONNECT.1 {
            pause = RECONNECT.0;
        }
        let _ = tokio::time::timeout(pause, stopped(&mut stop)).await;
        pause = (pause * 2).min(RECONNECT.1);
    }
}

/// Waits until `stop` says so, or nobody is left who could.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|it| *it).await;
}

/// Waits until `stop` has been said for so long that the broker will not answer any more: it blocks
/// connections that publish while it has no memory.
async fn overdue(mut stop: watch::Receiver<bool>) {
    stopped(&mut stop).await;
    tokio::time::sleep(OVERDUE).await;
}

/// Ends a connection; one that is blocked does not answer.
async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSED_WITHIN, connection.close(200, "done".into())).await;
}

/// Connects to one vhost.
///
/// # Errors
/// When the address is none, or the broker cannot be reached, is silent or refuses the login.
pub async fn connect(url: &str, vhost: &str) -> Result<Connection, ControllerError> {
    let mut uri: AMQPUri =
        url.parse().map_err(|error: String| ControllerError::Address(masked(url), error))?;
    vhost.clone_into(&mut uri.vhost);
    let properties = ConnectionProperties::default().with_connection_name("railpost".into());
    let connecting = Connection::connect_uri(uri, properties);
    let connected = tokio::time::timeout(CONNECTED_WITHIN, connecting).await;
    Ok(connected.map_err(|_| ControllerError::Silent)??)
}

/// An address without its password.
fn masked(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}***{}", &url[..start + 3], &url[end..])
        }
        _ => url.to_owned(),
    }
}

async fn exists(connection: &Connection, vhost: &str, queue: &str) -> Result<(), ControllerError> {
    let channel = connection.create_channel().await?;
    match ready(&channel, queue).await {
        Err(error) if is_not_found(&error) => {
            let (vhost, queue) = (vhost.to_owned(), queue.to_owned());
            Err(ControllerError::NotApplied { vhost, queue })
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(channel.close(200, "looked".into()).await?),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    has_id(error, 404)
}

fn has_id(error: &lapin::Error, id: u16) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(it) if it.get_id() == id)
}

/// How many messages are ready in a queue, and how many consumers it has.
async fn ready(channel: &Channel, queue: &str) -> Result<(u32, u32), lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
    Ok((declared.message_count(), declared.consumer_count()))
}
