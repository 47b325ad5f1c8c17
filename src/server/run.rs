//! Starting and stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use tokio::net::TcpListener;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::queue::settings::Durability;
use crate::server::access;
use crate::server::clock::Clock;
use crate::server::config::Compat;
use crate::server::config::ConfigError;
use crate::server::config::Http;
use crate::server::config::ServerConfig;
use crate::server::control;
use crate::server::declare;
use crate::server::declare::DeclaredSettings;
use crate::server::disk::DataFolder;
use crate::server::estate::About;
use crate::server::estate::LiveEstate;
use crate::server::http;
use crate::server::listen;
use crate::server::log::Log;
use crate::server::management;
use crate::server::node::Node;
use crate::server::node::Stage;
use crate::server::operator::Operator;
use crate::server::recovery;
use crate::server::recovery::Recovered;
use crate::server::rollout;
use crate::server::sampler;
use crate::server::storage_thread::StorageThread;
use crate::server::storage_thread::message_id;
use crate::server::timer;
use crate::session::connection::SessionLimits;
use crate::storage::config::Config as StoreConfig;
use crate::storage::error::StorageError;
use crate::storage::report::Recovery;
use crate::storage::store::Store;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::apply::Applied;
use crate::topology::apply::Identity;

#[expect(missing_debug_implementations, reason = "there is nothing to print of a broker")]
/// A broker that runs. Dropping it does not stop it; [`Server::stop`] does.
pub struct Server {
    node: Arc<Node>,
    estate: LiveEstate,
    storage: Option<JoinHandle<()>>,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    pub recovered: Recovered,
    pub applied: Applied,
    /// What the log was like when it was opened.
    pub log: LogReport,
    pub took: Duration,
}

