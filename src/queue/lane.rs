//! Order per key on a keyed queue: of each key, at most one message is out of the queue at a time.

use std::collections::HashMap;
use std::collections::VecDeque;

use foldhash::fast::RandomState;

use crate::amqp::argument::KeySource;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::property::Property;
use crate::queue::entry::Entry;

/// A message's key; messages without one have a key of their own.
pub(in crate::queue) type Key = Box<str>;

/// The keys with a message out, and what waits behind it.
#[derive(Debug, Default)]
pub(in crate::queue) struct Lanes {
    busy: HashMap<Key, Lane, RandomState>,
    /// Entries whose key has become free, by number.
    free: VecDeque<Entry>,
    n_waiting: usize,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Entry>,
}

/// Messages set aside behind their keys; beyond this the line is not searched further.
const WAITING_MAX: usize = 16_384;

impl Lanes {
    /// The key of a message: what `source` finds, else its message-id, else its own number.
    pub(in crate::queue) fn key(source: &KeySource, message: &Message, seq: Seq) -> Key {
        let properties = message.properties();
        let found: Option<Box<str>> = match source {
            KeySource::RoutingKey => Some(message.routing_key().0.into()),
            KeySource::CorrelationId => properties.text(Property::CorrelationId).map(Box::from),
            KeySource::MessageId => properties.message_id().map(Box::from),
            KeySource::UserId => properties.text(Property::UserId).map(Box::from),
            KeySource::Header(name) => properties
                .headers()
                .and_then(|headers| headers.get(name).map(|it| it.to_string().into())),
        };
        found
            .or_else(|| properties.message_id().map(Box::from))
            .unwrap_or_else(|| format!("\0{seq}").into())
    }

    pub(in crate::queue) fn is_full(&self) -> bool {
        self.n_waiting >= WAITING_MAX
    }

    /// Entries set aside or free.
    pub(in crate::queue) fn len(&self) -> usize {
        self.n_waiting + self.free.len()
    }

    /// Whether a message of this key is out.
    pub(in crate::queue) fn is_busy(&self, key: &str) -> bool {
        self.busy.contains_key(key)
    }

    pub(in crate::queue) fn occupy(&mut self, key: Key) {
        self.busy.entry(key).or_default();
    }

    /// Sets an entry aside behind the message of its key that is out.
    pub(in crate::queue) fn wait(&mut self, key: Key, entry: Entry) {
        let waiting = &mut self.busy.entry(key).or_default().waiting;
        let at = waiting.partition_point(|it| it.seq < entry.seq);
        waiting.insert(at, entry);
        self.n_waiting += 1;
    }

    /// The message of this key is settled: the next one behind it may go.
    pub(in crate::queue) fn release(&mut self, key: &str) {
        let Some(lane) = self.busy.get_mut(key) else {
            return;
        };
        match lane.waiting.pop_front() {
            Some(entry) => {
                // The rest waits on behind this one, whose key stays busy until it is settled.
                self.n_waiting -= 1;
                let at = self.free.partition_point(|it| it.seq < entry.seq);
                self.free.insert(at, entry);
            }
            None => {
                self.busy.remove(key);
            }
        }
    }

    /// Everything that waits or is free, in no order.
    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.busy.values().flat_map(|it| &it.waiting).chain(&self.free)
    }

    /// As [`Lanes::iter`].
    pub(in crate::queue) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.busy.values_mut().flat_map(|it| &mut it.waiting).chain(&mut self.free)
    }

    pub(in crate::queue) fn front_free(&mut self) -> Option<&mut Entry> {
        self.free.front_mut()
    }

    pub(in crate::queue) fn pop_free(&mut self) -> Option<Entry> {
        self.free.pop_front()
    }

    pub(in crate::queue) fn push_free(&mut self, entry: Entry) {
        let at = self.free.partition_point(|it| it.seq < entry.seq);
        self.free.insert(at, entry);
    }

    /// Takes one waiting or free entry out by its number; a free one must release its key.
    pub(in crate::queue) fn take(&mut self, seq: Seq) -> Option<(Entry, bool)> {
        if let Some(at) = self.free.iter().position(|it| it.seq == seq) {
            return self.free.remove(at).map(|it| (it, true));
        }
        let (lane, at) = self.busy.values_mut().find_map(|lane| {
            lane.waiting.iter().position(|it| it.seq == seq).map(|at| (lane, at))
        })?;
        self.n_waiting -= 1;
        lane.waiting.remove(at).map(|it| (it, false))
    }

    /// Drops everything that waits; the keys that are out stay out.
    pub(in crate::queue) fn clear_waiting(&mut self) -> u64 {
        let n = self.len() as u64;
        self.busy.values_mut().for_each(|it| it.waiting.clear());
        self.free.clear();
        self.n_waiting = 0;
        n
    }
}
