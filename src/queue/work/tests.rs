use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::amqp::argument::KeySource;
use crate::amqp::argument::Overflow;
use crate::amqp::id::ChannelId;
use crate::amqp::id::ConnectionId;
use crate::amqp::limit;
use crate::amqp::message::Parts;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::property::PropertyList;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::queue::dispatch::Delivery;
use crate::queue::dispatch::Got;
use crate::queue::dispatch::Handle;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::Fetch;
use crate::queue::enqueue::Arrival;
use crate::queue::enqueue::Enqueued;
use crate::queue::expiry::Loaded;
use crate::queue::expiry::LoadedMessage;
use crate::queue::retry::RetryPolicy;
use crate::queue::settings::DeadLetter;
use crate::queue::settings::Keyed;
use crate::queue::settle::Settlement;

/// A queue with a clock, a log, consumers that remember what they got, and a story of it all.
struct World {
    queue: WorkQueue,
    now: Timestamp,
    effects: Vec<Effect>,
    consumers: Inboxes,
    log: BTreeMap<Seq, (Message, Option<Mark>)>,
    wake_at: Timestamp,
    story: String,
    deleted: Option<DeleteCause>,
}

#[derive(Default)]
struct Inboxes {
    held: BTreeMap<u32, Vec<(Handle, String)>>,
    seen: Vec<(u32, String, bool)>,
    full: BTreeSet<u32>,
}

impl Outlet for Inboxes {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> bool {
        let number = delivery.consumer.number;
        if self.full.contains(&number) {
            return false;
        }
        let body = String::from_utf8(delivery.message.body_to_vec()).unwrap();
        self.seen.push((number, body.clone(), delivery.mark.redelivered));
        if let Some(handle) = delivery.handle {
            self.held.entry(number).or_default().push((handle, body));
        }
        true
    }
}

fn consumer(number: u32) -> ConsumerId {
    ConsumerId { connection: ConnectionId(1), channel: ChannelId(1), number }
}

impl World {
    fn new(settings: Settings) -> World {
        let now = Timestamp::from_millis(1_000_000);
        World {
            queue: WorkQueue::new("work".into(), settings, now),
            now,
            effects: Vec::new(),
            consumers: Inboxes::default(),
            log: BTreeMap::new(),
            wake_at: Timestamp::NEVER,
            story: String::new(),
            deleted: None,
        }
    }

    fn durable(settings: Settings) -> World {
        World::new(Settings { durable: true, ..settings })
    }

    fn publish(&mut self, body: &str) -> Enqueued {
        self.publish_with(body, |_| {})
    }

    fn publish_with(&mut self, body: &str, edit: impl FnOnce(&mut PropertyList)) -> Enqueued {
        let mut list = PropertyList::default();
        edit(&mut list);
        let bytes = list.to_bytes();
        let parts = Parts {
            exchange: "orders",
            routing_key: RoutingKey("key"),
            properties: Properties::check(&bytes).unwrap(),
            published_at: self.now,
        };
        let message = Message::copied(parts, body.as_bytes(), &mut Vec::new());
        let seq = self.queue.next_seq();
        let durable = self.queue.settings().durable;
        if durable {
            self.log.insert(seq, (message.clone(), None));
        }
        let batch = BatchId(u64::from(durable));
        let arrival = Arrival { seq, message, batch };
        let taken = self.queue.enqueue(
            arrival,
            BatchId(1),
            self.now,
            &mut self.consumers,
            &mut self.effects,
        );
        self.settle_effects();
        taken
    }

    fn consume(&mut self, number: u32, prefetch: u16) {
        self.consume_as(number, prefetch, |_| {});
    }

    fn consume_as(&mut self, number: u32, prefetch: u16, edit: impl FnOnce(&mut ConsumerSpec)) {
        let mut spec = ConsumerSpec {
            id: consumer(number),
            tag: format!("tag-{number}").into(),
            connection_name: Arc::from("host"),
            no_ack: false,
            exclusive: false,
            priority: None,
            prefetch,
            service: None,
            offset: None,
            has_window: false,
        };
        edit(&mut spec);
        self.queue.add_consumer(spec).unwrap();
        self.dispatch();
    }

    fn dispatch(&mut self) {
        self.queue.dispatch(self.now, &mut self.consumers, &mut self.effects);
        self.settle_effects();
    }

