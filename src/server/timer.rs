//! Waking queues when something in them is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::amqp::id::QueueId;
use crate::amqp::time::Timestamp;
use crate::broker::consume;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::server::vhosts::LiveVhost;

/// Wake-ups asked for by queues. One that came too early does no harm: the queue asks again.
#[derive(Debug, Default)]
pub(in crate::server) struct Timers {
    due: Mutex<BinaryHeap<Reverse<Entry>>>,
    earlier: Notify,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    queue: QueueId,
    vhost: Arc<LiveVhost>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.at, self.queue) == (other.at, other.queue)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at, self.queue).cmp(&(other.at, other.queue))
    }
}

/// Due queues served in one go before others get the processor.
const PER_TURN: usize = 256;
/// How long the timer sleeps when nothing is due, at most.
const IDLE: Duration = Duration::from_secs(3600);

impl Timers {
    pub(in crate::server) fn add(&self, vhost: &Arc<LiveVhost>, queue: QueueId, at: Timestamp) {
        let entry = Entry { at, queue, vhost: Arc::clone(vhost) };
        let mut due = self.due.lock();
        let is_first = due.peek().is_none_or(|Reverse(first)| at < first.at);
        due.push(Reverse(entry));
        drop(due);
        if is_first {
            self.earlier.notify_one();
        }
    }

    fn take_due(&self, now: Timestamp) -> Vec<Entry> {
        let mut due = self.due.lock();
        let mut taken = Vec::new();
        while taken.len() < PER_TURN && due.peek().is_some_and(|Reverse(it)| it.at <= now) {
            taken.extend(due.pop().map(|Reverse(it)| it));
        }
        taken
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.due.lock().peek().map(|Reverse(it)| it.at)
    }
}

/// Runs until the server stops.
pub(in crate::server) async fn run(node: Arc<Node>) {
    loop {
        let wait = match node.timers.next_at() {
            Some(at) => node.clock.until(at).min(IDLE),
            None => IDLE,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = node.timers.earlier.notified() => continue,
            () = node.stopped() => return,
        }
        for entry in node.timers.take_due(node.clock.now()) {
            let mut turn = Turn::new(&node, &entry.vhost, None);
            consume::tick(&mut turn, entry.queue);
            turn.finish();
        }
        tokio::task::yield_now().await;
    }
}
