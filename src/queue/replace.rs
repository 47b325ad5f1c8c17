//! A queue becomes another one of the same name, durable or a stream where it was not, with all its
//! messages and without moving them.

use crate::amqp::id::BatchId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::queue::effect::Effect;
use crate::queue::entry::Entry;
use crate::queue::entry::Mark;
use crate::queue::machine::Queue;
use crate::queue::settings::Settings;
use crate::queue::stream::Stream;
use crate::queue::work::WorkQueue;

/// A message that no log has yet.
#[derive(Clone, Copy, Debug)]
pub struct Unwritten<'q> {
    /// Its number, if it may keep that: the log has none that is higher.
    pub seq: Option<Seq>,
    pub message: &'q Message,
    pub level: u8,
    pub expires_at: Timestamp,
}

impl Queue {
    /// Has each message written that a queue with `settings` has in the log and this one has not,
    /// in order of number. `write` says where it is then.
    ///
    /// Nobody may publish to the queue before it is replaced.
    pub fn write_unwritten(
        &mut self,
        settings: &Settings,
        write: impl FnMut(Unwritten<'_>) -> (Seq, BatchId),
        effects: &mut Vec<Effect>,
    ) {
        match self {
            Queue::Work(it) if settings.durable => it.write_unwritten(settings, write, effects),
            Queue::Work(_) | Queue::Stream(_) => {}
        }
    }

    /// Takes other settings, whatever differs. Returns the consumers that it has no more: one of a
    /// queue cannot read a stream.
    pub fn replace(
        &mut self,
        settings: Settings,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Vec<ConsumerId> {
        if self.settings().stream.is_some() == settings.stream.is_some() {
            self.set_settings(settings, effects);
            return Vec::new();
        }
        let gone = self.consumers().map(|(it, _)| it.spec.id).collect();
        let nothing = WorkQueue::new(self.name().clone(), Settings::default(), now);
        *self = match std::mem::replace(self, Queue::Work(nothing)) {
            Queue::Work(it) => {
                Queue::Stream(Box::new(Stream::of_queue(it, settings, now, effects)))
            }
            Queue::Stream(it) => Queue::Work(it.into_queue(settings, now, effects)),
        };
        gone
    }
}

impl WorkQueue {
    /// All messages that are in memory, in no order.
    pub(in crate::queue) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let ready = self.levels.iter().flat_map(|it| it.iter());
        let ready = ready.chain(self.lanes.iter()).chain(&self.suspects);
        let out = self.unacked.iter().map(|(_, it)| &it.entry);
        let waiting = self.delayed.values().map(|it| &it.entry);
        ready.chain(out).chain(waiting).chain(self.doomed.values().map(|(it, _)| it))
    }

    fn write_unwritten(
        &mut self,
        settings: &Settings,
        mut write: impl FnMut(Unwritten<'_>) -> (Seq, BatchId),
        effects: &mut Vec<Effect>,
    ) {
        let logged = self.entries().filter(|it| it.batch.0 != 0).map(|it| it.seq.next());
        let colds = self.levels.iter().filter_map(|it| Some(it.cold()?.end));
        let end = logged.chain(colds).max().unwrap_or_default();
        let is_stream = settings.stream.is_some();
        let kept = |it: &Entry| {
            let persistent = it.message.as_ref().map(Message::is_persistent);
            persistent.is_some_and(|persistent| is_stream || (persistent && it.seq >= end))
        };
        let due = self.delayed.iter_mut().map(|((due, _), it)| (Some(*due), &mut it.entry));
        let ready = self.levels.iter_mut().flat_map(|it| it.iter_mut());
        let ready = ready.chain(self.lanes.iter_mut()).chain(&mut self.suspects);
        let out = self.unacked.iter_mut().map(|(_, it)| &mut it.entry);
        let others = ready.chain(out).map(|it| (None, it));
        let all = due.chain(others).filter(|(_, it)| it.batch.0 == 0 && kept(it));
        let mut all: Vec<_> = all.collect();
        // Those that keep their numbers come first, so that numbers rise in the log.
        all.sort_unstable_by_key(|(_, it)| (it.seq < end, it.seq));
        for (due, entry) in all {
            let Entry { seq, message: Some(message), level, expires_at, .. } = entry else {
                continue;
            };
            let unwritten = Unwritten {
                seq: (*seq >= end).then_some(*seq),
                message,
                level: *level,
                expires_at: *expires_at,
            };
            (entry.seq, entry.batch) = write(unwritten);
            self.arrivals.note(entry.seq);
            if entry.mark != Mark::default() {
                let (seq, mark) = (entry.seq, entry.mark.clone());
                effects.push(Effect::Remember { seq, mark, due });
            }
        }
    }
}
