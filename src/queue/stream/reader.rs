//! The consumers of a stream, and where each of them is.

use std::collections::HashMap;
use std::collections::VecDeque;

use foldhash::fast::RandomState;
use slab::Slab;

use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::queue::consumer::Consumer;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::effect::Fetch;
use crate::queue::expiry::LoadedMessage;
use crate::queue::stream::seek::Seek;

/// One consumer.
#[derive(Debug)]
pub(in crate::queue) struct Reader {
    pub(in crate::queue) consumer: Consumer,
    /// The next message it gets.
    pub(in crate::queue) next: Seq,
    /// Where it begins is still looked for.
    pub(in crate::queue) seek: Option<Seek>,
    /// Messages read from disk for it, none before `next`.
    pub(in crate::queue) ahead: VecDeque<(Seq, Message)>,
    /// Up to here messages were read.
    ahead_end: Seq,
    /// The first message of those that are being read.
    fetching: Option<Seq>,
    /// It is among `turns`.
    queued: bool,
    /// It is in `at_end`.
    waits: bool,
}

#[derive(Debug, Default)]
pub(in crate::queue) struct Readers {
    all: Slab<Reader>,
    index: HashMap<ConsumerId, usize, RandomState>,
    /// Those that may be able to take a message.
    turns: VecDeque<usize>,
    /// Those that have had everything there is.
    at_end: Vec<usize>,
}

impl Reader {
    /// Begins at another place.
    pub(in crate::queue) fn go_to(&mut self, next: Seq) {
        self.next = next;
        self.ahead.clear();
        self.ahead_end = next;
    }

    /// Passes over what comes before `next`, and over what turned out not to be there.
    pub(in crate::queue) fn skip_to(&mut self, next: Seq) {
        self.next = self.next.max(next);
        while self.ahead.pop_front_if(|(seq, _)| *seq < self.next).is_some() {}
        if self.ahead.is_empty() {
            self.next = self.next.max(self.ahead_end);
        }
    }

    /// How many messages are read for it at a time.
    fn window(&self) -> usize {
        (2 * usize::from(self.consumer.spec.prefetch)).clamp(64, limit::FETCH_COUNT)
    }
}

impl Readers {
    pub(in crate::queue) fn len(&self) -> usize {
        self.all.len()
    }

    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = &Reader> {
        self.all.iter().map(|(_, it)| it)
    }

    pub(in crate::queue) fn get_mut(&mut self, at: usize) -> Option<&mut Reader> {
        self.all.get_mut(at)
    }

    pub(in crate::queue) fn add(&mut self, spec: ConsumerSpec, next: Seq, seek: Option<Seek>) {
        let id = spec.id;
        let at = self.all.insert(Reader {
            consumer: Consumer::new(spec),
            next,
            seek,
            ahead: VecDeque::new(),
            ahead_end: next,
            fetching: None,
            queued: false,
            waits: false,
        });
        self.index.insert(id, at);
        self.queue_turn(at);
    }

    pub(in crate::queue) fn remove(&mut self, id: ConsumerId) {
        let Some(at) = self.index.remove(&id) else { return };
        self.all.try_remove(at);
        self.turns.retain(|it| *it != at);
        self.at_end.retain(|it| *it != at);
    }

    pub(in crate::queue) fn unblock(&mut self, id: ConsumerId) {
        let Some(at) = self.index.get(&id).copied() else { return };
        if let Some(reader) = self.all.get_mut(at) {
            reader.consumer.blocked = false;
        }
        self.queue_turn(at);
    }

    /// One of its deliveries was settled.
    pub(in crate::queue) fn settled(&mut self, id: ConsumerId) {
        let Some(at) = self.index.get(&id).copied() else { return };
        if let Some(reader) = self.all.get_mut(at) {
            reader.consumer.n_unacked = reader.consumer.n_unacked.saturating_sub(1);
        }
        self.queue_turn(at);
    }

    pub(in crate::queue) fn next_turn(&mut self) -> Option<usize> {
        let at = self.turns.pop_front()?;
        if let Some(reader) = self.all.get_mut(at) {
            reader.queued = false;
        }
        Some(at)
    }

    fn queue_turn(&mut self, at: usize) {
        let Some(reader) = self.all.get_mut(at) else { return };
        if !std::mem::replace(&mut reader.queued, true) {
            self.turns.push_back(at);
        }
    }

    /// Leaves a consumer alone until there is more.
    pub(in crate::queue) fn wait_at_end(&mut self, at: usize) {
        if let Some(reader) = self.all.get_mut(at)
            && !std::mem::replace(&mut reader.waits, true)
        {
            self.at_end.push(at);
        }
    }

    /// There is more than there was.
    pub(in crate::queue) fn end_moved(&mut self) {
        for at in std::mem::take(&mut self.at_end) {
            if let Some(reader) = self.all.get_mut(at) {
                reader.waits = false;
            }
            self.queue_turn(at);
        }
    }

    /// What is to be read for a consumer, if it has too little ahead and nobody has asked for the
    /// same. Messages from `end` on are in memory, or not there.
    ///
    /// The more consumers there are, the fewer bytes are read for each.
    pub(in crate::queue) fn read_ahead(&mut self, at: usize, end: Seq) -> Option<Fetch> {
        let share = limit::STREAM_AHEAD_BYTES / self.all.len().max(1) as u64;
        let bytes = share.clamp(limit::FETCH_BYTES / 16, limit::FETCH_BYTES);
        let reader = self.all.get_mut(at)?;
        let count = reader.window();
        let from = reader.next.max(reader.ahead_end);
        let has_enough = reader.ahead.len() >= count / 2;
        if reader.seek.is_some() || reader.fetching.is_some() || has_enough || from >= end {
            return None;
        }
        let asked = self.all.iter().any(|(_, it)| it.fetching == Some(from));
        self.all.get_mut(at)?.fetching = Some(from);
        (!asked).then_some(Fetch::Run { level: None, from, end, count, bytes })
    }

    /// Hands messages that were read from `from` to before `next` to all who wait for them.
    pub(in crate::queue) fn fetched(&mut self, from: Seq, messages: &[LoadedMessage], next: Seq) {
        let waiting = self.all.iter_mut().filter(|(_, it)| it.fetching == Some(from));
        let mut turns = Vec::new();
        for (at, reader) in waiting {
            reader.fetching = None;
            reader.ahead.extend(messages.iter().map(|it| (it.seq, it.message.clone())));
            reader.ahead_end = reader.ahead_end.max(next);
            turns.push(at);
        }
        turns.into_iter().for_each(|at| self.queue_turn(at));
    }

    /// Hands the time of a message to all who look for a time.
    pub(in crate::queue) fn probed(&mut self, offset: u64, at: Option<Timestamp>, first: u64) {
        let mut turns = Vec::new();
        for (place, reader) in &mut self.all {
            if reader.seek.as_mut().is_some_and(|it| it.note(offset, at, first)) {
                turns.push(place);
            }
        }
        turns.into_iter().for_each(|at| self.queue_turn(at));
    }
}
