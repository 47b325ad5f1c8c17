//! A message as the log keeps it: an opaque head and the body. `docs/format.md` draws the head.

use bytes::Bytes;

use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::time::Timestamp;

/// Bytes before the exchange's name: time, two lengths, and the properties' length.
const FIXED: usize = 8 + 1 + 1 + 4;

/// Appends everything but the body.
pub fn encode_head(message: &Message, out: &mut Vec<u8>) {
    let exchange = message.exchange();
    let key = message.routing_key().0;
    let properties = message.properties().as_bytes();
    out.extend_from_slice(&message.published_at().0.to_le_bytes());
    out.push(u8::try_from(exchange.len()).expect("a short string"));
    out.push(u8::try_from(key.len()).expect("a short string"));
    let properties_bytes = u32::try_from(properties.len()).expect("from a frame below 4 GiB");
    out.extend_from_slice(&properties_bytes.to_le_bytes());
    out.extend_from_slice(exchange.as_bytes());
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(properties);
}

/// Rebuilds a message; `None` for a head that [`encode_head`] did not write.
pub fn decode(head: &[u8], body: &[u8], scratch: &mut Vec<u8>) -> Option<Message> {
    let parts = decode_head(head)?;
    if body.len() <= crate::amqp::limit::PACKED_BODY_BYTES {
        Some(Message::copied(parts, body, scratch))
    } else {
        Some(Message::new(parts, &[Bytes::copy_from_slice(body)], scratch))
    }
}

/// The parts of a head, borrowed.
pub fn decode_head(head: &[u8]) -> Option<Parts<'_>> {
    let (fixed, rest) = head.split_at_checked(FIXED)?;
    let published_at = Timestamp(u64::from_le_bytes(fixed[..8].try_into().ok()?));
    let properties_bytes = u32::from_le_bytes(fixed[10..].try_into().ok()?) as usize;
    let (exchange, rest) = rest.split_at_checked(usize::from(fixed[8]))?;
    let (key, properties) = rest.split_at_checked(usize::from(fixed[9]))?;
    if properties.len() != properties_bytes {
        return None;
    }
    Some(Parts {
        exchange: std::str::from_utf8(exchange).ok()?,
        routing_key: RoutingKey(std::str::from_utf8(key).ok()?),
        properties: Properties::check(properties).ok()?,
        published_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::property::PropertyList;

    #[test]
    fn a_message_survives_its_stored_form() {
        let mut list = PropertyList::default();
        list.set_delivery_mode(2);
        let bytes = list.to_bytes();
        for size in [0, 10, 100_000] {
            let body = vec![7; size];
            let parts = Parts {
                exchange: "orders",
                routing_key: RoutingKey("order.é"),
                properties: Properties::check(&bytes).unwrap(),
                published_at: Timestamp(123_456_789),
            };
            let message = Message::copied(parts, &body, &mut Vec::new());
            let mut head = Vec::new();
            encode_head(&message, &mut head);
            let back = decode(&head, &body, &mut Vec::new()).unwrap();
            assert_eq!(back.exchange(), "orders");
            assert_eq!(back.routing_key(), message.routing_key());
            assert_eq!(back.properties(), message.properties());
            assert_eq!(back.published_at(), message.published_at());
            assert_eq!(back.body_to_vec(), body);
            for end in 0..head.len() {
                assert!(decode_head(&head[..end]).is_none(), "{end}");
            }
        }
    }
}
