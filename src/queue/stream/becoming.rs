//! A queue becomes a stream, or a stream a queue: the log keeps the messages of both alike, so that
//! none of them is moved.

use std::collections::BTreeSet;

use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::queue::effect::Effect;
use crate::queue::ready::Cold;
use crate::queue::ready::Ready;
use crate::queue::settings::Settings;
use crate::queue::stream::Stream;
use crate::queue::stream::numbering::Numbering;
use crate::queue::work::WorkQueue;

impl Stream {
    /// The stream of all that is in a queue, whatever state it is in; the log has all of it. What
    /// it counts begins anew, since queues and streams are counted apart.
    pub(in crate::queue) fn of_queue(
        queue: WorkQueue,
        settings: Settings,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Stream {
        let mut stream = Stream::new(queue.name.clone(), settings);
        let next = queue.arrivals.next();
        let (mut count, mut first, mut end) = (0, next, Seq(0));
        let mut bytes = queue.ready_bytes;
        let mut take = |seq: Seq, n: u64, last: Seq| {
            count += n;
            first = first.min(seq);
            end = end.max(last.next());
        };
        for cold in queue.levels.iter().filter_map(Ready::cold) {
            take(cold.next, cold.count, Seq(cold.end.0.saturating_sub(1)));
        }
        for entry in queue.entries() {
            take(entry.seq, 1, entry.seq);
        }
        let out = queue.unacked.iter().map(|(_, it)| &it.entry);
        let out = out.chain(queue.delayed.values().map(|it| &it.entry));
        bytes += out.map(|it| it.body_bytes).sum::<u64>();
        stream.first = first;
        stream.end = if count == 0 { next } else { end };
        stream.count = count;
        stream.bytes = bytes;
        // What the log has not written yet is behind the question for it.
        stream.visible = next;
        stream.numbering = Numbering::new(&[(first.0, 0)]);
        stream.next_delivery = queue.next_delivery;
        stream.latency = queue.latency;
        stream.incoming = queue.incoming;
        stream.arrivals = queue.arrivals;
        stream.prune(effects);
        stream.arm(now, effects);
        stream
    }

    /// The queue of all that the stream keeps.
    pub(in crate::queue) fn into_queue(
        self,
        settings: Settings,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> WorkQueue {
        let mut queue = WorkQueue::new(self.name, settings.clone(), now);
        let end = self.arrivals.next();
        if self.count > 0 {
            let cold = Cold {
                count: self.count,
                next: self.first,
                end,
                fetching: false,
                except: BTreeSet::new(),
                mixed: true,
            };
            queue.levels[0] = Ready::restored(Some(cold));
        }
        queue.ready_bytes = self.bytes;
        queue.arrivals = self.arrivals;
        queue.next_delivery = self.next_delivery;
        queue.latency = self.latency;
        queue.incoming = self.incoming;
        queue.logged = true;
        queue.set_settings(settings, effects);
        queue
    }

    /// Its offsets, as the log keeps them.
    pub fn numbering(&self) -> &Numbering {
        &self.numbering
    }
}
