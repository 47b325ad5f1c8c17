use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::gen_class;
use amq_protocol::types::AMQPValue;
use amq_protocol::types::FieldTable;
use amq_protocol::types::LongString;
use proptest::prelude::*;

use super::*;
use crate::amqp::table::Value;

fn payload(class: &AMQPClass) -> Vec<u8> {
    gen_class(class)(WriteContext::from(Vec::new())).unwrap().write
}

fn fields() -> FieldTable {
    let mut fields = FieldTable::default();
    fields.insert("x-message-ttl".into(), AMQPValue::LongInt(1000));
    fields.insert("x-name".into(), AMQPValue::LongString(LongString::from("é")));
    fields
}

/// One of every kind of method whose fields are not all fixed.
fn samples() -> Vec<AMQPClass> {
    vec![
        AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
            exchange: "orders".into(),
            routing_key: "order.created".into(),
            mandatory: true,
            immediate: false,
        })),
        AMQPClass::Basic(basic::AMQPMethod::Nack(basic::Nack {
            delivery_tag: 9,
            multiple: true,
            requeue: true,
        })),
        AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: "q\r\n".into(),
            consumer_tag: "tag".into(),
            no_local: false,
            no_ack: true,
            exclusive: true,
            nowait: false,
            arguments: fields(),
        })),
        AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: "work".into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: true,
            nowait: false,
            arguments: fields(),
        })),
        AMQPClass::Exchange(exchange::AMQPMethod::Bind(exchange::Bind {
            destination: "a".into(),
            source: "b".into(),
            routing_key: "k".into(),
            nowait: true,
            arguments: fields(),
        })),
        AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: fields(),
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
        })),
    ]
}

#[test]
fn methods_written_by_another_codec_are_read() {
    let parsed: Vec<Vec<u8>> = samples().iter().map(payload).collect();
    let methods: Vec<Method<'_>> = parsed.iter().map(|it| parse(it).unwrap()).collect();
    let arguments = Table(vec![
        ("x-message-ttl".into(), Value::I32(1000)),
        ("x-name".into(), Value::text("é")),
    ]);
    let expected = [
        Method::BasicPublish {
            exchange: "orders",
            routing_key: "order.created",
            mandatory: true,
            immediate: false,
        },
        Method::BasicNack { delivery_tag: 9, multiple: true, requeue: true },
        Method::BasicConsume(BasicConsume {
            queue: "q".into(),
            consumer_tag: "tag".into(),
            no_ack: true,
            exclusive: true,
            nowait: false,
            arguments: arguments.clone(),
        }),
        Method::QueueDeclare(QueueDeclare {
            queue: "work".into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: true,
            nowait: false,
            arguments: arguments.clone(),
        }),
        Method::ExchangeBind(ExchangeBind {
            destination: "a".into(),
            source: "b".into(),
            routing_key: "k".into(),
            nowait: true,
            arguments: arguments.clone(),
        }),
        Method::ConnectionStartOk {
            client_properties: arguments,
            mechanism: "PLAIN".into(),
            response: b"\0guest\0guest".to_vec(),
        },
    ];
    assert_eq!(methods, expected);
}

#[test]
fn the_field_that_the_other_codec_drops_is_read() {
    let bytes = [0, 60, 0, 10, 0, 0, 1, 2, 0, 5, 1];
    let expected = Method::BasicQos { prefetch_size: 258, prefetch_count: 5, global: true };
    assert_eq!(parse(&bytes), Ok(expected));
}

#[test]
fn every_prefix_and_every_extra_byte_is_refused() {
    for class in samples() {
        let mut bytes = payload(&class);
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{:?}", &bytes[..end]);
        }
        bytes.push(0);
        assert_eq!(parse(&bytes).unwrap_err().fault, MethodFault::TrailingBytes);
    }
}

#[test]
fn faults_are_told_apart() {
    let fault = |bytes: &[u8]| parse(bytes).unwrap_err();
    let unknown = fault(&[0, 60, 0, 99]);
    assert_eq!((unknown.class, unknown.method, unknown.fault), (60, 99, MethodFault::Unknown));
    assert_eq!(fault(&[0, 99, 0, 10]).fault, MethodFault::Unknown);
    assert_eq!(fault(&[0, 50, 0, 11]).fault, MethodFault::BrokerOnly);
    assert_eq!(fault(&[0, 50]).fault, MethodFault::NoMethod);
    assert_eq!(fault(&[0, 50, 0, 30, 0, 0, 1, 0xff, 0]).fault, MethodFault::NotUtf8);
    let deep = [0, 50, 0, 10, 0, 0, 0, 0, 0, 0, 0, 9, 1, b'a', b'F', 0xff, 0, 0, 0, 0, 0];
    assert_eq!(fault(&deep).fault, MethodFault::Table(TableError::Truncated));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        class in prop::sample::select(vec![10u8, 20, 30, 40, 50, 60, 85, 90, 99]),
        method in 0u8..125,
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = vec![0, class, 0, method];
        bytes.extend_from_slice(&rest);
        let _ = parse(&bytes);
    }

    #[test]
    fn what_the_layout_accepts_the_other_codec_reads(
        sample in prop::sample::select((0..6usize).collect::<Vec<_>>()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = payload(&samples()[sample]);
        let at = 4 + at.index(bytes.len() - 4);
        bytes[at] = byte;
        if let Err(error) = parse(&bytes) {
            let (class, method) = (u16::from(bytes[1]), u16::from(bytes[3]));
            let by_layout = layout::check(class, method, &bytes[4..]);
            prop_assert!(by_layout.is_err(), "only amq-protocol refused: {:?}", error);
        }
    }
}
