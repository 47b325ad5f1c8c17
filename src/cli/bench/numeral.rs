//! Numbers as people read them.

/// A whole number in groups of three digits: `71 204`.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in milliseconds, to about three digits.
pub(super) fn millis(nanos: u64) -> String {
    digits(nanos as f64 / 1e6)
}

/// A number to about three digits, never as a power of ten.
pub(super) fn digits(number: f64) -> String {
    match number.abs() {
        size if size < 0.9995 => format!("{number:.3}"),
        size if size < 9.995 => format!("{number:.2}"),
        size if size < 99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Bytes in the unit that suits them: `212 MiB`.
pub(super) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut number = bytes;
    let mut unit = 0;
    while number.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    let number = if unit == 0 { format!("{number:.0}") } else { digits(number) };
    format!("{number} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (999.4, "999"), (999.6, "1 000"), (1_234_567.0, "1 234 567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
        let cases = [(52_000, "0.052"), (1_430_000, "1.43"), (12_100_000, "12.1"), (0, "0.000")];
        for (nanos, expected) in cases {
            assert_eq!(millis(nanos), expected);
        }
        assert_eq!([digits(9.996), digits(99.96), digits(131.4)], ["10.0", "100", "131"]);
        let cases = [(17.0, "17 B"), (2048.0, "2.00 KiB"), (222_298_112.0, "212 MiB")];
        for (number, expected) in cases {
            assert_eq!(bytes(number), expected);
        }
    }
}
