//! Which exchanges a queue's messages came by.

use crate::amqp::message::Message;
use crate::amqp::name::ExchangeName;

/// Exchanges that are counted one by one; what comes by more of them is in the queue's totals only.
const EXCHANGES_MAX: usize = 64;

/// Messages by exchange, in the order these were first seen; they only grow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Incoming(Vec<(ExchangeName, u64)>);

impl Incoming {
    /// Counts a message. Mostly there is one exchange, and it is found at once.
    pub(in crate::queue) fn note(&mut self, message: &Message) {
        let (exchange, _) = message.address_bytes();
        if let Some((_, n)) = self.0.iter_mut().find(|(it, _)| it.as_bytes() == exchange) {
            *n += 1;
        } else if self.0.len() < EXCHANGES_MAX {
            self.0.reserve_exact(1);
            self.0.push((ExchangeName::new(message.exchange()), 1));
        }
    }

    /// Exchanges and their messages so far.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ExchangeName, u64)> {
        self.0.iter().map(|(name, n)| (name, *n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::message::Parts;
    use crate::amqp::name::RoutingKey;
    use crate::amqp::property::Properties;
    use crate::amqp::time::Timestamp;

    #[test]
    fn exchanges_are_counted_up_to_a_limit() {
        let mut incoming = Incoming::default();
        for round in 0..3 {
            for n in 0..EXCHANGES_MAX + round {
                let parts = Parts {
                    exchange: &format!("x{n}"),
                    routing_key: RoutingKey("key"),
                    properties: Properties::from_checked(&[0, 0]),
                    published_at: Timestamp(1),
                };
                incoming.note(&Message::copied(parts, b"", &mut Vec::new()));
            }
        }
        assert_eq!(incoming.iter().len(), EXCHANGES_MAX);
        assert!(incoming.iter().all(|(_, n)| n == 3));
        assert_eq!(incoming.iter().next().map(|(name, _)| name.to_string()), Some("x0".into()));
    }
}
