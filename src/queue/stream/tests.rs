use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::amqp::id::ChannelId;
use crate::amqp::id::ConnectionId;
use crate::amqp::message::Parts;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::queue::settings::StreamSettings;

/// A stream with a log that answers at once, and whose batches are written when told.
struct World {
    stream: Stream,
    now: Timestamp,
    effects: Vec<Effect>,
    inboxes: Inboxes,
    log: BTreeMap<Seq, Message>,
    damaged: BTreeSet<Seq>,
    /// Each message is a batch of its own; those up to this one are on disk.
    written: BatchId,
    /// Messages that were handed out by the log.
    n_read: usize,
    wake_at: Timestamp,
    next: Seq,
    n_published: u64,
}

#[derive(Default)]
struct Inboxes {
    /// Offsets per consumer.
    seen: BTreeMap<u32, Vec<u64>>,
    full: BTreeSet<u32>,
}

impl Outlet for Inboxes {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> bool {
        let number = delivery.consumer.number;
        if self.full.contains(&number) {
            return false;
        }
        assert!(delivery.handle.is_some());
        let offset = delivery.offset.unwrap();
        let properties = delivery.properties().unwrap();
        let headers = Properties::check(&properties).unwrap().headers().unwrap();
        assert_eq!(headers.get("x-stream-offset"), Some(&Value::I64(offset as i64)));
        assert_eq!(delivery.message.body_to_vec()[..8], offset.to_be_bytes());
        self.seen.entry(number).or_default().push(offset);
        true
    }
}

fn id(number: u32) -> ConsumerId {
    ConsumerId { connection: ConnectionId(1), channel: ChannelId(1), number }
}

fn spec(number: u32, prefetch: u16, offset: Option<Offset>) -> ConsumerSpec {
    ConsumerSpec {
        id: id(number),
        tag: "tag".into(),
        connection_name: Arc::from("host"),
        no_ack: false,
        exclusive: false,
        priority: None,
        prefetch,
        service: None,
        offset,
        has_window: false,
    }
}

/// Bytes of every body.
const BODY: u64 = 100;

impl World {
    fn new(bytes_max: Option<u64>, age_max: Option<Millis>) -> World {
        let settings = Settings {
            durable: true,
            length_bytes_max: bytes_max,
            stream: Some(StreamSettings { age_max }),
            ..Settings::default()
        };
        World {
            stream: Stream::new("log".into(), settings),
            now: Timestamp::from_millis(1_000_000),
            effects: Vec::new(),
            inboxes: Inboxes::default(),
            log: BTreeMap::new(),
            damaged: BTreeSet::new(),
            written: BatchId(u64::MAX),
            n_read: 0,
            wake_at: Timestamp::NEVER,
            next: Seq(0),
            n_published: 0,
        }
    }

    /// A message whose body begins with its offset.
    fn message(&self, offset: u64) -> Message {
        let mut body = vec![0; BODY as usize];
        body[..8].copy_from_slice(&offset.to_be_bytes());
        let parts = Parts {
            exchange: "",
            routing_key: RoutingKey("log"),
            properties: Properties::NONE,
            published_at: self.now,
        };
        Message::copied(parts, &body, &mut Vec::new())
    }

    /// Appends to the log; the stream hears of it with [`World::arrive`].
    fn append(&mut self) -> Arrival {
        let seq = self.next;
        self.next = seq.next();
        let message = self.message(self.n_published);
        self.n_published += 1;
        self.log.insert(seq, message.clone());
        Arrival { seq, message, batch: BatchId(seq.0 + 1) }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let (now, written) = (self.now, self.written);
        self.stream.enqueue(arrival, written, now, &mut self.inboxes, &mut self.effects);
        self.settle_effects();
    }

    fn publish(&mut self, n: u64) {
        for _ in 0..n {
            let arrival = self.append();
            self.arrive(arrival);
        }
    }

    fn consume(&mut self, number: u32, prefetch: u16, offset: Offset) {
        self.stream.add_consumer(spec(number, prefetch, Some(offset)), self.now).unwrap();
        self.dispatch();
    }

    fn dispatch(&mut self) {
        self.stream.dispatch(&mut self.inboxes, &mut self.effects);
        self.settle_effects();
    }

    fn ack(&mut self, number: u32, n: u64) {
        (0..n).for_each(|_| self.stream.settle(Some(id(number))));
        self.dispatch();
    }

    /// Takes what a consumer has seen since it was last asked.
    fn seen(&mut self, number: u32) -> Vec<u64> {
        self.inboxes.seen.remove(&number).unwrap_or_default()
    }

