//! Password hashes: RabbitMQ's own forms, so that its exported users can log in here, and argon2id
//! for new passwords.

use argon2::Argon2;
use argon2::Params;
use argon2::Version;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use md5::Md5;
use sha2::Digest as _;
use sha2::Sha256;
use sha2::Sha512;
use subtle::ConstantTimeEq as _;

/// A salted hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: Algorithm,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// How a password is hashed. COMPAT: all but argon2id are RabbitMQ's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512,
    Argon2id(Cost),
}

/// What one argon2id hash takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The recommendation of OWASP's password storage cheat sheet.
const COST: Cost = Cost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

/// No hash that is read may cost more than this: it is paid at every login.
const COST_MAX: Cost = Cost { memory_kib: 256 * 1024, passes: 16, lanes: 16 };

/// Bytes of salt in RabbitMQ's forms.
const SALT_BYTES: usize = 4;

const ARGON2_DIGEST_BYTES: usize = 32;

impl Algorithm {
    /// The name in definitions and the management API.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "rabbit_password_hashing_md5",
            Algorithm::Sha256 => "rabbit_password_hashing_sha256",
            Algorithm::Sha512 => "rabbit_password_hashing_sha512",
            Algorithm::Argon2id(_) => "argon2id",
        }
    }

    fn digest(self, salt: &[u8], password: &str) -> Vec<u8> {
        match self {
            Algorithm::Md5 => {
                Md5::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
            Algorithm::Sha256 => {
                Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
            Algorithm::Sha512 => {
                Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
            Algorithm::Argon2id(cost) => {
                let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)
                    .expect("costs are checked where they are read");
                let argon2 = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params);
                let mut digest = vec![0; ARGON2_DIGEST_BYTES];
                argon2
                    .hash_password_into(password.as_bytes(), salt, &mut digest)
                    .expect("salts are checked where they are read");
                digest
            }
        }
    }
}

impl PasswordHash {
    /// A hash in RabbitMQ's form, cheap to make and to check.
    pub fn sha256(salt: [u8; 4], password: &str) -> PasswordHash {
        PasswordHash::with(Algorithm::Sha256, salt.to_vec(), password)
    }

    /// A hash in a form of RabbitMQ's that its definitions may have.
    ///
    /// # Panics
    /// With argon2id, whose salt is longer: see [`PasswordHash::new`].
    pub fn imported(algorithm: Algorithm, salt: [u8; 4], password: &str) -> PasswordHash {
        assert!(!matches!(algorithm, Algorithm::Argon2id(_)), "its salt is longer");
        PasswordHash::with(algorithm, salt.to_vec(), password)
    }

    /// The hash of a new password; takes about 40 ms and 19 MiB.
    pub fn new(salt: [u8; 16], password: &str) -> PasswordHash {
        PasswordHash::with(Algorithm::Argon2id(COST), salt.to_vec(), password)
    }

    /// The hash of no password, which takes as long to check as that of a new one.
    pub fn decoy() -> PasswordHash {
        let digest = vec![0; ARGON2_DIGEST_BYTES];
        PasswordHash { algorithm: Algorithm::Argon2id(COST), salt: vec![0; 16], digest }
    }

    fn with(algorithm: Algorithm, salt: Vec<u8>, password: &str) -> PasswordHash {
        let digest = algorithm.digest(&salt, password);
        PasswordHash { algorithm, salt, digest }
    }

    /// Reads RabbitMQ's base64 form, whose algorithm shows in its length, or argon2's own.
    pub fn parse(text: &str) -> Option<PasswordHash> {
        if text.starts_with('$') {
            return parse_argon2id(text);
        }
        let bytes = STANDARD.decode(text).ok()?;
        let (salt, digest) = bytes.split_first_chunk::<SALT_BYTES>()?;
        let algorithm = match digest.len() {
            16 => Algorithm::Md5,
            32 => Algorithm::Sha256,
            64 => Algorithm::Sha512,
            _ => return None,
        };
        Some(PasswordHash { algorithm, salt: salt.to_vec(), digest: digest.to_vec() })
    }

