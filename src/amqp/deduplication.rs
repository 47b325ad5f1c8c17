//! The arguments of queues and exchanges that take each message only once.
//!
//! COMPAT: the names are those of the `rabbitmq-message-deduplication` plugin and of LavinMQ.

use sha2::Digest as _;
use sha2::Sha256;

use crate::amqp::argument::ArgumentError;
use crate::amqp::argument::ArgumentFault;
use crate::amqp::limit;
use crate::amqp::property::Properties;
use crate::amqp::table::Table;
use crate::amqp::time::Millis;

pub const DEDUPLICATES: &str = "x-message-deduplication";
const SIZE: &str = "x-cache-size";
const TTL: &str = "x-cache-ttl";
const HEADER: &str = "x-deduplication-header";

/// How many keys are remembered when nothing else is said.
const DEFAULT_SIZE: usize = 10_000;

/// What makes two messages the same, and how long that is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deduplication {
    /// The header that tells messages apart; `message-id` does where it is missing.
    pub header: String,
    /// Keys that are remembered; the oldest goes first.
    pub size: usize,
    /// How long a key is remembered.
    pub ttl: Option<Millis>,
}

/// What tells one message from another: the first half of a SHA-256, so that nobody can make up
/// two messages that look the same.
pub type Key = [u8; 16];

impl Deduplication {
    /// Reads the arguments; `None` when nothing is to be deduplicated.
    pub fn parse(arguments: &Table) -> Result<Option<Deduplication>, ArgumentError> {
        let Some(asked) = arguments.get(DEDUPLICATES) else { return Ok(None) };
        let invalid = |key, fault| ArgumentError::Invalid { key, fault };
        let asked = asked.as_bool().ok_or_else(|| {
            invalid(DEDUPLICATES, ArgumentFault::UnacceptableType { got: asked.type_name() })
        })?;
        if !asked {
            return Ok(None);
        }
        let positive = |key: &'static str| match arguments.get(key) {
            None => Ok(None),
            Some(value) => match value.as_integer() {
                None => Err(invalid(key, ArgumentFault::NotInteger { got: value.type_name() })),
                Some(0) => Err(invalid(key, ArgumentFault::Zero)),
                Some(number) => u64::try_from(number)
                    .map(Some)
                    .map_err(|_| invalid(key, ArgumentFault::Negative(number))),
            },
        };
        let size = match positive(SIZE)?.map(usize::try_from) {
            None => DEFAULT_SIZE,
            Some(Ok(size)) if size <= limit::DEDUPLICATION_KEYS => size,
            Some(_) => {
                let max = i64::try_from(limit::DEDUPLICATION_KEYS).unwrap_or(i64::MAX);
                return Err(invalid(SIZE, ArgumentFault::AboveMaximum(max)));
            }
        };
        let ttl = positive(TTL)?.map(Millis);
        let header = match arguments.get(HEADER) {
            None => HEADER,
            Some(value) => value.as_text().ok_or_else(|| {
                invalid(HEADER, ArgumentFault::UnacceptableType { got: value.type_name() })
            })?,
        };
        Ok(Some(Deduplication { header: header.to_owned(), size, ttl }))
    }

    /// What tells a message with these properties apart; `None` when nothing does, so that it is
    /// taken whatever came before.
    pub fn key(&self, properties: Properties<'_>) -> Option<Key> {
        let named = properties.may_have_header(self.header.as_bytes());
        let headers = properties.headers().filter(|_| named).unwrap_or_default();
        let mut hash = Sha256::new();
        match (headers.get(&self.header), properties.message_id()) {
            (Some(value), _) => {
                hash.update(b"h");
                hash.update(value.to_string());
            }
            (None, Some(id)) => {
                hash.update(b"m");
                hash.update(id);
            }
            (None, None) => return None,
        }
        let mut key = Key::default();
        key.copy_from_slice(&hash.finalize()[..16]);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::table::Value;

    #[test]
    fn arguments() {
        let of = |pairs: &[(&str, Value)]| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
            Deduplication::parse(&Table(pairs.collect()))
        };
        let asked = (DEDUPLICATES, Value::Bool(true));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(DEDUPLICATES, Value::Bool(false))]), Ok(None));
        let all = [
            asked.clone(),
            (SIZE, Value::I32(5)),
            (TTL, Value::I64(1000)),
            (HEADER, Value::text("order-id")),
        ];
        let expected =
            Deduplication { header: "order-id".into(), size: 5, ttl: Some(Millis(1000)) };
        assert_eq!(of(&all), Ok(Some(expected)));
        for wrong in [
            (SIZE, Value::I32(0)),
            (SIZE, Value::I32(-1)),
            (SIZE, Value::I64(1 << 40)),
            (TTL, Value::text("1s")),
            (HEADER, Value::I32(1)),
        ] {
            assert!(of(&[asked.clone(), wrong.clone()]).is_err(), "{wrong:?}");
        }
    }
}