    /// Settles the oldest delivery a consumer holds; returns its body.
    fn settle(&mut self, number: u32, settlement: Settlement) -> Option<String> {
        let held = self.consumers.held.get_mut(&number)?;
        if held.is_empty() {
            return None;
        }
        let (handle, body) = held.remove(0);
        let id = Some(consumer(number));
        self.queue.settle(handle, id, settlement, self.now, &mut self.effects);
        self.dispatch();
        Some(body)
    }

    fn ack(&mut self, number: u32) -> Option<String> {
        self.settle(number, Settlement::Ack)
    }

    /// The consumer's channel goes with everything it holds.
    fn lose(&mut self, number: u32) {
        for (handle, _) in self.consumers.held.remove(&number).unwrap_or_default() {
            let id = Some(consumer(number));
            self.queue.settle(handle, id, Settlement::Lost, self.now, &mut self.effects);
        }
        self.queue.remove_consumer(consumer(number), self.now, &mut self.effects);
        self.dispatch();
    }

    /// Lets time pass, waking the queue whenever it asked for it.
    fn advance(&mut self, ms: u64) {
        let end = self.now + Millis(ms);
        while self.wake_at <= end {
            self.now = self.now.max(self.wake_at);
            self.wake_at = Timestamp::NEVER;
            self.queue.tick(self.now, &mut self.consumers, &mut self.effects);
            self.settle_effects();
        }
        self.now = end;
    }

