//! The eight bytes a client begins with.

/// `AMQP`, 0, and the version 0-9-1.
pub const PREAMBLE: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// What a client's first bytes ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preamble {
    /// Fewer than eight bytes so far, and nothing wrong with them yet.
    Incomplete,
    /// AMQP 0-9-1, or 0-9, which differs in nothing this broker uses.
    Accepted,
    /// Something else: the answer is [`PREAMBLE`] and a closed socket. SPEC: section 4.2.2.
    Refused,
}

/// Judges the first bytes of a connection.
///
/// A first byte that is not `A` is refused at once, so that an HTTP or TLS client is not kept
/// waiting for an answer.
pub fn check(bytes: &[u8]) -> Preamble {
    let known = bytes.len().min(4);
    if bytes[..known] != PREAMBLE[..known] {
        return Preamble::Refused;
    }
    match bytes.get(4..8) {
        None => Preamble::Incomplete,
        Some([0, 0, 9, 1] | [1, 1, 0, 9]) => Preamble::Accepted,
        Some(_) => Preamble::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let cases: [(&[u8], Preamble); 9] = [
            (b"", Preamble::Incomplete),
            (b"AMQP\x00", Preamble::Incomplete),
            (b"AMQP\x00\x00\x09\x01", Preamble::Accepted),
            (b"AMQP\x01\x01\x00\x09", Preamble::Accepted),
            (b"AMQP\x01\x01\x08\x00", Preamble::Refused),
            (b"AMQP\x00\x01\x00\x00", Preamble::Refused),
            (b"AMQP\x03\x01\x00\x00", Preamble::Refused),
            (b"GET / HT", Preamble::Refused),
            (b"\x16\x03", Preamble::Refused),
        ];
        for (bytes, expected) in cases {
            assert_eq!(check(bytes), expected, "{bytes:?}");
        }
    }
}
