//! The methods a broker sends, read without allocation.

use std::borrow::Cow;

/// The payload of a method frame from a broker, as far as a load generator cares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Incoming<'a> {
    Deliver {
        consumer_tag: &'a [u8],
        delivery_tag: u64,
        redelivered: bool,
    },
    /// A confirm.
    Ack {
        delivery_tag: u64,
        multiple: bool,
    },
    /// A refused publish.
    Nack {
        delivery_tag: u64,
        multiple: bool,
    },
    /// No queue took the message; its content follows.
    Return {
        reply_code: u16,
        reply_text: Cow<'a, str>,
    },
    ConnectionClose {
        reply_code: u16,
        reply_text: Cow<'a, str>,
    },
    ChannelClose {
        reply_code: u16,
        reply_text: Cow<'a, str>,
    },
    /// The broker takes no messages for now, and says why.
    Blocked {
        reason: Cow<'a, str>,
    },
    Unblocked,
    /// The broker ended a consumer, as when its queue is deleted.
    Cancel {
        consumer_tag: &'a [u8],
    },
    /// An answer, with its arguments.
    Other {
        class: u16,
        method: u16,
        arguments: &'a [u8],
    },
}

/// A method frame that ends before its arguments do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the broker sent a method frame that is too short")]
pub(super) struct Truncated;

/// Reads the payload of a method frame.
pub(super) fn parse(payload: &[u8]) -> Result<Incoming<'_>, Truncated> {
    let mut arguments = Arguments(payload);
    let numbers = (arguments.short()?, arguments.short()?);
    Ok(match numbers {
        (60, 60) => {
            let consumer_tag = arguments.short_bytes()?;
            let delivery_tag = arguments.long_long()?;
            let redelivered = arguments.octet()? & 1 == 1;
            Incoming::Deliver { consumer_tag, delivery_tag, redelivered }
        }
        (60, 80) => {
            let delivery_tag = arguments.long_long()?;
            Incoming::Ack { delivery_tag, multiple: arguments.octet()? & 1 == 1 }
        }
        (60, 120) => {
            let delivery_tag = arguments.long_long()?;
            Incoming::Nack { delivery_tag, multiple: arguments.octet()? & 1 == 1 }
        }
        (60, 50) => {
            let reply_code = arguments.short()?;
            Incoming::Return { reply_code, reply_text: arguments.text()? }
        }
        (60, 30) => Incoming::Cancel { consumer_tag: arguments.short_bytes()? },
        (10, 50) => {
            let reply_code = arguments.short()?;
            Incoming::ConnectionClose { reply_code, reply_text: arguments.text()? }
        }
        (20, 40) => {
            let reply_code = arguments.short()?;
            Incoming::ChannelClose { reply_code, reply_text: arguments.text()? }
        }
        (10, 60) => Incoming::Blocked { reason: arguments.text()? },
        (10, 61) => Incoming::Unblocked,
        (class, method) => Incoming::Other { class, method, arguments: arguments.0 },
    })
}

/// The unread arguments of a method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a>(pub(super) &'a [u8]);

impl<'a> Arguments<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn octet(&mut self) -> Result<u8, Truncated> {
        self.take::<1>().map(|[it]| it)
    }

    pub(super) fn short(&mut self) -> Result<u16, Truncated> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u32, Truncated> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn long_long(&mut self) -> Result<u64, Truncated> {
        self.take().map(u64::from_be_bytes)
    }

    /// A short string, whatever it is encoded in.
    pub(super) fn short_bytes(&mut self) -> Result<&'a [u8], Truncated> {
        let len = usize::from(self.octet()?);
        let (text, rest) = self.0.split_at_checked(len).ok_or(Truncated)?;
        self.0 = rest;
        Ok(text)
    }

    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, Truncated> {
        self.short_bytes().map(String::from_utf8_lossy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::codec::frame::next_frame;
    use crate::codec::reply;
    use crate::codec::reply::Close;
    use crate::codec::reply::Reply;

    fn check(bytes: &[u8], expected: &Incoming<'_>) {
        let (frame, _) = next_frame(bytes, 4096).unwrap().unwrap();
        assert_eq!(parse(frame.payload).as_ref(), Ok(expected));
        for end in 0..4 {
            assert_eq!(parse(&frame.payload[..end]), Err(Truncated));
        }
    }

    #[test]
    fn what_a_broker_writes_is_read() {
        let close =
            Close { reply_code: 320, reply_text: "shutdown".to_owned(), class: 0, method: 0 };
        let text = Cow::Borrowed("shutdown");
        let cases = [
            (
                Reply::ConnectionClose(close.clone()),
                Incoming::ConnectionClose { reply_code: 320, reply_text: text.clone() },
            ),
            (
                Reply::ChannelClose(close),
                Incoming::ChannelClose { reply_code: 320, reply_text: text },
            ),
            (
                Reply::ConnectionBlocked { reason: "low on disk".to_owned() },
                Incoming::Blocked { reason: "low on disk".into() },
            ),
            (Reply::ConnectionUnblocked, Incoming::Unblocked),
            (
                Reply::BasicCancel { consumer_tag: "7".to_owned() },
                Incoming::Cancel { consumer_tag: b"7" },
            ),
            (
                Reply::QueuePurgeOk { message_count: 3 },
                Incoming::Other { class: 50, method: 31, arguments: &[0, 0, 0, 3] },
            ),
        ];
        for (reply, expected) in cases {
            let mut bytes = Vec::new();
            reply::encode(&mut bytes, 1, &reply);
            check(&bytes, &expected);
        }
        let mut bytes = Vec::new();
        encode::ack(&mut bytes, 1, 99, true);
        check(&bytes, &Incoming::Ack { delivery_tag: 99, multiple: true });
        bytes.clear();
        encode::nack(&mut bytes, 1, 99, false);
        check(&bytes, &Incoming::Nack { delivery_tag: 99, multiple: false });
    }

    #[test]
    fn a_delivery_is_read() {
        let payload = b"\x00\x3c\x00\x3c\x0212\x00\x00\x00\x00\x00\x00\x00\x09\x01\x00\x01q";
        let expected =
            Incoming::Deliver { consumer_tag: b"12", delivery_tag: 9, redelivered: true };
        assert_eq!(parse(payload), Ok(expected));
        assert_eq!(parse(&payload[..15]), Err(Truncated));
    }
}
