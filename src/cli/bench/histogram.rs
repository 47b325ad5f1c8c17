//! Durations counted in buckets whose width grows with the value.

/// Linear buckets per doubling, as a power of two: values are kept to one part in 64.
const PRECISION_BITS: u32 = 6;
const PER_DOUBLING: usize = 1 << PRECISION_BITS;
/// Values of 2^42 ns (73 minutes) and more share the last bucket.
const LARGEST_BITS: u32 = 42;
const N_BUCKETS: usize = (LARGEST_BITS - PRECISION_BITS + 1) as usize * PER_DOUBLING + 1;

/// Nanoseconds, counted to about 1.6 %; the largest value is exact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; N_BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Adds what `other` counted.
    pub(super) fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// What was recorded after `earlier`, which is a former copy of this histogram.
    ///
    /// The largest value is exact when it is the largest ever, else the end of its bucket.
    pub(super) fn since(&self, earlier: &Histogram) -> Histogram {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let counts: Vec<u64> = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        let last = counts.iter().rposition(|it| *it > 0);
        let max = last.map_or(0, |at| largest_of(at).min(self.max));
        Histogram { total: counts.iter().sum(), counts, max }
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The smallest recorded value that at least `share` (0 to 1) of all values do not exceed,
    /// rounded up to the end of its bucket; 0 when nothing was recorded.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        if self.total == 0 {
            return 0;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count of messages is a small positive number"
        )]
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return largest_of(at).min(self.max);
            }
        }
        self.max
    }
}

/// Small values have a bucket each; of larger ones the first seven bits choose it.
fn bucket(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.leading_zeros();
    let shift = bits.saturating_sub(PRECISION_BITS + 1);
    let within = usize::try_from(nanos >> shift).unwrap_or(0);
    (shift as usize * PER_DOUBLING + within).min(N_BUCKETS - 1)
}

/// The largest value that [`bucket`] puts there.
fn largest_of(bucket: usize) -> u64 {
    if bucket == N_BUCKETS - 1 {
        return u64::MAX;
    }
    let shift = (bucket / PER_DOUBLING).saturating_sub(1);
    let within = (bucket - shift * PER_DOUBLING) as u64;
    ((within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|it| histogram.record(it));
        let cases = [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (1.0, 100)];
        for (share, expected) in cases {
            assert_eq!(histogram.quantile(share), expected, "{share}");
        }
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }

    #[test]
    fn the_difference_of_two_copies_is_what_came_between() {
        let mut histogram = Histogram::default();
        histogram.record(1_000_000_000);
        let before = histogram.clone();
        histogram.record(5000);
        let between = histogram.since(&before);
        assert_eq!(between.total(), 1);
        assert!((5000..5100).contains(&between.max()), "{}", between.max());
        assert_eq!(histogram.max(), 1_000_000_000);
    }

    #[test]
    fn no_value_is_too_large() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(0.5), u64::MAX);
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(nanos in 0..1u64 << LARGEST_BITS) {
            let at = bucket(nanos);
            prop_assert!(nanos <= largest_of(at));
            prop_assert!(at == 0 || nanos > largest_of(at - 1));
            prop_assert!(largest_of(at) - nanos <= nanos / 64);
        }

        #[test]
        fn quantiles_agree_with_a_sorted_list(
            mut values in prop::collection::vec(0..1u64 << 30, 1..200),
            share in 0.0..=1.0f64,
        ) {
            let mut halves = [Histogram::default(), Histogram::default()];
            values.iter().enumerate().for_each(|(at, it)| halves[at % 2].record(*it));
            let [mut histogram, other] = halves;
            histogram.merge(&other);
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let counted = histogram.quantile(share);
            prop_assert!(counted >= exact && counted - exact <= exact / 64);
            prop_assert_eq!(histogram.max(), values[values.len() - 1]);
        }
    }
}
