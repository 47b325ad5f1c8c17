//! The address of a broker: `amqp://user:password@host:port/vhost`.

use std::fmt;
use std::str::FromStr;

const PORT: u16 = 5672;

/// A broker, and who to be there. Displayed without its password.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cli) struct Target {
    pub(in crate::cli) host: String,
    pub(in crate::cli) port: u16,
    pub(in crate::cli) vhost: String,
    pub(in crate::cli) user: String,
    pub(in crate::cli) password: String,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(in crate::cli) enum TargetError {
    #[error("not an AMQP address, which begins with `amqp://`: {0}")]
    Scheme(String),
    #[error("`amqps://` is not supported by bench; measure without TLS")]
    Tls,
    #[error("not a port number: {0}")]
    Port(String),
    #[error("a `%` is not followed by two hexadecimal digits: {0}")]
    Escape(String),
}

impl FromStr for Target {
    type Err = TargetError;

    /// Parts that are missing are `guest`, `guest`, `localhost`, 5672 and the vhost `/`.
    ///
    /// COMPAT: as in RabbitMQ's URI specification, but a path of `/` alone is the vhost `/`, not
    /// the vhost with an empty name, which nobody means.
    fn from_str(text: &str) -> Result<Target, TargetError> {
        if text.starts_with("amqps://") {
            return Err(TargetError::Tls);
        }
        let rest = text.strip_prefix("amqp://").ok_or(TargetError::Scheme(masked(text)))?;
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, address) = match authority.rsplit_once('@') {
            Some((account, address)) => (Some(account), address),
            None => (None, authority),
        };
        let (user, password) = match account.map(|it| it.split_once(':').unwrap_or((it, ""))) {
            Some((user, password)) => (unescape(user)?, unescape(password)?),
            None => ("guest".to_owned(), "guest".to_owned()),
        };
        // The colons of an IPv6 address are inside of its brackets.
        let (host, port) = match address.rfind(':') {
            Some(at) if address.rfind(']').is_none_or(|it| it < at) => {
                (&address[..at], &address[at + 1..])
            }
            Some(_) | None => (address, ""),
        };
        let port = if port.is_empty() {
            PORT
        } else {
            port.parse().map_err(|_| TargetError::Port(port.to_owned()))?
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "localhost".to_owned() } else { unescape(host)? };
        let vhost = if path.is_empty() { "/".to_owned() } else { unescape(path)? };
        Ok(Target { host, port, vhost, user, password })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}@{open}{}{close}:{}", self.user, self.host, self.port)?;
        if self.vhost == "/" { Ok(()) } else { write!(f, "/{}", self.vhost) }
    }
}

/// The password does not show here either.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// A text that may hold a password, without what stands before its last `@`.
fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => text.to_owned(),
    }
}

pub(in crate::cli) fn unescape(text: &str) -> Result<String, TargetError> {
    let wrong = || TargetError::Escape(masked(text));
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let digits = digits.filter(|it| !it.starts_with('+')).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("amqp://", "localhost", 5672, "/", "guest", "guest"),
            ("amqp://h", "h", 5672, "/", "guest", "guest"),
            ("amqp://h/", "h", 5672, "/", "guest", "guest"),
            ("amqp://h:5690/%2F", "h", 5690, "/", "guest", "guest"),
            ("amqp://u:p@h:1/shop?heartbeat=5", "h", 1, "shop", "u", "p"),
            ("amqp://u:p%40%3a@[::1]:7/a%2fb", "::1", 7, "a/b", "u", "p@:"),
            ("amqp://u@[::1]", "::1", 5672, "/", "u", ""),
        ];
        for (text, host, port, vhost, user, password) in cases {
            let target: Target = text.parse().unwrap();
            let found = (&*target.host, target.port, &*target.vhost);
            assert_eq!(found, (host, port, vhost), "{text}");
            assert_eq!((&*target.user, &*target.password), (user, password), "{text}");
        }
    }

    #[test]
    fn no_error_and_no_display_shows_a_password() {
        let target: Target = "amqp://me:secret@[::1]:7/shop".parse().unwrap();
        assert_eq!(format!("{target}"), "me@[::1]:7/shop");
        assert!(!format!("{target:?}").contains("secret"));
        for text in ["http://me:secret@h", "amqps://me:secret@h", "amqp://me:secret@h:x"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(matches!("amqp://h/%2".parse::<Target>(), Err(TargetError::Escape(_))));
    }
}