    /// COMPAT: base64 of salt and digest is `password_hash` in RabbitMQ's definitions.
    pub fn to_text(&self) -> String {
        match self.algorithm {
            Algorithm::Md5 | Algorithm::Sha256 | Algorithm::Sha512 => {
                STANDARD.encode([&self.salt[..], &self.digest].concat())
            }
            Algorithm::Argon2id(Cost { memory_kib, passes, lanes }) => format!(
                "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}",
                STANDARD_NO_PAD.encode(&self.salt),
                STANDARD_NO_PAD.encode(&self.digest)
            ),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether checking takes so long that it must not happen where others wait.
    pub fn is_slow(&self) -> bool {
        matches!(self.algorithm, Algorithm::Argon2id(_))
    }

    /// Takes the same time whatever the password, and wherever it differs.
    pub fn matches(&self, password: &str) -> bool {
        let digest = self.algorithm.digest(&self.salt, password);
        digest.ct_eq(&self.digest).into()
    }
}

/// `$argon2id$v=19$m=…,t=…,p=…$salt$digest`, the form of the reference implementation.
fn parse_argon2id(text: &str) -> Option<PasswordHash> {
    let mut parts = text.split('$').skip(1);
    if (parts.next()?, parts.next()?) != ("argon2id", "v=19") {
        return None;
    }
    let mut costs = parts.next()?.split(',');
    let mut cost = |key: &str, max: u32| {
        let number: u32 = costs.next()?.strip_prefix(key)?.parse().ok()?;
        (number <= max).then_some(number)
    };
    let cost = Cost {
        memory_kib: cost("m=", COST_MAX.memory_kib)?,
        passes: cost("t=", COST_MAX.passes)?,
        lanes: cost("p=", COST_MAX.lanes)?,
    };
    Params::new(cost.memory_kib, cost.passes, cost.lanes, None).ok()?;
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let digest = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let fits = (8..=64).contains(&salt.len()) && digest.len() == ARGON2_DIGEST_BYTES;
    let algorithm = Algorithm::Argon2id(cost);
    (fits && parts.next().is_none()).then_some(PasswordHash { algorithm, salt, digest })
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
        let hash = PasswordHash::sha256(salt, "test12");
        assert_eq!(hash.to_text(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        let read = PasswordHash::parse(&hash.to_text()).unwrap();
        assert!(read.matches("test12") && !read.matches("test13") && !read.matches(""));
    }

    #[test]
    fn every_form_is_read_back() {
        let salt = vec![1, 2, 3, 4];
        let small = Cost { memory_kib: 8, passes: 1, lanes: 1 };
        for hash in [
            PasswordHash::with(Algorithm::Md5, salt.clone(), "pw"),
            PasswordHash::with(Algorithm::Sha256, salt.clone(), "pw"),
            PasswordHash::with(Algorithm::Sha512, salt, "pw"),
            PasswordHash::with(Algorithm::Argon2id(small), vec![7; 16], "pw"),
        ] {
            let read = PasswordHash::parse(&hash.to_text()).unwrap();
            assert_eq!(read, hash);
            assert!(read.matches("pw") && !read.matches("PW"));
            assert_eq!(format!("{read:?}"), "PasswordHash(…)");
        }
    }

    #[test]
    fn other_texts_are_no_hashes() {
        let digest = STANDARD_NO_PAD.encode([0; 32]);
        for text in [
            "",
            "AAAA",
            "not base64",
            "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAA",
            &format!("$argon2id$v=19$m=8,t=1,p=1$AAAA${digest}"),
            &format!("$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAA${digest}"),
            &format!("$argon2id$v=19$m=8,t=0,p=1$AAAAAAAAAAAAAAAA${digest}"),
            &format!("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAA${digest}$"),
        ] {
            assert_eq!(PasswordHash::parse(text), None, "{text}");
        }
    }

    /// The argon2id line of RFC 9106 needs a secret and associated bytes; this one is from the
    /// reference implementation's own test (`password`, `somesalt`, 256 KiB, 2 passes, 1 lane).
    #[test]
    fn argon2id_is_the_reference_implementations() {
        let text = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ\
                    $nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(PasswordHash::parse(text).unwrap().matches("password"));
    }
}
