//! The vhosts of a running broker: definitions behind one lock each, queues behind one lock each.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use parking_lot::RwLock;

use crate::amqp::id::QueueId;
use crate::amqp::name::VhostName;
use crate::broker::deduplication::Windows;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::effect::Effect;

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
