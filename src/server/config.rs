//! The daemon's configuration: a file, under what the command line and environment say.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::access::password::PasswordHash;
use crate::access::user::Origin;
use crate::access::user::User;
use crate::access::user::UserLimits;
use crate::amqp::limit;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;

/// Everything the server needs to know at its start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub metrics: Http,
    pub http: Http,
    pub data: PathBuf,
    pub body_bytes_max: u64,
    pub heartbeat_secs: u16,
    pub connections_max: usize,
    pub users: Vec<UserConfig>,
    pub vhosts: Vec<String>,
    pub compat: Compat,
    pub default_user: DefaultUser,
    /// The topology is the one that was applied last: what was left to do of it is done.
    pub resumes: bool,
}

/// Where the management API is served, or the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    Off,
    /// At the usual place, unless somebody else is there.
    Usual,
    At(SocketAddr),
}

impl Http {
    /// COMPAT: the ports that tools try first; only for this machine, unless told otherwise.
    pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15672);
    pub const USUAL_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15692);
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

/// The user and the vhost that the first start on a data directory makes.
#[derive(Clone)]
pub struct DefaultUser {
    pub name: String,
    pub password: String,
    pub vhost: String,
}

/// `railpost.toml`. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    pub listen: Option<String>,
    /// An address, or `off`; so is `http`.
    pub metrics: Option<String>,
    pub http: Option<String>,
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

/// A user of the configuration file: a password, or a hash in RabbitMQ's form or argon2id's.
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
    #[error("user `{0}` has a `password_hash` that is no form RabbitMQ or argon2id has")]
    PasswordHash(String),
    #[error("user `{0}` is there twice")]
    UserTwice(String),
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 5672)),
            metrics: Http::Off,
            http: Http::Off,
            data: PathBuf::from("./railpost-data"),
            body_bytes_max: limit::BODY_BYTES,
            heartbeat_secs: limit::HEARTBEAT_SECS,
            connections_max: 100_000,
            users: Vec::new(),
            vhosts: Vec::new(),
            compat: Compat::default(),
            default_user: DefaultUser::default(),
            resumes: false,
        }
    }
}

/// COMPAT: RabbitMQ's own.
impl Default for DefaultUser {
    fn default() -> DefaultUser {
        DefaultUser {
            name: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
        }
    }
}

/// Says who, never the password.
impl std::fmt::Debug for DefaultUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefaultUser").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ServerConfig {
    /// The configured users. They count before those in the log that have the same names.
    pub fn users(&self) -> Result<Vec<User>, ConfigError> {
        let mut users: Vec<User> = Vec::new();
        for config in &self.users {
            if users.iter().any(|it| it.name == *config.name) {
                return Err(ConfigError::UserTwice(config.name.clone()));
            }
            users.push(config.user()?);
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
            password: Some(password),
            tags: self.tags.iter().cloned().collect(),
            limits: UserLimits::default(),
            loopback_only: self.loopback_only || User::is_loopback_only(&self.name),
            origin: Origin::Configured {
                vhosts: vhosts.map(|it| it.iter().map(|name| VhostName::new(name)).collect()),
            },
        })
    }
}

/// A password that lies in a file needs no slow hash, and hashing many must not hold up the start.
fn hash(password: &str) -> PasswordHash {
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).expect("the system has randomness");
    PasswordHash::sha256(salt, password)
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

    fn users(text: &str) -> Result<Vec<User>, ConfigError> {
        let file: ConfigFile = toml::from_str(text).unwrap();
        ServerConfig { users: file.users, ..ServerConfig::default() }.users()
    }

    #[test]
    fn a_configured_guest_is_only_from_here_too() {
        let users = users("[[users]]\nname = \"guest\"\npassword = \"x\"").unwrap();
        assert!(users[0].loopback_only);
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
        let default = DefaultUser { password: "hunter2".to_owned(), ..DefaultUser::default() };
        assert!(!format!("{default:?}").contains("hunter2"));
    }
}
