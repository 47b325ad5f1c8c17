//! What waits to be sent to one client, and what the client holds: the part of a session that
//! other connections reach, because they deliver to its consumers.

use std::collections::HashMap;
use std::collections::VecDeque;

use foldhash::fast::RandomState;

use crate::amqp::id::ChannelId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::DeliveryTag;
use crate::amqp::id::QueueId;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::name::ConsumerTag;
use crate::amqp::time::Millis;
use crate::broker::consume::Held;
use crate::codec::buffer::FrameBuffer;
use crate::codec::encode;
use crate::codec::encode::Deliver;
use crate::codec::encode::GetOk;
use crate::codec::reply;
use crate::codec::reply::Reply;
use crate::queue::dispatch::Delivery;

/// Unsent frames and unsettled deliveries of a connection.
///
/// Its owner keeps it behind one lock, taken after a queue's and never before.
#[derive(Debug)]
pub struct Outbox {
    pub frames: FrameBuffer,
    pub frame_max: u32,
    /// The client understands `basic.cancel` from the broker.
    pub tells_cancel: bool,
    channels: HashMap<ChannelId, Outgoing, RandomState>,
    /// Consumers that were refused a delivery because too much was unsent.
    stalled: Vec<(QueueId, ConsumerId)>,
    /// Channels to be closed because a consumer of theirs acked too late.
    late: Vec<(ChannelId, Millis)>,
    /// Nothing is delivered any more.
    closed: bool,
    /// Of all its channels that have confirms, those that are gone included.
    pub confirms: ConfirmCounts,
}

/// Publishes on channels with confirms, and how many of them are answered; counted for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConfirmCounts {
    pub published: u64,
    pub confirmed: u64,
}

/// The sending side of a channel.
#[derive(Debug, Default)]
struct Outgoing {
    last_tag: DeliveryTag,
    /// Deliveries by tag, ascending; `None` marks settled ones in the middle.
    unacked: VecDeque<(DeliveryTag, Option<Held>)>,
    n_unacked: usize,
    /// Deliveries all consumers of the channel may hold together; 0 is without limit.
    window: u16,
    consumers: HashMap<u32, Consuming, RandomState>,
    modes: Modes,
    confirms: ConfirmCounts,
    /// Consumers that were refused a delivery because the channel holds enough.
    stalled: Vec<(QueueId, ConsumerId)>,
}

/// What a client chose for a channel; kept here for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modes {
    /// Prefetch of consumers to come.
    pub prefetch: u16,
    pub confirms: bool,
    pub transactional: bool,
}

/// A channel as people see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenChannel {
    pub id: ChannelId,
    pub n_consumers: usize,
    pub n_unacked: usize,
    /// Deliveries and gets so far.
    pub n_delivered: u64,
    pub window: u16,
    pub modes: Modes,
    pub confirms: ConfirmCounts,
}

/// One consumer, as its connection knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consuming {
    pub tag: ConsumerTag,
    pub queue: QueueId,
    pub id: ConsumerId,
}

/// What a channel leaves behind.
#[derive(Debug, Default)]
pub struct Remains {
    pub consumers: Vec<Consuming>,
    pub held: Vec<Held>,
}

/// A tag the client may not settle: never given out, or settled already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownTag(pub u64);

impl Outbox {
    pub fn new() -> Outbox {
        Outbox {
            frames: FrameBuffer::default(),
            frame_max: limit::FRAME_MIN,
            tells_cancel: false,
            channels: HashMap::default(),
            stalled: Vec::new(),
            late: Vec::new(),
            closed: false,
            confirms: ConfirmCounts::default(),
        }
    }

    pub fn reply(&mut self, channel: u16, reply: &Reply) {
        reply::encode(self.frames.open(), channel, reply);
    }

    pub fn open_channel(&mut self, channel: ChannelId) {
        self.channels.insert(channel, Outgoing::default());
    }

    /// The open channels, in no order.
    pub fn channels(&self) -> impl Iterator<Item = OpenChannel> {
        self.channels.iter().map(|(id, it)| OpenChannel {
            id: *id,
            n_consumers: it.consumers.len(),
            n_unacked: it.n_unacked,
            n_delivered: it.last_tag.0,
            window: it.window,
            modes: it.modes,
            confirms: it.confirms,
        })
    }

    pub fn change_modes(&mut self, channel: ChannelId, change: impl FnOnce(&mut Modes)) {
        if let Some(outgoing) = self.channels.get_mut(&channel) {
            change(&mut outgoing.modes);
        }
    }

    /// Counts for people how many messages a channel has published, and of these how many are not
    /// confirmed.
    pub fn note_confirms(&mut self, channel: ChannelId, (published, unconfirmed): (u64, u64)) {
        let Some(outgoing) = self.channels.get_mut(&channel) else { return };
        let before = outgoing.confirms;
        let now = ConfirmCounts { published, confirmed: published - unconfirmed };
        self.confirms.published += now.published - before.published;
        self.confirms.confirmed += now.confirmed - before.confirmed;
        outgoing.confirms = now;
    }

