//! Class `basic`: publishing, consuming, getting and settling.

use crate::access::permission::Right;
use crate::amqp::id::ChannelId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::DeliveryTag;
use crate::amqp::limit;
use crate::amqp::name::ConsumerTag;
use crate::amqp::offset::Offset;
use crate::amqp::reply_code::ReplyCode;
use crate::amqp::table::Table;
use crate::broker::consume;
use crate::broker::consume::Held;
use crate::broker::declare::Resource;
use crate::broker::reply_to;
use crate::codec::method::BasicConsume;
use crate::codec::reply::Reply;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::dispatch::Got;
use crate::queue::retry;
use crate::queue::settle::Settlement;
use crate::session::channel::ChannelState;
use crate::session::channel::Incoming;
use crate::session::connection::Connection;
use crate::session::connection::Waiting;
use crate::session::desk::Desk;
use crate::session::refusal;
use crate::session::refusal::Refusal;

impl Connection {
    /// Step 4a of a message's path, called by `session::connection::on_frame`; next is
    /// `session::content::on_body`.
    pub(in crate::session) fn on_basic_publish(
        &mut self,
        channel: u16,
        exchange: &str,
        routing_key: &str,
        mandatory: bool,
        immediate: bool,
    ) -> Result<(), Refusal> {
        if immediate {
            return Err(Refusal::new(ReplyCode::NotImplemented, "immediate=true"));
        }
        let mut draft = self.spare.take().unwrap_or_default();
        draft.begin(exchange, routing_key, mandatory);
        if let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) {
            open.incoming = Incoming::Header { draft };
        }
        Ok(())
    }

    pub(in crate::session) fn on_basic_ack<D: Desk>(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        multiple: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        self.settle(channel, delivery_tag, multiple, Settlement::Ack, desk)
    }

    pub(in crate::session) fn on_basic_nack<D: Desk>(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        self.settle(channel, delivery_tag, multiple, Settlement::Nack { requeue }, desk)
    }

    pub(in crate::session) fn on_basic_reject<D: Desk>(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        requeue: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        self.settle(channel, delivery_tag, false, Settlement::Reject { requeue }, desk)
    }

    fn settle<D: Desk>(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        multiple: bool,
        settlement: Settlement,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let id = ChannelId(channel);
        let held = desk.outbox(|outbox| outbox.settle(id, delivery_tag, multiple));
        let held = held.map_err(refusal::unknown_tag)?;
        if self.is_transactional(channel) {
            self.settle_later(channel, settlement, held);
            return Ok(());
        }
        consume::settle(desk, &held, settlement);
        Self::serve_unblocked(id, desk);
        Ok(())
    }

    /// Serves consumers that waited for the channel to hold less.
    fn serve_unblocked<D: Desk>(channel: ChannelId, desk: &mut D) {
        for (queue, consumer) in desk.outbox(|outbox| outbox.take_unblocked(channel)) {
            consume::resume(desk, queue, consumer);
        }
    }

    /// Serves consumers that waited for the outbox to be sent, and closes channels that acked too
    /// late.
    pub fn serve_outbox<D: Desk>(&mut self, desk: &mut D) {
        for (channel, timeout) in desk.outbox(|outbox| outbox.take_late()) {
            self.refuse(&refusal::late_ack(channel, timeout), channel.0, (0, 0), desk);
        }
        for (queue, consumer) in desk.outbox(|outbox| outbox.take_drained()) {
            consume::resume(desk, queue, consumer);
        }
    }

    /// COMPAT: with `global`, one limit for all consumers of the channel, old and new; without,
    /// a limit for each consumer to come. RabbitMQ 4.3 takes both for the second.
    pub(in crate::session) fn on_basic_qos<D: Desk>(
        &mut self,
        channel: u16,
        prefetch_size: u32,
        prefetch_count: u16,
        global: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({prefetch_size})");
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
        let id = ChannelId(channel);
        if !global && let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) {
            open.prefetch = prefetch_count;
            desk.outbox(|outbox| outbox.change_modes(id, |it| it.prefetch = prefetch_count));
        }
        // COMPAT: a limit for each consumer lifts the one for all of them, if that came first.
        let window = if global { prefetch_count } else { 0 };
        desk.outbox(|outbox| outbox.set_window(id, window));
        Self::serve_unblocked(id, desk);
        desk.outbox(|outbox| outbox.reply(channel, &Reply::BasicQosOk));
        Ok(())
    }

    pub(in crate::session) fn on_basic_consume<D: Desk>(
        &mut self,
        channel: u16,
        consume: BasicConsume,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if consume.queue == reply_to::NAME {
            return self.consume_replies(channel, &consume, desk);
        }
        let queue = self.queue_or_last(channel, consume.queue)?;
        self.check_right(Right::Read, &Resource::Queue(queue.clone()), desk)?;
        let id = ChannelId(channel);
        if !consume.consumer_tag.is_empty()
            && desk.outbox(|outbox| outbox.consumer(id, &consume.consumer_tag).is_some())
        {
            let text = format!("attempt to reuse consumer tag '{}'", consume.consumer_tag);
            return Err(Refusal::new(ReplyCode::NotAllowed, text));
        }
        let max = limit::CONSUMERS_PER_CHANNEL;
        if desk.outbox(|outbox| outbox.n_consumers(id)) >= max {
            let text = format!("reached maximum ({max}) of consumers per channel");
            return Err(Refusal::new(ReplyCode::NotAllowed, text));
        }
        let refuse = |error| refusal::consume(&error, &queue, &self.vhost);
        // A queue that is not there is told before an argument that is wrong.
        consume::reachable(desk, &queue, self.id).map_err(refuse)?;
        let priority = consumer_priority(&consume.arguments, &queue, &self.vhost)?;
        let offset = stream_offset(&consume.arguments, &queue, &self.vhost)?;
        let tag = match consume.consumer_tag.as_str() {
            "" => ConsumerTag::from(desk.fresh_name("amq.ctag-")),
            tag => ConsumerTag::new(tag),
        };
        let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        open.n_consumers_ever += 1;
        let spec = ConsumerSpec {
            id: ConsumerId { connection: self.id, channel: id, number: open.n_consumers_ever },
            tag,
            connection_name: self.client().name.clone(),
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            prefetch: match self.channels.get(&channel) {
                Some(ChannelState::Open(open)) => open.prefetch,
                Some(ChannelState::Closing) | None => 0,
            },
            service: self.service.clone(),
            offset,
            has_window: desk.outbox(|outbox| outbox.has_window(id)),
        };
        consume::consume(desk, &queue, spec, !consume.nowait)
            .map_err(|error| refusal::consume(&error, &queue, &self.vhost))?;
        Ok(())
    }

    /// COMPAT: an unknown tag is fine. What the consumer holds can still be settled.
    pub(in crate::session) fn on_basic_cancel<D: Desk>(
        &mut self,
        channel: u16,
        consumer_tag: String,
        nowait: bool,
        desk: &mut D,
    ) {
        let id = ChannelId(channel);
        let consuming = desk.outbox(|outbox| outbox.consumer(id, &consumer_tag).cloned());
        if let Some(consuming) = consuming {
            // First from the queue, so that nothing is delivered after cancel-ok.
            self.end_consumer(&consuming, desk);
            desk.outbox(|outbox| outbox.remove_consumer(consuming.id));
        }
        if !nowait {
            desk.outbox(|outbox| outbox.reply(channel, &Reply::BasicCancelOk { consumer_tag }));
        }
    }

    pub(in crate::session) fn on_basic_get<D: Desk>(
        &mut self,
        channel: u16,
        queue: String,
        no_ack: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let queue = self.queue_or_last(channel, queue)?;
        self.check_right(Right::Read, &Resource::Queue(queue.clone()), desk)?;
        let service = self.service.as_ref();
        let (queue_id, got) = consume::get(desk, &queue, no_ack, self.id, service)
            .map_err(|error| refusal::consume(&error, &queue, &self.vhost))?;
        match got {
            Got::Empty => desk.outbox(|outbox| outbox.reply(channel, &Reply::BasicGetEmpty)),
            Got::Loading => self.waiting = Some(Waiting::Load { channel, queue, no_ack }),
            Got::Message { message, mark, counted, handle, remaining } => {
                let properties = (counted && mark.redelivered).then(|| {
                    retry::redelivered_properties(&message, &mark, &queue.as_str().into())
                });
                let held = handle.map(|handle| Held {
                    tag: DeliveryTag::default(),
                    queue: queue_id,
                    handle,
                    consumer: None,
                });
                let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
                desk.outbox(|outbox| {
                    outbox.got(
                        ChannelId(channel),
                        &message,
                        properties.as_deref(),
                        mark.redelivered,
                        remaining,
                        held,
                    );
                });
            }
        }
        Ok(())
    }

    /// COMPAT: recover-ok comes before the redeliveries.
    pub(in crate::session) fn on_basic_recover<D: Desk>(
        &mut self,
        channel: u16,
        requeue: bool,
        reply: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        let id = ChannelId(channel);
        let mut held = desk.outbox(|outbox| {
            if reply {
                outbox.reply(channel, &Reply::BasicRecoverOk);
            }
            outbox.settle_all(id)
        });
        held.sort_by_key(|it| it.queue);
        consume::settle(desk, &held, Settlement::Recover);
        Self::serve_unblocked(id, desk);
        Ok(())
    }

    /// Gives back what a channel has: its consumers go first, so that nothing comes back to it.
    pub(in crate::session) fn release_channel<D: Desk>(&mut self, channel: u16, desk: &mut D) {
        let id = ChannelId(channel);
        let mut remains = desk.outbox(|outbox| outbox.close_channel(id));
        for consuming in &remains.consumers {
            self.end_consumer(consuming, desk);
        }
        remains.held.extend(self.take_unsettled(channel));
        remains.held.sort_by_key(|it| it.queue);
        consume::settle(desk, &remains.held, Settlement::Lost);
        self.confirming.retain(|it| *it != channel);
    }
}

