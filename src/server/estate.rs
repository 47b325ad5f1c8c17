//! The running broker as the management API sees it.

use std::sync::Arc;
use std::time::Duration;

use crate::access::directory::Directory;
use crate::access::password::PasswordHash;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::user::User;
use crate::admin::estate::ChannelView;
use crate::admin::estate::ConnectionView;
use crate::admin::estate::Estate;
use crate::admin::estate::Put;
use crate::admin::estate::Refused;
use crate::admin::estate::Text;
use crate::admin::estate::Vitals;
use crate::admin::rates::ChannelCount;
use crate::admin::rates::History;
use crate::admin::rates::Moment;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::message::Message;
use crate::amqp::name::VhostName;
use crate::broker::consume::ConsumeError;
use crate::broker::declare::DeclareError;
use crate::broker::publish::PublishError;
use crate::broker::vhost::Profile;
use crate::server::access;
use crate::server::audit::Audit;
use crate::server::jobs::Jobs;
use crate::server::link::Link;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::session::desk::Eviction;
use crate::session::refusal;
use crate::session::refusal::Refusal;

/// COMPAT: the version of the RabbitMQ whose management API is followed.
pub(in crate::server) const RABBITMQ_VERSION: &str = "4.3.6";

/// Longest that a person who looks into a queue waits for the disk at a time.
const LOAD_PAUSE: Duration = Duration::from_millis(2);

/// A [`Node`], with what only its start knew.
#[derive(Clone)]
pub(in crate::server) struct LiveEstate {
    pub(in crate::server) node: Arc<Node>,
    pub(in crate::server) about: About,
    pub(in crate::server) jobs: Arc<Jobs>,
    pub(in crate::server) audit: Arc<Audit>,
}

/// What does not change while the broker runs.
#[derive(Clone, Debug)]
pub(in crate::server) struct About {
    /// Tells this data directory from any other one.
    pub(in crate::server) broker: String,
    pub(in crate::server) data: String,
    pub(in crate::server) host: String,
    pub(in crate::server) listeners: Vec<(&'static str, String, u16)>,
}

impl About {
    /// COMPAT: what tools call the broker: a name and its host.
    pub(in crate::server) fn node(&self) -> String {
        format!("railpost@{}", self.host)
    }
}

impl Estate for LiveEstate {
    type Turn<'a> = Turn<'a>;

    fn directory<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        self.node.access.read(look)
    }

    fn vhosts(&self) -> Vec<VhostName> {
        self.node.vhosts().iter().map(|it| it.name.clone()).collect()
    }

    fn in_vhost<R>(&self, vhost: &str, work: impl FnOnce(&mut Turn<'_>) -> R) -> Option<R> {
        let live = self.node.vhost(vhost)?;
        let mut turn = Turn::new(&self.node, &live, None);
        let result = work(&mut turn);
        turn.finish();
        Some(result)
    }

    fn hash(&self, password: &str) -> PasswordHash {
        access::new_hash(password)
    }

    fn put_user(&self, user: User) -> Result<Put, Refused> {
        self.node.put_user(user)
    }

    fn delete_user(&self, name: &str) -> Result<BatchId, Refused> {
        self.node.delete_user(name)
    }

    fn put_permission(
        &self,
        user: &str,
        vhost: &str,
        permission: Permission,
    ) -> Result<Put, Refused> {
        self.node.put_permission(user, vhost, permission)
    }

    fn delete_permission(&self, user: &str, vhost: &str) -> Option<BatchId> {
        self.node.delete_permission(user, vhost)
    }

    fn put_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<Put, Refused> {
        self.node.put_topic_permission(user, vhost, exchange, permission)
    }

    fn delete_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Option<BatchId> {
        self.node.delete_topic_permissions(user, vhost, exchange)
    }

    fn put_vhost(&self, name: &str, profile: Profile) -> Put {
        self.node.put_vhost(name, profile)
    }

    fn delete_vhost(&self, name: &str) -> Result<BatchId, Refused> {
        self.node.delete_vhost(name)
    }

    fn connections(&self) -> Vec<ConnectionView> {
        self.node.registry.all().iter().filter_map(|it| self.view(it)).collect()
    }

    fn close_connection(&self, id: ConnectionId, reason: &str) {
        if let Some(link) = self.node.registry.get(id) {
            link.evict(Eviction::ByOperator { reason: reason.to_owned() });
        }
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            version: env!("CARGO_PKG_VERSION"),
            rabbitmq_version: RABBITMQ_VERSION,
            node: self.about.node(),
            uptime_ms: self.node.clock.uptime_ms(),
            process_id: std::process::id(),
            n_processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(),
            n_open_files: open_files(),
            open_files_max: open_files_max(),
            disk_free_bytes: self.node.disk_free_bytes(),
            disk_alarm: self.node.is_disk_low(),
            data: self.about.data.clone(),
            connections_max: self.node.registry.max(),
            listeners: self.about.listeners.clone(),
            logins: self.node.metrics.all_logins().into(),
        }
    }

