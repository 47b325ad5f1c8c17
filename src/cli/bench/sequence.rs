//! Which messages of a stream have arrived, and whether in order.

use std::collections::VecDeque;

/// Farther ahead than this of everything seen, a sequence is not from this run.
const AHEAD_MAX: u64 = 1 << 32;

/// What an arrival says about its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    New,
    /// Already settled once.
    Duplicate,
    /// A sequence this run cannot have reached.
    Absurd,
}

/// The sequences of one stream that were settled, as bits; the whole words at the front are only
/// counted, so that an intact stream takes a few bytes however long it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SeenSet {
    n_full_words: u64,
    words: VecDeque<u64>,
    n_seen: u64,
}

impl SeenSet {
    /// Whether `sequence` is new; it is not yet taken in.
    pub(super) fn look(&self, sequence: u64) -> Arrival {
        let Some(at) = (sequence / 64).checked_sub(self.n_full_words) else {
            return Arrival::Duplicate;
        };
        if at > AHEAD_MAX / 64 {
            return Arrival::Absurd;
        }
        let word = usize::try_from(at).ok().and_then(|at| self.words.get(at));
        match word {
            Some(word) if word >> (sequence % 64) & 1 == 1 => Arrival::Duplicate,
            Some(_) | None => Arrival::New,
        }
    }

    /// Takes `sequence` in, if it is new.
    pub(super) fn insert(&mut self, sequence: u64) -> Arrival {
        let arrival = self.look(sequence);
        if arrival != Arrival::New {
            return arrival;
        }
        let at = usize::try_from(sequence / 64 - self.n_full_words)
            .expect("`look` bounded how far ahead it is");
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (sequence % 64);
        self.n_seen += 1;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.n_full_words += 1;
        }
        Arrival::New
    }

    pub(super) fn contains(&self, sequence: u64) -> bool {
        self.look(sequence) == Arrival::Duplicate
    }

    pub(super) fn n_seen(&self) -> u64 {
        self.n_seen
    }
}

/// Whether arrivals of one stream come in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct OrderCheck {
    /// One more than the largest sequence so far.
    next: u64,
}

impl OrderCheck {
    /// False when a later message arrived before. A gap is no disorder: what is missing may be on
    /// its way to another consumer, and loss is counted apart.
    pub(super) fn in_order(&mut self, sequence: u64) -> bool {
        let in_order = sequence >= self.next;
        self.next = self.next.max(sequence + 1);
        in_order
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_intact_stream_takes_no_room() {
        let mut seen = SeenSet::default();
        (0..6400).for_each(|it| assert_eq!(seen.insert(it), Arrival::New));
        assert_eq!((seen.words.len(), seen.n_seen()), (0, 6400));
        assert_eq!(seen.insert(0), Arrival::Duplicate);
        assert!(seen.contains(6399) && !seen.contains(6400));
    }

    #[test]
    fn what_cannot_be_ours_costs_nothing() {
        let mut seen = SeenSet::default();
        assert_eq!(seen.insert(1 << 39), Arrival::Absurd);
        assert_eq!((seen.words.len(), seen.n_seen()), (0, 0));
    }

    #[test]
    fn disorder_is_counted_once_per_late_message() {
        let cases: [(&[u64], usize); 4] =
            [(&[0, 1, 2], 0), (&[0, 2, 5], 0), (&[1, 0, 2], 1), (&[3, 1, 2, 0, 4], 3)];
        for (arrivals, expected) in cases {
            let mut order = OrderCheck::default();
            let late = arrivals.iter().filter(|it| !order.in_order(**it)).count();
            assert_eq!(late, expected, "{arrivals:?}");
        }
    }

    proptest! {
        #[test]
        fn seen_is_a_set(arrivals in prop::collection::vec(0..400u64, 0..600)) {
            let mut model = BTreeSet::new();
            let mut seen = SeenSet::default();
            for it in arrivals {
                prop_assert_eq!(seen.contains(it), model.contains(&it));
                prop_assert_eq!(seen.insert(it) == Arrival::New, model.insert(it));
                prop_assert_eq!(seen.n_seen(), model.len() as u64);
            }
        }
    }
}
