//! The content of a publish: header and body frames, until the message is complete.

use bytes::Bytes;

use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::reply_code::ReplyCode;
use crate::broker::confirm::Confirm;
use crate::broker::publish;
use crate::codec::content;
use crate::codec::encode;
use crate::session::channel::Channel;
use crate::session::channel::ChannelState;
use crate::session::channel::Draft;
use crate::session::channel::Incoming;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::refusal;
use crate::session::refusal::Refusal;

fn unexpected(text: &str) -> Refusal {
    Refusal::new(ReplyCode::UnexpectedFrame, text)
}

fn no_content() -> Refusal {
    let text = "expected method frame, got non method frame instead";
    Refusal::anonymous(ReplyCode::UnexpectedFrame, text)
}

impl Channel {
    /// COMPAT: a method in the middle of content ends the connection.
    pub(in crate::session) fn expects_method(&self) -> Result<(), Refusal> {
        match &self.incoming {
            Incoming::Method => Ok(()),
            Incoming::Header { .. } => Err(unexpected(
                "expected content header for class 60, got non content header frame instead",
            )),
            Incoming::Body { .. } => {
                Err(unexpected("expected content body, got non content body frame instead"))
            }
        }
    }
}

impl Connection {
    /// A content header.
    pub(in crate::session) fn on_header(
        &mut self,
        channel: u16,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let body_bytes_max = self.limits().body_bytes_max;
        let Some(open) = self.open_channel(channel)? else { return Ok(()) };
        let mut draft = match std::mem::take(&mut open.incoming) {
            Incoming::Header { draft } => draft,
            Incoming::Method => return Err(no_content()),
            Incoming::Body { .. } => {
                return Err(unexpected(
                    "expected content body, got non content body frame instead",
                ));
            }
        };
        let header = content::parse(payload).map_err(refusal::content)?;
        if header.body_bytes > body_bytes_max {
            // Refused before any of it is held.
            return Err(refusal::body_too_large(header.body_bytes, body_bytes_max));
        }
        draft.properties.extend_from_slice(header.properties.as_bytes());
        open.incoming = Incoming::Body { draft, missing_bytes: header.body_bytes };
        Ok(())
    }

    /// Step 4b of a message's path, called by `session::connection::on_frame`; next is
    /// `broker::publish` once the body is complete.
    pub(in crate::session) fn on_body<D: Desk>(
        &mut self,
        channel: u16,
        payload: &[u8],
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let Some(open) = self.open_channel(channel)? else { return Ok(()) };
        let (mut draft, missing_bytes) = match std::mem::take(&mut open.incoming) {
            Incoming::Body { draft, missing_bytes } => (draft, missing_bytes),
            Incoming::Method => return Err(no_content()),
            Incoming::Header { .. } => {
                return Err(unexpected(
                    "expected content header for class 60, got non content header frame instead",
                ));
            }
        };
        let Some(missing_bytes) = missing_bytes.checked_sub(payload.len() as u64) else {
            let text = "content body frame exceeds remaining content size";
            return Err(Refusal::new(ReplyCode::FrameError, text));
        };
        let small = draft.chunks.is_empty()
            && draft.body.len() as u64 + payload.len() as u64 + missing_bytes
                <= limit::PACKED_BODY_BYTES as u64;
        if small {
            draft.body.extend_from_slice(payload);
        } else if !payload.is_empty() {
            draft.chunks.push(Bytes::copy_from_slice(payload));
        }
        if missing_bytes > 0 {
            open.incoming = Incoming::Body { draft, missing_bytes };
            return Ok(());
        }
        self.on_message(channel, draft, desk)
    }

    /// Publishes a message that has no body, right after its header.
    pub(in crate::session) fn finish_empty<D: Desk>(
        &mut self,
        channel: u16,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        match std::mem::take(&mut open.incoming) {
            Incoming::Body { draft, missing_bytes: 0 } => self.on_message(channel, draft, desk),
            other @ (Incoming::Method | Incoming::Header { .. } | Incoming::Body { .. }) => {
                open.incoming = other;
                Ok(())
            }
        }
    }

    /// A message is complete.
    fn on_message<D: Desk>(
        &mut self,
        channel: u16,
        draft: Box<Draft>,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let mut draft = draft;
        self.address_reply(channel, &mut draft)?;
        let parts = Parts {
            exchange: &draft.exchange,
            routing_key: RoutingKey(&draft.routing_key),
            properties: Properties::from_checked(&draft.properties),
            published_at: desk.now(),
        };
        let message = if draft.chunks.is_empty() {
            Message::copied(parts, &draft.body, &mut self.scratch.bytes)
        } else {
            Message::new(parts, &draft.chunks, &mut self.scratch.bytes)
        };
        let mandatory = draft.mandatory;
        self.spare = Some(draft);
        self.count_publish();
        self.check_publish(&message, desk)?;
        let user = self.client().user.clone();
        if self.is_transactional(channel) {
            return self.publish_later(channel, message, mandatory, desk);
        }
        let published = publish::publish(desk, &mut self.scratch, &message, &user);
        let published = published
            .map_err(|error| refusal::publish(&error, message.exchange(), &self.vhost, &user))?;
        if mandatory && !published.routed {
            self.return_unroutable(channel, &message, desk);
        }
        self.confirm(channel, published.confirm);
        Ok(())
    }

    /// Hands a mandatory message back that no queue took.
    pub(in crate::session) fn return_unroutable<D: Desk>(
        &self,
        channel: u16,
        message: &Message,
        desk: &mut D,
    ) {
        let frame_max = self.tuned().frame_max;
        let (number, name) = (ReplyCode::NoRoute.number(), ReplyCode::NoRoute.name());
        let returned = publish::returned(message);
        let message = returned.as_ref().unwrap_or(message);
        desk.outbox(|outbox| {
            let frames = &mut outbox.frames;
            encode::return_message(frames, channel, frame_max, number, name, message);
        });
    }

    /// Notes what a publish waits for, on a channel with confirms.
    fn confirm(&mut self, channel: u16, confirm: Confirm) {
        let Some(ChannelState::Open(open)) = self.channels.get_mut(&channel) else { return };
        let Some(confirms) = &mut open.confirms else { return };
        if !confirms.is_waiting() {
            self.confirming.push(channel);
        }
        confirms.push(confirm);
    }

    /// The channel a content frame belongs to; `None` when its frames are to be dropped.
    fn open_channel(&mut self, channel: u16) -> Result<Option<&mut Channel>, Refusal> {
        match self.channels.get_mut(&channel) {
            Some(ChannelState::Open(open)) => Ok(Some(open)),
            Some(ChannelState::Closing) => Ok(None),
            None => Err(Refusal::anonymous(ReplyCode::ChannelError, "expected 'channel.open'")),
        }
    }
}
