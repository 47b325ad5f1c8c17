use amq_protocol::frame::AMQPFrame;
use amq_protocol::frame::parse_frame;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic;
use amq_protocol::protocol::basic::AMQPMethod;

use super::*;
use crate::amqp::message::Parts;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::PropertyList;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::amqp::time::Timestamp;
use crate::codec::reply;
use crate::codec::reply::Reply;

fn message(body: &[u8], chunk: usize) -> Message {
    let mut list = PropertyList::default();
    list.set_delivery_mode(2);
    list.headers_mut().set("n", Value::I32(1));
    let bytes = list.to_bytes();
    let parts = Parts {
        exchange: "orders",
        routing_key: RoutingKey("order.created"),
        properties: Properties::check(&bytes).unwrap(),
        published_at: Timestamp(1),
    };
    let chunks: Vec<Bytes> = body.chunks(chunk).map(Bytes::copy_from_slice).collect();
    Message::new(parts, &chunks, &mut Vec::new())
}

/// Reads everything in `buffer` with another codec.
fn frames(buffer: &FrameBuffer) -> Vec<AMQPFrame> {
    let (slices, n) = buffer.slices::<64>();
    let bytes = slices[..n].concat();
    assert_eq!(bytes.len(), buffer.len());
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).unwrap();
        frames.push(frame);
        rest = after;
    }
    frames
}

#[test]
fn deliveries_are_read_by_another_codec() {
    for (size, frame_max) in [(0, 4096), (10, 4096), (4088, 4096), (4089, 4096), (70_000, 131_072)]
    {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let mut out = FrameBuffer::default();
        let method = Deliver { consumer_tag: "tag", delivery_tag: 7, redelivered: true };
        deliver(&mut out, 3, frame_max, method, &message(&body, 30_000), None);
        let frames = frames(&out);
        assert_eq!(
            frames[0],
            AMQPFrame::Method(
                3,
                AMQPClass::Basic(AMQPMethod::Deliver(basic::Deliver {
                    consumer_tag: "tag".into(),
                    delivery_tag: 7,
                    redelivered: true,
                    exchange: "orders".into(),
                    routing_key: "order.created".into(),
                }))
            )
        );
        let AMQPFrame::Header(3, header) = &frames[1] else { panic!("{:?}", frames[1]) };
        assert_eq!(header.body_size, size as u64);
        assert_eq!(header.properties.delivery_mode(), &Some(2));
        let mut read = Vec::new();
        for frame in &frames[2..] {
            let AMQPFrame::Body(3, piece) = frame else { panic!("{frame:?}") };
            assert!(piece.len() + 8 <= frame_max as usize && !piece.is_empty());
            read.extend_from_slice(piece);
        }
        assert_eq!(read, body);
    }
}

#[test]
fn get_return_ack_and_nack_are_read_by_another_codec() {
    let mut out = FrameBuffer::default();
    let message = message(b"x", 1);
    get_ok(
        &mut out,
        1,
        4096,
        GetOk { delivery_tag: 1, redelivered: false, message_count: 5 },
        &message,
        Some(&[0, 0]),
    );
    return_message(&mut out, 1, 4096, 312, "NO_ROUTE", &message);
    ack(out.open(), 1, 8, true);
    nack(out.open(), 1, 9, false);
    heartbeat(out.open());
    let methods: Vec<String> = frames(&out)
        .into_iter()
        .filter(|frame| !matches!(frame, AMQPFrame::Header(..) | AMQPFrame::Body(..)))
        .map(|frame| format!("{frame:?}"))
        .collect();
    let all = methods.join("\n");
    for part in [
        "GetOk { delivery_tag: 1, redelivered: false",
        "message_count: 5",
        "Return { reply_code: 312",
        "Ack { delivery_tag: 8, multiple: true",
        "Nack { delivery_tag: 9, multiple: false, requeue: true",
        "Heartbeat",
    ] {
        assert!(all.contains(part), "`{part}` is not in {all}");
    }
}

#[test]
fn cold_replies_are_read_by_another_codec() {
    let close =
        reply::Close { reply_code: 404, reply_text: "é".repeat(200), class: 50, method: 10 };
    let replies = [
        Reply::ConnectionStart {
            server_properties: Table(vec![
                ("product".into(), Value::text("railpost")),
                ("capabilities".into(), Value::Table(Table(vec![("a".into(), Value::Bool(true))]))),
            ]),
            mechanisms: "PLAIN AMQPLAIN".into(),
        },
        Reply::ConnectionClose(close.clone()),
        Reply::ChannelClose(close),
        Reply::QueueDeclareOk { queue: "q".into(), message_count: 1, consumer_count: 2 },
        Reply::BasicCancel { consumer_tag: "tag".into() },
        Reply::ConnectionCloseOk,
        Reply::BasicRecoverOk,
        Reply::QueueUnbindOk,
    ];
    let mut out = FrameBuffer::default();
    replies.iter().for_each(|it| reply::encode(out.open(), 0, it));
    let frames = frames(&out);
    assert_eq!(frames.len(), replies.len());
    let text: Vec<String> = frames.iter().map(|it| format!("{it:?}")).collect();
    for (frame, part) in text.iter().zip([
        "Start(",
        "Close(",
        "Close(",
        "DeclareOk(",
        "nowait: true",
        "CloseOk",
        "RecoverOk",
        "UnbindOk",
    ]) {
        assert!(frame.contains(part), "`{part}` is not in {frame}");
    }
}
