//! What the tasks of one run share while it goes on.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use crate::cli::bench::pace::Clock;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::tally::Ledger;
use crate::cli::bench::tally::SendTally;
use crate::cli::bench::tally::TakeTally;
use crate::cli::bench::template::Template;

/// A run that goes on. Every lock is held for one batch of messages at most.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) plan: Plan,
    pub(super) template: Template,
    pub(super) clock: Clock,
    /// One per producer.
    senders: Vec<Mutex<SendTally>>,
    /// One per consumer.
    takers: Vec<Mutex<TakeTally>>,
    /// One per queue.
    ledgers: Vec<Mutex<Ledger>>,
    /// Copies of each producer's messages that have arrived.
    received: Vec<AtomicU64>,
    /// Wakes a producer that waits for consumers, or for nothing more.
    producer_wakes: Vec<Notify>,
    consumer_wakes: Vec<Notify>,
    /// No more messages are to be sent; confirms are still waited for.
    is_publishing_over: AtomicBool,
    /// Everybody goes home.
    is_over: AtomicBool,
}

impl Live {
    pub(super) fn new(plan: Plan, template: Template) -> Live {
        let (n_producers, n_consumers) = (plan.producers.len(), plan.consumers.len());
        let sender = || {
            let published_in = vec![0; plan.slots.len()];
            Mutex::new(SendTally { published_in, ..SendTally::default() })
        };
        Live {
            template,
            clock: Clock::start(),
            senders: (0..n_producers).map(|_| sender()).collect(),
            takers: (0..n_consumers).map(|_| Mutex::default()).collect(),
            ledgers: plan.queues.iter().map(|_| Mutex::default()).collect(),
            received: (0..n_producers).map(|_| AtomicU64::new(0)).collect(),
            producer_wakes: (0..n_producers).map(|_| Notify::new()).collect(),
            consumer_wakes: (0..n_consumers).map(|_| Notify::new()).collect(),
            is_publishing_over: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            plan,
        }
    }

    pub(super) fn sender(&self, producer: usize) -> MutexGuard<'_, SendTally> {
        locked(&self.senders[producer])
    }

    pub(super) fn taker(&self, consumer: usize) -> MutexGuard<'_, TakeTally> {
        locked(&self.takers[consumer])
    }

    pub(super) fn ledger(&self, queue: usize) -> MutexGuard<'_, Ledger> {
        locked(&self.ledgers[queue])
    }

    /// Says that `n` copies of a producer's messages arrived.
    pub(super) fn received(&self, producer: usize, n: u64) {
        self.received[producer].fetch_add(n, Ordering::Relaxed);
        if self.plan.load.window.is_some() {
            self.producer_wakes[producer].notify_one();
        }
    }

    /// Messages of a producer that arrived everywhere they should; with several copies of each, as
    /// if all queues were equally fast.
    pub(super) fn n_received(&self, producer: usize) -> u64 {
        let n_copies = self.plan.n_copies(0).max(1) as u64;
        self.received[producer].load(Ordering::Relaxed) / n_copies
    }

    /// A number that grows whenever a message is published, confirmed or delivered.
    pub(super) fn n_moved(&self) -> u64 {
        let sent = self.senders.iter().map(|it| {
            let it = locked(it);
            it.published + it.confirmed + it.refused
        });
        let taken = self.takers.iter().map(|it| locked(it).delivered);
        sent.chain(taken).sum()
    }

    /// Whether every message that can arrive has arrived everywhere it should.
    pub(super) fn is_all_arrived(&self) -> bool {
        let expected = self.senders.iter().map(|it| {
            let it = locked(it);
            let copies = |slot: usize| self.plan.n_copies(slot) as u64;
            let sent = it.published_in.iter().enumerate().map(|(slot, n)| n * copies(slot));
            let excused = it.uncertain.iter().map(|(slot, _)| copies(*slot as usize));
            sent.sum::<u64>().saturating_sub(excused.sum())
        });
        let received = self.received.iter().map(|it| it.load(Ordering::Relaxed));
        received.sum::<u64>() >= expected.sum()
    }

    pub(super) async fn producer_woken(&self, producer: usize) {
        self.producer_wakes[producer].notified().await;
    }

    pub(super) async fn consumer_woken(&self, consumer: usize) {
        self.consumer_wakes[consumer].notified().await;
    }

    pub(super) fn is_publishing_over(&self) -> bool {
        self.is_publishing_over.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Ends publishing; producers still wait for their confirms.
    pub(super) fn end_publishing(&self) {
        self.is_publishing_over.store(true, Ordering::Relaxed);
        self.producer_wakes.iter().for_each(Notify::notify_one);
    }

    /// Ends the run, whatever is still on its way.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.end_publishing();
        self.consumer_wakes.iter().for_each(Notify::notify_one);
    }
}

/// A task that panicked leaves counts that are merely too small.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