    /// Plays the part of broker and log.
    fn settle_effects(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let mut end = |log: &mut BTreeMap<_, _>, dead: &crate::queue::effect::Dead, how: &str| {
            log.remove(&dead.seq);
            let body = String::from_utf8(dead.message.body_to_vec()).unwrap();
            write!(self.story, "{how} {body}/{} ", dead.reason.as_str()).unwrap();
        };
        match effect {
            Effect::Erase { seq, cause } => {
                assert!(self.log.remove(&seq).is_some(), "{seq} erased twice");
                if cause != crate::queue::effect::Cause::Acked {
                    write!(self.story, "erase {seq} {cause:?} ").unwrap();
                }
            }
            Effect::DeadLetter(dead) => end(&mut self.log, &dead, "letter"),
            Effect::Park(dead) => end(&mut self.log, &dead, "park"),
            Effect::Remember { seq, mark, .. } => {
                self.log.get_mut(&seq).expect("only what is stored is remembered").1 = Some(mark);
            }
            Effect::MayHaveDelivered { .. } | Effect::Late { .. } => {}
            Effect::Purge { below, except } => {
                self.log.retain(|seq, _| *seq >= below || except.contains(seq));
            }
            Effect::Wake { at } => self.wake_at = self.wake_at.min(at),
            Effect::Fetch(fetch) => self.fetch(fetch),
            Effect::Delete(cause) => self.deleted = Some(cause),
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        let load = |(seq, (message, mark)): (&Seq, &(Message, Option<Mark>))| LoadedMessage {
            seq: *seq,
            message: message.clone(),
            mark: mark.clone(),
            expires_at: Timestamp::NEVER,
        };
        let loaded = match fetch {
            Fetch::One { seq } => {
                let message = self.log.get_key_value(&seq).map(load);
                Loaded::One { seq, message }
            }
            Fetch::Prefix { .. } | Fetch::Written => return,
            Fetch::Run { level, from, end, count, .. } => {
                let messages: Vec<_> = self.log.range(from..end).take(count).map(load).collect();
                let next = if messages.len() < count {
                    end
                } else {
                    messages.last().map_or(end, |it| it.seq.next())
                };
                Loaded::Run { level, from, messages, n_damaged: 0, next }
            }
        };
        self.queue.loaded(loaded, self.now, &mut self.consumers, &mut self.effects);
    }

    /// Restarts: everything in memory is lost, the log stays.
    fn restart(&mut self, delayed: &[(Seq, Timestamp)]) {
        let delayed_marks =
            delayed.iter().map(|(seq, due)| (*seq, 0, *due, self.log[seq].1.clone().unwrap()));
        let first = self.log.keys().next().copied().unwrap_or_default();
        let last = self.log.keys().last().map_or(first, |it| it.next());
        let restored = Restored {
            levels: vec![(0, self.log.len() as u64, first, last)],
            ready_bytes: 0,
            delayed: delayed_marks.collect(),
            expirations: Vec::new(),
            next: last,
            redelivered_up_to: Some(first),
            ..Restored::default()
        };
        let settings = self.queue.settings().clone();
        self.consumers = Inboxes::default();
        self.queue =
            WorkQueue::restore("work".into(), settings, restored, self.now, &mut self.effects);
        self.settle_effects();
    }

    fn seen(&self) -> String {
        let seen = self.consumers.seen.iter().map(|(number, body, redelivered)| {
            format!("{number}:{body}{}", if *redelivered { "*" } else { "" })
        });
        seen.collect::<Vec<_>>().join(" ")
    }

    fn counts(&self) -> (u64, u64, u64) {
        let depth = self.queue.depth();
        (depth.ready, depth.unacked, depth.delayed)
    }
}

fn expiration(ms: &str) -> impl FnOnce(&mut PropertyList) {
    move |list| list.set_text(Property::Expiration, ms)
}

#[test]
fn messages_come_in_order_and_in_turn() {
    let mut world = World::new(Settings::default());
    world.consume(1, 0);
    world.consume(2, 0);
    ["a", "b", "c", "d"].into_iter().for_each(|it| {
        world.publish(it);
    });
    assert_eq!(world.seen(), "1:a 2:b 1:c 2:d");
}

#[test]
fn prefetch_bounds_what_a_consumer_holds() {
    let mut world = World::new(Settings::default());
    ["a", "b", "c", "d", "e"].into_iter().for_each(|it| {
        world.publish(it);
    });
    world.consume(1, 2);
    assert_eq!(world.seen(), "1:a 1:b");
    world.ack(1);
    assert_eq!(world.seen(), "1:a 1:b 1:c");
    world.consume(2, 1);
    assert_eq!(world.seen(), "1:a 1:b 1:c 2:d");
    assert_eq!(world.counts(), (1, 3, 0));
}

#[test]
fn higher_priority_consumers_are_served_first() {
    let mut world = World::new(Settings::default());
    world.consume_as(1, 1, |it| it.priority = None);
    world.consume_as(2, 1, |it| it.priority = Some(5));
    ["a", "b", "c"].into_iter().for_each(|it| {
        world.publish(it);
    });
    assert_eq!(world.seen(), "2:a 1:b");
    world.ack(1);
    world.ack(2);
    assert_eq!(world.seen(), "2:a 1:b 1:c");
}

#[test]
fn a_connection_that_is_full_is_left_alone_until_it_resumes() {
    let mut world = World::new(Settings::default());
    world.consumers.full.insert(1);
    world.consume(1, 0);
    world.publish("a");
    world.publish("b");
    assert_eq!(world.seen(), "");
    world.consumers.full.clear();
    world.publish("c");
    assert_eq!(world.seen(), "");
    world.queue.resume(consumer(1));
    world.dispatch();
    assert_eq!(world.seen(), "1:a 1:b 1:c");
}

#[test]
fn requeued_messages_return_to_their_place() {
    let mut world = World::new(Settings::default());
    world.consume(1, 2);
    ["a", "b", "c"].into_iter().for_each(|it| {
        world.publish(it);
    });
    world.settle(1, Settlement::Nack { requeue: true });
    assert_eq!(world.seen(), "1:a 1:b 1:a*");
    world.lose(1);
    world.consume(2, 0);
    assert_eq!(world.seen(), "1:a 1:b 1:a* 2:a* 2:b* 2:c");
}

#[test]
fn single_active_consumer_takes_over() {
    let mut world = World::new(Settings { single_active: true, ..Settings::default() });
    world.consume(1, 0);
    world.consume(2, 0);
    world.publish("a");
    world.publish("b");
    world.ack(1);
    world.lose(1);
    world.publish("c");
    assert_eq!(world.seen(), "1:a 1:b 2:b* 2:c");
}

#[test]
fn exclusive_consumers_exclude() {
    let mut world = World::new(Settings::default());
    world.consume_as(1, 0, |it| it.exclusive = true);
    let spec = |exclusive| ConsumerSpec {
        id: consumer(2),
        tag: "t".into(),
        connection_name: Arc::from(""),
        no_ack: true,
        exclusive,
        priority: None,
        prefetch: 0,
        service: None,
        offset: None,
        has_window: false,
    };
    assert_eq!(world.queue.add_consumer(spec(false)), Err(ConsumeError::ExclusiveUse));
    world.lose(1);
    assert_eq!(world.queue.add_consumer(spec(false)), Ok(()));
    world.queue.remove_consumer(consumer(2), world.now, &mut world.effects);
    assert_eq!(world.queue.add_consumer(spec(true)), Ok(()));
}

#[test]
fn retries_back_off_exponentially_and_then_park() {
    let retry = RetryPolicy { attempts: 5, max: Millis::from_secs(10), ..RetryPolicy::default() };
    let settings = Settings { retry: Some(retry), parking: true, ..Settings::default() };
    let mut world = World::durable(settings);
    world.consume(1, 1);
    world.publish("poison");
    world.publish("good");
    let start = world.now;
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(world.now.micros_since(start) / 1_000_000);
        assert_eq!(world.settle(1, Settlement::Nack { requeue: true }).as_deref(), Some("poison"));
        // What is behind flows on meanwhile.
        if !world.consumers.held[&1].is_empty() {
            assert_eq!(world.ack(1).as_deref(), Some("good"));
        }
        if world.wake_at != Timestamp::NEVER {
            let wait = world.wake_at.micros_since(world.now) / 1000;
            world.advance(wait);
        }
    }
    assert_eq!(times, [0, 1, 3, 7, 15]);
    assert_eq!(world.story, "park poison/rejected ");
    assert_eq!(world.counts(), (0, 0, 0));
    assert!(world.log.is_empty());
}