/// What opening the data directory found, in words.
#[derive(Clone, Debug, Default)]
pub struct LogReport {
    pub created: bool,
    /// The unfinished end of the log, which was cut; nothing in it had been confirmed.
    pub cut: Option<String>,
    /// Messages that are damaged and will not be delivered.
    pub damaged: Vec<String>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot use the data directory `{}`: {}", path.display(), explain(cause))]
    Data { path: PathBuf, cause: StorageError },
    #[error("cannot create `{}`: {cause}", path.display())]
    Folder { path: PathBuf, cause: std::io::Error },
    /// What is there contradicts what is declared.
    #[error("the topology cannot be applied: {}", .0.join("; "))]
    Topology(Vec<String>),
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// How long connections may take to say good-bye when the server stops.
const GOODBYE: Duration = Duration::from_secs(5);

impl Server {
    /// Opens the data directory, restores what is in it, declares what `topology` says, and
    /// listens. The topology must be free of errors.
    ///
    /// Must be called within a tokio runtime.
    pub async fn start(config: &ServerConfig, topology: &Topology) -> Result<Server, StartError> {
        let started = Instant::now();
        let users = config.users()?;
        let data = |cause| StartError::Data { path: config.data.clone(), cause };
        let disk = DataFolder::new(&config.data)
            .map_err(|cause| StartError::Folder { path: config.data.clone(), cause })?;
        let mut identity = [0; 16];
        getrandom::fill(&mut identity).expect("the system has randomness");
        let store_config = StoreConfig { identity, ..StoreConfig::default() };
        let (mut store, report) = Store::open(Arc::new(disk), store_config).map_err(data)?;
        let definitions = recovery::definitions(&store);
        let log = Log::new(store.queues().into_iter().map(|it| (it.id, it.next_seq)));
        let next_queue = recovery::next_queue_id(&store, &definitions);
        let (mut directory, default_user) = recovery::directory(&definitions);
        users.into_iter().for_each(|it| directory.put_user(it));
        let node = Arc::new(Node::new(
            Clock::start(),
            directory,
            session_limits(config, topology),
            config.connections_max,
            log,
            next_queue,
        ));
        let settings = DeclaredSettings::new(topology);
        let recovered =
            recovery::restore(&node, &mut store, &definitions, &settings).map_err(data)?;
        let first = default_user.is_none().then_some(config.default_user.vhost.as_str());
        let known = node.vhosts();
        for vhost in first.into_iter().chain(config.vhosts.iter().map(String::as_str)) {
            node.vhost_or_new(vhost);
        }
        let unfinished = rollout::interrupted(&config.data, &topology.sources.texts());
        let identity =
            if config.resumes || unfinished.is_some() { Identity::Replace } else { Identity::Keep };
        let applied =
            declare::apply_all(&node, topology, identity).map_err(StartError::Topology)?;
        let resumed = unfinished.map(|it| rollout::resume(&node, &it));
        *node.topology.lock() = Arc::new(topology.clone());
        access::found(&node, &config.default_user, default_user.as_deref(), &known);
        let control = control::bind(&config.data).map_err(|cause| StartError::Folder {
            path: config.data.join(control::SOCKET),
            cause,
        })?;
        let storage = StorageThread::start(&node, store).map_err(StartError::Thread)?;
        if let Some(batch) = resumed {
            tokio::select! {
                () = node.log.until_durable(batch) => {
                    rollout::finished(&config.data, &topology.sources.texts()).map_err(|cause| {
                        StartError::Folder { path: config.data.join(rollout::APPLIED), cause }
                    })?;
                }
                _ = node.failed() => {}
            }
        }
        let listener = bind(config.listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let metrics = bind_http(config.metrics, Http::USUAL_METRICS, "metrics").await?;
        let metrics_address = metrics.as_ref().and_then(|it| it.local_addr().ok());
        let http = bind_http(config.http, Http::USUAL, "management API").await?;
        let http_address = http.as_ref().and_then(|it| it.local_addr().ok());
        let listeners =
            [("amqp", Some(address)), ("http", http_address), ("http/prometheus", metrics_address)];
        let about = about(config, report.identity, &listeners);
        if let Some(listener) = metrics {
            tokio::spawn(http::run(Arc::clone(&node), about.clone(), listener));
        }
        let estate = LiveEstate {
            node: Arc::clone(&node),
            about,
            jobs: Arc::default(),
            audit: Arc::default(),
        };
        if let Some(listener) = http {
            tokio::spawn(management::run(estate.clone(), listener));
        }
        tokio::spawn(timer::run(Arc::clone(&node)));
        tokio::spawn(sampler::run(Arc::clone(&node)));
        tokio::spawn(control::run(Arc::clone(&node), config.data.clone(), control));
        tokio::spawn(listen::run(Arc::clone(&node), listener));
        Ok(Server {
            estate,
            storage: Some(storage),
            address,
            metrics_address,
            http_address,
            recovered,
            applied,
            log: to_report(&report, &node),
            node,
            took: started.elapsed(),
        })
    }

    /// Makes the broker what these files declare, while clients work, as `railpost apply` does: all
    /// of it, or nothing. Returns how much was created, changed and removed.
    ///
    /// # Errors
    /// Why it stays as it was: mistakes in the files, messages at stake, something protected.
    pub async fn reload(&self, sources: &[Source]) -> Result<(u64, u64, u64), String> {
        let estate = self.estate.clone();
        let body = serde_json::json!({ "sources": sources });
        let done = tokio::task::spawn_blocking(move || estate.roll_out(&body)).await;
        let (document, _) = done.map_err(|it| it.to_string())?.map_err(|it| it.reason())?;
        let number = |key: &str| document[key].as_u64().unwrap_or_default();
        Ok((number("created"), number("changed"), number("removed")))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Where the management API is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Whoever operates the broker.
    pub fn operator(&self) -> Operator {
        Operator::new(Arc::clone(&self.node))
    }

    /// Comes when the disk failed, with the reason; the process must end then.
    pub async fn failed(&self) -> String {
        self.node.failed().await
    }

    /// Tells every client, waits a little for them, and brings everything to disk.
    pub async fn stop(mut self) {
        self.node.set_stage(Stage::Stopping);
        let end = tokio::time::Instant::now() + GOODBYE;
        while self.node.registry.len() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.node.log.stop();
        if let Some(storage) = self.storage.take() {
            // A thread that panicked has said so; there is nothing more to wait for.
            let _ = tokio::task::spawn_blocking(move || storage.join()).await;
        }
        self.node.set_stage(Stage::Stopped);
    }
}

/// The management API and the metrics are worth a broken start only when somebody asked for them.
async fn bind_http(
    http: Http,
    usual: SocketAddr,
    what: &str,
) -> Result<Option<TcpListener>, StartError> {
    match http {
        Http::Off => Ok(None),
        Http::At(address) => bind(address).await.map(Some),
        Http::Usual => {
            let bound = TcpListener::bind(usual).await;
            if let Err(error) = &bound {
                tracing::warn!(address = %usual, %error, "no {what}");
            }
            Ok(bound.ok())
        }
    }
}

fn about(
    config: &ServerConfig,
    identity: [u8; 16],
    listeners: &[(&'static str, Option<SocketAddr>)],
) -> About {
    let name = rustix::system::uname();
    let host = name.nodename().to_string_lossy();
    let open = listeners.iter().filter_map(|(protocol, at)| Some((*protocol, (*at)?)));
    let listeners = open.map(|(protocol, at)| (protocol, at.ip().to_string(), at.port()));
    let id: String = identity[..4].iter().map(|it| format!("{it:02x}")).collect();
    About {
        broker: format!("railpost {id}"),
        data: config.data.display().to_string(),
        host: host.split('.').next().unwrap_or_default().to_owned(),
        listeners: listeners.collect(),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })
}

/// Exact places, and what can be done about them.
fn explain(error: &StorageError) -> String {
    let StorageError::Losses { losses } = error else { return error.to_string() };
    let places: Vec<String> = losses.iter().map(|it| format!("\n  {it}")).collect();
    format!(
        "messages that were confirmed cannot be read, and the broker does not go on without them \
         on its own: {error}{}\nlook with `railpost store verify`; bring back a backup, or accept \
         the loss with `railpost store repair`",
        places.concat()
    )
}

fn place(node: &Node, queue: QueueId, seq: Seq) -> String {
    format!("number {seq} of `{}`", node.queue_name(queue))
}

fn to_report(recovery: &Recovery, node: &Node) -> LogReport {
    let cut = recovery.torn.map(|it| {
        format!(
            "the log ended unfinished at byte {} of segment {} and was cut there; nothing behind \
             had been confirmed",
            it.offset, it.segment
        )
    });
    let damaged = recovery.damaged.iter().map(|it| {
        let places: Vec<String> =
            it.places.iter().map(|(queue, seq)| place(node, *queue, *seq)).collect();
        let kept = it.kept.map(|it| it.to_string()).unwrap_or_default();
        let message_id = message_id(&it.head);
        let places = places.join(", ");
        format!("message `{message_id}` is damaged and not delivered: {places}; kept in {kept}")
    });
    LogReport { created: recovery.created, cut, damaged: damaged.collect() }
}

fn session_limits(config: &ServerConfig, topology: &Topology) -> SessionLimits {
    SessionLimits {
        server_properties: server_properties(topology, &config.compat),
        channel_max: limit::CHANNEL_MAX,
        frame_max: limit::FRAME_MAX,
        heartbeat: config.heartbeat_secs,
        body_bytes_max: config.body_bytes_max.min(limit::BODY_BYTES_HARD),
    }
}

/// What clients learn of the broker before they log in.
///
/// COMPAT: the version begins with that of the RabbitMQ whose behaviour is followed, because
/// client libraries branch on it; what follows the plus sign is ours.
fn server_properties(topology: &Topology, compat: &Compat) -> Table {
    const CAPABILITIES: [&str; 9] = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    let capabilities = CAPABILITIES.map(|it| (it.to_owned(), Value::Bool(true)));
    let version = concat!("4.3.6+railpost.", env!("CARGO_PKG_VERSION"));
    Table(vec![
        ("capabilities".to_owned(), Value::Table(Table(capabilities.to_vec()))),
        ("cluster_name".to_owned(), Value::text("railpost")),
        ("copyright".to_owned(), Value::text("the railpost authors")),
        ("durability".to_owned(), Value::text(&durability(topology))),
        ("information".to_owned(), Value::text("Licensed under MIT or Apache-2.0")),
        ("platform".to_owned(), Value::text("Rust")),
        ("product".to_owned(), Value::text(compat.product.as_deref().unwrap_or("railpost"))),
        ("version".to_owned(), Value::text(compat.version.as_deref().unwrap_or(version))),
    ])
}

/// What a confirm means, for the server properties: `sync`, and the queues for which it is less.
fn durability(topology: &Topology) -> String {
    let vhosts = topology.vhosts.values();
    let queues = vhosts.flat_map(|vhost| vhost.queues.values().map(move |it| (vhost, it)));
    let weak = queues.filter(|(_, queue)| queue.durability == Durability::Write);
    let weak: Vec<String> = weak.map(|(vhost, it)| format!("{}:{}", vhost.name, it.name)).collect();
    match weak.len() {
        0 => "sync".to_owned(),
        1..=20 => format!("sync; write for {}", weak.join(", ")),
        n => format!("sync; write for {n} queues"),
    }
}
