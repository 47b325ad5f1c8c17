//! Who can log in, by definitions of RabbitMQ or the daemon's configuration.

use std::collections::BTreeSet;

use crate::access::password::PasswordHash;
use crate::topology::source::Origin;

/// Somebody with a name and, mostly, a password.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Login {
    pub(in crate::topology) name: String,
    pub(in crate::topology) origin: Origin,
    /// `None`: nobody can log in with a password.
    pub(in crate::topology) password: Option<PasswordHash>,
    pub(in crate::topology) tags: BTreeSet<String>,
    /// May only log in from the broker's own machine, for certain.
    pub(in crate::topology) loopback_only: bool,
}

/// Passwords that installations come with, and those that are tried first.
const WELL_KNOWN: [&str; 10] = [
    "guest", "admin", "password", "rabbitmq", "rabbit", "railpost", "changeme", "secret", "123456",
    "test",
];

impl Login {
    pub(in crate::topology) fn is_administrator(&self) -> bool {
        self.tags.contains("administrator")
    }

    /// Whether the password is the name, or one that everybody tries. Of a hash that is made to be
    /// slow only the name is tried.
    pub(in crate::topology) fn has_well_known_password(&self) -> bool {
        let Some(hash) = &self.password else { return false };
        hash.matches(&self.name)
            || (!hash.is_slow() && WELL_KNOWN.iter().any(|it| hash.matches(it)))
    }
}
