//! The shape of every method a client may send, checked before anything is decoded.

use crate::amqp::table;
use crate::codec::method::MethodFault;

/// One field of a method's arguments.
#[derive(Clone, Copy)]
enum Field {
    /// One octet of up to eight flag bits.
    Bits,
    Short,
    Long,
    LongLong,
    ShortString,
    LongString,
    Table,
}

/// What a pair of class and method numbers means when a client sends it.
enum Sender {
    Client(&'static [Field]),
    /// A method only a broker sends.
    Broker,
    Nobody,
}

/// Checks the arguments of `class`.`method`: every field whole, text in UTF-8, tables within
/// their depth, nothing left over.
pub(in crate::codec) fn check(class: u16, method: u16, bytes: &[u8]) -> Result<(), MethodFault> {
    let fields = match layout(class, method) {
        Sender::Client(fields) => fields,
        Sender::Broker => return Err(MethodFault::BrokerOnly),
        Sender::Nobody => return Err(MethodFault::Unknown),
    };
    let mut rest = bytes;
    for field in fields {
        let len = match field {
            Field::Bits => 1,
            Field::Short => 2,
            Field::Long => 4,
            Field::LongLong => 8,
            Field::ShortString => short_string(rest)?,
            Field::LongString => {
                let size = rest.get(..4).ok_or(MethodFault::Truncated)?;
                4 + u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize
            }
            Field::Table => table::check(rest).map_err(MethodFault::Table)?,
        };
        rest = rest.get(len..).ok_or(MethodFault::Truncated)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(MethodFault::TrailingBytes) }
}

fn short_string(bytes: &[u8]) -> Result<usize, MethodFault> {
    let len = usize::from(*bytes.first().ok_or(MethodFault::Truncated)?);
    let text = bytes[1..].get(..len).ok_or(MethodFault::Truncated)?;
    std::str::from_utf8(text).map_err(|_| MethodFault::NotUtf8)?;
    Ok(1 + len)
}

/// SPEC: the class and method tables of the grammar, with RabbitMQ's additions.
fn layout(class: u16, method: u16) -> Sender {
    use Field::*;
    use Sender::Broker;
    use Sender::Client;
    match (class, method) {
        // connection
        (10, 11) => Client(&[Table, ShortString, LongString, ShortString]),
        (10, 21) => Client(&[LongString]),
        (10, 31) => Client(&[Short, Long, Short]),
        (10, 40) => Client(&[ShortString, ShortString, Bits]),
        (10, 50) => Client(&[Short, ShortString, Short, Short]),
        (10, 51) => Client(&[]),
        (10, 70) => Client(&[LongString, ShortString]),
        (10, 10 | 20 | 30 | 41 | 60 | 61 | 71) => Broker,
        // channel
        (20, 10) => Client(&[ShortString]),
        (20, 20 | 21) => Client(&[Bits]),
        (20, 40) => Client(&[Short, ShortString, Short, Short]),
        (20, 41) => Client(&[]),
        (20, 11) => Broker,
        // access
        (30, 10) => Client(&[ShortString, Bits]),
        (30, 11) => Broker,
        // exchange
        (40, 10) => Client(&[Short, ShortString, ShortString, Bits, Table]),
        (40, 20) => Client(&[Short, ShortString, Bits]),
        (40, 30 | 40) => Client(&[Short, ShortString, ShortString, ShortString, Bits, Table]),
        (40, 11 | 21 | 31 | 51) => Broker,
        // queue
        (50, 10) => Client(&[Short, ShortString, Bits, Table]),
        (50, 20) => Client(&[Short, ShortString, ShortString, ShortString, Bits, Table]),
        (50, 30) => Client(&[Short, ShortString, Bits]),
        (50, 40) => Client(&[Short, ShortString, Bits]),
        (50, 50) => Client(&[Short, ShortString, ShortString, ShortString, Table]),
        (50, 11 | 21 | 31 | 41 | 51) => Broker,
        // basic; publish, ack, reject and nack are read by hand
        (60, 10) => Client(&[Long, Short, Bits]),
        (60, 20) => Client(&[Short, ShortString, ShortString, Bits, Table]),
        (60, 30) => Client(&[ShortString, Bits]),
        (60, 31) => Client(&[ShortString]),
        (60, 40) => Client(&[Short, ShortString, ShortString, Bits]),
        (60, 70) => Client(&[Short, ShortString, Bits]),
        (60, 80 | 90 | 120) => Client(&[LongLong, Bits]),
        (60, 100 | 110) => Client(&[Bits]),
        (60, 11 | 21 | 50 | 60 | 71 | 72 | 111) => Broker,
        // confirm
        (85, 10) => Client(&[Bits]),
        (85, 11) => Broker,
        // tx
        (90, 10 | 20 | 30) => Client(&[]),
        (90, 11 | 21 | 31) => Broker,
        _ => Sender::Nobody,
    }
}
