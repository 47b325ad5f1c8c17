//! The failed messages of one queue: each is judged, handed on, and acked once it has arrived.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::BasicProperties;
use lapin::Channel;
use lapin::Confirmation;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::options::BasicCancelOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;

use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::controller::ControllerConfig;
use crate::controller::Count;
use crate::controller::Counts;
use crate::controller::property;
use crate::topology::rabbitmq::detour::Detour;
use crate::topology::rabbitmq::detour::USER_ID;
use crate::topology::rabbitmq::detour::Verdict;

const TAG: &str = "railpost-controller";
/// The first wait before a message that was not taken is offered again, and the longest.
const OFFER_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

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
#[derive(Clone, Debug)]
pub(super) struct Desk {
    channel: Channel,
    detour: Arc<Detour>,
    tally: Arc<Tally>,
    config: Arc<ControllerConfig>,
    stop: watch::Receiver<bool>,
}

/// A message, and where it goes.
struct Letter {
    exchange: String,
    key: String,
    properties: BasicProperties,
    body: Vec<u8>,
}

impl Desk {
    pub(super) fn new(
        channel: Channel,
        detour: Arc<Detour>,
        tally: Arc<Tally>,
        config: Arc<ControllerConfig>,
        stop: watch::Receiver<bool>,
    ) -> Desk {
        Desk { channel, detour, tally, config, stop }
    }

    /// Hands failed messages on until the channel is lost or `stop` says so; what is on its way
    /// then is waited for.
    pub(super) async fn serve(self) -> Result<(), lapin::Error> {
        let channel = &self.channel;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(self.config.window, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let inbox = self.detour.inbox();
        let mut consumer = channel
            .basic_consume(inbox.as_str().into(), TAG.into(), options, FieldTable::default())
            .await?;
        let mut stop = self.stop.clone();
        let mut on_their_way = FuturesUnordered::new();
        let mut stops = *stop.borrow();
        while !stops || !on_their_way.is_empty() {
            tokio::select! {
                delivery = consumer.next(), if !stops => match delivery {
                    Some(delivery) => on_their_way.push(self.hand_on(delivery?)),
                    None => {
                        tracing::warn!(queue = %inbox, "it is not ours to consume any more");
                        stops = true;
                    }
                },
                Some(done) = on_their_way.next(), if !on_their_way.is_empty() => {
                    let tag = done?;
                    channel.basic_ack(tag, BasicAckOptions::default()).await?;
                }
                _ = stop.changed(), if !stops => {
                    stops = true;
                    channel.basic_cancel(TAG.into(), BasicCancelOptions::default()).await?;
                }
            }
        }
        Ok(())
    }

    /// Brings one message to where it goes, however often that takes; returns what to ack.
    async fn hand_on(&self, delivery: Delivery) -> Result<u64, lapin::Error> {
        let tag = delivery.delivery_tag;
        let headers = property::headers(&delivery.properties);
        let mut verdict = self.detour.judge(&headers);
        let mut pause = OFFER_AGAIN.0;
        loop {
            let Some(letter) = self.letter(&delivery, headers.clone(), &verdict) else {
                self.count(&verdict);
                return Ok(tag);
            };
            match self.publish(&letter).await? {
                Confirmation::Ack(None) => {
                    self.count(&verdict);
                    return Ok(tag);
                }
                Confirmation::Ack(Some(_)) if matches!(verdict, Verdict::DeadLetter { .. }) => {
                    // COMPAT: dead letters that go nowhere are lost; a parking lot keeps them.
                    let reason = crate::queue::effect::Reason::Rejected;
                    let parks = self.detour.settings.parking;
                    verdict = if parks { Verdict::Park(reason) } else { Verdict::Drop(reason) };
                    continue;
                }
                Confirmation::Ack(Some(_)) => tracing::error!(
                    queue = %self.detour.queue,
                    exchange = letter.exchange,
                    "no queue takes what failed; are other files applied than these?"
                ),
                Confirmation::Nack(_) | Confirmation::NotRequested => tracing::warn!(
                    queue = %self.detour.queue,
                    exchange = letter.exchange,
                    "what failed was refused, and is offered again"
                ),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(OFFER_AGAIN.1);
        }
    }

    async fn publish(&self, letter: &Letter) -> Result<Confirmation, lapin::Error> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let Letter { exchange, key, properties, body } = letter;
        let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
        let sent = self.channel.basic_publish(exchange, key, options, body, properties.clone());
        sent.await?.await
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
        if let (Some(user), false) = (delivery.properties.user_id(), keeps_user) {
            headers.set(USER_ID, Value::text(user.as_str()));
        }
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
