//! The methods a client sends, written by hand.

use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::codec::frame::END;
use crate::codec::frame::FrameKind;

/// One method frame being written: its arguments in the order of the specification.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn new(channel: u16, class: u16, method: u16) -> Request {
        let mut bytes = vec![FrameKind::Method as u8];
        bytes.extend_from_slice(&channel.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&class.to_be_bytes());
        bytes.extend_from_slice(&method.to_be_bytes());
        Request(bytes)
    }

    /// Flag bits, the first lowest.
    pub(super) fn bits(mut self, bits: &[bool]) -> Request {
        let octet = bits.iter().rev().fold(0, |sum, bit| sum << 1 | u8::from(*bit));
        self.0.push(octet);
        self
    }

    pub(super) fn short(mut self, value: u16) -> Request {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, value: u32) -> Request {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Text beyond a short string's 255 bytes is cut off; arguments are checked before.
    pub(super) fn text(mut self, text: &str) -> Request {
        let text = &text.as_bytes()[..text.len().min(limit::SHORT_STRING_BYTES)];
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text);
        self
    }

    pub(super) fn long_text(self, bytes: &[u8]) -> Request {
        let mut this = self.long(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        this.0.extend_from_slice(bytes);
        this
    }

    pub(super) fn table(mut self, table: &Table) -> Request {
        table.encode(&mut self.0);
        self
    }

    /// The whole frame.
    pub(super) fn finish(mut self) -> Vec<u8> {
        const HEAD_BYTES: usize = 7;
        let payload_bytes = u32::try_from(self.0.len() - HEAD_BYTES).unwrap_or(u32::MAX);
        self.0[3..HEAD_BYTES].copy_from_slice(&payload_bytes.to_be_bytes());
        self.0.push(END);
        self.0
    }
}

/// `basic.ack` of a delivery.
pub(super) fn ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    settle(out, channel, 80, delivery_tag, u8::from(multiple));
}

/// `basic.nack` of one delivery.
pub(super) fn nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, requeue: bool) {
    settle(out, channel, 120, delivery_tag, u8::from(requeue) << 1);
}

/// The frame is built on the stack and copied in one go: acks are half of a consumer's cost.
fn settle(out: &mut Vec<u8>, channel: u16, method: u8, delivery_tag: u64, bits: u8) {
    let [channel_0, channel_1] = channel.to_be_bytes();
    let [a, b, c, d, e, f, g, h] = delivery_tag.to_be_bytes();
    out.extend_from_slice(&[
        FrameKind::Method as u8,
        channel_0,
        channel_1,
        0,
        0,
        0,
        13,
        0,
        60,
        0,
        method,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        bits,
        END,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::table::Value;
    use crate::codec::frame::next_frame;
    use crate::codec::method;
    use crate::codec::method::Method;

    fn read(bytes: &[u8]) -> (u16, Method<'_>) {
        let (frame, taken) = next_frame(bytes, limit::FRAME_MAX).unwrap().unwrap();
        assert_eq!((frame.kind, taken), (FrameKind::Method, bytes.len()));
        (frame.channel, method::parse(frame.payload).unwrap())
    }

    #[test]
    fn a_broker_reads_what_is_written() {
        let arguments = Table(vec![("x-max-length".to_owned(), Value::I64(7))]);
        let bits = [false, true, false, true, false];
        let bytes = Request::new(3, 50, 10).short(0).text("q").bits(&bits).table(&arguments);
        let bytes = bytes.finish();
        let (channel, Method::QueueDeclare(declare)) = read(&bytes) else { panic!() };
        assert_eq!((channel, &*declare.queue, declare.arguments), (3, "q", arguments));
        let found = [declare.passive, declare.durable, declare.exclusive, declare.auto_delete];
        assert_eq!(found, [false, true, false, true]);

        let bytes = Request::new(0, 10, 31).short(2047).long(131_072).short(0).finish();
        let expected =
            Method::ConnectionTuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
        assert_eq!(read(&bytes), (0, expected));

        let bytes = Request::new(0, 10, 11)
            .table(&Table::default())
            .text("PLAIN")
            .long_text(b"\0a\0b")
            .text("en_US")
            .finish();
        let (_, Method::ConnectionStartOk { mechanism, response, .. }) = read(&bytes) else {
            panic!()
        };
        assert_eq!((&*mechanism, &*response), ("PLAIN", &b"\0a\0b"[..]));
    }

    #[test]
    fn a_broker_reads_how_deliveries_are_settled() {
        let mut out = Vec::new();
        ack(&mut out, 1, 77, true);
        let expected = Method::BasicAck { delivery_tag: 77, multiple: true };
        assert_eq!(read(&out), (1, expected));
        out.clear();
        nack(&mut out, 1, 78, true);
        let expected = Method::BasicNack { delivery_tag: 78, multiple: false, requeue: true };
        assert_eq!(read(&out), (1, expected));
    }
}