#[test]
fn a_waiting_retry_survives_a_restart_with_its_attempts() {
    let retry = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
    let mut world =
        World::durable(Settings { retry: Some(retry), parking: true, ..Settings::default() });
    world.consume(1, 0);
    world.publish("poison");
    world.publish("next");
    world.settle(1, Settlement::Reject { requeue: false });
    let due = world.now + Millis(1000);
    world.restart(&[(Seq(0), due)]);
    world.consume(2, 0);
    assert_eq!(world.seen(), "2:next");
    world.advance(999);
    assert_eq!(world.seen(), "2:next");
    world.advance(1);
    assert_eq!(world.seen(), "2:next 2:poison*");
    world.ack(2);
    world.settle(2, Settlement::Reject { requeue: false });
    assert_eq!(world.story, "park poison/rejected ");
}

#[test]
fn a_message_that_kills_its_consumers_is_parked_alone() {
    let retry = RetryPolicy { attempts: 5, ..RetryPolicy::default() };
    let settings = Settings {
        retry: Some(retry),
        parking: true,
        deliveries_max: Some(4),
        ..Settings::default()
    };
    let mut world = World::durable(settings);
    ["killer", "a", "b"].into_iter().for_each(|it| {
        world.publish(it);
    });
    for number in 1..=10 {
        world.consume(number, 10);
        let mut alive = true;
        while alive && !world.consumers.held.get(&number).is_none_or(Vec::is_empty) {
            // A consumer dies of the killer as soon as it has it, whatever else it holds.
            if world.consumers.held[&number].iter().any(|(_, body)| body == "killer") {
                world.lose(number);
                alive = false;
            } else {
                world.ack(number);
            }
        }
    }
    assert_eq!(world.story, "park killer/delivery_limit ");
    assert_eq!(world.seen(), "1:killer 1:a 1:b 2:killer* 2:a* 2:b* 3:killer* 4:a* 4:b* 4:killer*");
    assert_eq!(world.queue.totals().acked, 2);
}

#[test]
fn a_busy_consumer_is_drained_for_a_suspect() {
    let mut world = World::new(Settings { deliveries_max: Some(9), ..Settings::default() });
    world.consume(1, 1);
    world.publish("suspect");
    world.lose(1);
    world.consume(2, 1);
    world.lose(2);
    ["a", "b", "c"].into_iter().for_each(|it| {
        world.publish(it);
    });
    world.consumers.seen.clear();
    world.consume(3, 2);
    assert_eq!(world.seen(), "3:suspect*");
    world.ack(3);
    assert_eq!(world.seen(), "3:suspect* 3:a 3:b");
}

#[test]
fn fail_fast_and_immediate_requeue_bypass_the_policy() {
    let settings = Settings {
        retry: Some(RetryPolicy { attempts: 5, ..RetryPolicy::default() }),
        parking: true,
        fail_fast: true,
        requeue_immediate: true,
        ..Settings::default()
    };
    let mut world = World::new(settings);
    world.consume(1, 1);
    world.publish("a");
    world.settle(1, Settlement::Nack { requeue: true });
    assert_eq!(world.seen(), "1:a 1:a*");
    world.settle(1, Settlement::Reject { requeue: false });
    assert_eq!(world.story, "park a/rejected ");
}

