//! How long a message asks to be held back, by an exchange that does that.

use crate::amqp::property::Properties;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;

/// The header that says how many milliseconds.
pub const DELAY: &str = "x-delay";

/// The longest delay there is.
const MAX_MS: i64 = 4_294_967_295;

/// What the `x-delay` header asks for; `None` for a message to be routed at once.
///
/// COMPAT: the `rabbitmq_delayed_message_exchange` plugin takes integers, numbers in text and
/// floats, which lose their fraction. What is not between 1 ms and 49.7 days is no delay.
pub fn delay(properties: Properties<'_>) -> Option<Millis> {
    if !properties.may_have_header(DELAY.as_bytes()) {
        return None;
    }
    let headers = properties.headers()?;
    let value = headers.get(DELAY)?;
    #[allow(clippy::cast_possible_truncation, reason = "saturates, and is checked below")]
    let ms = match (value, value.as_integer()) {
        (_, Some(ms)) => ms,
        (Value::F64(ms), _) => *ms as i64,
        (Value::F32(ms), _) => *ms as i64,
        _ => value.as_text()?.trim().parse().ok()?,
    };
    let ms = u64::try_from(ms).ok().filter(|_| (1..=MAX_MS).contains(&ms))?;
    Some(Millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::property::PropertyList;

    #[test]
    fn what_counts_as_a_delay() {
        let cases = [
            (Value::I32(500), Some(500)),
            (Value::I64(4_294_967_295), Some(4_294_967_295)),
            (Value::text("250"), Some(250)),
            (Value::F64(12.9), Some(12)),
            (Value::I32(0), None),
            (Value::I32(-500), None),
            (Value::I64(4_294_967_296), None),
            (Value::text("soon"), None),
            (Value::Bool(true), None),
        ];
        for (value, expected) in cases {
            let mut list = PropertyList::default();
            list.headers_mut().set(DELAY, value.clone());
            let bytes = list.to_bytes();
            let found = delay(Properties::check(&bytes).unwrap());
            assert_eq!(found, expected.map(Millis), "{value:?}");
        }
    }
}
