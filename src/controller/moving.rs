//! Emptying one queue into another, in order.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::Confirmation;
use lapin::Connection;
use lapin::PublisherConfirm;
use lapin::options::BasicAckOptions;
use lapin::options::BasicCancelOptions;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::controller::ControllerError;
use crate::controller::connect;
use crate::controller::has_id;
use crate::controller::is_not_found;
use crate::controller::property;
use crate::controller::ready;
use crate::topology::rabbitmq::detour::Detour;

const TAG: &str = "railpost-mover";
/// Messages on their way at once.
const WINDOW: u16 = 500;
/// After so many messages it is asked whether more are there.
const LOOK: u64 = 100;
/// A queue that brings nothing for so long is asked whether it is empty.
const QUIET: Duration = Duration::from_millis(200);

/// Why a queue was not emptied; what was not confirmed is still in it.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("AMQP: {0}")]
    Unreachable(#[from] ControllerError),
    #[error("AMQP: {0}")]
    Broker(#[from] lapin::Error),
    #[error("a message of `{from}` was not taken by what `{to}` leads to")]
    NotTaken { from: String, to: String },
    #[error("`{0}` was deleted meanwhile")]
    Deleted(String),
    #[error("somebody else is at work")]
    Taken,
}

impl MoveError {
    /// Nothing was begun.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, MoveError::Unreachable(_))
    }
}

/// How many ready messages and consumers a queue has; nothing when it is not there.
///
/// # Errors
/// When the broker does not answer.
pub async fn stake(url: &str, vhost: &str, queue: &str) -> Result<Option<(u32, u32)>, MoveError> {
    let connection = connect(url, vhost).await?;
    let channel = connection.create_channel().await?;
    let found = match ready(&channel, queue).await {
        Ok(it) => Ok(Some(it)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error.into()),
    };
    let _ = connection.close(200, "looked".into()).await;
    found
}

/// Nobody else is at work in a vhost as long as this connection is there.
#[derive(Debug)]
pub struct Alone(#[allow(dead_code, reason = "its end is what counts")] Connection);

/// A queue of one connection: others cannot have it as long as that is there.
const ALONE: &str = "railpost.applying";

/// Keeps others out of a vhost.
///
/// # Errors
/// When somebody else does so, or the broker does not let us.
pub async fn alone(url: &str, vhost: &str) -> Result<Alone, MoveError> {
    let connection = connect(url, vhost).await?;
    let channel = connection.create_channel().await?;
    let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(ALONE.into(), own, FieldTable::default()).await {
        Ok(_) => Ok(Alone(connection)),
        Err(error) if has_id(&error, 405) => Err(MoveError::Taken),
        Err(error) => Err(error.into()),
    }
}

/// When to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Nothing is in the queue, and nothing comes.
    Empty,
    /// What comes goes on at once: a publisher may be at work all the time. One that is faster than
    /// this is not waited for longer than twice what was there at first.
    CaughtUp,
}

/// Moves messages from a queue to an exchange, which must route them whatever their keys are;
/// returns how many.
///
/// Keys, properties and order stay; the exchange that a message says it came by becomes this one.
/// Messages are acked once they are confirmed, in order.
///
/// # Errors
/// When a message is refused or not routed, or the channel is lost. Nothing is lost then; what was
/// on its way may be in both.
pub async fn drain(
    url: &str,
    vhost: &str,
    from: &str,
    to: &str,
    until: Until,
) -> Result<u64, MoveError> {
    let connection = connect(url, vhost).await?;
    let channel = connection.create_channel().await?;
    let moved = drain_by(&channel, from, to, until).await;
    // What was fetched and not moved goes back to where it was.
    let _ = connection.close(200, "done".into()).await;
    moved
}

