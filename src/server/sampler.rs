//! Looks at every counter once a second, for as long as somebody asks for rates.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::admin::rates;
use crate::admin::rates::ChannelCount;
use crate::admin::rates::Churn;
use crate::admin::rates::Count;
use crate::admin::rates::History;
use crate::admin::rates::Moment;
use crate::admin::rates::Traffic;
use crate::amqp::time::Timestamp;
use crate::server::link::Link;
use crate::server::node::Node;
use crate::session::outbox::ConfirmCounts;
use crate::session::outbox::OpenChannel;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long after the last question looking goes on; autoscalers and exporters ask every minute or
/// more often.
const INTEREST_MICROS: u64 = 300_000_000;

/// The looks of the last seconds; none when nobody has asked for long.
#[derive(Default)]
pub(in crate::server) struct Sampler {
    history: Mutex<History>,
    /// When somebody asked last, in microseconds.
    asked_at: AtomicU64,
}

impl Node {
    /// The last seconds. The first to ask starts them.
    pub(in crate::server) fn history(&self) -> History {
        let sampler = &self.sampler;
        sampler.asked_at.store(self.clock.now().0, Ordering::Relaxed);
        if sampler.history.lock().is_empty() {
            // No queue is looked at under the lock: others ask meanwhile.
            let moment = self.moment();
            sampler.history.lock().add(moment);
        }
        sampler.history.lock().clone()
    }

    /// Everything that is counted, now.
    pub(in crate::server) fn moment(&self) -> Moment {
        let mut retired = *self.retired(false).lock();
        retired.add(&self.retired(true).lock());
        let mut moment = Moment {
            at: self.clock.now(),
            published: self.metrics.published.load(Ordering::Relaxed),
            unroutable: self.metrics.unroutable.load(Ordering::Relaxed),
            retired,
            churn: self.churn(),
            ..Moment::default()
        };
        for vhost in self.vhosts() {
            let queues: Vec<_> = {
                let definitions = vhost.definitions.read();
                definitions.queues.iter().map(|(id, live)| (*id, Arc::clone(live))).collect()
            };
            let mut counts = Vec::with_capacity(queues.len());
            for (id, live) in &queues {
                let state = live.state.lock();
                let Some(queue) = state.as_ref() else { continue };
                counts.push((*id, Count { totals: *queue.totals(), depth: queue.depth() }));
                let incoming = queue.incoming().iter();
                if incoming.len() > 0 {
                    moment.incoming.insert(*id, incoming.map(|(_, n)| n).collect());
                }
            }
            let sum = rates::sum(counts.iter().map(|(_, count)| *count));
            moment.vhosts.insert(vhost.name.clone(), sum);
            moment.queues.extend(counts);
        }
        let mut confirms = *self.retired_confirms.lock();
        for link in self.registry.all() {
            moment.connections.insert(link.id, link.traffic());
            let outbox = link.outbox.lock();
            confirms.published += outbox.confirms.published;
            confirms.confirmed += outbox.confirms.confirmed;
            let count = |it: &OpenChannel| ChannelCount {
                published: it.confirms.published,
                confirmed: it.confirms.confirmed,
                delivered: it.n_delivered,
            };
            let channels = outbox.channels().map(|it| ((link.id, it.id), count(&it)));
            moment.channels.extend(channels);
        }
        moment.published_with_confirm = confirms.published;
        moment.confirmed = confirms.confirmed;
        moment
    }

    /// Notes how many channels a client has open now, at the end of a turn of its own.
    pub(in crate::server) fn count_channels(&self, link: &Link, n: usize) {
        let before = link.n_channels.load(Ordering::Relaxed);
        if n == before {
            return;
        }
        link.n_channels.store(n, Ordering::Relaxed);
        let (opened, closed) = (&self.metrics.channels_opened, &self.metrics.channels_closed);
        opened.fetch_add(n.saturating_sub(before) as u64, Ordering::Relaxed);
        closed.fetch_add(before.saturating_sub(n) as u64, Ordering::Relaxed);
    }

    /// A connection goes; what it counted is kept.
    pub(in crate::server) fn retire_confirms(&self, link: &Link) {
        let gone = std::mem::take(&mut link.outbox.lock().confirms);
        let mut sum = self.retired_confirms.lock();
        sum.published += gone.published;
        sum.confirmed += gone.confirmed;
    }

    /// Publishes on channels with confirms, and their confirms, on all connections that are and
    /// were.
    pub(in crate::server) fn confirms(&self) -> ConfirmCounts {
        let mut sum = *self.retired_confirms.lock();
        for link in self.registry.all() {
            let counts = link.outbox.lock().confirms;
            sum.published += counts.published;
            sum.confirmed += counts.confirmed;
        }
        sum
    }

    pub(in crate::server) fn churn(&self) -> Churn {
        let connections_opened = self.n_connections_opened();
        let (open, metrics) = (self.registry.len() as u64, &self.metrics);
        Churn {
            connections_opened,
            connections_closed: connections_opened.saturating_sub(open),
            channels_opened: metrics.channels_opened.load(Ordering::Relaxed),
            channels_closed: metrics.channels_closed.load(Ordering::Relaxed),
            queues_created: metrics.queues_created.load(Ordering::Relaxed),
            queues_deleted: metrics.queues_deleted.load(Ordering::Relaxed),
        }
    }
}

impl Link {
    pub(in crate::server) fn traffic(&self) -> Traffic {
        Traffic {
            received_bytes: self.received.load(Ordering::Relaxed),
            sent_bytes: self.sent(),
            n_reads: self.n_reads.load(Ordering::Relaxed),
            n_writes: self.n_writes.load(Ordering::Relaxed),
        }
    }
}

/// Runs until the server stops.
pub(in crate::server) async fn run(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = node.stopped() => return,
        }
        let sampler = &node.sampler;
        let asked_at = Timestamp(sampler.asked_at.load(Ordering::Relaxed));
        if asked_at == Timestamp(0) {
            continue;
        }
        if node.clock.now().micros_since(asked_at) > INTEREST_MICROS {
            sampler.history.lock().clear();
            continue;
        }
        let looking = Arc::clone(&node);
        // Each queue's lock is taken in turn: with many of them not for a thread that serves.
        let looked = tokio::task::spawn_blocking(move || looking.moment());
        if let Ok(moment) = looked.await {
            sampler.history.lock().add(moment);
        }
    }
}
