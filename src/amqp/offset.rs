//! Where a consumer begins to read a stream: `x-stream-offset`.

use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Offset {
    /// With the first message that is kept.
    First,
    /// With the last message there is.
    Last,
    /// With the first message published from now on.
    #[default]
    Next,
    /// With the message of this number; one that is not there yet is waited for.
    Number(u64),
    /// With the first message published at this time or later.
    Since(Timestamp),
    /// With the first message published so long ago, or later.
    Ago(Millis),
}

impl Offset {
    /// Types the argument; `None` when it is nothing of the kind.
    ///
    /// COMPAT: a negative number is the first message; spans are those of `x-max-age`.
    pub fn parse(value: &Value) -> Option<Offset> {
        if let Some(number) = value.as_integer() {
            return Some(u64::try_from(number).map_or(Offset::First, Offset::Number));
        }
        if let Value::Time(secs) = value {
            return Some(Offset::Since(Timestamp::from_millis(secs.saturating_mul(1000))));
        }
        match value.as_text()? {
            "first" => Some(Offset::First),
            "last" => Some(Offset::Last),
            "next" => Some(Offset::Next),
            text => Millis::from_age(text).map(Offset::Ago),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        let cases = [
            (Value::text("first"), Some(Offset::First)),
            (Value::text("last"), Some(Offset::Last)),
            (Value::text("next"), Some(Offset::Next)),
            (Value::text("1h"), Some(Offset::Ago(Millis(3_600_000)))),
            (Value::text("xyz"), None),
            (Value::I64(7), Some(Offset::Number(7))),
            (Value::U8(0), Some(Offset::Number(0))),
            (Value::I32(-3), Some(Offset::First)),
            (Value::Time(5), Some(Offset::Since(Timestamp(5_000_000)))),
            (Value::Bool(true), None),
        ];
        for (value, expected) in cases {
            assert_eq!(Offset::parse(&value), expected, "{value}");
        }
    }
}
