//! A day of the calendar: when a suppression ends.

use std::fmt;

use crate::amqp::time::Timestamp;

/// A day in the Gregorian calendar, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// `None` when the calendar has no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Day> {
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        (1..=days).contains(&day).then_some(Day { year, month, day })
    }

    /// Reads `2027-01-31`.
    pub fn parse(text: &str) -> Option<Day> {
        let number = |range: std::ops::Range<usize>| {
            text.get(range).filter(|it| it.bytes().all(|it| it.is_ascii_digit()))
        };
        let dashes = matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _]);
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        Day::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).filter(|_| dashes)
    }

    /// The day of a moment, in UTC.
    ///
    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": days counted in eras of 400
    /// years that begin in March.
    pub fn of(now: Timestamp) -> Day {
        let days = now.as_secs() / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let narrow = |it: u64| u8::try_from(it).unwrap_or(u8::MAX);
        let year = u16::try_from(year).unwrap_or(u16::MAX);
        Day { year, month: narrow(month), day: narrow(day) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_read() {
        for text in ["2027-01-31", "2028-02-29", "2000-02-29", "0001-12-01"] {
            assert_eq!(Day::parse(text).unwrap().to_string(), text);
        }
        let wrong = [
            "2027-02-29",
            "1900-02-29",
            "2027-13-01",
            "2027-1-31",
            "2027/01/31",
            "2027-01-31T",
            "",
        ];
        for text in wrong {
            assert_eq!(Day::parse(text), None, "`{text}`");
        }
    }

    #[test]
    fn the_day_of_a_moment() {
        let cases = [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_703_980_800, "2023-12-31"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
        ];
        for (secs, day) in cases {
            assert_eq!(Day::of(Timestamp(secs * 1_000_000)).to_string(), day);
        }
    }
}
