//! What the log keeps beside messages: vhosts, exchanges, queues, bindings, policies, users and
//! permissions, with one key and one value each.
//!
//! The value is JSON, so that a person can read a dump; arguments are the hex of their wire form,
//! which loses nothing.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::amqp::table::Table as Arguments;

/// One durable thing other than a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "define", rename_all = "kebab-case")]
pub enum Definition {
    Vhost {
        name: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        description: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default_queue_type: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connections_max: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queues_max: Option<u64>,
        #[serde(default, skip_serializing_if = "is_false")]
        is_protected: bool,
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
    User {
        name: String,
        /// The hash, in the form of [`PasswordHash::to_text`].
        ///
        /// [`PasswordHash::to_text`]: crate::access::password::PasswordHash::to_text
        password: Option<String>,
        tags: Vec<String>,
        connections_max: Option<u64>,
        channels_max: Option<u64>,
    },
    Permission {
        user: String,
        vhost: String,
        configure: String,
        write: String,
        read: String,
    },
    TopicPermission {
        user: String,
        vhost: String,
        exchange: String,
        write: String,
        read: String,
    },
    Policy {
        vhost: String,
        operator: bool,
        name: String,
        pattern: String,
        apply_to: String,
        priority: i64,
        definition: Map<String, Value>,
    },
    /// The user that a first start makes has been made, and is not made again.
    DefaultUser {
        name: String,
    },
}

/// A field table as the hex of its wire form; empty for an empty table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
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
    /// A vhost of which nothing is said.
    pub fn vhost(name: &str) -> Definition {
        Definition::Vhost {
            name: name.to_owned(),
            description: String::new(),
            tags: Vec::new(),
            default_queue_type: None,
            connections_max: None,
            queues_max: None,
            is_protected: false,
        }
    }

    /// A user, ready to be removed.
    pub fn user(name: &str) -> Definition {
        Definition::User {
            name: name.to_owned(),
            password: None,
            tags: Vec::new(),
            connections_max: None,
            channels_max: None,
        }
    }

    /// Tells definitions apart: a later one with the same key replaces an earlier one.
    pub fn key(&self) -> Vec<u8> {
        let id;
        let parts: Vec<&str> = match self {
            Definition::Vhost { name, .. } => vec!["vhost", name],
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
            Definition::User { name, .. } => vec!["user", name],
            Definition::Permission { user, vhost, .. } => vec!["permission", user, vhost],
            Definition::TopicPermission { user, vhost, exchange, .. } => {
                vec!["topic-permission", user, vhost, exchange]
            }
            Definition::Policy { vhost, operator, name, .. } => {
                let kind = if *operator { "operator-policy" } else { "policy" };
                vec![kind, vhost, name]
            }
            Definition::DefaultUser { .. } => vec!["default-user"],
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

    /// As JSON for people, without what must not be seen.
    pub fn to_shown(&self) -> String {
        let mut shown = self.clone();
        if let Definition::User { password, .. } = &mut shown {
            *password = password.as_ref().map(|_| "…".to_owned());
        }
        String::from_utf8(shown.value()).expect("JSON is UTF-8")
    }

    /// The order in which definitions can be restored: nothing before what it refers to.
    pub fn rank(&self) -> u8 {
        match self {
            Definition::QueueIds { .. }
            | Definition::Offsets { .. }
            | Definition::DefaultUser { .. } => 0,
            Definition::Vhost { .. } | Definition::User { .. } => 1,
            Definition::Policy { .. }
            | Definition::Permission { .. }
            | Definition::TopicPermission { .. } => 2,
            Definition::Exchange { .. } => 3,
            Definition::Queue { .. } => 4,
            Definition::Binding { .. } => 5,
            Definition::Seen { .. } => 6,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(it: &bool) -> bool {
    !it
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::table::Value as Field;

    #[test]
    fn definitions_survive_their_bytes() {
        let arguments = Arguments(vec![
            ("x-message-ttl".into(), Field::I32(5)),
            ("x-dead-letter-exchange".into(), Field::text("é")),
        ]);
        let all = [
            Definition::vhost("/"),
            Definition::user("app"),
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

    #[test]
    fn a_hash_is_not_shown() {
        let mut user = Definition::user("app");
        if let Definition::User { password, .. } = &mut user {
            *password = Some("hunter2".into());
        }
        assert!(!user.to_shown().contains("hunter2") && user.to_shown().contains("app"));
    }

    #[test]
    fn a_vhost_of_the_first_version_is_read() {
        let first = br#"{"define":"vhost","name":"/"}"#;
        assert_eq!(Definition::parse(first), Some(Definition::vhost("/")));
        assert_eq!(Definition::vhost("/").value(), first);
    }
}
