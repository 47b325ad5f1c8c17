//! The methods a client sends.

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic;
use amq_protocol::protocol::channel;
use amq_protocol::protocol::connection;
use amq_protocol::protocol::exchange;
use amq_protocol::protocol::parse_class;
use amq_protocol::protocol::queue;

use crate::amqp::table::Table;
use crate::amqp::table::TableError;
use crate::codec::field::to_table;
use crate::codec::layout;

/// A method from a client. Those of every message borrow from the frame; the others own.
#[derive(Clone, PartialEq, Debug)]
pub enum Method<'a> {
    BasicPublish { exchange: &'a str, routing_key: &'a str, mandatory: bool, immediate: bool },
    BasicAck { delivery_tag: u64, multiple: bool },
    BasicNack { delivery_tag: u64, multiple: bool, requeue: bool },
    BasicReject { delivery_tag: u64, requeue: bool },
    BasicQos { prefetch_size: u32, prefetch_count: u16, global: bool },
    BasicConsume(BasicConsume),
    BasicCancel { consumer_tag: String, nowait: bool },
    BasicCancelOk,
    BasicGet { queue: String, no_ack: bool },
    BasicRecover { requeue: bool },
    BasicRecoverAsync { requeue: bool },
    ConnectionStartOk { client_properties: Table, mechanism: String, response: Vec<u8> },
    ConnectionSecureOk { response: Vec<u8> },
    ConnectionTuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 },
    ConnectionOpen { vhost: String },
    ConnectionClose { reply_code: u16, reply_text: String },
    ConnectionCloseOk,
    ConnectionUpdateSecret { new_secret: Vec<u8> },
    ChannelOpen,
    ChannelFlow { active: bool },
    ChannelFlowOk,
    ChannelClose { reply_code: u16, reply_text: String },
    ChannelCloseOk,
    AccessRequest,
    ExchangeDeclare(ExchangeDeclare),
    ExchangeDelete { exchange: String, if_unused: bool, nowait: bool },
    ExchangeBind(ExchangeBind),
    ExchangeUnbind(ExchangeBind),
    QueueDeclare(QueueDeclare),
    QueueBind(QueueBind),
    QueueUnbind(QueueBind),
    QueuePurge { queue: String, nowait: bool },
    QueueDelete { queue: String, if_unused: bool, if_empty: bool, nowait: bool },
    ConfirmSelect { nowait: bool },
    TxSelect,
    TxCommit,
    TxRollback,
}

#[derive(Clone, PartialEq, Debug)]
pub struct BasicConsume {
    pub queue: String,
    pub consumer_tag: String,
    pub no_ack: bool,
    pub exclusive: bool,
    pub nowait: bool,
    pub arguments: Table,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ExchangeDeclare {
    pub exchange: String,
    pub kind: String,
    pub passive: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub nowait: bool,
    pub arguments: Table,
}

/// `exchange.bind` and `exchange.unbind`.
#[derive(Clone, PartialEq, Debug)]
pub struct ExchangeBind {
    pub destination: String,
    pub source: String,
    pub routing_key: String,
    pub nowait: bool,
    pub arguments: Table,
}

#[derive(Clone, PartialEq, Debug)]
pub struct QueueDeclare {
    pub queue: String,
    pub passive: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub nowait: bool,
    pub arguments: Table,
}

/// `queue.bind` and `queue.unbind`, whose `nowait` is never set.
#[derive(Clone, PartialEq, Debug)]
pub struct QueueBind {
    pub queue: String,
    pub exchange: String,
    pub routing_key: String,
    pub nowait: bool,
    pub arguments: Table,
}

/// A method frame that cannot be read, and the numbers it began with (0 when it has none).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MethodError {
    pub class: u16,
    pub method: u16,
    pub fault: MethodFault,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MethodFault {
    /// The frame is too short to name a method.
    NoMethod,
    /// No such class, or no such method in it.
    Unknown,
    /// A method that only a broker may send.
    BrokerOnly,
    Truncated,
    TrailingBytes,
    NotUtf8,
    Table(TableError),
}

/// Reads the payload of a method frame.
pub fn parse(payload: &[u8]) -> Result<Method<'_>, MethodError> {
    let Some((&[class_0, class_1, method_0, method_1], arguments)) = payload.split_first_chunk()
    else {
        return Err(MethodError { class: 0, method: 0, fault: MethodFault::NoMethod });
    };
    let class = u16::from_be_bytes([class_0, class_1]);
    let method = u16::from_be_bytes([method_0, method_1]);
    let parsed = match (class, method) {
        (60, 40) => publish(arguments),
        (60, 80) => tag_and_bits(arguments)
            .map(|(delivery_tag, bits)| Method::BasicAck { delivery_tag, multiple: bits & 1 != 0 }),
        (60, 90) => tag_and_bits(arguments).map(|(delivery_tag, bits)| Method::BasicReject {
            delivery_tag,
            requeue: bits & 1 != 0,
        }),
        (60, 120) => tag_and_bits(arguments).map(|(delivery_tag, bits)| Method::BasicNack {
            delivery_tag,
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        }),
        _ => layout::check(class, method, arguments).and_then(|()| cold(payload)),
    };
    parsed.map_err(|fault| MethodError { class, method, fault })
}

