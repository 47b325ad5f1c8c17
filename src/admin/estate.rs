//! What the management API needs of whoever runs the broker.

use crate::access::directory::Directory;
use crate::access::password::PasswordHash;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::user::User;
use crate::admin::rates::ChannelCount;
use crate::admin::rates::History;
use crate::admin::rates::Moment;
use crate::admin::rates::Traffic;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::message::Message;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table;
use crate::amqp::time::Timestamp;
use crate::broker::consume::ConsumeError;
use crate::broker::declare::DeclareError;
use crate::broker::host::Host;
use crate::broker::publish::PublishError;
use crate::broker::vhost::Profile;

/// A running broker.
pub trait Estate {
    type Turn<'a>: Host
    where
        Self: 'a;

    /// Looks something up about users and permissions.
    fn directory<R>(&self, look: impl FnOnce(&Directory) -> R) -> R;

    /// By name.
    fn vhosts(&self) -> Vec<VhostName>;

    /// Works in a vhost; `None` when there is none of that name.
    fn in_vhost<R>(&self, vhost: &str, work: impl FnOnce(&mut Self::Turn<'_>) -> R) -> Option<R>;

    /// The hash of a new password.
    fn hash(&self, password: &str) -> PasswordHash;

    fn put_user(&self, user: User) -> Result<Put, Refused>;
    fn delete_user(&self, name: &str) -> Result<BatchId, Refused>;
    fn put_permission(
        &self,
        user: &str,
        vhost: &str,
        permission: Permission,
    ) -> Result<Put, Refused>;
    fn delete_permission(&self, user: &str, vhost: &str) -> Option<BatchId>;
    fn put_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<Put, Refused>;
    fn delete_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Option<BatchId>;
    fn put_vhost(&self, name: &str, profile: Profile) -> Put;
    fn delete_vhost(&self, name: &str) -> Result<BatchId, Refused>;

    fn connections(&self) -> Vec<ConnectionView>;
    fn close_connection(&self, id: ConnectionId, reason: &str);

    fn vitals(&self) -> Vitals;

    /// What is counted by now, and what was a few seconds ago.
    fn moment(&self) -> Moment;
    fn history(&self) -> History;

    /// Waits until a queue that wants messages from disk may have them.
    fn wait_for_load(&self);

    /// What a client would be told.
    fn declare_text(&self, error: &DeclareError, vhost: &str) -> Text;
    fn consume_text(&self, error: &ConsumeError, queue: &str, vhost: &str) -> Text;
    fn publish_text(
        &self,
        error: &PublishError,
        message: &Message,
        vhost: &str,
        user: &str,
    ) -> Text;
}

/// What became of something put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Put {
    /// Whether there was one already.
    pub existed: bool,
    pub after: BatchId,
}

/// Why something is not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("user_not_found")]
    NoSuchUser,
    #[error("vhost_not_found")]
    NoSuchVhost,
    #[error("user '{0}' is in the configuration file; change it there")]
    Configured(UserName),
    #[error("vhost '{0}' is declared in a topology file; remove it there first")]
    Declared(VhostName),
}

/// A refusal as a client would read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text {
    pub code: u16,
    /// The name of the code.
    pub name: &'static str,
    pub text: String,
}

/// A client that has opened a vhost.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    pub id: ConnectionId,
    pub user: UserName,
    pub vhost: VhostName,
    /// What the client calls itself, if anything.
    pub client_name: Option<String>,
    pub peer_host: String,
    pub peer_port: u16,
    pub host: String,
    pub port: u16,
    pub connected_at: Timestamp,
    pub properties: Table,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat_secs: u16,
    pub traffic: Traffic,
    pub unsent_bytes: u64,
    pub channels: Vec<ChannelView>,
}

/// An open channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelView {
    pub number: u16,
    pub n_consumers: usize,
    pub n_unacked: usize,
    pub count: ChannelCount,
    pub prefetch: u16,
    pub global_prefetch: u16,
    pub confirms: bool,
    pub transactional: bool,
}

/// The broker as a process.
#[derive(Clone, Debug)]
pub struct Vitals {
    pub version: &'static str,
    pub rabbitmq_version: &'static str,
    pub node: String,
    pub uptime_ms: u64,
    pub process_id: u32,
    pub n_processors: usize,
    pub memory_bytes: u64,
    pub disk_free_bytes: u64,
    pub n_open_files: u64,
    pub open_files_max: u64,
    pub disk_alarm: bool,
    pub data: String,
    pub connections_max: usize,
    /// Protocol, address and port.
    pub listeners: Vec<(&'static str, String, u16)>,
}

impl ConnectionView {
    /// COMPAT: how tools name a connection.
    pub fn name(&self) -> String {
        let ConnectionView { peer_host, peer_port, host, port, .. } = self;
        format!("{peer_host}:{peer_port} -> {host}:{port}")
    }
}
