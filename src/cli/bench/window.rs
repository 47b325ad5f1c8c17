//! The messages a producer has sent and the broker has not yet confirmed.

use std::collections::VecDeque;

/// One message on its way to its confirm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub(super) slot: u32,
    pub(super) sequence: u64,
    /// Nanoseconds since the run began; when it was written or due.
    pub(super) sent_at: u64,
}

/// Unconfirmed messages, in order of their delivery tags.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// `None` where a later message was confirmed before an earlier one.
    sent: VecDeque<Option<Sent>>,
    /// SPEC: the first message after `confirm.select` has the tag 1.
    n_before: u64,
    n_open: u64,
}

impl Window {
    pub(super) fn push(&mut self, sent: Sent) {
        self.sent.push_back(Some(sent));
        self.n_open += 1;
    }

    /// How many messages are unconfirmed.
    pub(super) fn n_open(&self) -> u64 {
        self.n_open
    }

    /// Hands the messages that a confirm or refusal names to `settled`; false when it names none
    /// that was sent and open.
    pub(super) fn settle(
        &mut self,
        delivery_tag: u64,
        multiple: bool,
        mut settled: impl FnMut(Sent),
    ) -> bool {
        // SPEC: tag 0 with `multiple` means all messages so far.
        let tag = if delivery_tag == 0 && multiple {
            self.n_before + self.sent.len() as u64
        } else {
            delivery_tag
        };
        let place = tag.checked_sub(self.n_before + 1).and_then(|it| usize::try_from(it).ok());
        let Some(last) = place.filter(|it| *it < self.sent.len()) else {
            return false;
        };
        let first = if multiple { 0 } else { last };
        let n_open = self.n_open;
        for sent in self.sent.range_mut(first..=last) {
            if let Some(sent) = sent.take() {
                self.n_open -= 1;
                settled(sent);
            }
        }
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.n_before += 1;
        }
        self.n_open < n_open
    }

    /// The messages that are still unconfirmed.
    pub(super) fn open(&self) -> impl Iterator<Item = Sent> {
        self.sent.iter().filter_map(|it| *it)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn sent(sequence: u64) -> Sent {
        Sent { slot: 0, sequence, sent_at: 0 }
    }

    fn settle(window: &mut Window, tag: u64, multiple: bool) -> (bool, Vec<u64>) {
        let mut settled = Vec::new();
        let known = window.settle(tag, multiple, |it| settled.push(it.sequence));
        (known, settled)
    }

    #[test]
    fn confirms_in_any_order() {
        let mut window = Window::default();
        (0..5).for_each(|it| window.push(sent(it)));
        assert_eq!(settle(&mut window, 2, false), (true, vec![1]));
        assert_eq!(settle(&mut window, 2, false), (false, vec![]));
        assert_eq!(settle(&mut window, 3, true), (true, vec![0, 2]));
        assert_eq!(settle(&mut window, 1, true), (false, vec![]));
        assert_eq!(settle(&mut window, 6, true), (false, vec![]));
        assert_eq!(window.open().map(|it| it.sequence).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(settle(&mut window, 0, true), (true, vec![3, 4]));
        assert_eq!(window.n_open(), 0);
        assert_eq!(settle(&mut window, 0, true), (false, vec![]));
    }

    proptest! {
        #[test]
        fn a_window_is_a_map_from_tags(
            steps in prop::collection::vec((any::<bool>(), 0..40u64, any::<bool>()), 0..120),
        ) {
            let mut window = Window::default();
            let mut model = BTreeMap::new();
            let mut n_sent = 0;
            for (push, tag, multiple) in steps {
                if push {
                    window.push(sent(n_sent));
                    n_sent += 1;
                    model.insert(n_sent, n_sent - 1);
                    continue;
                }
                let upto = if tag == 0 && multiple { n_sent } else { tag };
                let first = if multiple { 0 } else { upto };
                let tags: Vec<u64> = if upto > n_sent { Vec::new() } else {
                    model.range(first..=upto).map(|(tag, _)| *tag).collect()
                };
                let expected: Vec<u64> = tags.iter().filter_map(|it| model.remove(it)).collect();
                let (known, settled) = settle(&mut window, tag, multiple);
                prop_assert_eq!(known, !expected.is_empty());
                prop_assert_eq!(settled, expected);
                prop_assert_eq!(window.n_open(), model.len() as u64);
            }
        }
    }
}
