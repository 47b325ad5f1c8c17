//! A copy of what is defined, in memory: what an import would do is tried on it first, by the same
//! functions, so that a document that cannot be brought in whole changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::access::directory::Directory;
use crate::access::password::PasswordHash;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::user::Origin;
use crate::access::user::User;
use crate::admin::estate::ConnectionView;
use crate::admin::estate::Estate;
use crate::admin::estate::Put;
use crate::admin::estate::Refused;
use crate::admin::estate::Text;
use crate::admin::estate::Vitals;
use crate::admin::rates::History;
use crate::admin::rates::Moment;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::consume::ConsumeError;
use crate::broker::declare::DeclareError;
use crate::broker::host::Host;
use crate::broker::memory::Clients;
use crate::broker::memory::Memory;
use crate::broker::publish::PublishError;
use crate::broker::vhost::Profile;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::dispatch::Delivery;

/// Definitions that can be changed without anybody noticing.
#[derive(Debug)]
pub struct Draft<'a, E> {
    /// What it was copied from, for what does not change.
    original: &'a E,
    directory: RefCell<Directory>,
    vhosts: RefCell<BTreeMap<VhostName, Memory<Nobody>>>,
}

/// No client is connected to a draft.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Clients for Nobody {
    fn deliver(&mut self, _: QueueId, _: &Delivery<'_>) -> bool {
        false
    }

    fn begin_consumer(&mut self, _: QueueId, _: ConsumerId, _: &ConsumerTag, _: bool) {}

    fn cancel(&mut self, _: ConsumerId) {}

    fn late(&mut self, _: ConsumerId, _: Millis) {}

    fn reply(&mut self, _: ConsumerId, _: &Message) -> bool {
        false
    }
}

impl<'a, E: Estate> Draft<'a, E> {
    pub fn new(original: &'a E) -> Draft<'a, E> {
        let copy = |name: &VhostName| {
            let vhost = original.in_vhost(name, |turn| turn.vhost().clone())?;
            Some((name.clone(), memory(vhost)))
        };
        Draft {
            original,
            directory: RefCell::new(original.directory(Directory::clone)),
            vhosts: RefCell::new(original.vhosts().iter().filter_map(copy).collect()),
        }
    }

    fn both(&self, user: &str, vhost: &str) -> Result<(UserName, VhostName), Refused> {
        if !self.vhosts.borrow().contains_key(vhost) {
            return Err(Refused::NoSuchVhost);
        }
        if self.directory.borrow().user(user).is_none() {
            return Err(Refused::NoSuchUser);
        }
        Ok((UserName::new(user), VhostName::new(vhost)))
    }
}

/// The vhost with all its queues, empty.
fn memory(vhost: Vhost) -> Memory<Nobody> {
    let records: Vec<_> = vhost.queues().cloned().collect();
    let mut memory = Memory::new(vhost, Nobody, Timestamp(0));
    for record in records {
        let settings = (*record.settings).clone();
        memory.add_queue(record.id, Queue::new(record.name, settings, Timestamp(0)));
    }
    memory
}

const NOTHING: BatchId = BatchId(0);

impl<E: Estate> Estate for Draft<'_, E> {
    type Turn<'t>
        = Memory<Nobody>
    where
        Self: 't;

    fn directory<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        look(&self.directory.borrow())
    }

    fn vhosts(&self) -> Vec<VhostName> {
        self.vhosts.borrow().keys().cloned().collect()
    }

    fn in_vhost<R>(&self, vhost: &str, work: impl FnOnce(&mut Memory<Nobody>) -> R) -> Option<R> {
        self.vhosts.borrow_mut().get_mut(vhost).map(work)
    }

    fn hash(&self, _: &str) -> PasswordHash {
        // Nobody logs in to a draft, and a real one takes its time.
        PasswordHash::decoy()
    }

    fn put_user(&self, user: User) -> Result<Put, Refused> {
        let mut directory = self.directory.borrow_mut();
        let existed = match directory.user(&user.name) {
            Some(there) if there.origin != Origin::Stored => {
                return Err(Refused::Configured(there.name.clone()));
            }
            there => there.is_some(),
        };
        directory.put_user(user);
        Ok(Put { existed, after: NOTHING })
    }

    fn delete_user(&self, name: &str) -> Result<BatchId, Refused> {
        let removed = self.directory.borrow_mut().remove_user(name);
        removed.map(|_| NOTHING).ok_or(Refused::NoSuchUser)
    }

    fn put_permission(
        &self,
        user: &str,
        vhost: &str,
        permission: Permission,
    ) -> Result<Put, Refused> {
        let (user, vhost) = self.both(user, vhost)?;
        let mut directory = self.directory.borrow_mut();
        let existed = directory.permission(&user, &vhost).is_some();
        directory.put_permission(user, vhost, permission);
        Ok(Put { existed, after: NOTHING })
    }

    fn delete_permission(&self, user: &str, vhost: &str) -> Option<BatchId> {
        let removed = self.directory.borrow_mut().remove_permission(user, vhost);
        removed.then_some(NOTHING)
    }

    fn put_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<Put, Refused> {
        let (user, vhost) = self.both(user, vhost)?;
        let exchange = ExchangeName::new(exchange);
        self.directory.borrow_mut().put_topic_permission(user, vhost, exchange, permission);
        Ok(Put { existed: false, after: NOTHING })
    }

    fn delete_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Option<BatchId> {
        self.directory.borrow_mut().remove_topic_permissions(user, vhost, exchange);
        Some(NOTHING)
    }

    fn put_vhost(&self, name: &str, profile: Profile) -> Put {
        let mut vhosts = self.vhosts.borrow_mut();
        let existed = vhosts.contains_key(name);
        let name = VhostName::new(name);
        let there = vhosts.entry(name.clone()).or_insert_with(|| memory(Vhost::new(name)));
        there.vhost.profile = profile;
        Put { existed, after: NOTHING }
    }

    fn delete_vhost(&self, name: &str) -> Result<BatchId, Refused> {
        let removed = self.vhosts.borrow_mut().remove(name);
        removed.map(|_| NOTHING).ok_or(Refused::NoSuchVhost)
    }

    fn connections(&self) -> Vec<ConnectionView> {
        Vec::new()
    }

    fn close_connection(&self, _: ConnectionId, _: &str) {}

    fn vitals(&self) -> Vitals {
        self.original.vitals()
    }

    fn moment(&self) -> Moment {
        Moment::default()
    }

    fn history(&self) -> History {
        History::default()
    }

    fn wait_for_load(&self) {}

    fn declare_text(&self, error: &DeclareError, vhost: &str) -> Text {
        self.original.declare_text(error, vhost)
    }

    fn consume_text(&self, error: &ConsumeError, queue: &str, vhost: &str) -> Text {
        self.original.consume_text(error, queue, vhost)
    }

    fn publish_text(
        &self,
        error: &PublishError,
        message: &Message,
        vhost: &str,
        user: &str,
    ) -> Text {
        self.original.publish_text(error, message, vhost, user)
    }
}