    fn moment(&self) -> Moment {
        self.node.moment()
    }

    fn history(&self) -> History {
        self.node.history()
    }

    fn wait_for_load(&self) {
        // On a thread that is there for waiting, for a person.
        std::thread::sleep(LOAD_PAUSE);
    }

    fn declare_text(&self, error: &DeclareError, vhost: &str) -> Text {
        text(&refusal::declare(error, vhost))
    }

    fn consume_text(&self, error: &ConsumeError, queue: &str, vhost: &str) -> Text {
        text(&refusal::consume(error, queue, vhost))
    }

    fn publish_text(
        &self,
        error: &PublishError,
        message: &Message,
        vhost: &str,
        user: &str,
    ) -> Text {
        text(&refusal::publish(error, message.exchange(), vhost, user))
    }
}

fn text(refusal: &Refusal) -> Text {
    let Refusal { code, text, .. } = refusal;
    Text { code: code.number(), name: code.name(), text: text.clone() }
}

impl LiveEstate {
    fn view(&self, link: &Link) -> Option<ConnectionView> {
        let identity = link.identity.lock().clone()?;
        let client = link.client.lock().clone()?;
        let outbox = link.outbox.lock();
        let mut channels: Vec<ChannelView> = outbox
            .channels()
            .map(|it| ChannelView {
                number: it.id.0,
                n_consumers: it.n_consumers,
                n_unacked: it.n_unacked,
                count: ChannelCount {
                    published: it.confirms.published,
                    confirmed: it.confirms.confirmed,
                    delivered: it.n_delivered,
                },
                prefetch: it.modes.prefetch,
                global_prefetch: it.window,
                confirms: it.modes.confirms,
                transactional: it.modes.transactional,
            })
            .collect();
        let unsent_bytes = outbox.frames.len() as u64;
        drop(outbox);
        channels.sort_by_key(|it| it.number);
        let local = link.stream.local_addr().ok();
        Some(ConnectionView {
            id: link.id,
            user: identity.user,
            vhost: identity.vhost,
            client_name: client.named_itself.then(|| client.name.to_string()),
            peer_host: link.peer.ip().to_canonical().to_string(),
            peer_port: link.peer.port(),
            host: local.map(|it| it.ip().to_canonical().to_string()).unwrap_or_default(),
            port: local.map_or(0, |it| it.port()),
            connected_at: link.connected_at,
            properties: client.properties.clone(),
            channel_max: client.tuned.channel_max,
            frame_max: client.tuned.frame_max,
            heartbeat_secs: client.tuned.heartbeat,
            traffic: link.traffic(),
            unsent_bytes,
            channels,
        })
    }
}

/// Files and sockets the process has open; 0 where they cannot be counted.
pub(in crate::server) fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |it| it.count() as u64)
}

/// How many it may have open; 0 is without limit.
pub(in crate::server) fn open_files_max() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or_default()
}

/// Resident memory of the process; 0 where it cannot be read.
pub(in crate::server) fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
    pages * 4096
}