    fn settle_effects(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Fetch(Fetch::Written) if self.written.0 < self.next.0 => {}
                    Effect::Fetch(fetch) => self.answer(fetch),
                    Effect::Purge { below, except } => {
                        assert!(except.is_empty());
                        self.log = self.log.split_off(&below);
                    }
                    Effect::Wake { at } => self.wake_at = self.wake_at.min(at),
                    Effect::Erase { .. }
                    | Effect::DeadLetter(_)
                    | Effect::Park(_)
                    | Effect::Late { .. }
                    | Effect::Remember { .. }
                    | Effect::MayHaveDelivered { .. }
                    | Effect::Delete(_) => panic!("{effect:?}"),
                }
            }
        }
    }

    fn answer(&mut self, fetch: Fetch) {
        let load = |(seq, message): (&Seq, &Message)| LoadedMessage {
            seq: *seq,
            message: message.clone(),
            mark: None,
            expires_at: Timestamp::NEVER,
        };
        let is_whole = |it: &LoadedMessage| !self.damaged.contains(&it.seq);
        let loaded = match fetch {
            Fetch::Written => Loaded::Written { batch: self.written },
            Fetch::One { seq } => {
                self.n_read += 1;
                let found = self.log.get_key_value(&seq).map(load).filter(is_whole);
                Loaded::One { seq, message: found }
            }
            Fetch::Prefix { from, end, bytes } => {
                let wanted = usize::try_from(bytes.div_ceil(BODY)).unwrap().min(50);
                let found: Vec<Seq> =
                    self.log.range(from..end).map(|(seq, _)| *seq).take(wanted).collect();
                let next =
                    found.last().filter(|_| found.len() == wanted).map_or(end, |it| it.next());
                let count = found.len() as u64;
                Loaded::Prefix { from, next, count, bytes: count * BODY }
            }
            Fetch::Run { level, from, end, count, .. } => {
                let found: Vec<_> = self.log.range(from..end).take(count).map(load).collect();
                let next = found.last().filter(|_| found.len() == count);
                let next = next.map_or(end, |it| it.seq.next());
                let n_found = found.len();
                let messages: Vec<_> = found.into_iter().filter(is_whole).collect();
                self.n_read += messages.len();
                let n_damaged = (n_found - messages.len()) as u64;
                Loaded::Run { level, from, messages, n_damaged, next }
            }
        };
        self.stream.loaded(loaded, self.now, &mut self.inboxes, &mut self.effects);
    }

    /// Everything appended so far is on disk, and the stream hears of it if it asked.
    fn write(&mut self) {
        self.written = BatchId(self.next.0);
        self.answer(Fetch::Written);
        self.settle_effects();
    }

    fn advance(&mut self, span: Millis) {
        let end = self.now + span;
        while self.wake_at <= end {
            self.now = self.now.max(self.wake_at);
            self.wake_at = Timestamp::NEVER;
            self.stream.tick(self.now, &mut self.effects);
            self.settle_effects();
        }
        self.now = end;
    }

    /// The offset of the first message the log has.
    fn first(&self) -> u64 {
        let (_, first) = self.log.first_key_value().unwrap();
        u64::from_be_bytes(first.body_to_vec()[..8].try_into().unwrap())
    }

    /// Restarts: everything in memory is lost, the log stays and goes on with other numbers.
    fn restart(&mut self) {
        let first = self.log.keys().next().copied().unwrap_or(self.next);
        let count = self.log.len() as u64;
        let end = self.log.keys().last().map_or(self.next, |it| it.next());
        self.next = Seq(self.next.0 + (1 << 24));
        let mut numbering = self.stream.numbering.clone();
        numbering.go_on(first, end, self.next);
        let restored = Restored {
            levels: vec![(0, count, first, end)],
            ready_bytes: count * BODY,
            next: self.next,
            numbering,
            ..Restored::default()
        };
        let settings = self.stream.settings().clone();
        self.inboxes = Inboxes::default();
        self.wake_at = Timestamp::NEVER;
        let effects = &mut self.effects;
        self.stream = Stream::restore("log".into(), settings, &restored, self.now, effects);
        self.settle_effects();
    }

    /// What a consumer reads that begins at `offset`, acking everything.
    fn read(&mut self, offset: Offset) -> Vec<u64> {
        let number = 99;
        self.consume(number, 10, offset);
        let mut all = Vec::new();
        loop {
            let seen = self.seen(number);
            if seen.is_empty() {
                break;
            }
            self.ack(number, seen.len() as u64);
            all.extend(seen);
        }
        self.stream.remove_consumer(id(number));
        all
    }
}

