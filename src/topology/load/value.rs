//! Values that TOML has no type for: spans of time, sizes, and names.

use crate::amqp::limit;
use crate::amqp::time::Millis;

/// Why a text is no span of time or no size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::topology) enum Fault {
    Empty,
    /// A number without a unit behind it.
    NoUnit,
    UnknownUnit,
    NotNumber,
    Negative,
    Fraction,
    TooLarge,
}

const TIMES: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

const SIZES: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Reads `500ms`, `10s`, `1h30m`, `3d`: one or more numbers with units, at most ten years in all.
pub(in crate::topology) fn millis(text: &str) -> Result<Millis, Fault> {
    let mut rest = check_start(text)?;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, unit, after) = split(rest)?;
        let (_, factor) = TIMES.iter().find(|(it, _)| *it == unit).ok_or(Fault::UnknownUnit)?;
        let part = number.checked_mul(*factor).ok_or(Fault::TooLarge)?;
        total = total.checked_add(part).ok_or(Fault::TooLarge)?;
        rest = after.trim_start();
    }
    if total > limit::TTL_MS { Err(Fault::TooLarge) } else { Ok(Millis(total)) }
}

/// Reads `64KiB`, `1MB`, `2 GiB`: a number with a unit of bytes.
pub(in crate::topology) fn bytes(text: &str) -> Result<u64, Fault> {
    let (number, unit, after) = split(check_start(text)?)?;
    let (_, factor) = SIZES.iter().find(|(it, _)| *it == unit).ok_or(Fault::UnknownUnit)?;
    if !after.is_empty() {
        return Err(Fault::NotNumber);
    }
    number.checked_mul(*factor).filter(|it| i64::try_from(*it).is_ok()).ok_or(Fault::TooLarge)
}

fn check_start(text: &str) -> Result<&str, Fault> {
    match text.trim() {
        "" => Err(Fault::Empty),
        text if text.starts_with('-') => Err(Fault::Negative),
        text => Ok(text),
    }
}

/// A number, its unit, and what follows.
fn split(text: &str) -> Result<(u64, &str, &str), Fault> {
    let digits = text.find(|it: char| !it.is_ascii_digit() && it != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if rest.starts_with(['.', ',']) && digits > 0 {
        return Err(Fault::Fraction);
    }
    let number = number.replace('_', "");
    if number.is_empty() {
        return Err(Fault::NotNumber);
    }
    let rest = rest.trim_start();
    let letters = rest.find(|it: char| !it.is_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    if unit.is_empty() {
        return Err(Fault::NoUnit);
    }
    // All digits, so that only its size can be wrong.
    Ok((number.parse().map_err(|_| Fault::TooLarge)?, unit, after))
}

/// The name of `names` that `wrong` may have been meant as: few edits away, for its length.
pub(in crate::topology) fn nearest<'n>(
    wrong: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let wanted: Vec<char> = wrong.to_lowercase().replace('-', "_").chars().collect();
    let most = (wanted.len() / 3).clamp(1, 4);
    let close = names.into_iter().filter_map(|name| {
        let n_chars = name.chars().count();
        if n_chars.abs_diff(wanted.len()) > most {
            return None;
        }
        let name_chars: Vec<char> = name.to_lowercase().replace('-', "_").chars().collect();
        let edits = edits(&wanted, &name_chars);
        (edits <= most && edits < n_chars).then_some((edits, name))
    });
    close.min().map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours between two texts.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        let cases = [
            ("500ms", Ok(500)),
            ("10s", Ok(10_000)),
            ("1h30m", Ok(5_400_000)),
            ("1h 30m", Ok(5_400_000)),
            ("3 d", Ok(259_200_000)),
            ("2w", Ok(1_209_600_000)),
            ("1_000s", Ok(1_000_000)),
            ("0s", Ok(0)),
            ("3650d", Ok(315_360_000_000)),
            ("3651d", Err(Fault::TooLarge)),
            ("99999999999999999999s", Err(Fault::TooLarge)),
            ("9999999999999999d", Err(Fault::TooLarge)),
            ("", Err(Fault::Empty)),
            ("10", Err(Fault::NoUnit)),
            ("10y", Err(Fault::UnknownUnit)),
            ("1.5s", Err(Fault::Fraction)),
            ("-1s", Err(Fault::Negative)),
            ("s", Err(Fault::NotNumber)),
            ("1s,", Err(Fault::NotNumber)),
            ("_s", Err(Fault::NotNumber)),
            ("ten s", Err(Fault::NotNumber)),
        ];
        for (text, expected) in cases {
            assert_eq!(millis(text), expected.map(Millis), "`{text}`");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("64KiB", Ok(65_536)),
            ("1MB", Ok(1_000_000)),
            ("2 GiB", Ok(2 << 30)),
            ("9000000TiB", Err(Fault::TooLarge)),
            ("1GB 2", Err(Fault::NotNumber)),
            ("1", Err(Fault::NoUnit)),
            ("1QB", Err(Fault::UnknownUnit)),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "`{text}`");
        }
    }

    #[test]
    fn the_nearest_name_is_few_edits_away() {
        let names = ["service", "bindings", "retry", "dead_letter", "ttl", "key"];
        let cases = [
            ("servce", Some("service")),
            ("binding", Some("bindings")),
            ("rerty", Some("retry")),
            ("dead-letter", Some("dead_letter")),
            ("Retry", Some("retry")),
            ("tl", Some("ttl")),
            ("prefetch", None),
            ("x", None),
            ("", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(nearest(wrong, names), expected, "`{wrong}`");
        }
    }
}
