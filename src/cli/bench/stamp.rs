//! What every message of a run carries in its first 16 bytes.

/// Bytes of a stamp; no body of a run is smaller.
pub(super) const STAMP_BYTES: usize = 16;
/// Sequences and times wrap here; 2^48 ns are 78 hours.
pub(super) const SEQUENCE_MAX: u64 = (1 << 40) - 1;
const NANOS_MAX: u64 = (1 << 48) - 1;

/// Where a message came from and when.
///
/// Layout, big-endian: run `u8`, sequence `u40`, stream `u32`, time `u48`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// A random number per run, so that what an earlier run left behind is not mistaken for ours.
    pub(super) run: u8,
    /// Messages that are to stay in order among each other: those of one producer, and, in a
    /// workload with keys, of one key.
    pub(super) stream: u32,
    /// The place in its stream, from 0 without gaps.
    pub(super) sequence: u64,
    /// Nanoseconds since the run began: when the message was written, or, at a fixed rate, when it
    /// was due.
    pub(super) sent_at: u64,
}

impl Stamp {
    pub(super) fn encode(self) -> [u8; STAMP_BYTES] {
        let high = u64::from(self.run) << 56
            | (self.sequence & SEQUENCE_MAX) << 16
            | u64::from(self.stream >> 16);
        let low = u64::from(self.stream & 0xFFFF) << 48 | self.sent_at & NANOS_MAX;
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    pub(super) fn decode(bytes: &[u8; STAMP_BYTES]) -> Stamp {
        let all = u128::from_be_bytes(*bytes);
        let [run, ..] = *bytes;
        #[allow(clippy::cast_possible_truncation, reason = "the cast takes these very bits")]
        let (high, low) = ((all >> 64) as u64, all as u64);
        #[allow(clippy::cast_possible_truncation, reason = "the cast takes these very bits")]
        let stream = (high << 16 | low >> 48) as u32;
        Stamp { run, stream, sequence: high >> 16 & SEQUENCE_MAX, sent_at: low & NANOS_MAX }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stamp_survives_its_bytes(
            run: u8,
            stream: u32,
            sequence in 0..=SEQUENCE_MAX,
            sent_at in 0..=NANOS_MAX,
        ) {
            let stamp = Stamp { run, stream, sequence, sent_at };
            prop_assert_eq!(Stamp::decode(&stamp.encode()), stamp);
        }
    }
}
