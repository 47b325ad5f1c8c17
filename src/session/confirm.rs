//! Class `confirm`, and the acks and nacks to publishers.

use crate::amqp::id::ChannelId;
use crate::amqp::reply_code::ReplyCode;
use crate::broker::confirm::Answer;
use crate::broker::confirm::Confirms;
use crate::codec::encode;
use crate::codec::reply::Reply;
use crate::session::channel::ChannelState;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::refusal::Refusal;

impl Connection {
    /// COMPAT: asking again is fine and does not start the numbers over.
    pub(in crate::session) fn on_confirm_select<D: Desk>(
        &mut self,
        channel: u16,
        nowait: bool,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) {
            if open.transaction.is_some() {
                let text = "cannot switch from tx to confirm mode";
                return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
            }
            open.confirms.get_or_insert_with(Confirms::default);
        }
        desk.outbox(|outbox| outbox.change_modes(ChannelId(channel), |it| it.confirms = true));
        if !nowait {
            desk.outbox(|outbox| outbox.reply(channel, &Reply::ConfirmSelectOk));
        }
        Ok(())
    }

    /// Answers every publish that is safe by now. Called when the log has synced, and at the end
    /// of every turn.
    pub fn on_durable<D: Desk>(&mut self, desk: &mut D) {
        if self.confirming.is_empty() {
            return;
        }
        let durable = desk.durable();
        let mut confirming = std::mem::take(&mut self.confirming);
        confirming.retain(|channel| {
            let Some(ChannelState::Open(open)) = self.channels.get_mut(channel) else {
                return false;
            };
            let Some(confirms) = &mut open.confirms else { return false };
            desk.outbox(|outbox| {
                let out = outbox.frames.open();
                confirms.on_durable(durable, |answer| match answer {
                    Answer::Ack { delivery_tag, multiple } => {
                        encode::ack(out, *channel, delivery_tag, multiple);
                    }
                    Answer::Nack { delivery_tag } => {
                        encode::nack(out, *channel, delivery_tag, false);
                    }
                });
                outbox.note_confirms(ChannelId(*channel), confirms.counts());
            });
            confirms.is_waiting()
        });
        self.confirming = confirming;
    }
}