fn publish(arguments: &[u8]) -> Result<Method<'_>, MethodFault> {
    // The first two bytes are the ticket, which nobody uses any more.
    let rest = arguments.get(2..).ok_or(MethodFault::Truncated)?;
    let (exchange, rest) = short_string(rest)?;
    let (routing_key, rest) = short_string(rest)?;
    let [bits] = rest else {
        let fault =
            if rest.is_empty() { MethodFault::Truncated } else { MethodFault::TrailingBytes };
        return Err(fault);
    };
    Ok(Method::BasicPublish {
        exchange,
        routing_key,
        mandatory: bits & 1 != 0,
        immediate: bits & 2 != 0,
    })
}

fn tag_and_bits(arguments: &[u8]) -> Result<(u64, u8), MethodFault> {
    match arguments.split_first_chunk() {
        Some((tag, [bits])) => Ok((u64::from_be_bytes(*tag), *bits)),
        Some((_, [_, _, ..])) => Err(MethodFault::TrailingBytes),
        Some((_, [])) | None => Err(MethodFault::Truncated),
    }
}

fn short_string(bytes: &[u8]) -> Result<(&str, &[u8]), MethodFault> {
    let (&len, rest) = bytes.split_first().ok_or(MethodFault::Truncated)?;
    let (text, rest) = rest.split_at_checked(usize::from(len)).ok_or(MethodFault::Truncated)?;
    Ok((std::str::from_utf8(text).map_err(|_| MethodFault::NotUtf8)?, rest))
}

/// A method that is not on the hot path, whose layout has been checked.
fn cold(payload: &[u8]) -> Result<Method<'static>, MethodFault> {
    // What the layout lets through, amq-protocol can read; a difference between the two tables
    // must not become a panic, so it is reported like any other unreadable method.
    let (_, class) = parse_class(payload).map_err(|_| MethodFault::Truncated)?;
    match class {
        AMQPClass::Connection(it) => connection_method(it),
        AMQPClass::Channel(it) => channel_method(it),
        AMQPClass::Exchange(it) => exchange_method(it),
        AMQPClass::Queue(it) => queue_method(it),
        AMQPClass::Basic(it) => basic_method(it, payload),
        AMQPClass::Access(_) => Ok(Method::AccessRequest),
        AMQPClass::Confirm(amq_protocol::protocol::confirm::AMQPMethod::Select(it)) => {
            Ok(Method::ConfirmSelect { nowait: it.nowait })
        }
        AMQPClass::Confirm(_) => Err(MethodFault::BrokerOnly),
        AMQPClass::Tx(it) => {
            use amq_protocol::protocol::tx::AMQPMethod as Tx;
            match it {
                Tx::Select(_) => Ok(Method::TxSelect),
                Tx::Commit(_) => Ok(Method::TxCommit),
                Tx::Rollback(_) => Ok(Method::TxRollback),
                Tx::SelectOk(_) | Tx::CommitOk(_) | Tx::RollbackOk(_) => {
                    Err(MethodFault::BrokerOnly)
                }
            }
        }
    }
}

fn connection_method(method: connection::AMQPMethod) -> Result<Method<'static>, MethodFault> {
    use connection::AMQPMethod as M;
    Ok(match method {
        M::StartOk(it) => Method::ConnectionStartOk {
            client_properties: to_table(&it.client_properties),
            mechanism: it.mechanism.into(),
            response: it.response.as_bytes().to_vec(),
        },
        M::SecureOk(it) => Method::ConnectionSecureOk { response: it.response.as_bytes().to_vec() },
        M::TuneOk(it) => Method::ConnectionTuneOk {
            channel_max: it.channel_max,
            frame_max: it.frame_max,
            heartbeat: it.heartbeat,
        },
        M::Open(it) => Method::ConnectionOpen { vhost: it.virtual_host.into() },
        M::Close(it) => {
            Method::ConnectionClose { reply_code: it.reply_code, reply_text: it.reply_text.into() }
        }
        M::CloseOk(_) => Method::ConnectionCloseOk,
        M::UpdateSecret(it) => {
            Method::ConnectionUpdateSecret { new_secret: it.new_secret.as_bytes().to_vec() }
        }
        M::Start(_)
        | M::Secure(_)
        | M::Tune(_)
        | M::OpenOk(_)
        | M::Blocked(_)
        | M::Unblocked(_)
        | M::UpdateSecretOk(_) => return Err(MethodFault::BrokerOnly),
    })
}

fn channel_method(method: channel::AMQPMethod) -> Result<Method<'static>, MethodFault> {
    use channel::AMQPMethod as M;
    Ok(match method {
        M::Open(_) => Method::ChannelOpen,
        M::Flow(it) => Method::ChannelFlow { active: it.active },
        M::FlowOk(_) => Method::ChannelFlowOk,
        M::Close(it) => {
            Method::ChannelClose { reply_code: it.reply_code, reply_text: it.reply_text.into() }
        }
        M::CloseOk(_) => Method::ChannelCloseOk,
        M::OpenOk(_) => return Err(MethodFault::BrokerOnly),
    })
}

