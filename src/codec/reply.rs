//! The methods a broker sends, apart from those of every message.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::access;
use amq_protocol::protocol::basic;
use amq_protocol::protocol::channel;
use amq_protocol::protocol::confirm;
use amq_protocol::protocol::connection;
use amq_protocol::protocol::exchange;
use amq_protocol::protocol::gen_class;
use amq_protocol::protocol::queue;
use amq_protocol::protocol::tx;

use crate::amqp::table::Table;
use crate::codec::field::short;
use crate::codec::field::to_fields;
use crate::codec::frame::END;
use crate::codec::frame::FrameKind;

/// A method to a client.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    ConnectionStart { server_properties: Table, mechanisms: String },
    ConnectionTune { channel_max: u16, frame_max: u32, heartbeat: u16 },
    ConnectionOpenOk,
    ConnectionClose(Close),
    ConnectionCloseOk,
    ConnectionBlocked { reason: String },
    ConnectionUnblocked,
    ConnectionUpdateSecretOk,
    ChannelOpenOk,
    ChannelFlowOk { active: bool },
    ChannelClose(Close),
    ChannelCloseOk,
    AccessRequestOk,
    ExchangeDeclareOk,
    ExchangeDeleteOk,
    ExchangeBindOk,
    ExchangeUnbindOk,
    QueueDeclareOk { queue: String, message_count: u32, consumer_count: u32 },
    QueueBindOk,
    QueueUnbindOk,
    QueuePurgeOk { message_count: u32 },
    QueueDeleteOk { message_count: u32 },
    BasicQosOk,
    BasicConsumeOk { consumer_tag: String },
    BasicCancel { consumer_tag: String },
    BasicCancelOk { consumer_tag: String },
    BasicGetEmpty,
    BasicRecoverOk,
    ConfirmSelectOk,
    TxSelectOk,
    TxCommitOk,
    TxRollbackOk,
}

/// The arguments of `connection.close` and `channel.close`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close {
    pub reply_code: u16,
    pub reply_text: String,
    /// The method that failed, as class and method numbers; zeros when none did.
    pub class: u16,
    pub method: u16,
}

/// Appends a method frame.
pub fn encode(out: &mut Vec<u8>, channel: u16, reply: &Reply) {
    out.push(FrameKind::Method as u8);
    out.extend_from_slice(&channel.to_be_bytes());
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let class = to_class(reply);
    let buffer = std::mem::take(out);
    let written = gen_class(&class)(WriteContext::from(buffer));
    *out = written.expect("writing to memory does not fail").write;
    let size = u32::try_from(out.len() - size_at - 4).unwrap_or(u32::MAX);
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// One arm per reply, nothing else.
fn to_class(reply: &Reply) -> AMQPClass {
    use AMQPClass::{Access, Basic, Channel, Confirm, Connection, Exchange, Queue, Tx};
    match reply {
        Reply::ConnectionStart { server_properties, mechanisms } => {
            Connection(connection::AMQPMethod::Start(connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: to_fields(server_properties),
                mechanisms: mechanisms.as_str().into(),
                locales: "en_US".into(),
            }))
        }
        Reply::ConnectionTune { channel_max, frame_max, heartbeat } => {
            Connection(connection::AMQPMethod::Tune(connection::Tune {
                channel_max: *channel_max,
                frame_max: *frame_max,
                heartbeat: *heartbeat,
            }))
        }
        Reply::ConnectionOpenOk => {
            Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}))
        }
        Reply::ConnectionClose(close) => {
            Connection(connection::AMQPMethod::Close(connection::Close {
                reply_code: close.reply_code,
                reply_text: short(&close.reply_text),
                class_id: close.class,
                method_id: close.method,
            }))
        }
        Reply::ConnectionCloseOk => {
            Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
        }
        Reply::ConnectionBlocked { reason } => {
            Connection(connection::AMQPMethod::Blocked(connection::Blocked {
                reason: short(reason),
            }))
        }
        Reply::ConnectionUnblocked => {
            Connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}))
        }
        Reply::ConnectionUpdateSecretOk => {
            Connection(connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {}))
        }
        Reply::ChannelOpenOk => Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
        Reply::ChannelFlowOk { active } => {
            Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active: *active }))
        }
        Reply::ChannelClose(close) => Channel(channel::AMQPMethod::Close(channel::Close {
            reply_code: close.reply_code,
            reply_text: short(&close.reply_text),
            class_id: close.class,
            method_id: close.method,
        })),
        Reply::ChannelCloseOk => Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
        Reply::AccessRequestOk => Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
        Reply::ExchangeDeclareOk => {
            Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
        }
        Reply::ExchangeDeleteOk => Exchange(exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {})),
        Reply::ExchangeBindOk => Exchange(exchange::AMQPMethod::BindOk(exchange::BindOk {})),
        Reply::ExchangeUnbindOk => Exchange(exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {})),
        Reply::QueueDeclareOk { queue, message_count, consumer_count } => {
            Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
                queue: short(queue),
                message_count: *message_count,
                consumer_count: *consumer_count,
            }))
        }
        Reply::QueueBindOk => Queue(queue::AMQPMethod::BindOk(queue::BindOk {})),
        Reply::QueueUnbindOk => Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {})),
        Reply::QueuePurgeOk { message_count } => {
            Queue(queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count: *message_count }))
        }
        Reply::QueueDeleteOk { message_count } => {
            Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: *message_count }))
        }
        Reply::BasicQosOk => Basic(basic::AMQPMethod::QosOk(basic::QosOk {})),
        Reply::BasicConsumeOk { consumer_tag } => {
            Basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk {
                consumer_tag: short(consumer_tag),
            }))
        }
        // A broker that cancels does not wait for an answer.
        Reply::BasicCancel { consumer_tag } => Basic(basic::AMQPMethod::Cancel(basic::Cancel {
            consumer_tag: short(consumer_tag),
            nowait: true,
        })),
        Reply::BasicCancelOk { consumer_tag } => {
            Basic(basic::AMQPMethod::CancelOk(basic::CancelOk {
                consumer_tag: short(consumer_tag),
            }))
        }
        Reply::BasicGetEmpty => Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})),
        Reply::BasicRecoverOk => Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})),
        Reply::ConfirmSelectOk => Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})),
        Reply::TxSelectOk => Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})),
        Reply::TxCommitOk => Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})),
        Reply::TxRollbackOk => Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})),
    }
}
