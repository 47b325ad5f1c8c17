//! The login mechanisms: reading user and password out of a client's response.

use crate::amqp::table::Table;
use crate::amqp::table::Value;

/// The mechanisms offered in `connection.start`, separated by spaces.
pub const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// What a client presented; not yet verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaslError {
    UnknownMechanism,
    Malformed,
}

/// Reads the response of `connection.start-ok`.
pub fn parse(mechanism: &str, response: &[u8]) -> Result<Credentials, SaslError> {
    match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => Err(SaslError::UnknownMechanism),
    }
}

/// `NUL user NUL password`. COMPAT: the authorization identity before the first NUL must be empty.
fn plain(response: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = response.split(|it| *it == 0);
    let (Some([]), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    Ok(Credentials { user: text(user)?, password: text(password)? })
}

/// The entries of a field table without its size: `LOGIN` and `PASSWORD` as long strings.
fn amqplain(response: &[u8]) -> Result<Credentials, SaslError> {
    let size = u32::try_from(response.len()).map_err(|_| SaslError::Malformed)?;
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend_from_slice(response);
    let (table, _) = Table::decode(&bytes).map_err(|_| SaslError::Malformed)?;
    let of = |key| table.get(key).and_then(Value::as_text).ok_or(SaslError::Malformed);
    Ok(Credentials { user: of("LOGIN")?.to_owned(), password: of("PASSWORD")?.to_owned() })
}

fn text(bytes: &[u8]) -> Result<String, SaslError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| SaslError::Malformed)
}

/// Says who, never the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mechanism: &str, response: &[u8], expected: Option<(&str, &str)>) {
        let found = parse(mechanism, response).ok();
        let found = found.as_ref().map(|it| (it.user.as_str(), it.password.as_str()));
        assert_eq!(found, expected, "{mechanism} {response:?}");
    }

    #[test]
    fn plain_responses() {
        check("PLAIN", b"\0guest\0secret", Some(("guest", "secret")));
        check("PLAIN", b"\0guest\0", Some(("guest", "")));
        check("PLAIN", b"admin\0guest\0secret", None);
        check("PLAIN", b"\0guest\0se\0cret", None);
        check("PLAIN", b"guest", None);
        check("PLAIN", b"\0\xff\0x", None);
        check("EXTERNAL", b"", None);
    }

    #[test]
    fn amqplain_responses() {
        let response = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret";
        check("AMQPLAIN", response, Some(("guest", "secret")));
        check("AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest", None);
        check("AMQPLAIN", b"\xff", None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = parse("PLAIN", b"\0guest\0secret").unwrap();
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
