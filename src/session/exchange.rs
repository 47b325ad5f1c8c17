//! Class `exchange`.

use crate::broker::declare;
use crate::broker::declare::Bind;
use crate::broker::declare::DeclareExchange;
use crate::broker::declare::Resource;
use crate::broker::delete;
use crate::codec::method::ExchangeBind;
use crate::codec::method::ExchangeDeclare;
use crate::codec::reply::Reply;
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
        let batch = declare::declare_exchange(desk, &declare)
            .map_err(|error| refusal::declare(&error, &self.vhost))?;
        self.reply_after(batch, channel, (!it.nowait).then_some(Reply::ExchangeDeclareOk), desk);
        Ok(())
    }

    pub(in crate::session) fn on_exchange_delete<D: Desk>(
        &mut self,
        channel: u16,
        exchange: &str,
        if_unused: bool,
        nowait: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
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
