//! What a queue counted since it came to life; plain numbers, kept under the queue's own lock.

/// Counters of one queue. All of them only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub published: u64,
    pub delivered: u64,
    pub delivered_no_ack: u64,
    pub got: u64,
    pub got_no_ack: u64,
    pub redelivered: u64,
    pub acked: u64,
    pub rejected: u64,
    /// Failed attempts that wait, or waited, for their retry.
    pub retried: u64,
    pub parked: u64,
    pub dead_lettered: u64,
    pub expired: u64,
    /// Dropped for want of room, or of anywhere to go.
    pub dropped: u64,
    /// Refused because the queue was full.
    pub refused: u64,
    pub damaged: u64,
}

impl Totals {
    /// Adds what another queue counted.
    pub fn add(&mut self, other: &Totals) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.delivered_no_ack += other.delivered_no_ack;
        self.got += other.got;
        self.got_no_ack += other.got_no_ack;
        self.redelivered += other.redelivered;
        self.acked += other.acked;
        self.rejected += other.rejected;
        self.retried += other.retried;
        self.parked += other.parked;
        self.dead_lettered += other.dead_lettered;
        self.expired += other.expired;
        self.dropped += other.dropped;
        self.refused += other.refused;
        self.damaged += other.damaged;
    }
}

/// How long deliveries took to be acked: counts per power of two of microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    buckets: Option<Box<[u64; Latency::BUCKETS]>>,
    sum_micros: u64,
}

impl Latency {
    /// The last bucket holds everything from about 35 minutes.
    pub const BUCKETS: usize = 32;

    pub fn record(&mut self, micros: u64) {
        let buckets = self.buckets.get_or_insert_default();
        let at = (64 - micros.leading_zeros()) as usize;
        buckets[at.min(Latency::BUCKETS - 1)] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    pub fn count(&self) -> u64 {
        self.buckets.as_deref().map_or(0, |it| it.iter().sum())
    }

    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    /// `(upper bound in microseconds, how many took less)`, cumulative, ascending.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut sum = 0;
        let counts = self.buckets.as_deref().copied().unwrap_or([0; Latency::BUCKETS]);
        let bounds = counts.iter().enumerate();
        bounds
            .map(|(at, n)| {
                sum += n;
                (1u64 << at, sum)
            })
            .collect()
    }

    /// An upper bound of the `percent`-th percentile in microseconds; 0 without any value.
    pub fn percentile_micros(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let all = self.cumulative();
        all.iter().find(|(_, n)| wanted > 0 && *n >= wanted).map_or(0, |(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_powers_of_two() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile_micros(50), 0);
        for micros in [0, 1, 3, 900, 1000, u64::MAX] {
            latency.record(micros);
        }
        assert_eq!(latency.count(), 6);
        assert_eq!(latency.percentile_micros(50), 4);
        assert_eq!(latency.percentile_micros(80), 1024);
        assert_eq!(latency.cumulative().last(), Some(&(1 << 31, 6)));
    }
}