    /// Takes a channel out: nothing more is delivered on it.
    pub fn close_channel(&mut self, channel: ChannelId) -> Remains {
        let Some(outgoing) = self.channels.remove(&channel) else { return Remains::default() };
        let mut consumers: Vec<Consuming> = outgoing.consumers.into_values().collect();
        consumers.sort_unstable_by_key(|it| it.id);
        let held = outgoing.unacked.into_iter().filter_map(|(_, held)| held).collect();
        Remains { consumers, held }
    }

    /// Nothing is delivered on any channel from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Makes a consumer known, and tells the client unless it does not want to hear.
    pub fn begin_consumer(
        &mut self,
        queue: QueueId,
        id: ConsumerId,
        tag: &ConsumerTag,
        reply: bool,
    ) {
        if let Some(outgoing) = self.channels.get_mut(&id.channel) {
            let consuming = Consuming { tag: tag.clone(), queue, id };
            outgoing.consumers.insert(id.number, consuming);
        }
        if reply {
            let consumer_tag = tag.to_string();
            self.reply(id.channel.0, &Reply::BasicConsumeOk { consumer_tag });
        }
    }

    /// The consumer of a channel with this tag.
    pub fn consumer(&self, channel: ChannelId, tag: &str) -> Option<&Consuming> {
        self.channels.get(&channel)?.consumers.values().find(|it| it.tag == *tag)
    }

    pub fn n_consumers(&self, channel: ChannelId) -> usize {
        self.channels.get(&channel).map_or(0, |it| it.consumers.len())
    }

    pub fn remove_consumer(&mut self, id: ConsumerId) -> Option<Consuming> {
        self.channels.get_mut(&id.channel)?.consumers.remove(&id.number)
    }

    /// A consumer's queue is gone: the client is told, if it said that it can be.
    pub fn cancel(&mut self, id: ConsumerId) {
        let Some(consuming) = self.remove_consumer(id) else { return };
        if self.tells_cancel {
            let consumer_tag = consuming.tag.to_string();
            self.reply(id.channel.0, &Reply::BasicCancel { consumer_tag });
        }
    }

    /// A consumer of a channel did not ack in time; its session is to close the channel.
    pub fn late(&mut self, channel: ChannelId, timeout: Millis) {
        if self.channels.contains_key(&channel) && self.late.iter().all(|it| it.0 != channel) {
            self.late.push((channel, timeout));
        }
    }

    /// The channels that are to be closed for that.
    pub fn take_late(&mut self) -> Vec<(ChannelId, Millis)> {
        std::mem::take(&mut self.late)
    }

    /// Step 11 of a message's path, called by `queue::dispatch`; next is
    /// `server::connection::write_loop`.
    ///
    /// Gives the delivery its tag and appends its frames; `false` when too much is unsent, or when
    /// the channel holds as much as it may.
    pub fn deliver(&mut self, queue: QueueId, delivery: &Delivery<'_>) -> bool {
        let id = delivery.consumer;
        if self.closed {
            return false;
        }
        if self.frames.len() >= limit::OUTBOX_BYTES_HIGH {
            self.stalled.push((queue, id));
            return false;
        }
        let Some(outgoing) = self.channels.get_mut(&id.channel) else { return false };
        if delivery.handle.is_some() && outgoing.is_full() {
            outgoing.stalled.push((queue, id));
            return false;
        }
        let Some(consuming) = outgoing.consumers.get(&id.number) else { return false };
        outgoing.last_tag.0 += 1;
        let tag = outgoing.last_tag;
        let properties = delivery.properties();
        let method = Deliver {
            consumer_tag: &consuming.tag,
            delivery_tag: tag.0,
            redelivered: delivery.mark.redelivered,
        };
        encode::deliver(
            &mut self.frames,
            id.channel.0,
            self.frame_max,
            method,
            delivery.message,
            properties.as_deref(),
        );
        if let Some(handle) = delivery.handle {
            outgoing.hold(Held { tag, queue, handle, consumer: Some(id) });
        }
        true
    }

    /// Delivers an answer to a request of this channel; `false` when nobody waits for it.
    pub fn reply_message(&mut self, id: ConsumerId, message: &Message) -> bool {
        if self.closed || self.frames.len() >= limit::OUTBOX_BYTES_HIGH {
            return false;
        }
        let Some(outgoing) = self.channels.get_mut(&id.channel) else { return false };
        let Some(consuming) = outgoing.consumers.get(&id.number) else { return false };
        outgoing.last_tag.0 += 1;
        let method = Deliver {
            consumer_tag: &consuming.tag,
            delivery_tag: outgoing.last_tag.0,
            redelivered: false,
        };
        let (frames, frame_max) = (&mut self.frames, self.frame_max);
        encode::deliver(frames, id.channel.0, frame_max, method, message, None);
        true
    }