#[test]
fn every_consumer_gets_everything_from_where_it_begins() {
    let mut world = World::new(None, None);
    world.publish(5);
    let cases = [
        (Offset::First, vec![0, 1, 2, 3, 4]),
        (Offset::Last, vec![4]),
        (Offset::Next, vec![]),
        (Offset::Number(3), vec![3, 4]),
        (Offset::Number(7), vec![]),
    ];
    for (at, (offset, expected)) in cases.iter().enumerate() {
        let number = at as u32;
        world.consume(number, 10, *offset);
        assert_eq!(world.seen(number), *expected, "{offset:?}");
    }
    world.publish(4);
    let later: Vec<_> = (0..5).map(|number| world.seen(number)).collect();
    let (all, late) = (vec![5, 6, 7, 8], vec![7, 8]);
    assert_eq!(later, [all.clone(), all.clone(), all.clone(), all, late]);
    let depth = world.stream.depth();
    assert_eq!((depth.ready, depth.unacked, depth.consumers), (9, 26, 5));
}

#[test]
fn credit_is_by_ack_and_an_ack_takes_nothing_away() {
    let mut world = World::new(None, None);
    world.publish(10);
    world.consume(1, 3, Offset::First);
    assert_eq!(world.seen(1), [0, 1, 2]);
    world.ack(1, 2);
    assert_eq!(world.seen(1), [3, 4]);
    world.inboxes.full.insert(1);
    world.ack(1, 3);
    assert_eq!(world.seen(1), [0; 0]);
    world.inboxes.full.clear();
    world.stream.resume(id(1));
    world.dispatch();
    assert_eq!(world.seen(1), [5, 6, 7]);
    assert_eq!(world.stream.depth().ready, 10);
    assert_eq!(world.read(Offset::First).len(), 10);
}

#[test]
fn who_may_consume() {
    let mut world = World::new(None, None);
    let good = || spec(1, 1, None);
    let queue_type = QueueType::Stream;
    let cases = [
        (
            ConsumerSpec { priority: Some(1), ..good() },
            ConsumeError::OtherQueueType { key: "x-priority", queue_type },
        ),
        (ConsumerSpec { prefetch: 0, no_ack: true, ..good() }, ConsumeError::NoPrefetch),
        (ConsumerSpec { no_ack: true, ..good() }, ConsumeError::NoAck),
        (ConsumerSpec { has_window: true, ..good() }, ConsumeError::Window),
    ];
    for (spec, expected) in cases {
        assert_eq!(world.stream.add_consumer(spec, world.now), Err(expected));
    }
    for number in [1, 2] {
        let exclusive = ConsumerSpec { exclusive: true, ..spec(number, 1, None) };
        assert_eq!(world.stream.add_consumer(exclusive, world.now), Ok(()));
    }
}

#[test]
fn only_what_is_on_disk_is_seen_and_in_order() {
    let mut world = World::new(None, None);
    world.written = BatchId(0);
    world.consume(1, 100, Offset::First);
    let arrivals: Vec<_> = (0..4).map(|_| world.append()).collect();
    for arrival in arrivals.into_iter().rev() {
        world.arrive(arrival);
    }
    assert_eq!(world.seen(1), [0; 0]);
    world.write();
    assert_eq!(world.seen(1), [0, 1, 2, 3]);
    // One that was overtaken on its way holds up those behind it.
    let (slow, fast) = (world.append(), world.append());
    world.written = BatchId(world.next.0);
    world.arrive(fast);
    assert_eq!(world.seen(1), [0; 0]);
    world.arrive(slow);
    assert_eq!(world.seen(1), [4, 5]);
}

#[test]
fn a_long_stream_is_replayed_from_disk_with_little_in_memory() {
    let mut world = World::new(None, None);
    let n = 3 * limit_of_tail();
    world.publish(n);
    assert!(world.stream.tail.start().unwrap() > Seq(n / 2));
    for number in [1, 2] {
        world.stream.add_consumer(spec(number, 10, Some(Offset::First)), world.now).unwrap();
    }
    world.dispatch();
    assert_eq!(world.seen(2).len(), 10);
    assert_eq!(world.n_read, 64, "they read together");
    world.stream.remove_consumer(id(2));
    let mut next = 0;
    while next < n {
        let seen = world.seen(1);
        assert_eq!(seen, (next..next + seen.len() as u64).collect::<Vec<_>>());
        next += seen.len() as u64;
        let ahead: usize = world.stream.readers.iter().map(|it| it.ahead.len()).sum();
        assert!(ahead <= 128, "{ahead}");
        world.ack(1, seen.len() as u64);
    }
    assert!(world.n_read as u64 <= n, "nothing is read twice: {}", world.n_read);
}

fn limit_of_tail() -> u64 {
    crate::amqp::limit::HOT_TAIL as u64
}