/// Sends parked messages back to their queue, as new: up to `count`, and no more than are parked
/// when it begins, so that what fails once more is not sent back for ever. Returns how many.
///
/// # Errors
/// As [`drain`].
pub async fn redrive(url: &str, detour: &Detour, count: u64) -> Result<u64, MoveError> {
    let connection = connect(url, &detour.vhost).await?;
    let channel = connection.create_channel().await?;
    let sent = redrive_by(&channel, detour, count).await;
    let _ = connection.close(200, "done".into()).await;
    sent
}

async fn redrive_by(channel: &Channel, detour: &Detour, count: u64) -> Result<u64, MoveError> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (lot, to) = (detour.parked(), detour.again());
    let most = count.min(u64::from(ready(channel, &lot).await?.0));
    let mut n = 0;
    while n < most {
        let got = channel.basic_get(lot.as_str().into(), BasicGetOptions::default()).await?;
        let Some(message) = got else { break };
        let delivery = message.delivery;
        let mut headers = property::headers(&delivery.properties);
        Detour::renew(&mut headers);
        property::note_user(&delivery.properties, &mut headers);
        let properties = property::with_headers(&delivery.properties, &headers, false);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let key = delivery.routing_key.clone();
        let sent =
            channel.basic_publish(to.as_str().into(), key, options, &delivery.data, properties);
        if sent.await?.await? != Confirmation::Ack(None) {
            return Err(MoveError::NotTaken { from: lot.to_string(), to: to.to_string() });
        }
        channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await?;
        n += 1;
    }
    Ok(n)
}

async fn drain_by(channel: &Channel, from: &str, to: &str, until: Until) -> Result<u64, MoveError> {
    let enough = u64::from(ready(channel, from).await?.0) * 2 + u64::from(WINDOW);
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(WINDOW, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(from.into(), TAG.into(), options, FieldTable::default());
    let mut consumer = consuming.await?;
    let mut on_their_way: VecDeque<(u64, PublisherConfirm)> = VecDeque::new();
    let mut n = 0;
    loop {
        let next = tokio::time::timeout(QUIET, consumer.next()).await;
        let delivery = match next {
            Ok(Some(delivery)) => delivery?,
            Ok(None) => return Err(MoveError::Deleted(from.to_owned())),
            Err(_) => {
                n += settle(channel, &mut on_their_way, 0, (from, to)).await?;
                if ready(channel, from).await?.0 == 0 {
                    break;
                }
                continue;
            }
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let key = delivery.routing_key.clone();
        let properties = property::by_another(&delivery.properties);
        let sent = channel.basic_publish(to.into(), key, options, &delivery.data, properties);
        on_their_way.push_back((delivery.delivery_tag, sent.await?));
        let most = usize::from(WINDOW) / 2;
        let n_before = n;
        n += settle(channel, &mut on_their_way, most, (from, to)).await?;
        let asks = until == Until::CaughtUp && (n == 0 || n / LOOK != n_before / LOOK);
        if asks && (n > enough || ready(channel, from).await?.0 == 0) {
            n += settle(channel, &mut on_their_way, 0, (from, to)).await?;
            break;
        }
    }
    channel.basic_cancel(TAG.into(), BasicCancelOptions::default()).await?;
    Ok(n)
}

/// Waits for all confirms when more than `most` are missing, and acks.
///
/// One that says its message came back may mean another one's, see [`outbox`](super::outbox): all
/// are good, or none is acked.
async fn settle(
    channel: &Channel,
    on_their_way: &mut VecDeque<(u64, PublisherConfirm)>,
    most: usize,
    (from, to): (&str, &str),
) -> Result<u64, MoveError> {
    if on_their_way.len() <= most {
        return Ok(0);
    }
    let (mut n, mut last) = (0, None);
    let mut is_taken = true;
    while let Some((tag, confirm)) = on_their_way.pop_front() {
        is_taken &= confirm.await? == Confirmation::Ack(None);
        (n, last) = (n + 1, Some(tag));
    }
    if !is_taken {
        return Err(MoveError::NotTaken { from: from.to_owned(), to: to.to_owned() });
    }
    if let Some(tag) = last {
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    Ok(n)
}
