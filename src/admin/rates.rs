//! How fast things happen: what was counted at moments a second apart.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::amqp::id::ChannelId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::QueueId;
use crate::amqp::name::VhostName;
use crate::amqp::time::Timestamp;
use crate::queue::Depth;
use crate::queue::totals::Totals;

/// What was counted up to one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Moment {
    pub at: Timestamp,
    /// Messages that clients published, and how many of them no queue got.
    pub published: u64,
    pub unroutable: u64,
    pub queues: HashMap<QueueId, Count>,
    /// What each queue took, by exchange, in the order of [`Incoming`].
    ///
    /// [`Incoming`]: crate::queue::incoming::Incoming
    pub incoming: HashMap<QueueId, Vec<u64>>,
    /// The queues of a vhost together.
    pub vhosts: HashMap<VhostName, Count>,
    /// What queues counted that are deleted since.
    pub retired: Totals,
    pub connections: HashMap<ConnectionId, Traffic>,
    /// By connection and number.
    pub channels: HashMap<(ConnectionId, ChannelId), ChannelCount>,
    /// Messages published on channels with confirms, and their confirms.
    pub published_with_confirm: u64,
    pub confirmed: u64,
    pub churn: Churn,
}

/// What a channel counts. What is published without confirms is not counted by channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ChannelCount {
    pub published: u64,
    pub confirmed: u64,
    /// Gets included.
    pub delivered: u64,
}

/// The numbers of a queue, or of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    pub totals: Totals,
    pub depth: Depth,
}

/// Bytes of a connection, and the reads and writes they came and went with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub n_reads: u64,
    pub n_writes: u64,
}

/// What came and went since the broker started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Churn {
    pub connections_opened: u64,
    pub connections_closed: u64,
    pub channels_opened: u64,
    pub channels_closed: u64,
    pub queues_created: u64,
    pub queues_deleted: u64,
}

/// The last moments, the newest at the end.
#[derive(Clone, Debug, Default)]
pub struct History {
    moments: VecDeque<Arc<Moment>>,
}

impl History {
    /// Moments kept: what lies between the first and the last is what a rate is taken over.
    pub const MOMENTS: usize = 6;

    pub fn add(&mut self, moment: Moment) {
        if self.moments.len() == History::MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back(Arc::new(moment));
    }