#[test]
fn messages_expire_on_time_wherever_they_stand() {
    let settings = Settings {
        message_ttl: Some(Millis(1000)),
        dead_letter: Some(DeadLetter { exchange: "dlx".into(), routing_key: None }),
        ..Settings::default()
    };
    let mut world = World::new(settings);
    world.publish("slow");
    world.publish_with("quick", expiration("200"));
    world.advance(199);
    assert_eq!((world.counts(), world.story.as_str()), ((2, 0, 0), ""));
    world.advance(1);
    assert_eq!((world.counts(), world.story.as_str()), ((1, 0, 0), "letter quick/expired "));
    world.advance(800);
    assert_eq!(world.story, "letter quick/expired letter slow/expired ");
}

#[test]
fn a_zero_expiration_is_delivered_at_once_or_never() {
    let mut world = World::new(Settings::default());
    world.publish_with("nobody", expiration("0"));
    assert_eq!(world.counts(), (0, 0, 0));
    world.consume(1, 0);
    world.publish_with("somebody", expiration("0"));
    assert_eq!(world.seen(), "1:somebody");
    assert_eq!(world.queue.totals().expired, 1);
}

#[test]
fn the_expiration_is_kept_over_a_requeue() {
    let mut world = World::new(Settings::default());
    world.consume(1, 1);
    world.publish_with("a", expiration("100"));
    world.advance(50);
    world.queue.remove_consumer(consumer(1), world.now, &mut world.effects);
    world.settle(1, Settlement::Nack { requeue: true });
    assert_eq!(world.counts(), (1, 0, 0));
    world.advance(50);
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn full_queues_drop_the_head_or_refuse() {
    let limits = Settings { length_max: Some(2), ..Settings::default() };
    let letters = Some(DeadLetter { exchange: "dlx".into(), routing_key: None });
    let mut head = World::new(Settings { dead_letter: letters.clone(), ..limits.clone() });
    ["a", "b", "c"].into_iter().for_each(|it| {
        assert_eq!(head.publish(it), Enqueued::Taken);
    });
    assert_eq!(head.story, "letter a/maxlen ");

    let overflow = Overflow::RejectPublishDeadLetter;
    let mut refuse = World::durable(Settings { overflow, dead_letter: letters, ..limits.clone() });
    assert_eq!(["a", "b", "c"].map(|it| refuse.publish(it)), {
        [Enqueued::Taken, Enqueued::Taken, Enqueued::Refused]
    });
    assert_eq!(refuse.story, "letter c/maxlen ");
    assert_eq!(refuse.log.len(), 2);

    let mut park = World::durable(Settings { overflow: Overflow::Park, parking: true, ..limits });
    ["a", "b", "c"].into_iter().for_each(|it| {
        park.publish(it);
    });
    assert_eq!(park.story, "park c/maxlen ");
}

#[test]
fn a_limit_of_bytes_counts_ready_bodies() {
    let settings = Settings { length_bytes_max: Some(5), ..Settings::default() };
    let mut world = World::new(settings);
    world.publish("abc");
    world.publish("de");
    assert_eq!(world.counts().0, 2);
    world.publish("f");
    assert_eq!(world.counts().0, 2);
    world.publish("far too long");
    assert_eq!(world.counts().0, 0);
    assert_eq!(world.queue.depth().ready_bytes, 0);
}

#[test]
fn priorities_are_levels_and_the_highest_is_the_head() {
    let mut world =
        World::new(Settings { priority_max: Some(5), length_max: Some(3), ..Settings::default() });
    for (body, priority) in [("low", 0), ("mid", 3), ("high", 200)] {
        world.publish_with(body, |it| it.set_priority(priority));
    }
    world.publish("low2");
    world.consume(1, 0);
    assert_eq!(world.seen(), "1:mid 1:low 1:low2");
}

#[test]
fn gets_take_one_at_a_time() {
    let mut world = World::new(Settings::default());
    world.publish("a");
    world.publish("b");
    let got = world.queue.get(false, world.now, &mut world.effects);
    let Got::Message { message, handle: Some(handle), remaining, .. } = got else {
        panic!("{got:?}")
    };
    assert_eq!((message.body_to_vec(), remaining), (b"a".to_vec(), 1));
    world.queue.settle(
        handle,
        None,
        Settlement::Nack { requeue: true },
        world.now,
        &mut world.effects,
    );
    let again = world.queue.get(true, world.now, &mut world.effects);
    assert!(matches!(
        again,
        Got::Message { mark: Mark { redelivered: true, .. }, handle: None, .. }
    ));
    assert!(matches!(
        world.queue.get(true, world.now, &mut world.effects),
        Got::Message { remaining: 0, .. }
    ));
    assert!(matches!(world.queue.get(true, world.now, &mut world.effects), Got::Empty));
}

#[test]
fn purge_removes_ready_messages_only() {
    let mut world = World::durable(Settings::default());
    world.consume(1, 1);
    ["a", "b", "c"].into_iter().for_each(|it| {
        world.publish(it);
    });
    assert_eq!(world.queue.purge(&mut world.effects), 2);
    world.settle_effects();
    assert_eq!(world.counts(), (0, 1, 0));
    assert_eq!(world.log.len(), 1);
    world.ack(1);
    assert!(world.log.is_empty());
}

#[test]
fn unused_queues_ask_to_be_deleted() {
    let mut world = World::new(Settings { auto_delete: true, ..Settings::default() });
    world.consume(1, 0);
    world.lose(1);
    world.settle_effects();
    assert_eq!(world.deleted, Some(DeleteCause::Unused));

    let mut world = World::new(Settings { expires: Some(Millis(100)), ..Settings::default() });
    world.queue.touch(world.now, &mut world.effects);
    world.settle_effects();
    world.advance(60);
    world.queue.touch(world.now, &mut world.effects);
    world.advance(60);
    assert_eq!(world.deleted, None);
    world.consume(1, 0);
    world.advance(1000);
    assert_eq!(world.deleted, None);
    world.lose(1);
    world.advance(100);
    assert_eq!(world.deleted, Some(DeleteCause::Expired));
}

#[test]
fn late_acks_count_as_failures_and_do_no_harm() {
    let settings = Settings { consumer_timeout: Some(Millis(1000)), ..Settings::default() };
    let mut world = World::new(settings);
    world.consume(1, 1);
    world.publish("a");
    world.consume(2, 1);
    world.advance(1100);
    assert_eq!(world.seen(), "1:a 2:a*");
    // The first consumer acks at last: nothing happens to the delivery of the second.
    world.ack(1);
    assert_eq!(world.counts(), (0, 1, 0));
    world.publish("b");
    assert_eq!(world.seen(), "1:a 2:a* 1:b");
}

fn key(name: &str) -> impl FnOnce(&mut PropertyList) + '_ {
    move |list| list.headers_mut().set("user_id", Value::text(name))
}

