//! A message: one allocation with everything a client published, shared by all queues it is in.

use std::fmt;

use bytes::Bytes;
use triomphe::ThinArc;

use crate::amqp::limit;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::time::Timestamp;

/// An immutable message. Cloning copies a pointer.
///
/// Exchange, routing key, properties and a small body lie packed in one allocation; a body above
/// [`limit::PACKED_BODY_BYTES`] stays in the chunks it arrived in, so that it is never copied.
#[derive(Clone)]
pub struct Message(ThinArc<Head, u8>);

struct Head {
    published_at: Timestamp,
    body_bytes: u64,
    properties_bytes: u32,
    exchange_bytes: u8,
    key_bytes: u8,
    persistent: bool,
    /// The body, when it is not packed behind the properties.
    chunks: Option<Box<[Bytes]>>,
}

/// The parts a message is made of; lengths of exchange and key are at most 255 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub exchange: &'a str,
    pub routing_key: RoutingKey<'a>,
    pub properties: Properties<'a>,
    pub published_at: Timestamp,
}

impl Message {
    /// Builds a message from its parts; `scratch` is working memory to reuse.
    pub fn new(parts: Parts<'_>, body: &[Bytes], scratch: &mut Vec<u8>) -> Message {
        let body_bytes: u64 = body.iter().map(|chunk| chunk.len() as u64).sum();
        let packed = body_bytes <= limit::PACKED_BODY_BYTES as u64;
        scratch.clear();
        let mut head = pack(parts, body_bytes, scratch);
        if packed {
            body.iter().for_each(|chunk| scratch.extend_from_slice(chunk));
        } else {
            head.chunks = Some(body.into());
        }
        Message(ThinArc::from_header_and_slice(head, scratch))
    }

    /// As [`Message::new`], for a body that lies in one piece in a buffer that will be reused.
    pub fn copied(parts: Parts<'_>, body: &[u8], scratch: &mut Vec<u8>) -> Message {
        scratch.clear();
        let mut head = pack(parts, body.len() as u64, scratch);
        if body.len() <= limit::PACKED_BODY_BYTES {
            scratch.extend_from_slice(body);
        } else {
            head.chunks = Some(Box::new([Bytes::copy_from_slice(body)]));
        }
        Message(ThinArc::from_header_and_slice(head, scratch))
    }

    /// The same body under another exchange, key or other properties: a dead letter, for example.
    pub fn readdressed(&self, parts: Parts<'_>) -> Message {
        let mut scratch = Vec::new();
        match &self.0.header.header.chunks {
            Some(chunks) => Message::new(parts, chunks, &mut scratch),
            None => Message::copied(parts, self.packed_body(), &mut scratch),
        }
    }

    pub fn exchange(&self) -> &str {
        self.text(0, usize::from(self.head().exchange_bytes))
    }

    /// Exchange and routing key where only their bytes count: nothing is checked again.
    pub fn address_bytes(&self) -> (&[u8], &[u8]) {
        let (exchange, rest) = self.0.slice.split_at(usize::from(self.head().exchange_bytes));
        (exchange, &rest[..usize::from(self.head().key_bytes)])
    }

