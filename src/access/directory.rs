//! All users with their permissions: who may do what, everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::password::PasswordHash;
use crate::access::permission::Grant;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::sasl::Credentials;
use crate::access::user::Origin;
use crate::access::user::User;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;

/// Users, their permissions in vhosts, and on the keys of topic exchanges.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    users: BTreeMap<UserName, User>,
    permissions: BTreeMap<UserName, BTreeMap<VhostName, Arc<Permission>>>,
    topics: BTreeMap<UserName, BTreeMap<VhostName, Topics>>,
}

type Topics = BTreeMap<ExchangeName, TopicPermission>;

/// A login about to be checked: the hash that its password must match, and what follows if it does.
#[derive(Clone, Debug)]
pub struct Claim {
    pub hash: PasswordHash,
    outcome: Result<UserName, LoginError>,
}

/// Why a login is refused; clients are told no more than that it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginError {
    UnknownUser,
    WrongPassword,
    NotFromThere,
}

impl Directory {
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// Adds a user, or replaces the one of that name; permissions stay.
    pub fn put_user(&mut self, user: User) {
        self.users.insert(user.name.clone(), user);
    }

    /// Removes a user with all permissions.
    pub fn remove_user(&mut self, name: &str) -> Option<User> {
        self.permissions.remove(name);
        self.topics.remove(name);
        self.users.remove(name)
    }

    /// The permission of a user in a vhost.
    ///
    /// A user of the configuration file may do everything in its vhosts, unless something else was
    /// said of one.
    pub fn permission(&self, user: &str, vhost: &str) -> Option<Arc<Permission>> {
        if let Some(stored) = self.permissions.get(user).and_then(|it| it.get(vhost)) {
            return Some(Arc::clone(stored));
        }
        let allowed = match &self.users.get(user)?.origin {
            Origin::Stored => false,
            Origin::Configured { vhosts: None } => true,
            Origin::Configured { vhosts: Some(names) } => names.contains(vhost),
        };
        allowed.then(|| Arc::new(Permission::all()))
    }

    pub fn put_permission(&mut self, user: UserName, vhost: VhostName, permission: Permission) {
        self.permissions.entry(user).or_default().insert(vhost, Arc::new(permission));
    }

    /// Whether there was one.
    pub fn remove_permission(&mut self, user: &str, vhost: &str) -> bool {
        self.permissions.get_mut(user).is_some_and(|it| it.remove(vhost).is_some())
    }

    /// Every permission that was given, by user and vhost.
    pub fn permissions(&self) -> impl Iterator<Item = (&UserName, &VhostName, &Permission)> {
        self.permissions
            .iter()
            .flat_map(|(user, of)| of.iter().map(move |(vhost, it)| (user, vhost, &**it)))
    }

    pub fn put_topic_permission(
        &mut self,
        user: UserName,
        vhost: VhostName,
        exchange: ExchangeName,
        permission: TopicPermission,
    ) {
        let of_user = self.topics.entry(user).or_default();
        of_user.entry(vhost).or_default().insert(exchange, permission);
    }

    /// Removes what was said of one exchange, or of all; returns of which.
    pub fn remove_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Vec<ExchangeName> {
        let Some(topics) = self.topics.get_mut(user).and_then(|it| it.get_mut(vhost)) else {
            return Vec::new();
        };
        let all = topics.keys().filter(|it| exchange.is_none_or(|name| **it == *name));
        let gone: Vec<ExchangeName> = all.cloned().collect();
        topics.retain(|name, _| !gone.contains(name));
        gone
    }

    /// Every topic permission, by user, vhost and exchange.
    pub fn topic_permissions(
        &self,
    ) -> impl Iterator<Item = (&UserName, &VhostName, &ExchangeName, &TopicPermission)> {
        self.topics.iter().flat_map(|(user, of)| {
            let of = of.iter();
            of.flat_map(move |(vhost, of)| of.iter().map(move |(name, it)| (user, vhost, name, it)))
        })
    }

    /// Forgets everything that was said of a vhost.
    pub fn remove_vhost(&mut self, vhost: &str) {
        for of_user in self.permissions.values_mut() {
            of_user.remove(vhost);
        }
        for of_user in self.topics.values_mut() {
            of_user.remove(vhost);
        }
    }

    /// Whether a user may open a vhost: any permission will do, even one that allows nothing.
    pub fn may_open(&self, user: &str, vhost: &str) -> bool {
        self.permission(user, vhost).is_some()
    }

    /// Everything a user may do in a vhost now.
    pub fn grant(&self, user: &str, vhost: &str) -> Grant {
        let topics = self.topics.get(user).and_then(|it| it.get(vhost));
        let topics = topics.into_iter().flatten();
        Grant {
            permission: self.permission(user, vhost),
            topics: topics.filter_map(|(name, it)| it.grant(name, user, vhost)).collect(),
            channels_max: self.users.get(user).and_then(|it| it.limits.channels_max),
        }
    }

