//! The failed messages of one queue: each is judged, handed on, and acked once it has arrived.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use lapin::Connection;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::options::BasicCancelOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;

use crate::amqp::table::Table;
use crate::controller::ControllerConfig;
use crate::controller::Count;
use crate::controller::Counts;
use crate::controller::outbox::Fate;
use crate::controller::outbox::Letter;
use crate::controller::outbox::Outbox;
use crate::controller::property;
use crate::controller::stopped;
use crate::topology::rabbitmq::detour::Detour;
use crate::topology::rabbitmq::detour::Verdict;

const TAG: &str = "railpost-controller";
/// The first wait before a message that was not taken is offered again, and the longest.
const OFFER_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the last confirms are waited for.
const LAST_ONES: Duration = Duration::from_secs(10);

/// Counters of one queue.
#[derive(Debug, Default)]
pub(super) struct Tally {
    retried: AtomicU64,
    parked: AtomicU64,
    dead_lettered: AtomicU64,
    dropped: AtomicU64,
}

/// Counters of all queues of a vhost; they outlive its connections.
#[derive(Debug)]
pub(super) struct Tallies(BTreeMap<String, Arc<Tally>>);

impl Tallies {
    pub(super) fn new(detours: &[Arc<Detour>]) -> Tallies {
        Tallies(detours.iter().map(|it| (it.queue.to_string(), Arc::default())).collect())
    }

    pub(super) fn of(&self, detour: &Detour) -> Arc<Tally> {
        self.0.get(detour.queue.as_str()).cloned().unwrap_or_default()
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |it: &AtomicU64| it.load(Ordering::Relaxed);
        let count = |it: &Arc<Tally>| Count {
            retried: read(&it.retried),
            parked: read(&it.parked),
            dead_lettered: read(&it.dead_lettered),
            dropped: read(&it.dropped),
        };
        self.0.iter().map(|(queue, it)| (queue.clone(), count(it))).collect()
    }
}

/// The work on one queue, on a channel of its own.
#[derive(Debug)]
pub(super) struct Desk {
    channel: Channel,
    outbox: Outbox,
    detour: Arc<Detour>,
    tally: Arc<Tally>,
    config: Arc<ControllerConfig>,
    stop: watch::Receiver<bool>,
}

impl Desk {
    pub(super) fn new(
        connection: &Connection,
        channel: Channel,
        detour: Arc<Detour>,
        tally: Arc<Tally>,
        config: Arc<ControllerConfig>,
        stop: watch::Receiver<bool>,
    ) -> Desk {
        let frame_max =
            usize::try_from(connection.configuration().frame_max()).unwrap_or(usize::MAX);
        Desk {
            outbox: Outbox::new(channel.clone(), frame_max),
            channel,
            detour,
            tally,
            config,
            stop,
        }
    }

