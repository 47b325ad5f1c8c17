//! Password hashes in RabbitMQ's form, so that its exported users can log in here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;
use sha2::Sha256;
use sha2::Sha512;
use subtle::ConstantTimeEq as _;

/// A salted hash: four bytes of salt, then the digest of salt and password.
///
/// COMPAT: base64 of that is `password_hash` in RabbitMQ's definitions.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: Algorithm,
    salt: [u8; 4],
    digest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn digest(self, salt: [u8; 4], password: &str) -> Vec<u8> {
        match self {
            Algorithm::Sha256 => {
                Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
            Algorithm::Sha512 => {
                Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
        }
    }
}

impl PasswordHash {
    pub fn new(algorithm: Algorithm, salt: [u8; 4], password: &str) -> PasswordHash {
        PasswordHash { algorithm, salt, digest: algorithm.digest(salt, password) }
    }

    /// Reads the base64 form; the algorithm shows in its length.
    pub fn parse(text: &str) -> Option<PasswordHash> {
        let bytes = STANDARD.decode(text).ok()?;
        let (salt, digest) = bytes.split_first_chunk()?;
        let algorithm = match digest.len() {
            32 => Algorithm::Sha256,
            64 => Algorithm::Sha512,
            _ => return None,
        };
        Some(PasswordHash { algorithm, salt: *salt, digest: digest.to_vec() })
    }

    pub fn to_text(&self) -> String {
        STANDARD.encode([&self.salt[..], &self.digest].concat())
    }

    /// Takes the same time whatever the password, and wherever it differs.
    pub fn matches(&self, password: &str) -> bool {
        let digest = self.algorithm.digest(self.salt, password);
        digest.ct_eq(&self.digest).into()
    }
}

/// A hash is a secret too: it is not printed.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_rabbitmqs() {
        // From RabbitMQ's documentation of the algorithm: the password is `test12`.
        let salt = [0x90, 0x8d, 0xc6, 0x0a];
        let hash = PasswordHash::new(Algorithm::Sha256, salt, "test12");
        assert_eq!(hash.to_text(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        let read = PasswordHash::parse(&hash.to_text()).unwrap();
        assert!(read.matches("test12") && !read.matches("test13") && !read.matches(""));
    }

    #[test]
    fn both_lengths_are_known_and_others_are_not() {
        let hash = PasswordHash::new(Algorithm::Sha512, [1, 2, 3, 4], "pw");
        assert_eq!(PasswordHash::parse(&hash.to_text()), Some(hash));
        assert_eq!(PasswordHash::parse("AAAA"), None);
        assert_eq!(PasswordHash::parse("not base64"), None);
    }
}