fn keyed(hold: bool) -> Settings {
    Settings {
        durable: true,
        keyed: Some(Keyed { source: KeySource::Header("user_id".into()), hold }),
        retry: Some(RetryPolicy { attempts: 3, ..RetryPolicy::default() }),
        parking: true,
        ..Settings::default()
    }
}

#[test]
fn one_message_per_key_is_out_at_a_time() {
    let mut world = World::new(keyed(false));
    world.consume(1, 10);
    world.consume(2, 10);
    for (body, user) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b")] {
        world.publish_with(body, key(user));
    }
    let bodies = |world: &World| {
        world.consumers.seen.iter().map(|it| it.1.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(bodies(&world), "a1 b1");
    assert_eq!(world.counts(), (3, 2, 0));
    world.ack(1);
    assert_eq!(bodies(&world), "a1 b1 a2");
    while world.counts() != (0, 0, 0) {
        world.ack(1);
        world.ack(2);
    }
    assert_eq!(bodies(&world), "a1 b1 a2 b2 a3");
}

#[test]
fn a_failing_message_is_skipped_or_holds_its_key() {
    for (hold, expected) in [(false, "a1 b1 a2 a1"), (true, "a1 b1 a1 a2")] {
        let mut world = World::new(keyed(hold));
        world.consume(1, 10);
        for (body, user) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
            world.publish_with(body, key(user));
        }
        world.settle(1, Settlement::Reject { requeue: false });
        world.ack(1);
        world.advance(1000);
        world.ack(1);
        let seen: Vec<&str> = world.consumers.seen.iter().map(|it| it.1.as_str()).collect();
        assert_eq!(seen.join(" "), expected, "hold: {hold}");
    }
}

