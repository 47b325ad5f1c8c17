//! Class `queue`.

use crate::access::permission::Right;
use crate::amqp::reply_code::ReplyCode;
use crate::amqp::table::Value;
use crate::broker::declare;
use crate::broker::declare::Bind;
use crate::broker::declare::DeclareError;
use crate::broker::declare::DeclareQueue;
use crate::broker::declare::Resource;
use crate::broker::delete;
use crate::broker::reply_to;
use crate::codec::method::QueueBind;
use crate::codec::method::QueueDeclare;
use crate::codec::reply::Reply;
use crate::session::channel::ChannelState;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::refusal;
use crate::session::refusal::Refusal;

impl Connection {
    pub(in crate::session) fn on_queue_declare<D: Desk>(
        &mut self,
        channel: u16,
        it: QueueDeclare,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let generated = it.queue.is_empty() && !it.passive;
        let name = if generated { desk.fresh_name("amq.gen-") } else { it.queue };
        let declare = DeclareQueue {
            name,
            passive: it.passive,
            durable: it.durable,
            exclusive: it.exclusive,
            auto_delete: it.auto_delete,
            arguments: it.arguments,
            connection: self.id,
            generated,
        };
        self.check_queue_declare(&declare, desk)?;
        let declared = match reply_to::declared(desk, &declare) {
            Some(Some(declared)) => Ok(declared),
            Some(None) => Err(DeclareError::NoSuchQueue(declare.name.clone())),
            None => declare::declare_queue(desk, &declare),
        };
        let declared = declared.map_err(|error| refusal::declare(&error, &self.vhost))?;
        if let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) {
            open.last_queue = Some(declare.name.clone());
        }
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        let reply = Reply::QueueDeclareOk {
            queue: declare.name,
            message_count: count(declared.n_ready),
            consumer_count: count(declared.n_consumers),
        };
        self.reply_after(declared.after, channel, (!it.nowait).then_some(reply), desk);
        Ok(())
    }

    /// COMPAT: for a new queue that names a dead-letter exchange, messages go from the one to the
    /// other, which takes the rights of somebody who did that by hand.
    fn check_queue_declare<D: Desk>(
        &mut self,
        declare: &DeclareQueue,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if declare.name.starts_with("amq.") && !declare.generated {
            // Refused for its name, or one of the broker's own.
            return Ok(());
        }
        let queue = Resource::Queue(declare.name.clone());
        if declare.passive {
            return self.check_any_right(&queue, desk);
        }
        self.check_right(Right::Configure, &queue, desk)?;
        let letters = declare.arguments.get("x-dead-letter-exchange").and_then(Value::as_text);
        match letters {
            Some(exchange) if desk.vhost().queue(&declare.name).is_none() => {
                self.check_right(Right::Read, &queue, desk)?;
                self.check_right(Right::Write, &Resource::Exchange(exchange.to_owned()), desk)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// COMPAT: messages flow from the exchange into the destination.
    pub(in crate::session) fn check_bind<D: Desk>(
        &mut self,
        bind: &Bind,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if bind.source.is_empty() || bind.destination.name().is_empty() {
            // Refused because of the default exchange.
            return Ok(());
        }
        self.check_right(Right::Write, &bind.destination, desk)?;
        self.check_right(Right::Read, &Resource::Exchange(bind.source.clone()), desk)?;
        self.check_key(Right::Read, &bind.source, &bind.key, desk)
    }

    pub(in crate::session) fn on_queue_bind<D: Desk>(
        &mut self,
        channel: u16,
        it: QueueBind,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let nowait = it.nowait;
        let bind = self.queue_bind(channel, it)?;
        self.check_bind(&bind, desk)?;
        let batch =
            declare::bind(desk, &bind).map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, (!nowait).then_some(Reply::QueueBindOk), desk);
        Ok(())
    }

    pub(in crate::session) fn on_queue_unbind<D: Desk>(
        &mut self,
        channel: u16,
        it: QueueBind,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let bind = self.queue_bind(channel, it)?;
        self.check_bind(&bind, desk)?;
        let batch =
            declare::unbind(desk, &bind).map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, Some(Reply::QueueUnbindOk), desk);
        Ok(())
    }

    /// COMPAT: when queue and key are both empty, the key too is the last queue's name.
    fn queue_bind(&mut self, channel: u16, it: QueueBind) -> Result<Bind, Refusal> {
        let both_empty = it.queue.is_empty() && it.routing_key.is_empty();
        let queue = self.queue_or_last(channel, it.queue)?;
        Ok(Bind {
            source: it.exchange,
            key: if both_empty { queue.clone() } else { it.routing_key },
            destination: Resource::Queue(queue),
            arguments: it.arguments,
            connection: self.id,
            service: self.service.clone(),
        })
    }

    pub(in crate::session) fn on_queue_purge<D: Desk>(
        &mut self,
        channel: u16,
        queue: String,
        nowait: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let queue = self.queue_or_last(channel, queue)?;
        self.check_right(Right::Read, &Resource::Queue(queue.clone()), desk)?;
        let n = delete::purge_queue(desk, &queue, self.id)
            .map_err(|error| refusal::declare(&error, &self.vhost))?;
        if !nowait {
            let message_count = u32::try_from(n).unwrap_or(u32::MAX);
            desk.outbox(|outbox| outbox.reply(channel, &Reply::QueuePurgeOk { message_count }));
        }
        Ok(())
    }

    pub(in crate::session) fn on_queue_delete<D: Desk>(
        &mut self,
        channel: u16,
        queue: String,
        if_unused: bool,
        if_empty: bool,
        nowait: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let queue = self.queue_or_last(channel, queue)?;
        self.check_right(Right::Configure, &Resource::Queue(queue.clone()), desk)?;
        let (n, batch) = delete::delete_queue(desk, &queue, if_unused, if_empty, self.id)
            .map_err(|error| refusal::declare(&error, &self.vhost))?;
        let message_count = u32::try_from(n).unwrap_or(u32::MAX);
        let reply = (!nowait).then_some(Reply::QueueDeleteOk { message_count });
        self.reply_after(batch, channel, reply, desk);
        Ok(())
    }

    /// COMPAT: an empty name means the queue last declared on the channel.
    pub(in crate::session) fn queue_or_last(
        &mut self,
        channel: u16,
        queue: String,
    ) -> Result<String, Refusal> {
        if !queue.is_empty() {
            return Ok(queue);
        }
        let last = match self.channels.get(&channel) {
            Some(ChannelState::Open(open)) => open.last_queue.clone(),
            Some(ChannelState::Closing) | None => None,
        };
        last.ok_or_else(|| Refusal::new(ReplyCode::NotFound, "no previously declared queue"))
    }
}