    pub fn routing_key(&self) -> RoutingKey<'_> {
        let start = usize::from(self.head().exchange_bytes);
        RoutingKey(self.text(start, start + usize::from(self.head().key_bytes)))
    }

    pub fn properties(&self) -> Properties<'_> {
        let start = self.properties_start();
        let bytes = &self.0.slice[start..start + self.head().properties_bytes as usize];
        Properties::from_checked(bytes)
    }

    pub fn body_bytes(&self) -> u64 {
        self.head().body_bytes
    }

    /// The body in order, in one or several pieces; none for an empty body.
    pub fn body(&self) -> Body<'_> {
        match &self.head().chunks {
            Some(chunks) => Body::Chunks(chunks),
            None => Body::Packed(self.packed_body()),
        }
    }

    /// The whole body as one vector, for people and tests.
    pub fn body_to_vec(&self) -> Vec<u8> {
        match self.body() {
            Body::Packed(bytes) => bytes.to_vec(),
            Body::Chunks(chunks) => chunks.concat(),
        }
    }

    /// When the broker took it from its publisher.
    pub fn published_at(&self) -> Timestamp {
        self.head().published_at
    }

    /// Whether its publisher asked for it to survive a restart (delivery-mode 2).
    pub fn is_persistent(&self) -> bool {
        self.head().persistent
    }

    /// Bytes of memory it takes, allocator overhead apart.
    pub fn memory_bytes(&self) -> u64 {
        let chunks = if self.head().chunks.is_some() { self.head().body_bytes } else { 0 };
        (self.0.slice.len() + size_of::<Head>() + 16) as u64 + chunks
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn properties_start(&self) -> usize {
        usize::from(self.head().exchange_bytes) + usize::from(self.head().key_bytes)
    }

    fn packed_body(&self) -> &[u8] {
        &self.0.slice[self.properties_start() + self.head().properties_bytes as usize..]
    }

    fn text(&self, start: usize, end: usize) -> &str {
        std::str::from_utf8(&self.0.slice[start..end]).expect("packed from a str")
    }
}

/// The pieces of a body.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    Packed(&'a [u8]),
    Chunks(&'a [Bytes]),
}

impl<'a> Body<'a> {
    /// The pieces in order; an empty body may be one empty piece.
    pub fn pieces(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let (packed, chunks): (Option<&[u8]>, &[Bytes]) = match self {
            Body::Packed(bytes) => (Some(bytes), &[]),
            Body::Chunks(chunks) => (None, chunks),
        };
        packed.into_iter().chain(chunks.iter().map(|chunk| &chunk[..]))
    }
}

/// Writes everything before the body to `out`.
fn pack(parts: Parts<'_>, body_bytes: u64, out: &mut Vec<u8>) -> Head {
    let properties = parts.properties.as_bytes();
    out.extend_from_slice(parts.exchange.as_bytes());
    out.extend_from_slice(parts.routing_key.0.as_bytes());
    out.extend_from_slice(properties);
    Head {
        published_at: parts.published_at,
        body_bytes,
        properties_bytes: u32::try_from(properties.len()).expect("a frame is smaller than 4 GiB"),
        exchange_bytes: u8::try_from(parts.exchange.len()).expect("a short string"),
        key_bytes: u8::try_from(parts.routing_key.0.len()).expect("a short string"),
        persistent: parts.properties.is_persistent(),
        chunks: None,
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key().0)
            .field("body_bytes", &self.body_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(properties: Properties<'a>) -> Parts<'a> {
        Parts {
            exchange: "orders",
            routing_key: RoutingKey("order.created"),
            properties,
            published_at: Timestamp(5),
        }
    }

    #[test]
    fn small_and_large_bodies_read_the_same() {
        for size in [0, 1, 1000, limit::PACKED_BODY_BYTES, limit::PACKED_BODY_BYTES + 1] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let properties = [0x10, 0, 2];
            let chunks: Vec<Bytes> = body.chunks(5000).map(Bytes::copy_from_slice).collect();
            let message =
                Message::new(parts(Properties::from_checked(&properties)), &chunks, &mut vec![1]);
            assert_eq!(message.exchange(), "orders");
            assert_eq!(message.routing_key(), RoutingKey("order.created"));
            assert_eq!(message.properties().as_bytes(), properties);
            assert!(message.is_persistent());
            assert_eq!(message.body_to_vec(), body);
            assert_eq!(message.body_bytes(), size as u64);

            let moved = message.readdressed(Parts {
                exchange: "",
                routing_key: RoutingKey("parked"),
                properties: Properties::NONE,
                published_at: Timestamp(9),
            });
            assert_eq!((moved.exchange(), moved.routing_key().0), ("", "parked"));
            assert_eq!(moved.body_to_vec(), body);
        }
    }
}
