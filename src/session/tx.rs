//! Class `tx`: publishes and settlements that wait for a commit.

use crate::amqp::id::ChannelId;
use crate::amqp::message::Message;
use crate::amqp::reply_code::ReplyCode;
use crate::broker::consume::Held;
use crate::broker::publish;
use crate::broker::transaction;
use crate::broker::transaction::Pending;
use crate::broker::transaction::Transaction;
use crate::codec::reply::Reply;
use crate::queue::settle::Settlement;
use crate::session::channel::ChannelState;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::refusal;
use crate::session::refusal::Refusal;

fn refuse(text: &str) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, text)
}

impl Connection {
    /// COMPAT: selecting again is fine; a channel with confirms cannot change its mind.
    pub(in crate::session) fn on_tx_select<D: Desk>(
        &mut self,
        channel: u16,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) {
            if open.confirms.is_some() {
                return Err(refuse("cannot switch from confirm to tx mode"));
            }
            open.transaction.get_or_insert_default();
        }
        desk.outbox(|outbox| {
            outbox.change_modes(ChannelId(channel), |it| it.transactional = true);
            outbox.reply(channel, &Reply::TxSelectOk);
        });
        Ok(())
    }

    pub(in crate::session) fn is_transactional(&self, channel: u16) -> bool {
        match self.channels.get(&channel) {
            Some(ChannelState::Open(open)) => open.transaction.is_some(),
            Some(ChannelState::Closing) | None => false,
        }
    }

    fn transaction(&mut self, channel: u16) -> Option<&mut Transaction> {
        match self.channels.get_mut(&channel) {
            Some(ChannelState::Open(open)) => open.transaction.as_mut(),
            Some(ChannelState::Closing) | None => None,
        }
    }

    /// COMPAT: a publish is checked when it comes, and happens at the commit.
    pub(in crate::session) fn publish_later<D: Desk>(
        &mut self,
        channel: u16,
        message: Message,
        mandatory: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let user = self.client().user.clone();
        publish::check(desk, &mut self.scratch, &message, &user)
            .map_err(|error| refusal::publish(&error, message.exchange(), &self.vhost, &user))?;
        if let Some(transaction) = self.transaction(channel) {
            transaction.publishes.push(Pending { message, mandatory });
        }
        Ok(())
    }

    /// COMPAT: what is settled in a transaction cannot be settled again in it, and stays unacked
    /// for its queue.
    pub(in crate::session) fn settle_later(
        &mut self,
        channel: u16,
        settlement: Settlement,
        held: Vec<Held>,
    ) {
        if let Some(transaction) = self.transaction(channel) {
            transaction.settlements.push((settlement, held));
        }
    }

    /// What a channel settled and never committed: it is as unsettled as the rest.
    pub(in crate::session) fn take_unsettled(&mut self, channel: u16) -> Vec<Held> {
        let transaction = self.transaction(channel).map(std::mem::take).unwrap_or_default();
        transaction.settlements.into_iter().flat_map(|(_, held)| held).collect()
    }

    /// COMPAT: returns come before commit-ok; a refusal by a queue fails the commit.
    pub(in crate::session) fn on_tx_commit<D: Desk>(
        &mut self,
        channel: u16,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let transaction = self.transaction(channel).map(std::mem::take);
        let transaction = transaction.ok_or_else(|| refuse("channel is not transactional"))?;
        let committed = transaction::commit(desk, &mut self.scratch, transaction);
        for message in &committed.returned {
            self.return_unroutable(channel, message, desk);
        }
        if committed.refused {
            return Err(refuse("partial tx completion"));
        }
        self.reply_after(committed.after, channel, Some(Reply::TxCommitOk), desk);
        Ok(())
    }

    /// COMPAT: publishes are dropped, and what was settled can be settled again; nothing is
    /// requeued.
    pub(in crate::session) fn on_tx_rollback<D: Desk>(
        &mut self,
        channel: u16,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let transaction = self.transaction(channel).map(std::mem::take);
        let transaction = transaction.ok_or_else(|| refuse("channel is not transactional"))?;
        let held = transaction.settlements.into_iter().flat_map(|(_, held)| held);
        desk.outbox(|outbox| {
            outbox.unsettle(ChannelId(channel), held);
            outbox.reply(channel, &Reply::TxRollbackOk);
        });
        Ok(())
    }
}
