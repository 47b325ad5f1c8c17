//! The newest messages of a stream, which stay in memory for those who read along.

use std::collections::VecDeque;

use crate::amqp::id::BatchId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::time::Timestamp;
use crate::queue::enqueue::Arrival;
use crate::queue::stream::Offered;

/// Messages in order of number. Publishers may come in another order than the log has them, so
/// there can be gaps behind the number up to which all have come.
#[derive(Debug, Default)]
pub(in crate::queue) struct Tail {
    all: VecDeque<Arrival>,
    bytes: u64,
}

impl Tail {
    pub(in crate::queue) fn insert(&mut self, arrival: Arrival) {
        self.bytes += arrival.message.body_bytes();
        match self.all.back() {
            Some(last) if last.seq > arrival.seq => {
                let at = self.place(arrival.seq);
                self.all.insert(at, arrival);
            }
            Some(_) | None => self.all.push_back(arrival),
        }
    }

    fn place(&self, seq: Seq) -> usize {
        self.all.partition_point(|it| it.seq < seq)
    }

    /// The first message in memory: from there on all are.
    pub(in crate::queue) fn start(&self) -> Option<Seq> {
        self.all.front().map(|it| it.seq)
    }

    /// The first message that is not before this number, if the number lies here.
    pub(in crate::queue) fn get(&self, seq: Seq) -> Option<Offered<'_>> {
        // Nearly always there are no gaps.
        let guess = usize::try_from(seq.0.checked_sub(self.start()?.0)?).ok()?;
        let found = self.all.get(guess).filter(|it| it.seq == seq);
        let found = found.or_else(|| self.all.get(self.place(seq)));
        found.map(|it| (it.seq, &it.message))
    }

    /// The first message that is as late as `at`, if it is known to lie here.
    pub(in crate::queue) fn first_since(&self, at: Timestamp) -> Option<Seq> {
        let is_before = |it: &Arrival| it.message.published_at() < at;
        let last = self.all.back()?;
        if !self.all.front().is_some_and(is_before) {
            return None;
        }
        let found = self.all.get(self.all.partition_point(is_before));
        Some(found.map_or(last.seq.next(), |it| it.seq))
    }

    /// How far messages from `from` on, but before `end`, are on disk.
    pub(in crate::queue) fn written_up_to(&self, from: Seq, end: Seq, written: BatchId) -> Seq {
        let behind = self.all.range(self.place(from)..);
        let on_disk = behind.take_while(|it| it.seq < end && it.batch <= written);
        on_disk.last().map_or(from, |it| it.seq.next())
    }

    /// Leaves the oldest messages to the disk, as far as it has them: those before `visible`.
    pub(in crate::queue) fn leave_front(&mut self, visible: Seq) {
        while self.all.len() > limit::HOT_TAIL || self.bytes > limit::HOT_TAIL_BYTES {
            let Some(front) = self.all.pop_front_if(|it| it.seq < visible) else { return };
            self.bytes -= front.message.body_bytes();
        }
    }

    /// Forgets the messages before `first`.
    pub(in crate::queue) fn forget_before(&mut self, first: Seq) {
        while let Some(front) = self.all.pop_front_if(|it| it.seq < first) {
            self.bytes -= front.message.body_bytes();
        }
    }
}
