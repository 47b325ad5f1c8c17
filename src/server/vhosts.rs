//! The vhosts of a running broker: definitions behind one lock each, queues behind one lock each;
//! making and deleting them.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use parking_lot::RwLock;

use crate::admin::estate::Put;
use crate::admin::estate::Refused;
use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::name::VhostName;
use crate::broker::deduplication::Windows;
use crate::broker::definition::Definition;
use crate::broker::delete;
use crate::broker::vhost::Profile;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::effect::Effect;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::session::desk::Eviction;

/// One vhost.
#[derive(Debug)]
pub(in crate::server) struct LiveVhost {
    pub(in crate::server) name: VhostName,
    /// Taken shared for a whole turn, before any queue's lock.
    pub(in crate::server) definitions: RwLock<Definitions>,
    /// What a turn left over because it was too much for one.
    pub(in crate::server) later: Mutex<Vec<(QueueId, Effect)>>,
    /// Held for a moment only, with no other lock taken under it.
    pub(in crate::server) windows: Mutex<Windows>,
}

/// Who is what in a vhost, and where its queues are.
#[derive(Debug)]
pub(in crate::server) struct Definitions {
    pub(in crate::server) vhost: Vhost,
    pub(in crate::server) queues: HashMap<QueueId, Arc<LiveQueue>, RandomState>,
}

/// One queue.
#[derive(Debug)]
pub(in crate::server) struct LiveQueue {
    /// `None` once the queue is deleted: whoever still has this finds nothing.
    pub(in crate::server) state: Mutex<Option<Queue>>,
}

impl LiveVhost {
    pub(in crate::server) fn new(vhost: Vhost) -> Arc<LiveVhost> {
        Arc::new(LiveVhost {
            name: vhost.name.clone(),
            definitions: RwLock::new(Definitions { vhost, queues: HashMap::default() }),
            later: Mutex::new(Vec::new()),
            windows: Mutex::default(),
        })
    }
}

impl LiveQueue {
    pub(in crate::server) fn new(queue: Queue) -> Arc<LiveQueue> {
        Arc::new(LiveQueue { state: Mutex::new(Some(queue)) })
    }
}

impl Node {
    /// Makes a vhost, or changes what is said of one.
    pub(in crate::server) fn put_vhost(&self, name: &str, profile: Profile) -> Put {
        let there = self.vhost(name);
        let is_there = there.is_some();
        let vhost = there.unwrap_or_else(|| self.vhost_or_new(name));
        let mut definitions = vhost.definitions.write();
        definitions.vhost.profile = profile;
        Put { existed: is_there, after: self.log.define(&definitions.vhost.definition()) }
    }

    /// Deletes a vhost with everything in it, and ends its connections. Takes as long as there is
    /// much in it: not for the threads that serve connections.
    ///
    /// The vhost itself goes last, so that a crash on the way leaves one that can be deleted again.
    pub(in crate::server) fn delete_vhost(&self, name: &str) -> Result<BatchId, Refused> {
        let live = self.vhost(name).ok_or(Refused::NoSuchVhost)?;
        {
            let mut definitions = live.definitions.write();
            let rules = &definitions.vhost.rules;
            if !rules.exchanges.is_empty() || !rules.queues.is_empty() {
                return Err(Refused::Declared(live.name.clone()));
            }
            if std::mem::replace(&mut definitions.vhost.is_deleted, true) {
                return Err(Refused::NoSuchVhost);
            }
        }
        self.take_vhost(name);
        let eviction = Eviction::VhostDeleted { vhost: live.name.clone() };
        self.registry.evict(|it| it.vhost == live.name, &eviction);
        let mut turn = Turn::new(self, &live, None);
        delete::empty(&mut turn);
        turn.finish();
        self.forget_permissions(name);
        Ok(self.log.undefine(&Definition::vhost(name)))
    }
}