    /// What a login depends on; `loopback` says that the peer's own address is of this machine.
    ///
    /// An unknown user has a hash too, so that answering takes as long as for one with a new
    /// password. COMPAT: nobody logs in without a password.
    pub fn claim(&self, credentials: &Credentials, loopback: bool) -> Claim {
        let Some(user) = self.users.get(credentials.user.as_str()) else {
            let outcome = Err(LoginError::UnknownUser);
            return Claim { hash: PasswordHash::decoy(), outcome };
        };
        let outcome = match &user.password {
            None => Err(LoginError::WrongPassword),
            Some(_) if credentials.password.is_empty() => Err(LoginError::WrongPassword),
            Some(_) if user.loopback_only && !loopback => Err(LoginError::NotFromThere),
            Some(_) => Ok(user.name.clone()),
        };
        let hash = user.password.clone().unwrap_or_else(PasswordHash::decoy);
        Claim { hash, outcome }
    }
}

impl Claim {
    /// The answer, once it is known whether the password matches [`Claim::hash`].
    pub fn settle(self, matches: bool) -> Result<UserName, LoginError> {
        match (matches, self.outcome) {
            (true, outcome) => outcome,
            (false, Err(LoginError::UnknownUser)) => Err(LoginError::UnknownUser),
            (false, _) => Err(LoginError::WrongPassword),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::permission::Right;
    use crate::access::user::UserLimits;

    fn user(name: &str, origin: Origin) -> User {
        User {
            name: name.into(),
            password: Some(PasswordHash::sha256([1, 2, 3, 4], name)),
            tags: Vec::new(),
            limits: UserLimits::default(),
            loopback_only: User::is_loopback_only(name),
            origin,
        }
    }

    #[test]
    fn guest_logs_in_from_this_machine_only() {
        let mut directory = Directory::default();
        directory.put_user(user("guest", Origin::Stored));
        directory.put_user(User { password: None, ..user("nobody", Origin::Stored) });
        let login = |user: &str, password: &str, loopback| {
            let credentials = Credentials { user: user.into(), password: password.into() };
            let claim = directory.claim(&credentials, loopback);
            // A decoy is as slow as a new password's hash, and matches nothing.
            let matches = !claim.hash.is_slow() && claim.hash.matches(password);
            claim.settle(matches).map(|it| it.to_string())
        };
        assert_eq!(login("guest", "guest", true), Ok("guest".into()));
        assert_eq!(login("guest", "guest", false), Err(LoginError::NotFromThere));
        assert_eq!(login("guest", "wrong", false), Err(LoginError::WrongPassword));
        assert_eq!(login("guest", "", true), Err(LoginError::WrongPassword));
        assert_eq!(login("nobody", "", true), Err(LoginError::WrongPassword));
        assert_eq!(login("", "", true), Err(LoginError::UnknownUser));
    }

    #[test]
    fn permissions_go_with_their_user_and_their_vhost() {
        let mut directory = Directory::default();
        directory.put_user(user("a", Origin::Stored));
        assert!(!directory.may_open("a", "/"));
        for vhost in ["/", "other"] {
            directory.put_permission("a".into(), vhost.into(), Permission::all());
            let topic = TopicPermission::new("^{vhost}", "").unwrap();
            directory.put_topic_permission("a".into(), vhost.into(), "t".into(), topic);
        }
        let grant = directory.grant("a", "other");
        assert!(grant.allows(Right::Write, "x") && grant.allows_any(Right::Write));
        assert!(grant.topic("t").unwrap().allows(Right::Write, "other.key"));
        assert!(grant.topic("u").is_none());
        directory.remove_vhost("other");
        assert_eq!(directory.grant("a", "other"), Grant::default());
        assert_eq!(directory.permissions().count(), 1);
        assert!(directory.remove_topic_permissions("a", "/", Some("u")).is_empty());
        assert_eq!(directory.remove_topic_permissions("a", "/", None), ["t"]);
        assert!(directory.remove_user("a").is_some());
        assert_eq!(directory.permissions().count(), 0);
    }

    #[test]
    fn a_configured_user_has_its_vhosts_whole() {
        let mut directory = Directory::default();
        directory.put_user(user("all", Origin::Configured { vhosts: None }));
        let one = Some(["one".into()].into());
        directory.put_user(user("some", Origin::Configured { vhosts: one }));
        assert!(directory.may_open("all", "any") && directory.may_open("some", "one"));
        assert!(!directory.may_open("some", "two"));
        let little = Permission::new("", "", "^x").unwrap();
        directory.put_permission("some".into(), "one".into(), little);
        assert!(!directory.grant("some", "one").allows(Right::Write, "x"));
    }
}
