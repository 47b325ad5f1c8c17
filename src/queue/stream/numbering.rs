//! Offsets and the numbers of messages in the log, which are the same until a restart.

use crate::amqp::id::Seq;

/// How the one becomes the other. Every start of the log leaves numbers out, so that none that may
/// have been lost is given out twice; offsets go on without a gap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Numbering {
    /// Where numbers went on after they were left out, and the offset of that place. Rising.
    jumps: Vec<(Seq, u64)>,
}

impl Numbering {
    pub fn new(jumps: &[(u64, u64)]) -> Numbering {
        Numbering { jumps: jumps.iter().map(|(seq, offset)| (Seq(*seq), *offset)).collect() }
    }

    /// What [`Numbering::new`] takes.
    pub fn jumps(&self) -> Vec<(u64, u64)> {
        self.jumps.iter().map(|(seq, offset)| (seq.0, *offset)).collect()
    }

    /// Notes that the numbers go on with `next`, where those up to before `end` were used and
    /// `first` is the first that matters.
    pub fn go_on(&mut self, first: Seq, end: Seq, next: Seq) {
        self.jumps.retain(|(seq, _)| *seq < end);
        let offset = self.offset(end);
        if next > end {
            self.jumps.push((next, offset));
        }
        let n_past = self.jumps.partition_point(|(seq, _)| *seq <= first).saturating_sub(1);
        self.jumps.drain(..n_past);
    }

    pub(in crate::queue) fn offset(&self, seq: Seq) -> u64 {
        let n_before = self.jumps.partition_point(|(start, _)| *start <= seq);
        let start = n_before.checked_sub(1).and_then(|at| self.jumps.get(at));
        start.map_or(seq.0, |(start, offset)| offset + (seq.0 - start.0))
    }

    /// The number of the message at `offset`; below what is known, one that comes before it.
    pub(in crate::queue) fn seq(&self, offset: u64) -> Seq {
        let n_before = self.jumps.partition_point(|(_, start)| *start <= offset);
        let start = n_before.checked_sub(1).and_then(|at| self.jumps.get(at));
        let seq = |(start, at): &(Seq, u64)| Seq(start.0.saturating_add(offset - at));
        start.map_or(Seq(offset), seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_no_gaps_however_often_the_log_starts() {
        let mut numbering = Numbering::default();
        assert_eq!((numbering.offset(Seq(9)), numbering.seq(9)), (9, Seq(9)));
        numbering.go_on(Seq(0), Seq(10), Seq(1000));
        // Nothing came in between.
        numbering.go_on(Seq(0), Seq(10), Seq(2000));
        numbering.go_on(Seq(0), Seq(2005), Seq(3000));
        assert_eq!(numbering.jumps(), [(2000, 10), (3000, 15)]);
        for (seq, offset) in [(0, 0), (9, 9), (2000, 10), (2004, 14), (3000, 15), (3007, 22)] {
            assert_eq!((numbering.offset(Seq(seq)), numbering.seq(offset)), (offset, Seq(seq)));
        }
        assert_eq!(numbering.offset(Seq(2005)), 15);
        assert_eq!(numbering.seq(u64::MAX), Seq(u64::MAX));
        assert_eq!(Numbering::new(&numbering.jumps()), numbering);
        numbering.go_on(Seq(3002), Seq(3008), Seq(4000));
        assert_eq!(numbering.jumps(), [(3000, 15), (4000, 23)]);
        assert!(numbering.seq(3) < Seq(3002));
    }
}