#[test]
fn a_held_key_is_held_through_a_restart() {
    let mut world = World::new(keyed(true));
    world.consume(1, 10);
    for (body, user) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        world.publish_with(body, key(user));
    }
    world.settle(1, Settlement::Reject { requeue: false });
    let due = world.now + Millis(1000);
    world.restart(&[(Seq(0), due)]);
    world.consume(2, 10);
    assert_eq!(world.seen(), "2:b1");
    world.advance(1000);
    assert_eq!(world.seen(), "2:b1 2:a1*");
}

#[test]
fn long_queues_leave_memory_and_come_back_complete() {
    let mut world = World::durable(Settings::default());
    let n = 3 * limit::HOT_TAIL;
    for at in 0..n {
        world.publish(&at.to_string());
    }
    assert!(world.queue.peek_ready().count() < 2 * limit::HOT_TAIL + 1);
    world.consume(1, 100);
    let mut out = Vec::new();
    while let Some(body) = world.ack(1) {
        out.push(body.parse::<usize>().unwrap());
    }
    assert_eq!(out, (0..n).collect::<Vec<_>>());
    assert!(world.log.is_empty());
}

#[test]
fn numbers_that_arrive_out_of_order_stand_in_order() {
    let mut world = World::durable(Settings::default());
    for seq in [1, 3, 0, 2] {
        let parts = Parts {
            exchange: "",
            routing_key: RoutingKey(""),
            properties: Properties::NONE,
            published_at: world.now,
        };
        let body = seq.to_string();
        let message = Message::copied(parts, body.as_bytes(), &mut Vec::new());
        world.log.insert(Seq(seq), (message.clone(), None));
        let arrival = Arrival { seq: Seq(seq), message, batch: BatchId(1) };
        world.queue.enqueue(
            arrival,
            BatchId(1),
            world.now,
            &mut world.consumers,
            &mut world.effects,
        );
    }
    assert_eq!(world.queue.next_seq(), Seq(4));
    world.consume(1, 0);
    assert_eq!(world.seen(), "1:0 1:1 1:2 1:3");
}

#[derive(Clone, Debug)]
enum Step {
    Publish { expires: Option<u64>, priority: u8 },
    Settle { consumer: u32, settlement: Settlement },
    Consume { consumer: u32, prefetch: u16 },
    Lose { consumer: u32 },
    Full { consumer: u32 },
    Resume { consumer: u32 },
    Advance { ms: u64 },
    Get,
    Purge,
}

fn any_step() -> impl Strategy<Value = Step> {
    let settlement = prop_oneof![
        3 => Just(Settlement::Ack),
        1 => any::<bool>().prop_map(|requeue| Settlement::Reject { requeue }),
        1 => any::<bool>().prop_map(|requeue| Settlement::Nack { requeue }),
        1 => Just(Settlement::Recover),
    ];
    prop_oneof![
        6 => (prop::option::weighted(0.2, 0u64..500), 0u8..4)
            .prop_map(|(expires, priority)| Step::Publish { expires, priority }),
        6 => (0u32..4, settlement)
            .prop_map(|(consumer, settlement)| Step::Settle { consumer, settlement }),
        2 => (0u32..4, 0u16..4).prop_map(|(consumer, prefetch)| Step::Consume { consumer, prefetch }),
        1 => (0u32..4).prop_map(|consumer| Step::Lose { consumer }),
        1 => (0u32..4).prop_map(|consumer| Step::Full { consumer }),
        1 => (0u32..4).prop_map(|consumer| Step::Resume { consumer }),
        2 => (0u64..400).prop_map(|ms| Step::Advance { ms }),
        1 => Just(Step::Get),
        1 => Just(Step::Purge),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let retry =
        RetryPolicy { attempts: 3, first: Millis(50), max: Millis(200), ..RetryPolicy::default() };
    (
        any::<bool>(),
        prop::option::of(prop_oneof![Just(0u64), Just(300)]),
        prop::option::weighted(0.4, 0u64..6),
        prop::sample::select(vec![Overflow::DropHead, Overflow::RejectPublish, Overflow::Park]),
        prop::option::weighted(0.3, 0u8..3),
        prop::option::weighted(0.5, Just(retry)),
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.3, Just(Millis(120))),
    )
        .prop_map(
            |(durable, ttl, length_max, overflow, priority_max, retry, sac, parking, timeout)| {
                Settings {
                    durable,
                    message_ttl: ttl.map(Millis),
                    length_max,
                    overflow,
                    priority_max,
                    retry,
                    single_active: sac,
                    parking,
                    deliveries_max: Some(6),
                    consumer_timeout: timeout,
                    ..Settings::default()
                }
            },
        )
}

