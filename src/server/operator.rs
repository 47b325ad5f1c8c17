//! What people who operate a running broker can change: users, permissions, vhosts and policies.
//!
//! Everything returns once it is on disk and holds on every connection.

use std::sync::Arc;

use crate::access::password::PasswordHash;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::user::User;
use crate::admin::estate::Refused;
use crate::amqp::id::BatchId;
use crate::broker::effective;
use crate::broker::policy::Policy;
use crate::broker::policy::PolicyError;
use crate::broker::policy::Side;
use crate::broker::vhost::Profile;
use crate::server::node::Node;
use crate::server::turn::Turn;

/// A handle on a running broker.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "there is nothing to print of a broker")]
pub struct Operator {
    node: Arc<Node>,
}

/// Why something is not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error(transparent)]
    Refused(Refused),
    #[error(transparent)]
    Policy(PolicyError),
    #[error("the broker is stopping")]
    Stopping,
}

type Done = Result<(), OperatorError>;

impl Operator {
    pub(in crate::server) fn new(node: Arc<Node>) -> Operator {
        Operator { node }
    }

    /// Waits until `batch` is on disk.
    async fn until(&self, batch: BatchId) -> Done {
        tokio::select! {
            () = self.node.log.until_durable(batch) => Ok(()),
            () = self.node.stopped() => Err(OperatorError::Stopping),
        }
    }

    pub fn has_user(&self, name: &str) -> bool {
        self.node.access.read(|it| it.user(name).is_some())
    }

    /// The hash of a new password; takes a moment, but nobody else waits for it.
    pub async fn hash(&self, password: String) -> Option<PasswordHash> {
        self.node.access.hash(password).await
    }

    /// Adds a user, or replaces the one of that name; its permissions stay.
    pub async fn put_user(&self, user: User) -> Done {
        let put = self.node.put_user(user).map_err(OperatorError::Refused)?;
        self.until(put.after).await
    }

    /// Removes a user with all permissions; its connections are closed.
    pub async fn delete_user(&self, name: &str) -> Done {
        let batch = self.node.delete_user(name).map_err(OperatorError::Refused)?;
        self.until(batch).await
    }

    pub async fn put_permission(&self, user: &str, vhost: &str, permission: Permission) -> Done {
        let put = self.node.put_permission(user, vhost, permission);
        self.until(put.map_err(OperatorError::Refused)?.after).await
    }

    pub async fn delete_permission(&self, user: &str, vhost: &str) -> Done {
        let batch = self.node.delete_permission(user, vhost);
        self.until(batch.ok_or(OperatorError::NotFound("permission"))?).await
    }

    pub async fn put_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: TopicPermission,
    ) -> Done {
        let put = self.node.put_topic_permission(user, vhost, exchange, permission);
        self.until(put.map_err(OperatorError::Refused)?.after).await
    }

    /// Of one exchange, or of all.
    pub async fn delete_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Done {
        let batch = self.node.delete_topic_permissions(user, vhost, exchange);
        self.until(batch.ok_or(OperatorError::NotFound("topic permission"))?).await
    }

    /// Makes a vhost, or changes what is said of one.
    pub async fn put_vhost(&self, name: &str, profile: Profile) -> Done {
        let put = self.node.put_vhost(name, profile);
        self.until(put.after).await
    }

    /// Deletes a vhost with everything in it; its connections are closed.
    pub async fn delete_vhost(&self, name: &str) -> Done {
        let (node, name) = (Arc::clone(&self.node), name.to_owned());
        let deleted = tokio::task::spawn_blocking(move || node.delete_vhost(&name)).await;
        let deleted = deleted.map_err(|_| OperatorError::Stopping)?;
        self.until(deleted.map_err(OperatorError::Refused)?).await
    }

    /// Adds a policy, or replaces the one of that name.
    pub async fn put_policy(&self, vhost: &str, side: Side, policy: Policy) -> Done {
        let set = self.in_vhost(vhost, move |turn| effective::set_policy(turn, side, policy));
        self.until(set.await?.map_err(OperatorError::Policy)?).await
    }

    pub async fn delete_policy(&self, vhost: &str, side: Side, name: &str) -> Done {
        let name = name.to_owned();
        let cleared = self.in_vhost(vhost, move |turn| effective::clear_policy(turn, side, &name));
        self.until(cleared.await?.ok_or(OperatorError::NotFound("policy"))?).await
    }

    /// A turn in a vhost, on a thread that may take its time: a policy may be about every queue.
    async fn in_vhost<R: Send + 'static>(
        &self,
        vhost: &str,
        work: impl FnOnce(&mut Turn<'_>) -> R + Send + 'static,
    ) -> Result<R, OperatorError> {
        let live = self.node.vhost(vhost).ok_or(OperatorError::NotFound("vhost"))?;
        let node = Arc::clone(&self.node);
        let done = tokio::task::spawn_blocking(move || {
            let mut turn = Turn::new(&node, &live, None);
            let result = work(&mut turn);
            turn.finish();
            result
        });
        done.await.map_err(|_| OperatorError::Stopping)
    }
}
