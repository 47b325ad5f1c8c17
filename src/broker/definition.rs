//! What the log keeps of vhosts, exchanges, queues and bindings: one key and one value each.
//!
//! The value is JSON, so that a person can read a dump; arguments are the hex of their wire form,
//! which loses nothing.

use serde::Deserialize;
use serde::Serialize;

use crate::amqp::table::Table as Arguments;

/// One durable thing other than a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "define", rename_all = "kebab-case")]
pub enum Definition {
    Vhost {
        name: String,
    },
    Exchange {
        vhost: String,
        name: String,
        kind: String,
        auto_delete: bool,
        internal: bool,
        alternate: Option<String>,
        arguments: Hex,
    },
    Queue {
        vhost: String,
        name: String,
        id: u32,
        auto_delete: bool,
        arguments: Hex,
        /// The queue whose parking lot this is.
        parks_for: Option<String>,
    },
    Binding {
        vhost: String,
        source: String,
        /// Whether the destination is an exchange.
        to_exchange: bool,
        destination: String,
        key: String,
        arguments: Hex,
    },
    /// A message came to a queue or exchange that takes each once.
    Seen {
        vhost: String,
        of_exchange: bool,
        name: String,
        /// What tells the message apart, as hex.
        key: String,
        at_ms: u64,
    },
    /// Where the numbers of a stream's messages went on after a start, and at which offsets.
    Offsets {
        queue: u32,
        jumps: Vec<(u64, u64)>,
    },
    /// Queue ids below this one were given out.
    QueueIds {
        next: u32,
    },
}

/// A field table as the hex of its wire form; empty for an empty table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hex(String);

impl Hex {
    pub fn new(arguments: &Arguments) -> Hex {
        let mut bytes = Vec::new();
        if !arguments.is_empty() {
            arguments.encode(&mut bytes);
        }
        Hex(bytes.iter().map(|it| format!("{it:02x}")).collect())
    }

    /// The table; `None` for text that [`Hex::new`] did not write.
    pub fn table(&self) -> Option<Arguments> {
        if self.0.is_empty() {
            return Some(Arguments::default());
        }
        let digit = |at: usize| u8::from_str_radix(self.0.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..self.0.len()).step_by(2).map(digit).collect();
        Arguments::decode(&bytes?).ok().map(|(table, _)| table)
    }
}

impl Definition {
    /// Tells definitions apart: a later one with the same key replaces an earlier one.
    pub fn key(&self) -> Vec<u8> {
        let id;
        let parts: Vec<&str> = match self {
            Definition::Vhost { name } => vec!["vhost", name],
            Definition::Exchange { vhost, name, .. } => vec!["exchange", vhost, name],
            Definition::Queue { vhost, name, .. } => vec!["queue", vhost, name],
            Definition::Binding { vhost, source, to_exchange, destination, key, arguments } => {
                let kind = if *to_exchange { "exchange" } else { "queue" };
                vec!["binding", vhost, source, kind, destination, key, &arguments.0]
            }
            Definition::Seen { vhost, of_exchange, name, key, .. } => {
                let kind = if *of_exchange { "exchange" } else { "queue" };
                vec!["seen", vhost, kind, name, key]
            }
            Definition::Offsets { queue, .. } => {
                id = queue.to_string();
                vec!["offsets", &id]
            }
            Definition::QueueIds { .. } => vec!["queue-ids"],
        };
        // Names may hold any byte but NUL is never needed in one; a name that has it only makes
        // its own key longer, because every part is also in the value.
        parts.join("\0").into_bytes()
    }

    pub fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers only")
    }

    pub fn parse(value: &[u8]) -> Option<Definition> {
        serde_json::from_slice(value).ok()
    }

    /// The order in which definitions can be restored: nothing before what it refers to.
    pub fn rank(&self) -> u8 {
        match self {
            Definition::QueueIds { .. } | Definition::Offsets { .. } => 0,
            Definition::Vhost { .. } => 1,
            Definition::Exchange { .. } => 2,
            Definition::Queue { .. } => 3,
            Definition::Binding { .. } => 4,
            Definition::Seen { .. } => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::table::Value;

    #[test]
    fn definitions_survive_their_bytes() {
        let arguments = Arguments(vec![
            ("x-message-ttl".into(), Value::I32(5)),
            ("x-dead-letter-exchange".into(), Value::text("é")),
        ]);
        let all = [
            Definition::Vhost { name: "/".into() },
            Definition::Queue {
                vhost: "/".into(),
                name: "work".into(),
                id: 7,
                auto_delete: false,
                arguments: Hex::new(&arguments),
                parks_for: None,
            },
            Definition::Offsets { queue: 7, jumps: vec![(16_777_226, 10)] },
            Definition::Binding {
                vhost: "/".into(),
                source: "orders".into(),
                to_exchange: false,
                destination: "work".into(),
                key: "order.#".into(),
                arguments: Hex::default(),
            },
        ];
        for definition in all {
            assert_eq!(Definition::parse(&definition.value()), Some(definition));
        }
        assert_eq!(Hex::new(&arguments).table(), Some(arguments));
        assert_eq!(Hex("zz".into()).table(), None);
    }
}