impl World {
    fn step(&mut self, at: usize, step: &Step) {
        match step {
            Step::Publish { expires, priority } => {
                self.publish_with(&at.to_string(), |list| {
                    list.set_priority(*priority);
                    if let Some(ms) = expires {
                        list.set_text(Property::Expiration, &ms.to_string());
                    }
                });
            }
            Step::Settle { consumer, settlement } => {
                self.settle(*consumer, *settlement);
            }
            Step::Consume { consumer: number, prefetch } => {
                if self.queue.consumers.position(consumer(*number)).is_none()
                    && !self.consumers.held.contains_key(number)
                {
                    self.consume(*number, *prefetch);
                }
            }
            Step::Lose { consumer } => self.lose(*consumer),
            Step::Full { consumer } => {
                self.consumers.full.insert(*consumer);
            }
            Step::Resume { consumer: number } => {
                self.consumers.full.remove(number);
                self.queue.resume(consumer(*number));
                self.dispatch();
            }
            Step::Advance { ms } => self.advance(*ms),
            Step::Get => {
                if let Got::Message { handle: Some(handle), message, .. } =
                    self.queue.get(false, self.now, &mut self.effects)
                {
                    let body = String::from_utf8(message.body_to_vec()).unwrap();
                    self.consumers.held.entry(99).or_default().push((handle, body));
                }
                self.settle_effects();
            }
            Step::Purge => {
                self.queue.purge(&mut self.effects);
                self.settle_effects();
            }
        }
    }

    /// What must hold after every step.
    fn check(&mut self) {
        let depth = self.queue.depth();
        if self.queue.settings().durable {
            let inside = depth.ready + depth.unacked + depth.delayed;
            assert_eq!(inside, self.log.len() as u64, "queue and log disagree: {depth:?}");
        }
        let mut bytes = 0;
        for level in &self.queue.levels {
            let seqs: Vec<Seq> = level.iter().map(|it| it.seq).collect();
            assert!(seqs.is_sorted(), "out of order: {seqs:?}");
            bytes += level.iter().map(|it| it.body_bytes).sum::<u64>();
        }
        bytes += self.queue.suspects.iter().map(|it| it.body_bytes).sum::<u64>();
        assert_eq!(depth.ready_bytes, bytes, "bytes of ready messages");
        for (consumer, _) in self.queue.consumers() {
            let limit = u32::from(consumer.spec.prefetch);
            assert!(limit == 0 || consumer.n_unacked <= limit, "prefetch exceeded: {consumer:?}");
        }
        if let Some(max) = self.queue.settings().length_max
            && self.queue.settings().overflow == Overflow::DropHead
        {
            assert!(depth.ready <= max, "longer than its limit");
        }
        assert!(
            self.queue.next_due() >= self.wake_at || self.queue.next_due() == Timestamp::NEVER,
            "due at {:?}, woken at {:?}",
            self.queue.next_due(),
            self.wake_at
        );
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_twice_kept_or_delivered_out_of_turn(
        settings in any_settings(),
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut world = World::new(settings);
        for (at, step) in steps.iter().enumerate() {
            world.step(at, step);
            world.check();
        }
        // In the end one tireless consumer gets everything that is left.
        for number in [0, 1, 2, 3, 99] {
            world.lose(number);
        }
        world.consumers.full.clear();
        world.consume_as(50, 1, |_| {});
        for _ in 0..2000 {
            if world.ack(50).is_none() {
                world.advance(200);
            }
        }
        prop_assert_eq!(world.counts(), (0, 0, 0));
        prop_assert!(world.log.is_empty());
    }
}

#[test]
fn a_restart_with_fewer_priorities_keeps_all_messages() {
    let restored = Restored {
        levels: vec![(0, 1, Seq(0), Seq(1)), (3, 2, Seq(1), Seq(3))],
        next: Seq(3),
        ..Restored::default()
    };
    let settings = Settings { durable: true, ..Settings::default() };
    let mut effects = Vec::new();
    let queue = WorkQueue::restore("work".into(), settings, restored, Timestamp(1), &mut effects);
    assert_eq!(queue.depth().ready, 3);
}