#[test]
fn a_time_is_found_in_memory_and_on_disk() {
    let second = Millis(1000);
    let mut world = World::new(None, None);
    let start = world.now;
    for _ in 0..200 {
        world.publish(1);
        world.advance(second);
    }
    for restarted in [false, true] {
        for (secs, first) in [(0, 0), (70, 70), (199, 199), (200, 200), (9999, 200)] {
            let expected: Vec<u64> = (first..200).collect();
            let since = Offset::Since(start + Millis(secs * 1000));
            assert_eq!(world.read(since), expected, "{secs} {restarted}");
        }
        assert_eq!(world.read(Offset::Ago(Millis(10_000))).first(), Some(&190));
        assert_eq!(world.read(Offset::Ago(Millis(1 << 40))).first(), Some(&0));
        world.restart();
        world.restart();
    }
    // Where numbers were left out in between, too.
    world.publish(100);
    world.restart();
    let since = Offset::Since(start + Millis(150_000));
    assert_eq!(world.read(since), (150..300).collect::<Vec<_>>());
}

#[test]
fn offsets_go_on_after_a_restart() {
    let mut world = World::new(None, None);
    world.publish(300);
    world.restart();
    assert_eq!(world.stream.depth().ready, 300);
    assert_eq!(world.read(Offset::Last), [299]);
    world.restart();
    assert_eq!(world.read(Offset::Next), [0; 0]);
    world.consume(1, 10, Offset::Number(301));
    world.publish(3);
    assert_eq!(world.seen(1), [301, 302]);
    assert_eq!(world.read(Offset::Number(298)), [298, 299, 300, 301, 302]);
    assert_eq!(world.read(Offset::First), (0..303).collect::<Vec<_>>());
    world.restart();
    assert_eq!(world.read(Offset::First), (0..303).collect::<Vec<_>>());
}

#[test]
fn size_limits_drop_the_oldest_and_consumers_go_on_with_the_first_left() {
    let mut world = World::new(Some(1000), None);
    world.publish(3);
    world.consume(1, 1, Offset::First);
    assert_eq!(world.seen(1), [0]);
    world.publish(1000);
    let depth = world.stream.depth();
    assert!((9..=10).contains(&depth.ready), "{depth:?}");
    assert_eq!(depth.ready_bytes, depth.ready * BODY);
    assert_eq!(world.log.len() as u64, depth.ready);
    assert_eq!(world.stream.totals().dropped, 1003 - depth.ready);
    world.ack(1, 1);
    assert_eq!(world.seen(1), [1003 - depth.ready]);
    world.restart();
    assert_eq!(world.read(Offset::First), (1003 - depth.ready..1003).collect::<Vec<_>>());
    let smaller = Settings { length_bytes_max: Some(0), ..world.stream.settings().clone() };
    world.stream.set_settings(smaller, &mut world.effects);
    world.settle_effects();
    assert_eq!(world.read(Offset::First), [1002], "the newest stays");
}

#[test]
fn age_limits_drop_the_oldest() {
    let minute = Millis(60_000);
    let mut world = World::new(None, Some(Millis(10 * 60_000)));
    for at in 0..120 {
        world.publish(10);
        world.advance(minute);
        if at == 60 {
            world.restart();
        }
        let first = world.first();
        let youngest_gone = (at + 2_u64).saturating_sub(10) * 10;
        assert!(first <= youngest_gone, "{at}: {first}");
        assert!(first + 20 >= youngest_gone, "{at}: {first}");
    }
    world.advance(Millis(3_600_000));
    assert_eq!((world.first(), world.log.len()), (1199, 1));
    assert_eq!(world.stream.depth().ready, 1);
    let before = world.n_read;
    world.advance(Millis(3_600_000));
    assert_eq!(world.n_read, before, "nothing is looked at in vain");
    world.publish(1);
    world.advance(minute);
    assert_eq!(world.read(Offset::First), [1200]);
}

#[test]
fn damaged_messages_are_passed_over() {
    let mut world = World::new(None, Some(Millis(1000)));
    world.publish(200);
    world.restart();
    world.damaged.extend([0, 1, 70, 199].map(Seq));
    let whole: Vec<u64> = (2..199).filter(|it| *it != 70).collect();
    assert_eq!(world.read(Offset::First), whole);
    assert_eq!(world.stream.totals().damaged, 4);
    world.advance(Millis(60_000));
    assert_eq!(world.log.len(), 1, "the first being damaged does not keep the others");
}

#[test]
fn a_closed_consumer_leaves_nothing_behind() {
    let mut world = World::new(None, None);
    world.publish(2000);
    world.restart();
    for number in 0..20 {
        world.consume(number, 1, Offset::First);
    }
    for number in 0..20 {
        world.stream.remove_consumer(id(number));
    }
    world.stream.settle(Some(id(3)));
    world.dispatch();
    world.publish(1);
    let depth = world.stream.depth();
    assert_eq!((depth.consumers, depth.unacked, depth.ready), (0, 0, 2001));
}