    pub fn clear(&mut self) {
        self.moments.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// Growth per second between the first moment that has this number and the last; 0.0 when it
    /// is not known yet. Negative for what can shrink.
    #[allow(clippy::cast_precision_loss, reason = "differences of seconds are far below 2^53")]
    pub fn rate(&self, read: impl Fn(&Moment) -> Option<u64>) -> f64 {
        let read = |it: &Arc<Moment>| Some((it.at, read(it)?));
        let (Some(first), Some(last)) =
            (self.moments.iter().find_map(read), self.moments.back().and_then(read))
        else {
            return 0.0;
        };
        let micros = last.0.micros_since(first.0);
        if micros == 0 {
            return 0.0;
        }
        let grown = last.1 as f64 - first.1 as f64;
        grown * 1e6 / micros as f64
    }

    /// As [`History::rate`], of what only grows: what is missing in the end has not shrunk.
    pub fn counter_rate(&self, read: impl Fn(&Moment) -> Option<u64>) -> f64 {
        self.rate(read).max(0.0)
    }
}

/// A key, and the number that belongs to it.
pub type Stat<T> = (&'static str, fn(&T) -> u64);

/// `message_stats`.
///
/// COMPAT: all keys are always there, because tools read them.
const STATS: [Stat<Totals>; 12] = [
    ("publish", |it| it.published),
    ("deliver", |it| it.delivered),
    ("deliver_no_ack", |it| it.delivered_no_ack),
    ("get", |it| it.got),
    ("get_no_ack", |it| it.got_no_ack),
    ("get_empty", |_| 0),
    ("deliver_get", |it| it.delivered + it.delivered_no_ack + it.got + it.got_no_ack),
    ("redeliver", |it| it.redelivered),
    ("ack", |it| it.acked),
    ("dead_letter_out", |it| it.dead_lettered),
    ("parked", |it| it.parked),
    ("retried", |it| it.retried),
];

/// Puts a number and its rate among others.
pub fn insert(stats: &mut Map<String, Value>, key: &str, number: u64, rate: f64) {
    stats.insert(key.to_owned(), Value::from(number));
    stats.insert(format!("{key}_details"), json!({ "rate": rate }));
}

/// `message_stats` of what counted `totals`, which a moment finds with `read`.
pub fn message_stats(
    totals: &Totals,
    history: &History,
    read: impl Fn(&Moment) -> Option<Totals>,
) -> Map<String, Value> {
    let mut stats = Map::new();
    for (key, of) in STATS {
        let rate = history.counter_rate(|moment| read(moment).as_ref().map(of));
        insert(&mut stats, key, of(totals), rate);
    }
    stats
}

/// What a queue took by one exchange, the one at this place of its list.
pub fn taken(history: &History, queue: QueueId, at: usize, n: u64) -> Value {
    let read = |it: &Moment| it.incoming.get(&queue)?.get(at).copied();
    let mut stats = Map::new();
    insert(&mut stats, "publish", n, history.counter_rate(read));
    Value::Object(stats)
}

/// How many messages there are, and how fast that changes.
pub fn queue_totals(
    depth: &Depth,
    history: &History,
    read: impl Fn(&Moment) -> Option<Depth>,
) -> Map<String, Value> {
    let mut totals = Map::new();
    let of: [Stat<Depth>; 3] = [
        ("messages", |it| it.ready + it.unacked + it.delayed),
        ("messages_ready", |it| it.ready),
        ("messages_unacknowledged", |it| it.unacked),
    ];
    for (key, of) in of {
        let rate = history.rate(|moment| read(moment).as_ref().map(of));
        insert(&mut totals, key, of(depth), rate);
    }
    totals
}

/// The sum of what several queues count.
pub fn sum(counts: impl Iterator<Item = Count>) -> Count {
    counts.fold(Count::default(), |mut sum, it| {
        sum.totals.add(&it.totals);
        sum.depth.add(&it.depth);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64, published: u64) -> Moment {
        Moment { at: Timestamp(secs * 1_000_000), published, ..Moment::default() }
    }

    #[test]
    fn a_rate_is_taken_over_the_last_five_seconds() {
        let mut history = History::default();
        let rate = |history: &History| history.rate(|it| Some(it.published));
        assert!(rate(&history).abs() < 1e-9);
        for secs in 0..20 {
            history.add(at(secs, secs * secs));
            assert!(history.moments.len() <= History::MOMENTS);
        }
        assert!((rate(&history) - f64::from(19 * 19 - 14 * 14) / 5.0).abs() < 1e-9);
        history.add(at(20, 0));
        assert!(rate(&history) < 0.0);
        assert!(history.counter_rate(|it| Some(it.published)).abs() < 1e-9);
    }

    #[test]
    fn what_is_new_counts_from_its_first_moment() {
        let (mut history, id) = (History::default(), QueueId(7));
        history.add(at(0, 0));
        for (secs, published) in [(1, 10), (2, 30), (3, 50)] {
            let totals = Totals { published, ..Totals::default() };
            let queues = HashMap::from([(id, Count { totals, depth: Depth::default() })]);
            history.add(Moment { queues, ..at(secs, 0) });
        }
        let totals = Totals { published: 50, ..Totals::default() };
        let stats = message_stats(&totals, &history, |it| it.queues.get(&id).map(|it| it.totals));
        assert_eq!(stats["publish"], 50);
        assert_eq!(stats["publish_details"], json!({ "rate": 20.0 }));
        assert_eq!(stats["ack_details"], json!({ "rate": 0.0 }));
    }
}
