//! Numbers in as few bytes as they need: seven bits per byte, lowest first (LEB128).

/// Appends `value`, in one byte below 128 and ten at most.
pub(crate) fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Appends a difference, so that small ones are short whatever their sign (zigzag).
pub(crate) fn push_signed(out: &mut Vec<u8>, value: i64) {
    push(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Reads from the front of a byte slice, which gets shorter; `None` when it is too short or no
/// number that [`push`] writes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn number_u32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// A number, and as many bytes as it says.
    pub(crate) fn sized(&mut self) -> Option<&'a [u8]> {
        let n = self.number()?.try_into().ok()?;
        self.bytes(n)
    }
}

/// Appends the length of `bytes` and `bytes`.
pub(crate) fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            push(&mut out, value);
            push_signed(&mut out, signed);
            let mut input = Input(&out);
            prop_assert_eq!(input.number(), Some(value));
            prop_assert_eq!(input.signed(), Some(signed));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let mut input = Input(&bytes);
            while input.number().is_some() {}
            prop_assert_eq!(Input(&bytes).bytes(bytes.len() + 1), None);
        }
    }

    #[test]
    fn small_numbers_are_short() {
        let cases = [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)];
        for (value, n_bytes) in cases {
            let mut out = Vec::new();
            push(&mut out, value);
            assert_eq!(out.len(), n_bytes, "{value}");
        }
        assert_eq!(Input(&[0xff; 10]).number(), None);
        assert_eq!(Input(&[0x80]).number(), None);
    }
}
