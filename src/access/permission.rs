//! What a user may do in a vhost.

use std::sync::Arc;

use crate::access::pattern::Pattern;
use crate::access::pattern::PatternError;
use crate::access::pattern::escape;
use crate::amqp::name::ExchangeName;

/// COMPAT: the three rights of RabbitMQ; each operation needs one or two of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Right {
    /// Make and delete.
    Configure,
    /// Put messages in.
    Write,
    /// Take messages out.
    Read,
}

/// The names a user has each right on.
#[derive(Clone, PartialEq, Debug)]
pub struct Permission {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

/// The keys with which a user may publish to a topic exchange, and bind to it.
///
/// `{username}` and `{vhost}` in the patterns stand for these names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicPermission {
    write: String,
    read: String,
}

/// Everything one user may do in one vhost, at one time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Grant {
    /// `None` is nothing at all.
    pub permission: Option<Arc<Permission>>,
    /// Topic exchanges whose keys are restricted; any key will do for others.
    pub topics: Vec<TopicGrant>,
    /// Channels the user may have open, all connections taken together.
    pub channels_max: Option<u64>,
}

/// A [`TopicPermission`] as it is for one user and vhost.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicGrant {
    pub exchange: ExchangeName,
    pub write: Pattern,
    pub read: Pattern,
}

impl Right {
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Configure => "configure",
            Right::Write => "write",
            Right::Read => "read",
        }
    }
}

impl Permission {
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Permission, PatternError> {
        Ok(Permission {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// Everything.
    pub fn all() -> Permission {
        Permission { configure: Pattern::all(), write: Pattern::all(), read: Pattern::all() }
    }

    /// COMPAT: the default exchange, whose name is empty, is `amq.default` here.
    pub fn allows(&self, right: Right, name: &str) -> bool {
        let name = if name.is_empty() { "amq.default" } else { name };
        match right {
            Right::Configure => self.configure.matches(name),
            Right::Write => self.write.matches(name),
            Right::Read => self.read.matches(name),
        }
    }
}

impl TopicPermission {
    pub fn new(write: &str, read: &str) -> Result<TopicPermission, PatternError> {
        for text in [write, read] {
            expand(text, "user", "vhost")?;
        }
        Ok(TopicPermission { write: write.to_owned(), read: read.to_owned() })
    }

    pub fn write(&self) -> &str {
        &self.write
    }

    pub fn read(&self) -> &str {
        &self.read
    }

    /// The patterns for one user and vhost; `None` when the names make them too large.
    pub(in crate::access) fn grant(
        &self,
        exchange: &ExchangeName,
        user: &str,
        vhost: &str,
    ) -> Option<TopicGrant> {
        Some(TopicGrant {
            exchange: exchange.clone(),
            write: expand(&self.write, user, vhost).ok()?,
            read: expand(&self.read, user, vhost).ok()?,
        })
    }
}

/// Names are taken literally: a user called `.*` gains nothing by it.
fn expand(text: &str, user: &str, vhost: &str) -> Result<Pattern, PatternError> {
    if !text.contains('{') {
        return Pattern::new(text);
    }
    let text = text.replace("{username}", &escape(user)).replace("{vhost}", &escape(vhost));
    Pattern::new(&text)
}

impl Grant {
    pub fn allows(&self, right: Right, name: &str) -> bool {
        self.permission.as_ref().is_some_and(|it| it.allows(right, name))
    }

    /// Whether everything is allowed, so that there is nothing to ask.
    pub fn allows_any(&self, right: Right) -> bool {
        self.permission.as_ref().is_some_and(|it| match right {
            Right::Configure => it.configure.is_all(),
            Right::Write => it.write.is_all(),
            Right::Read => it.read.is_all(),
        })
    }

    /// What is said of a topic exchange's keys, if anything.
    pub fn topic(&self, exchange: &str) -> Option<&TopicGrant> {
        self.topics.iter().find(|it| it.exchange == *exchange)
    }
}

impl TopicGrant {
    pub fn allows(&self, right: Right, key: &str) -> bool {
        match right {
            Right::Configure => false,
            Right::Write => self.write.matches(key),
            Right::Read => self.read.matches(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_separate_and_the_default_exchange_has_a_name() {
        let permission = Permission::new("^mine-", "^(mine-|amq\\.default$)", "").unwrap();
        let cases = [
            (Right::Configure, "mine-1", true),
            (Right::Configure, "other", false),
            (Right::Write, "", true),
            (Right::Write, "amq.topic", false),
            (Right::Read, "mine-1", false),
            (Right::Read, "", false),
        ];
        for (right, name, expected) in cases {
            assert_eq!(permission.allows(right, name), expected, "{right:?} {name}");
        }
        assert!(!Grant::default().allows(Right::Read, "anything"));
    }

    #[test]
    fn variables_stand_for_names_and_nothing_else() {
        let permission = TopicPermission::new("^{username}\\.{vhost}\\.a{2}", ".*").unwrap();
        let grant = permission.grant(&"t".into(), "a.b", "/").unwrap();
        assert!(grant.allows(Right::Write, "a.b./.aa"));
        assert!(!grant.allows(Right::Write, "axb./.aa"));
        assert!(grant.allows(Right::Read, "x") && !grant.allows(Right::Configure, "x"));
        assert!(TopicPermission::new("(", "").is_err());
    }
}
