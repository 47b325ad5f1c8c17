//! Durations, sizes and queue arguments as people type them.

use std::time::Duration;

use crate::amqp::table::Table;
use crate::amqp::table::Value;

/// How fast messages are sent or taken.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::cli) enum Rate {
    /// As fast as it goes.
    Unlimited,
    PerSecond(f64),
}

impl Rate {
    /// Nanoseconds between two messages; `None` when there is no limit.
    pub(super) fn gap_nanos(self) -> Option<f64> {
        match self {
            Rate::Unlimited => None,
            Rate::PerSecond(rate) => Some(1e9 / rate),
        }
    }
}

/// A duration: `30` and `30s` are seconds, `500ms`, `5m` and `2h 30m` work too.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(secs) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(secs).map_err(|it| it.to_string());
    }
    humantime::parse_duration(text).map_err(|it| it.to_string())
}

/// A number of bytes: `16`, `4kB` (4000) or `4KiB` (4096), up to GiB.
pub(super) fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 10] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1000),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("k", 1000),
        ("M", 1_000_000),
        ("B", 1),
    ];
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|it| (it, *unit)))
        .unwrap_or((text, 1));
    let number: usize =
        number.trim().parse().map_err(|_| format!("not a number of bytes: `{text}`"))?;
    number.checked_mul(unit).ok_or_else(|| format!("too large: `{text}`"))
}

/// A share: `0.1` or `10%`, from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, per) = text.strip_suffix('%').map_or((text, 1.0), |it| (it, 100.0));
    match number.parse::<f64>() {
        Ok(number) if (0.0..=per).contains(&number) => Ok(number / per),
        Ok(_) | Err(_) => Err(format!("not a share from 0 to 1: `{text}`")),
    }
}

/// A number of messages per second, more than zero. `-1` means as fast as possible.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    match text.parse::<f64>() {
        Ok(-1.0) => Ok(Rate::Unlimited),
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Rate::PerSecond(rate)),
        Ok(_) | Err(_) => Err(format!("not a number of messages per second: `{text}`")),
    }
}

/// Queue arguments, `x-max-length=10,x-overflow=drop-head`; a whole number becomes an integer,
/// `true` and `false` a boolean, all else text.
pub(super) fn arguments(text: &str) -> Result<Table, String> {
    let mut table = Table::default();
    for part in text.split(',').filter(|it| !it.trim().is_empty()) {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("not `key=value`: `{part}`"))?;
        let value = match (value.parse::<i64>(), value) {
            (Ok(number), _) => Value::I64(number),
            (Err(_), "true") => Value::Bool(true),
            (Err(_), "false") => Value::Bool(false),
            (Err(_), text) => Value::text(text),
        };
        table.set(key.trim(), value);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases =
            [("30", 30_000), ("0.5", 500), ("30s", 30_000), ("500ms", 500), ("2m", 120_000)];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "-1", "soon", "1 parsec"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("16", 16),
            ("16B", 16),
            ("1KiB", 1024),
            ("4kB", 4000),
            ("1 MB", 1_000_000),
            ("2k", 2000),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5k", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_and_rates() {
        assert_eq!((share("0.25"), share("10%"), share("100%")), (Ok(0.25), Ok(0.1), Ok(1.0)));
        assert!(share("1.1").is_err() && share("NaN").is_err() && share("-1%").is_err());
        assert_eq!(
            (rate("100"), rate("0.5"), rate("-1")),
            (Ok(Rate::PerSecond(100.0)), Ok(Rate::PerSecond(0.5)), Ok(Rate::Unlimited))
        );
        assert!(rate("0").is_err() && rate("-2").is_err() && rate("inf").is_err());
    }

    #[test]
    fn queue_arguments() {
        let table =
            arguments("x-max-length=10, x-overflow=drop-head,x-single-active-consumer=true");
        let expected = Table(vec![
            ("x-max-length".to_owned(), Value::I64(10)),
            ("x-overflow".to_owned(), Value::text("drop-head")),
            ("x-single-active-consumer".to_owned(), Value::Bool(true)),
        ]);
        assert_eq!(table, Ok(expected));
        assert!(arguments("x-max-length").is_err());
        assert_eq!(arguments(""), Ok(Table::default()));
    }
}