fn exchange_method(method: exchange::AMQPMethod) -> Result<Method<'static>, MethodFault> {
    use exchange::AMQPMethod as M;
    Ok(match method {
        M::Declare(it) => Method::ExchangeDeclare(ExchangeDeclare {
            exchange: name(it.exchange.into()),
            kind: it.kind.into(),
            passive: it.passive,
            durable: it.durable,
            auto_delete: it.auto_delete,
            internal: it.internal,
            nowait: it.nowait,
            arguments: to_table(&it.arguments),
        }),
        M::Delete(it) => Method::ExchangeDelete {
            exchange: name(it.exchange.into()),
            if_unused: it.if_unused,
            nowait: it.nowait,
        },
        M::Bind(it) => Method::ExchangeBind(ExchangeBind {
            destination: name(it.destination.into()),
            source: name(it.source.into()),
            routing_key: it.routing_key.into(),
            nowait: it.nowait,
            arguments: to_table(&it.arguments),
        }),
        M::Unbind(it) => Method::ExchangeUnbind(ExchangeBind {
            destination: name(it.destination.into()),
            source: name(it.source.into()),
            routing_key: it.routing_key.into(),
            nowait: it.nowait,
            arguments: to_table(&it.arguments),
        }),
        M::DeclareOk(_) | M::DeleteOk(_) | M::BindOk(_) | M::UnbindOk(_) => {
            return Err(MethodFault::BrokerOnly);
        }
    })
}

fn queue_method(method: queue::AMQPMethod) -> Result<Method<'static>, MethodFault> {
    use queue::AMQPMethod as M;
    Ok(match method {
        M::Declare(it) => Method::QueueDeclare(QueueDeclare {
            queue: name(it.queue.into()),
            passive: it.passive,
            durable: it.durable,
            exclusive: it.exclusive,
            auto_delete: it.auto_delete,
            nowait: it.nowait,
            arguments: to_table(&it.arguments),
        }),
        M::Bind(it) => Method::QueueBind(QueueBind {
            queue: name(it.queue.into()),
            exchange: name(it.exchange.into()),
            routing_key: it.routing_key.into(),
            nowait: it.nowait,
            arguments: to_table(&it.arguments),
        }),
        M::Unbind(it) => Method::QueueUnbind(QueueBind {
            queue: name(it.queue.into()),
            exchange: name(it.exchange.into()),
            routing_key: it.routing_key.into(),
            nowait: false,
            arguments: to_table(&it.arguments),
        }),
        M::Purge(it) => Method::QueuePurge { queue: name(it.queue.into()), nowait: it.nowait },
        M::Delete(it) => Method::QueueDelete {
            queue: name(it.queue.into()),
            if_unused: it.if_unused,
            if_empty: it.if_empty,
            nowait: it.nowait,
        },
        M::DeclareOk(_) | M::BindOk(_) | M::UnbindOk(_) | M::PurgeOk(_) | M::DeleteOk(_) => {
            return Err(MethodFault::BrokerOnly);
        }
    })
}

fn basic_method(method: basic::AMQPMethod, payload: &[u8]) -> Result<Method<'static>, MethodFault> {
    use basic::AMQPMethod as M;
    Ok(match method {
        M::Qos(it) => Method::BasicQos {
            // amq-protocol drops this field; the broker must refuse any value but zero.
            prefetch_size: payload[4..8].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
            prefetch_count: it.prefetch_count,
            global: it.global,
        },
        M::Consume(it) => Method::BasicConsume(BasicConsume {
            queue: name(it.queue.into()),
            consumer_tag: it.consumer_tag.into(),
            no_ack: it.no_ack,
            exclusive: it.exclusive,
            nowait: it.nowait,
            arguments: to_table(&it.arguments),
        }),
        M::Cancel(it) => {
            Method::BasicCancel { consumer_tag: it.consumer_tag.into(), nowait: it.nowait }
        }
        M::CancelOk(_) => Method::BasicCancelOk,
        M::Get(it) => Method::BasicGet { queue: name(it.queue.into()), no_ack: it.no_ack },
        M::Recover(it) => Method::BasicRecover { requeue: it.requeue },
        M::RecoverAsync(it) => Method::BasicRecoverAsync { requeue: it.requeue },
        // Read by hand before this is reached.
        M::Publish(_) | M::Ack(_) | M::Nack(_) | M::Reject(_) => return Err(MethodFault::Unknown),
        M::QosOk(_)
        | M::ConsumeOk(_)
        | M::Return(_)
        | M::Deliver(_)
        | M::GetOk(_)
        | M::GetEmpty(_)
        | M::RecoverOk(_) => return Err(MethodFault::BrokerOnly),
    })
}

/// COMPAT: line ends are stripped from the names of exchanges and queues.
fn name(mut text: String) -> String {
    text.retain(|it| it != '\r' && it != '\n');
    text
}

#[cfg(test)]
mod tests;
