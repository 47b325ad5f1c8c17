//! Users, and from where they may log in.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::access::password::PasswordHash;
use crate::access::sasl::Credentials;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;

/// Somebody who can log in.
#[derive(Clone, Debug)]
pub struct User {
    pub name: UserName,
    pub password: PasswordHash,
    /// COMPAT: `administrator`, `monitoring`, `policymaker`, `management`, `impersonator`.
    pub tags: BTreeSet<String>,
    /// The vhosts the user may open; `None` is all of them.
    pub vhosts: Option<BTreeSet<VhostName>>,
    /// May only log in from this machine.
    pub loopback_only: bool,
}

/// All users.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_name: BTreeMap<UserName, User>,
}

/// Why a login is refused; clients are told no more than that it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginError {
    UnknownUser,
    WrongPassword,
    NotFromThere,
}

impl Users {
    pub fn insert(&mut self, user: User) {
        self.by_name.insert(user.name.clone(), user);
    }

    pub fn get(&self, name: &str) -> Option<&User> {
        self.by_name.get(name)
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.by_name.values()
    }

    /// Checks a login; `loopback` says that the peer's own address is of this machine.
    ///
    /// The password of an unknown user is hashed all the same, so that answering takes as long.
    pub fn login(&self, credentials: &Credentials, loopback: bool) -> Result<&User, LoginError> {
        let Some(user) = self.by_name.get(credentials.user.as_str()) else {
            if let Some(other) = self.by_name.values().next() {
                let _ = other.password.matches(&credentials.password);
            }
            return Err(LoginError::UnknownUser);
        };
        if !user.password.matches(&credentials.password) {
            return Err(LoginError::WrongPassword);
        }
        if user.loopback_only && !loopback {
            return Err(LoginError::NotFromThere);
        }
        Ok(user)
    }
}

impl User {
    pub fn may_open(&self, vhost: &str) -> bool {
        self.vhosts.as_ref().is_none_or(|it| it.contains(vhost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::password::Algorithm;

    #[test]
    fn guest_logs_in_from_this_machine_only() {
        let mut users = Users::default();
        users.insert(User {
            name: "guest".into(),
            password: PasswordHash::new(Algorithm::Sha256, [1, 2, 3, 4], "guest"),
            tags: BTreeSet::new(),
            vhosts: Some(BTreeSet::from(["/".into()])),
            loopback_only: true,
        });
        let login = |user: &str, password: &str, loopback| {
            let credentials = Credentials { user: user.into(), password: password.into() };
            users.login(&credentials, loopback).map(|it| it.name.to_string())
        };
        assert_eq!(login("guest", "guest", true), Ok("guest".into()));
        assert_eq!(login("guest", "guest", false), Err(LoginError::NotFromThere));
        assert_eq!(login("guest", "wrong", true), Err(LoginError::WrongPassword));
        assert_eq!(login("", "", true), Err(LoginError::UnknownUser));
        let guest = users.get("guest").unwrap();
        assert!(guest.may_open("/") && !guest.may_open("other"));
    }
}