    /// Hands failed messages on until the channel is lost, the queue is not ours to consume any
    /// more, or `stop` says so; what is on its way then is waited for, though not for long.
    pub(super) async fn serve(self) -> Result<(), lapin::Error> {
        let channel = &self.channel;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(self.config.window, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let inbox = self.detour.inbox();
        let mut consumer = channel
            .basic_consume(inbox.as_str().into(), TAG.into(), options, FieldTable::default())
            .await?;
        let mut on_their_way = FuturesUnordered::new();
        let mut stop = self.stop.clone();
        let mut stops = pin!(stopped(&mut stop));
        loop {
            tokio::select! {
                delivery = consumer.next() => match delivery {
                    Some(delivery) => on_their_way.push(self.hand_on(delivery?)),
                    None => {
                        tracing::warn!(queue = %inbox, "it is not ours to consume any more");
                        break;
                    }
                },
                Some(done) = on_their_way.next(), if !on_their_way.is_empty() => {
                    self.acked(done?).await?;
                }
                () = &mut stops => break,
            }
        }
        // What is fetched and not handed on by then goes back to the queue with the channel.
        let rest = async {
            channel.basic_cancel(TAG.into(), BasicCancelOptions::default()).await?;
            while let Some(done) = on_their_way.next().await {
                self.acked(done?).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(LAST_ONES, rest).await {
            Ok(done) => done,
            Err(_) => {
                tracing::warn!(queue = %inbox, "what is on its way is not confirmed in time");
                Ok(())
            }
        }
    }

    async fn acked(&self, tag: Option<u64>) -> Result<(), lapin::Error> {
        match tag {
            Some(tag) => self.channel.basic_ack(tag, BasicAckOptions::default()).await,
            None => Ok(()),
        }
    }

    /// Brings one message to where it goes, however often that takes; returns what to ack, and
    /// nothing when it is told to stop before.
    async fn hand_on(&self, delivery: Delivery) -> Result<Option<u64>, lapin::Error> {
        let tag = Some(delivery.delivery_tag);
        let headers = property::headers(&delivery.properties);
        let mut verdict = self.detour.judge(&headers);
        let mut pause = OFFER_AGAIN.0;
        let mut stop = self.stop.clone();
        loop {
            let Some(letter) = self.letter(&delivery, headers.clone(), &verdict) else {
                self.count(&verdict);
                return Ok(tag);
            };
            match self.outbox.publish(&letter).await? {
                Fate::Taken => {
                    self.count(&verdict);
                    return Ok(tag);
                }
                Fate::Returned if matches!(verdict, Verdict::DeadLetter { .. }) => {
                    // COMPAT: dead letters that go nowhere are lost; a parking lot keeps them.
                    let reason = crate::queue::effect::Reason::Rejected;
                    let parks = self.detour.settings.parking;
                    verdict = if parks { Verdict::Park(reason) } else { Verdict::Drop(reason) };
                    continue;
                }
                Fate::Returned => tracing::error!(
                    queue = %self.detour.queue,
                    exchange = letter.exchange,
                    "no queue takes what failed; are other files applied than these?"
                ),
                Fate::Refused => tracing::warn!(
                    queue = %self.detour.queue,
                    exchange = letter.exchange,
                    "what failed was refused, and is offered again"
                ),
                Fate::TooLarge => {
                    tracing::error!(
                        queue = %self.detour.queue,
                        "a message has too many headers to be published again: it stays in the inbox"
                    );
                    stopped(&mut stop).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut stop) => return Ok(None),
            }
            pause = (pause * 2).min(OFFER_AGAIN.1);
        }
    }

    /// What is to be published for a verdict; nothing for what is dropped.
    fn letter(&self, delivery: &Delivery, mut headers: Table, verdict: &Verdict) -> Option<Letter> {
        let mut key = delivery.routing_key.as_str().to_owned();
        let exchange = match verdict {
            Verdict::Wait(_) | Verdict::Park(_) => self.detour.wait_exchange().to_string(),
            Verdict::DeadLetter { exchange, key: other } => {
                key = other.clone().unwrap_or(key);
                exchange.to_string()
            }
            Verdict::Drop(_) => return None,
        };
        self.detour.note(&mut headers, verdict, now_ms());
        let keeps_user = self.config.impersonates;
        if !keeps_user {
            property::note_user(&delivery.properties, &mut headers);
        }
        self.outbox.fit(&mut headers);
        let properties = property::with_headers(&delivery.properties, &headers, keeps_user);
        Some(Letter { exchange, key, properties, body: delivery.data.clone() })
    }

    fn count(&self, verdict: &Verdict) {
        let queue = &self.detour.queue;
        let counter = match verdict {
            Verdict::Wait(_) => &self.tally.retried,
            Verdict::Park(reason) => {
                tracing::info!(%queue, reason = reason.as_str(), "parked");
                &self.tally.parked
            }
            Verdict::DeadLetter { .. } => &self.tally.dead_lettered,
            Verdict::Drop(reason) => {
                tracing::warn!(%queue, reason = reason.as_str(), "dropped");
                &self.tally.dropped
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
