//! Class `exchange`.

use crate::access::permission::Right;
use crate::amqp::table::Value;
use crate::broker::declare;
use crate::broker::declare::Bind;
use crate::broker::declare::DeclareExchange;
use crate::broker::declare::Resource;
use crate::broker::delete;
use crate::codec::method::ExchangeBind;
use crate::codec::method::ExchangeDeclare;
use crate::codec::reply::Reply;
use crate::routing::Kind;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::refusal;
use crate::session::refusal::Refusal;

impl Connection {
    pub(in crate::session) fn on_exchange_declare<D: Desk>(
        &mut self,
        channel: u16,
        it: ExchangeDeclare,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let declare = DeclareExchange {
            name: it.exchange,
            kind: it.kind,
            passive: it.passive,
            durable: it.durable,
            auto_delete: it.auto_delete,
            internal: it.internal,
            arguments: it.arguments,
        };
        self.check_exchange_declare(&declare, desk)?;
        let batch = declare::declare_exchange(desk, &declare)
            .map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, (!it.nowait).then_some(Reply::ExchangeDeclareOk), desk);
        Ok(())
    }

    /// COMPAT: for a new exchange that names an alternate exchange, messages go from the one to the
    /// other. What is no exchange, or of no type, is refused for that first.
    fn check_exchange_declare<D: Desk>(
        &mut self,
        declare: &DeclareExchange,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let exchange = Resource::Exchange(declare.name.clone());
        if declare.name.is_empty() {
            return Ok(());
        }
        if declare.passive {
            return self.check_any_right(&exchange, desk);
        }
        if Kind::parse(&declare.kind).is_none() {
            return Ok(());
        }
        self.check_right(Right::Configure, &exchange, desk)?;
        let alternate = declare.arguments.get("alternate-exchange").and_then(Value::as_text);
        match alternate {
            Some(alternate) if desk.vhost().table.exchange(&declare.name).is_none() => {
                self.check_right(Right::Read, &exchange, desk)?;
                self.check_right(Right::Write, &Resource::Exchange(alternate.to_owned()), desk)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(in crate::session) fn on_exchange_delete<D: Desk>(
        &mut self,
        channel: u16,
        exchange: &str,
        if_unused: bool,
        nowait: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        // The broker's own are refused for what they are.
        if !exchange.is_empty() && !exchange.starts_with("amq.") {
            let of = Resource::Exchange(exchange.to_owned());
            self.check_right(Right::Configure, &of, desk)?;
        }
        let batch = delete::delete_exchange(desk, exchange, if_unused)
            .map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, (!nowait).then_some(Reply::ExchangeDeleteOk), desk);
        Ok(())
    }

    pub(in crate::session) fn on_exchange_bind<D: Desk>(
        &mut self,
        channel: u16,
        it: ExchangeBind,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let nowait = it.nowait;
        let bind = self.exchange_bind(it);
        self.check_bind(&bind, desk)?;
        let batch =
            declare::bind(desk, &bind).map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, (!nowait).then_some(Reply::ExchangeBindOk), desk);
        Ok(())
    }

    pub(in crate::session) fn on_exchange_unbind<D: Desk>(
        &mut self,
        channel: u16,
        it: ExchangeBind,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let nowait = it.nowait;
        let bind = self.exchange_bind(it);
        self.check_bind(&bind, desk)?;
        let batch =
            declare::unbind(desk, &bind).map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, (!nowait).then_some(Reply::ExchangeUnbindOk), desk);
        Ok(())
    }

    fn exchange_bind(&self, it: ExchangeBind) -> Bind {
        Bind {
            source: it.source,
            destination: Resource::Exchange(it.destination),
            key: it.routing_key,
            arguments: it.arguments,
            connection: self.id,
            service: self.service.clone(),
        }
    }
}
