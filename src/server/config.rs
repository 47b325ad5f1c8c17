//! The daemon's configuration: a file, under what the command line and environment say.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::access::password::Algorithm;
use crate::access::password::PasswordHash;
use crate::access::user::User;
use crate::access::user::Users;
use crate::amqp::limit;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;

/// Everything the server needs to know at its start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub data: PathBuf,
    pub body_bytes_max: u64,
    pub heartbeat_secs: u16,
    pub connections_max: usize,
    pub users: Vec<UserConfig>,
    pub vhosts: Vec<String>,
    pub compat: Compat,
}

/// What the broker says of itself, for clients that only believe in another name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compat {
    /// `product` of the server properties instead of `railpost`.
    pub product: Option<String>,
    /// `version` of the server properties.
    pub version: Option<String>,
}

/// `railpost.toml`. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    pub listen: Option<String>,
    pub metrics: Option<String>,
    pub data: Option<PathBuf>,
    pub topology: Option<PathBuf>,
    pub log_format: Option<String>,
    pub workers: Option<usize>,
    pub body_bytes_max: Option<u64>,
    pub heartbeat_secs: Option<u16>,
    pub connections_max: Option<usize>,
    #[serde(default)]
    pub vhosts: Vec<String>,
    #[serde(default)]
    pub users: Vec<UserConfig>,
    #[serde(default)]
    pub compat: Compat,
}

/// A user of the configuration file: a password, or a hash in RabbitMQ's form.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    pub name: String,
    pub password: Option<String>,
    pub password_hash: Option<String>,
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Vhosts the user may open; all when absent.
    pub vhosts: Option<BTreeSet<String>>,
    #[serde(default)]
    pub loopback_only: bool,
}

/// What is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("user `{0}` has neither `password` nor `password_hash`, or both")]
    Password(String),
    #[error("user `{0}` has a `password_hash` that is not base64 of salt and SHA-256 or SHA-512")]
    PasswordHash(String),
    #[error("user `{0}` is there twice")]
    UserTwice(String),
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 5672)),
            metrics: None,
            data: PathBuf::from("./railpost-data"),
            body_bytes_max: limit::BODY_BYTES,
            heartbeat_secs: limit::HEARTBEAT_SECS,
            connections_max: 100_000,
            users: Vec::new(),
            vhosts: Vec::new(),
            compat: Compat::default(),
        }
    }
}

impl ServerConfig {
    /// The users who can log in: those configured, and `guest` from this machine.
    ///
    /// `guest` is there beside configured users unless one of them has that name; it never logs in
    /// from another machine.
    pub fn users(&self) -> Result<Users, ConfigError> {
        let mut users = Users::default();
        for config in &self.users {
            if users.get(&config.name).is_some() {
                return Err(ConfigError::UserTwice(config.name.clone()));
            }
            users.insert(config.user()?);
        }
        if users.get("guest").is_none() {
            users.insert(User {
                name: UserName::new("guest"),
                password: hash("guest"),
                tags: BTreeSet::from(["administrator".to_owned()]),
                vhosts: None,
                loopback_only: true,
            });
        }
        Ok(users)
    }
}

impl UserConfig {
    fn user(&self) -> Result<User, ConfigError> {
        let password = match (&self.password, &self.password_hash) {
            (Some(password), None) => hash(password),
            (None, Some(text)) => PasswordHash::parse(text)
                .ok_or_else(|| ConfigError::PasswordHash(self.name.clone()))?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(ConfigError::Password(self.name.clone()));
            }
        };
        let vhosts = self.vhosts.as_ref();
        Ok(User {
            name: UserName::new(&self.name),
            password,
            tags: self.tags.clone(),
            vhosts: vhosts.map(|it| it.iter().map(|name| VhostName::new(name)).collect()),
            loopback_only: self.loopback_only || self.name == "guest",
        })
    }
}

fn hash(password: &str) -> PasswordHash {
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).expect("the system has randomness");
    PasswordHash::new(Algorithm::Sha256, salt, password)
}

/// Says who, never the password.
impl std::fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<Users, ConfigError> {
        let file: ConfigFile = toml::from_str(text).unwrap();
        ServerConfig { users: file.users, ..ServerConfig::default() }.users()
    }

    #[test]
    fn guest_is_there_and_only_from_here() {
        let users = users("").unwrap();
        assert!(users.get("guest").unwrap().loopback_only);
    }

    #[test]
    fn users_need_one_password() {
        assert!(users("[[users]]\nname = \"a\"\npassword = \"x\"").is_ok());
        for text in [
            "[[users]]\nname = \"a\"",
            "[[users]]\nname = \"a\"\npassword = \"x\"\npassword_hash = \"y\"",
        ] {
            assert_eq!(users(text).err(), Some(ConfigError::Password("a".into())));
        }
        let text = "[[users]]\nname = \"a\"\npassword_hash = \"AAAA\"";
        assert_eq!(users(text).err(), Some(ConfigError::PasswordHash("a".into())));
    }

    #[test]
    fn unknown_keys_are_refused_and_secrets_not_shown() {
        assert!(toml::from_str::<ConfigFile>("lisen = \"x\"").is_err());
        let file: ConfigFile =
            toml::from_str("[[users]]\nname = \"a\"\npassword = \"hunter2\"").unwrap();
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
