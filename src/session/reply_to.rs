//! Direct reply-to: the consumer of answers, and the address that requests carry.

use crate::amqp::id::ChannelId;
use crate::amqp::id::ConsumerId;
use crate::amqp::name::ConsumerTag;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::reply_code::ReplyCode;
use crate::broker::consume;
use crate::broker::reply_to;
use crate::codec::method::BasicConsume;
use crate::session::channel::ChannelState;
use crate::session::channel::Draft;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::outbox::Consuming;
use crate::session::refusal::Refusal;

fn refuse(text: &str) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, text)
}

impl Connection {
    /// COMPAT: only without acks, and once per channel.
    pub(in crate::session) fn consume_replies<D: Desk>(
        &mut self,
        channel: u16,
        consume: &BasicConsume,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if !consume.no_ack {
            return Err(refuse("reply consumer cannot acknowledge"));
        }
        let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        if open.replies.is_some() {
            return Err(refuse("reply consumer already set"));
        }
        open.n_consumers_ever += 1;
        let number = open.n_consumers_ever;
        let id = ConsumerId { connection: self.id, channel: ChannelId(channel), number };
        let token = desk.fresh_name("");
        open.replies = Some((id, token.clone()));
        let tag = match consume.consumer_tag.as_str() {
            "" => ConsumerTag::from(desk.fresh_name("amq.ctag-")),
            tag => ConsumerTag::new(tag),
        };
        let reply = !consume.nowait;
        desk.outbox(|outbox| outbox.begin_consumer(reply_to::NO_QUEUE, id, &tag, reply));
        desk.set_reply_consumer(&token, Some(id));
        Ok(())
    }

    /// Ends a consumer of a queue, or of answers.
    pub(in crate::session) fn end_consumer<D: Desk>(
        &mut self,
        consuming: &Consuming,
        desk: &mut D,
    ) {
        if consuming.queue != reply_to::NO_QUEUE {
            consume::cancel(desk, consuming.queue, consuming.id);
            return;
        }
        if let Some(ChannelState::Open(open)) = self.channels.get_mut(&consuming.id.channel.0)
            && let Some((_, token)) = open.replies.take()
        {
            desk.set_reply_consumer(&token, None);
        }
    }

    /// Makes the pseudo-queue in a request's `reply-to` the address of this channel.
    pub(in crate::session) fn address_reply(
        &mut self,
        channel: u16,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let properties = Properties::from_checked(&draft.properties);
        if properties.text(Property::ReplyTo) != Some(reply_to::NAME) {
            return Ok(());
        }
        let token = match self.channels.get(&channel) {
            Some(ChannelState::Open(open)) => open.replies.as_ref().map(|(_, token)| token),
            Some(ChannelState::Closing) | None => None,
        };
        let token = token.ok_or_else(|| refuse("fast reply consumer does not exist"))?;
        let mut list = properties.edit();
        list.set_text(Property::ReplyTo, &format!("{}{token}", reply_to::PREFIX));
        draft.properties = list.to_bytes();
        Ok(())
    }
}