    /// Appends the answer to `basic.get`; `held`, but for its tag, when the client must settle it.
    pub fn got(
        &mut self,
        channel: ChannelId,
        message: &Message,
        properties: Option<&[u8]>,
        redelivered: bool,
        message_count: u32,
        held: Option<Held>,
    ) {
        let Some(outgoing) = self.channels.get_mut(&channel) else { return };
        outgoing.last_tag.0 += 1;
        let tag = outgoing.last_tag;
        if let Some(held) = held {
            outgoing.hold(Held { tag, ..held });
        }
        let method = GetOk { delivery_tag: tag.0, redelivered, message_count };
        encode::get_ok(&mut self.frames, channel.0, self.frame_max, method, message, properties);
    }

    /// Takes the deliveries that a settlement covers, in order of their tags.
    ///
    /// COMPAT: tag 0 with `multiple` is everything, even nothing; any other tag must be one that
    /// is unsettled, also with `multiple`.
    pub fn settle(
        &mut self,
        channel: ChannelId,
        tag: u64,
        multiple: bool,
    ) -> Result<Vec<Held>, UnknownTag> {
        let unknown = UnknownTag(tag);
        let outgoing = self.channels.get_mut(&channel).ok_or(unknown)?;
        if tag == 0 && multiple {
            return Ok(outgoing.take_all());
        }
        let at = outgoing
            .unacked
            .binary_search_by_key(&DeliveryTag(tag), |(tag, _)| *tag)
            .map_err(|_| unknown)?;
        let one = outgoing.unacked[at].1.take().ok_or(unknown)?;
        outgoing.n_unacked -= 1;
        if !multiple {
            outgoing.trim();
            return Ok(vec![one]);
        }
        let mut held: Vec<Held> =
            outgoing.unacked.drain(..=at).filter_map(|(_, held)| held).collect();
        outgoing.n_unacked -= held.len();
        held.push(one);
        outgoing.trim();
        Ok(held)
    }

    /// Makes deliveries unsettled again that [`Outbox::settle`] gave out.
    pub fn unsettle(&mut self, channel: ChannelId, held: impl Iterator<Item = Held>) {
        let Some(outgoing) = self.channels.get_mut(&channel) else { return };
        for held in held {
            match outgoing.unacked.binary_search_by_key(&held.tag, |(tag, _)| *tag) {
                Ok(at) => outgoing.unacked[at].1 = Some(held),
                Err(at) => outgoing.unacked.insert(at, (held.tag, Some(held))),
            }
            outgoing.n_unacked += 1;
        }
    }

    /// Takes every unsettled delivery of a channel, for `basic.recover`.
    pub fn settle_all(&mut self, channel: ChannelId) -> Vec<Held> {
        self.channels.get_mut(&channel).map(Outgoing::take_all).unwrap_or_default()
    }

    /// Sets how much all consumers of a channel may hold together.
    pub fn set_window(&mut self, channel: ChannelId, window: u16) {
        if let Some(outgoing) = self.channels.get_mut(&channel) {
            outgoing.window = window;
        }
    }

    /// Whether all consumers of a channel have one limit together.
    pub fn has_window(&self, channel: ChannelId) -> bool {
        self.channels.get(&channel).is_some_and(|it| it.window > 0)
    }

    /// Consumers of a channel that may be served again because something was settled.
    pub fn take_unblocked(&mut self, channel: ChannelId) -> Vec<(QueueId, ConsumerId)> {
        match self.channels.get_mut(&channel) {
            Some(it) if !it.stalled.is_empty() && !it.is_full() => std::mem::take(&mut it.stalled),
            Some(_) | None => Vec::new(),
        }
    }

    /// Consumers that may be served again because enough was sent.
    pub fn take_drained(&mut self) -> Vec<(QueueId, ConsumerId)> {
        if self.has_drained() { std::mem::take(&mut self.stalled) } else { Vec::new() }
    }

    /// Whether [`Outbox::take_drained`] or [`Outbox::take_late`] would return something.
    pub fn has_work(&self) -> bool {
        !self.late.is_empty() || self.has_drained()
    }

    fn has_drained(&self) -> bool {
        !self.stalled.is_empty() && self.frames.len() <= limit::OUTBOX_BYTES_LOW
    }

    /// Unsettled deliveries of all channels.
    pub fn n_unacked(&self) -> usize {
        self.channels.values().map(|it| it.n_unacked).sum()
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}

impl Outgoing {
    fn is_full(&self) -> bool {
        (self.window > 0 && self.n_unacked >= usize::from(self.window))
            || self.n_unacked >= limit::UNACKED_PER_CHANNEL
    }

    fn hold(&mut self, held: Held) {
        self.unacked.push_back((held.tag, Some(held)));
        self.n_unacked += 1;
    }

    fn take_all(&mut self) -> Vec<Held> {
        self.n_unacked = 0;
        self.unacked.drain(..).filter_map(|(_, held)| held).collect()
    }

    /// Drops settled entries from the front, and all of them when few of many are left.
    fn trim(&mut self) {
        while self.unacked.front().is_some_and(|(_, held)| held.is_none()) {
            self.unacked.pop_front();
        }
        if self.unacked.len() > 64 && self.unacked.len() > 4 * self.n_unacked {
            self.unacked.retain(|(_, held)| held.is_some());
        }
    }
}