/// COMPAT: any integer.
fn consumer_priority(arguments: &Table, queue: &str, vhost: &str) -> Result<Option<i32>, Refusal> {
    let Some(value) = arguments.get("x-priority") else { return Ok(None) };
    match value.as_integer() {
        Some(number) => Ok(Some(i32::try_from(number).unwrap_or(match number {
            ..0 => i32::MIN,
            0.. => i32::MAX,
        }))),
        None => Err(Refusal::new(
            ReplyCode::PreconditionFailed,
            format!(
                "invalid arg 'x-priority' for queue '{queue}' in vhost '{vhost}': \"expected \
                 integer, got {}\"",
                value.type_name()
            ),
        )),
    }
}

/// Where to begin on a stream.
fn stream_offset(arguments: &Table, queue: &str, vhost: &str) -> Result<Option<Offset>, Refusal> {
    for key in ["x-stream-filter", "x-stream-match-unfiltered"] {
        if arguments.get(key).is_some() {
            let text = format!("{key} for queue '{queue}' in vhost '{vhost}'");
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
    }
    let Some(value) = arguments.get("x-stream-offset") else { return Ok(None) };
    match Offset::parse(value) {
        Some(offset) => Ok(Some(offset)),
        None => Err(refusal::stream_offset(value, queue, vhost)),
    }
}
