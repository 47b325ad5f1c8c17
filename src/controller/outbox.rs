//! Publishing so that it is known of each message what became of it.
//!
//! The client library gives a returned message to whichever confirm comes next, not to the confirm
//! of that message. Here it is found out whose it is.

use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::sync::Mutex;
use std::sync::PoisonError;

use lapin::BasicProperties;
use lapin::Channel;
use lapin::options::BasicPublishOptions;

use crate::amqp::table::Table;
use crate::broker::parking::ATTEMPTS;
use crate::controller::property;
use crate::topology::rabbitmq::detour::WAIT;

/// What a header frame has beside the headers: other properties, all of them short.
const BESIDE_HEADERS: usize = 3000;

/// A message, and where it goes.
pub(super) struct Letter {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

/// What became of a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Taken,
    /// It leads to no queue.
    Returned,
    Refused,
    /// Its headers are more than a frame holds: it was not sent.
    TooLarge,
}

/// The letters that are on their way on a channel.
#[derive(Debug)]
pub(super) struct Outbox {
    channel: Channel,
    frame_max: usize,
    returned: Mutex<Returned>,
}

/// By what letters say. Those that say the same go the same way.
#[derive(Debug, Default)]
struct Returned {
    on_their_way: BTreeMap<u64, usize>,
    came_back: BTreeMap<u64, usize>,
}

impl Outbox {
    pub(super) fn new(channel: Channel, frame_max: usize) -> Outbox {
        Outbox { channel, frame_max, returned: Mutex::default() }
    }

    /// Leaves out notes that are more than a frame holds.
    pub(super) fn fit(&self, headers: &mut Table) {
        for name in [ATTEMPTS, "x-death"] {
            if self.is_too_large(headers) {
                headers.remove(name);
            }
        }
    }

    fn is_too_large(&self, headers: &Table) -> bool {
        let mut bytes = Vec::new();
        headers.encode(&mut bytes);
        bytes.len() + BESIDE_HEADERS > self.frame_max
    }

    /// Publishes a letter, and waits until it is known what became of it.
    ///
    /// # Errors
    /// When the channel is lost, or it is not known: the letter may have arrived then.
    pub(super) async fn publish(&self, letter: &Letter) -> Result<Fate, lapin::Error> {
        let Letter { exchange, key, properties, body } = letter;
        if self.is_too_large(&property::headers(properties)) {
            return Ok(Fate::TooLarge);
        }
        let is = identity(exchange, key, properties, body);
        self.with(|it| *it.on_their_way.entry(is).or_default() += 1);
        let fate = self.publish_as(is, letter).await;
        self.with(|it| take(&mut it.on_their_way, is));
        fate
    }

    async fn publish_as(&self, is: u64, letter: &Letter) -> Result<Fate, lapin::Error> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let Letter { exchange, key, properties, body } = letter;
        let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
        let sent = self.channel.basic_publish(exchange, key, options, body, properties.clone());
        let confirm = sent.await?.await?;
        let is_ack = confirm.is_ack();
        if let Some(it) = confirm.take_message() {
            let other = identity(
                it.delivery.exchange.as_str(),
                it.delivery.routing_key.as_str(),
                &it.delivery.properties,
                &it.delivery.data,
            );
            let is_known = self.with(|all| {
                *all.came_back.entry(other).or_default() += 1;
                all.on_their_way.contains_key(&other)
            });
            if !is_known {
                let error = "a message came back that nobody has sent";
                return Err(std::io::Error::other(error).into());
            }
        }
        // Whoever was confirmed before has noted by then what it was given.
        tokio::task::yield_now().await;
        let came_back = self.with(|it| take(&mut it.came_back, is));
        Ok(match (came_back, is_ack) {
            (true, _) => Fate::Returned,
            (false, true) => Fate::Taken,
            (false, false) => Fate::Refused,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Returned) -> T) -> T {
        work(&mut self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes one away; whether there was one.
fn take(counts: &mut BTreeMap<u64, usize>, key: u64) -> bool {
    match counts.get_mut(&key) {
        None => false,
        Some(1) => counts.remove(&key).is_some(),
        Some(n) => {
            *n -= 1;
            true
        }
    }
}

/// What a letter says, in what a broker leaves as it is.
fn identity(exchange: &str, key: &str, properties: &BasicProperties, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (exchange, key, body).hash(&mut hasher);
    let text = |it: &Option<lapin::types::ShortString>| {
        it.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default()
    };
    (text(properties.message_id()), text(properties.correlation_id())).hash(&mut hasher);
    properties.timestamp().hash(&mut hasher);
    let headers = property::headers(properties);
    for name in [WAIT, ATTEMPTS] {
        headers.get(name).map(ToString::to_string).hash(&mut hasher);
    }
    hasher.finish()
}
