//! Finding the first message of a time, by reading few of them.

use crate::amqp::time::Timestamp;

/// A binary search over offsets; messages are read one at a time.
///
/// Times of publishing rise with the offsets nearly always: publishers of the same moment may
/// overtake each other, and a dead letter keeps its first time. Where they do not rise, the search
/// ends at some place where an older message is followed by a later one.
#[derive(Debug)]
pub(in crate::queue) struct Seek {
    at: Timestamp,
    /// Everything before this one is too old.
    low: u64,
    /// This one is not, nor anything behind it.
    high: u64,
    /// The first message was looked at: often it decides.
    begun: bool,
    asked: Option<u64>,
}

impl Seek {
    /// Looks between `low` and before `high` for the first message published at `at` or later.
    pub(in crate::queue) fn new(at: Timestamp, low: u64, high: u64) -> Seek {
        Seek { at, low, high: high.max(low), begun: false, asked: None }
    }

    pub(in crate::queue) fn found(found: u64) -> Seek {
        Seek::new(Timestamp(0), found, found)
    }

    pub(in crate::queue) fn result(&self) -> Option<u64> {
        (self.low >= self.high).then_some(self.low)
    }

    fn probe(&self) -> u64 {
        let half = (self.high - self.low) / 2;
        if self.begun { self.low + half } else { self.low }
    }

    /// The message to read next, unless it was asked for already.
    pub(in crate::queue) fn ask(&mut self) -> Option<u64> {
        let probe = self.probe();
        (self.result().is_none() && self.asked.replace(probe) != Some(probe)).then_some(probe)
    }

    /// Takes the time of a message that was read, `None` when it is damaged or gone; `first` is the
    /// first that is kept. Says whether it was waited for.
    pub(in crate::queue) fn note(
        &mut self,
        offset: u64,
        published_at: Option<Timestamp>,
        first: u64,
    ) -> bool {
        if self.asked != Some(offset) {
            return false;
        }
        self.asked = None;
        self.begun = true;
        match published_at {
            Some(at) if at < self.at => self.low = offset + 1,
            // Nobody will read it, so it does not matter on which side it is.
            None if offset == self.low => self.low = offset + 1,
            Some(_) | None => self.high = offset,
        }
        self.low = self.low.max(first);
        self.high = self.high.max(self.low);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches messages that were published at tens of their offsets.
    fn find(at: u64, n: u64, unreadable: &[u64]) -> (u64, usize) {
        let mut seek = Seek::new(Timestamp(at), 0, n);
        let mut n_read = 0;
        while let Some(offset) = seek.ask() {
            n_read += 1;
            let readable = !unreadable.contains(&offset);
            assert!(seek.note(offset, readable.then_some(Timestamp(offset * 10)), 0));
        }
        (seek.result().unwrap(), n_read)
    }

    #[test]
    fn every_time_is_found_with_few_reads() {
        for n in [0, 1, 2, 3, 100] {
            for at in 0..=n * 10 + 5 {
                assert_eq!(find(at, n, &[]).0, at.div_ceil(10).min(n), "{at} of {n}");
            }
        }
        let (found, n_read) = find(7_777_777, 1_000_000, &[]);
        assert_eq!(found, 777_778);
        assert!(n_read <= 22, "{n_read}");
        assert_eq!(find(0, 1_000_000, &[]), (0, 1));
    }

    #[test]
    fn an_unreadable_message_makes_it_begin_earlier_at_most() {
        let (found, _) = find(700, 100, &[50]);
        assert!(found <= 70, "{found}");
        assert_eq!(find(0, 100, &[0]).0, 1);
    }

    #[test]
    fn only_what_was_asked_for_counts_and_once() {
        let mut seek = Seek::new(Timestamp(5), 0, 10);
        assert_eq!((seek.ask(), seek.ask()), (Some(0), None));
        assert!(!seek.note(3, Some(Timestamp(9)), 0));
        assert!(seek.note(0, Some(Timestamp(1)), 8));
        assert_eq!(seek.ask(), Some(9));
    }
}
