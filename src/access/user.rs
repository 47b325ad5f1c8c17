//! Users, and from where they may log in.

use std::collections::BTreeSet;

use crate::access::password::PasswordHash;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;

/// Somebody who can log in.
#[derive(Clone, PartialEq, Debug)]
pub struct User {
    pub name: UserName,
    /// `None`: nobody can log in with a password.
    pub password: Option<PasswordHash>,
    /// In the order they were given.
    pub tags: Vec<String>,
    pub limits: UserLimits,
    /// May only log in from this machine.
    pub loopback_only: bool,
    pub origin: Origin,
}

/// Where a user is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In the log; people change it while the broker runs.
    Stored,
    /// In the configuration file, which is where it is changed.
    Configured {
        /// The vhosts in which the user may do everything; `None` is all of them.
        vhosts: Option<BTreeSet<VhostName>>,
    },
}

/// How much of the broker one user may take; `None` is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UserLimits {
    pub connections_max: Option<u64>,
    pub channels_max: Option<u64>,
}

/// What a tag lets its user see and do in the management API.
///
/// COMPAT: RabbitMQ's tags; others are kept and mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Management,
    Policymaker,
    Monitoring,
    Administrator,
}

impl User {
    /// Whether one of the user's tags is this role, or includes it.
    pub fn is(&self, role: Role) -> bool {
        let includes = |tag: &String| {
            matches!(
                (tag.as_str(), role),
                ("administrator", _)
                    | ("monitoring", Role::Monitoring | Role::Management)
                    | ("policymaker", Role::Policymaker | Role::Management)
                    | ("management", Role::Management)
            )
        };
        self.tags.iter().any(includes)
    }

    /// COMPAT: `guest` only logs in from this machine, whoever made it.
    pub fn is_loopback_only(name: &str) -> bool {
        name == "guest"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_include_each_other() {
        use Role::*;
        let roles = [Management, Policymaker, Monitoring, Administrator];
        let of = |tag: &str| {
            let user = User {
                name: "a".into(),
                password: None,
                tags: vec!["other".into(), tag.into()],
                limits: UserLimits::default(),
                loopback_only: false,
                origin: Origin::Stored,
            };
            roles.into_iter().filter(|it| user.is(*it)).collect::<Vec<_>>()
        };
        assert_eq!(of("administrator"), roles);
        assert_eq!(of("monitoring"), [Management, Monitoring]);
        assert_eq!(of("policymaker"), [Management, Policymaker]);
        assert_eq!(of("management"), [Management]);
        assert_eq!(of("impersonator"), []);
    }
}
