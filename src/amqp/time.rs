//! Logical time: passed in as an argument, never read from a clock on this floor.

use std::fmt;
use std::ops::Add;

/// Microseconds since the Unix epoch, as the caller's clock tells it.
///
/// The server derives it from the boot clock, so that it never jumps while the process runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

/// A span of time in milliseconds, AMQP's unit for TTLs and delays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub u64);

impl Timestamp {
    pub const NEVER: Timestamp = Timestamp(u64::MAX);

    pub fn from_millis(ms: u64) -> Timestamp {
        Timestamp(ms.saturating_mul(1000))
    }

    pub fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// Whole seconds, the unit of AMQP's `timestamp` type.
    pub fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Microseconds from `earlier` to here; zero when `earlier` is later.
    pub fn micros_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Millis {
    pub fn from_secs(s: u64) -> Millis {
        Millis(s.saturating_mul(1000))
    }

    /// Reads a span of streams: digits and one of `Y`, `M`, `D`, `h`, `m`, `s`; not zero.
    ///
    /// COMPAT: a year has 365 days and a month 30.
    pub fn from_age(text: &str) -> Option<Millis> {
        let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(n_digits);
        let secs: u64 = match unit {
            "Y" => 365 * 86_400,
            "M" => 30 * 86_400,
            "D" => 86_400,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        let number: u64 = number.parse().ok().filter(|it| *it > 0)?;
        Some(Millis::from_secs(number.saturating_mul(secs)))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0.saturating_mul(1000)))
    }
}

/// Writes the largest unit that loses nothing: `1s`, `1500ms`, `2m`, `3h`, `7d`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        if self.0 == 0 {
            return f.write_str("0s");
        }
        match UNITS.iter().find(|(ms, _)| self.0.is_multiple_of(*ms)) {
            Some((ms, unit)) => write!(f, "{}{unit}", self.0 / ms),
            None => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let day = 86_400_000;
        let good = [("7D", 7 * day), ("1h", 3_600_000), ("30s", 30_000), ("5m", 300_000)];
        for (text, ms) in good.into_iter().chain([("2M", 60 * day), ("1Y", 365 * day)]) {
            assert_eq!(Millis::from_age(text), Some(Millis(ms)), "`{text}`");
        }
        for text in ["", "D", "0s", "7", "7d", "7 D", "-1h", "1.5h", "99999999999999999999s"] {
            assert_eq!(Millis::from_age(text), None, "`{text}`");
        }
    }
}
