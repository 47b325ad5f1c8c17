use super::*;
use crate::amqp::id::ChannelId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::QueueName;
use crate::amqp::name::RoutingKey;
use crate::amqp::name::VhostName;
use crate::amqp::offset::Offset;
use crate::amqp::property::Properties;
use crate::amqp::property::PropertyList;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::broker::consume;
use crate::broker::consume::Held;
use crate::broker::declare;
use crate::broker::memory::Clients;
use crate::broker::memory::Memory;
use crate::broker::publish;
use crate::broker::publish::Scratch;
use crate::broker::vhost::QueueKind;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::dispatch::Delivery;
use crate::queue::dispatch::Got;
use crate::queue::retry::RetryPolicy;
use crate::queue::settings::StreamSettings;
use crate::queue::settle::Settlement;

type World = Memory<Inbox>;

/// What consumers got, by body, and the last thing that each can settle.
#[derive(Debug, Default)]
struct Inbox {
    got: Vec<u64>,
    held: Vec<Held>,
    cancelled: Vec<ConsumerId>,
}

impl Clients for Inbox {
    fn deliver(&mut self, queue: QueueId, it: &Delivery<'_>) -> bool {
        self.got.push(number(it.message));
        let (tag, consumer) = (crate::amqp::id::DeliveryTag(0), Some(it.consumer));
        self.held.extend(it.handle.map(|handle| Held { tag, queue, handle, consumer }));
        true
    }

    fn begin_consumer(&mut self, _: QueueId, _: ConsumerId, _: &ConsumerTag, _: bool) {}

    fn cancel(&mut self, consumer: ConsumerId) {
        self.cancelled.push(consumer);
    }

    fn late(&mut self, _: ConsumerId, _: Millis) {}

    fn reply(&mut self, _: ConsumerId, _: &Message) -> bool {
        false
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Durable,
    Transient,
    Stream,
}

fn shaped(shape: Shape) -> NewQueue {
    let (durable, stream) = match shape {
        Shape::Durable => (true, None),
        Shape::Transient => (false, None),
        Shape::Stream => (true, Some(StreamSettings::default())),
    };
    let mut arguments = Table::default();
    if stream.is_some() {
        arguments.set("x-queue-type", Value::text("stream"));
    }
    let retry = stream.is_none().then(RetryPolicy::default);
    NewQueue {
        name: QueueName::new("q"),
        durable,
        auto_delete: false,
        exclusive: None,
        arguments,
        settings: Settings { durable, stream, retry, ..Settings::default() },
        kind: QueueKind::Declared,
        parks_for: None,
    }
}

fn world(shape: Shape) -> (World, QueueId) {
    let vhost = Vhost::new(VhostName::new("/"));
    let mut world = Memory::new(vhost, Inbox::default(), Timestamp::from_millis(1));
    let added = declare::add_queue(&mut world, shaped(shape)).expect("declared");
    (world, added.expect("new").id)
}

fn publish(world: &mut World, number: u64, mode: u8) {
    let mut list = PropertyList::default();
    list.set_delivery_mode(mode);
    let bytes = list.to_bytes();
    let parts = Parts {
        exchange: "",
        routing_key: RoutingKey("q"),
        properties: Properties::from_checked(&bytes),
        published_at: Timestamp(number),
    };
    let message = Message::copied(parts, number.to_string().as_bytes(), &mut Vec::new());
    let mut scratch = Scratch::default();
    let published = publish::publish(world, &mut scratch, &message, "guest");
    assert!(published.expect("published").routed);
}

fn number(message: &Message) -> u64 {
    String::from_utf8(message.body_to_vec()).expect("text").parse().expect("a number")
}

fn become_another(world: &mut World, id: QueueId, shape: Shape) {
    replace_queue(world, id, &shaped(shape)).expect("it is there");
    world.pump();
}

fn consumer(n: u64, prefetch: u16) -> ConsumerSpec {
    ConsumerSpec {
        id: ConsumerId { connection: ConnectionId(n), channel: ChannelId(1), number: 1 },
        tag: ConsumerTag::new("c"),
        connection_name: "test".into(),
        no_ack: false,
        exclusive: false,
        priority: None,
        prefetch,
        service: None,
        offset: None,
        has_window: false,
    }
}

/// Gets and acks everything there is.
fn drain(world: &mut World) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        match consume::get(world, "q", true, ConnectionId(9), None).expect("a queue").1 {
            Got::Message { message, .. } => all.push(number(&message)),
            Got::Loading => world.pump(),
            Got::Empty => return all,
        }
    }
}

fn logged(world: &World, id: QueueId) -> Vec<u64> {
    let of_queue = world.ports.log.iter().filter(|((it, _), _)| *it == id);
    of_queue.map(|(_, it)| number(&it.message)).collect()
}

fn upto(n: u64) -> Vec<u64> {
    (0..n).collect()
}

/// More than a queue keeps in memory.
const MANY: u64 = 12_000;

#[test]
fn a_queue_that_is_not_durable_any_more_keeps_messages_numbers_and_consumers() {
    let (mut world, id) = world(Shape::Durable);
    (0..MANY).for_each(|it| publish(&mut world, it, 2));
    consume::consume(&mut world, "q", consumer(1, 3), true).expect("it may");
    become_another(&mut world, id, Shape::Transient);
    assert_eq!(world.ports.clients.cancelled, []);
    assert!(!world.definitions.values().any(|it| matches!(it, Definition::Queue { .. })));
    publish(&mut world, MANY, 2);
    let held = std::mem::take(&mut world.ports.clients.held);
    consume::settle(&mut world, &held[..1], Settlement::Ack);
    assert_eq!(world.ports.clients.got, [0, 1, 2, 3]);
    consume::cancel(&mut world, id, consumer(1, 3).id);
    let held = [&held[1..], &world.ports.clients.held.clone()].concat();
    consume::settle(&mut world, &held, Settlement::Recover);
    assert_eq!(drain(&mut world), (1..=MANY).collect::<Vec<_>>());
    assert_eq!(logged(&world, id), [0; 0]);
}

#[test]
fn a_queue_that_becomes_durable_has_its_persistent_messages_in_the_log() {
    let (mut world, id) = world(Shape::Transient);
    (0..6).for_each(|it| publish(&mut world, it, if it == 4 { 1 } else { 2 }));
    consume::consume(&mut world, "q", consumer(1, 2), true).expect("it may");
    // Number 0 waits for its retry, 1 and 2 are out.
    let held = world.ports.clients.held.clone();
    consume::settle(&mut world, &held[..1], Settlement::Nack { requeue: true });
    become_another(&mut world, id, Shape::Durable);
    assert_eq!(logged(&world, id), [0, 1, 2, 3, 5]);
    let first = world.ports.log.values().next().expect("five");
    assert_eq!((first.mark.attempts, first.mark.returns), (1, 1));
    assert_eq!(first.due, Some(Timestamp::from_millis(1001)));
    assert!(world.definitions.values().any(|it| matches!(it, Definition::Queue { .. })));
    publish(&mut world, 6, 2);
    assert_eq!(logged(&world, id), [0, 1, 2, 3, 5, 6]);
    // The consumer goes on where it was.
    let held = world.ports.clients.held.clone();
    consume::settle(&mut world, &held[1..], Settlement::Ack);
    assert_eq!(logged(&world, id), [0, 3, 5, 6]);
    world.advance(Timestamp::from_millis(100_000));
    consume::cancel(&mut world, id, consumer(1, 2).id);
    let held = world.ports.clients.held.split_off(3);
    consume::settle(&mut world, &held, Settlement::Recover);
    let mut all = drain(&mut world);
    all.sort_unstable();
    assert_eq!(all, [0, 3, 4, 5, 6]);
    assert_eq!(logged(&world, id), [0; 0]);
}

#[test]
fn a_queue_becomes_a_stream_and_back_with_all_that_is_in_it() {
    let (mut world, id) = world(Shape::Durable);
    // The last ones are in no log before.
    (0..MANY).for_each(|it| publish(&mut world, it, if it + 3 < MANY { 2 } else { 1 }));
    consume::consume(&mut world, "q", consumer(1, 3), true).expect("it may");
    let held = world.ports.clients.held.clone();
    consume::settle(&mut world, &held[..1], Settlement::Ack);
    consume::settle(&mut world, &held[1..2], Settlement::Nack { requeue: true });
    become_another(&mut world, id, Shape::Stream);
    assert_eq!(world.ports.clients.cancelled, [consumer(1, 3).id]);
    publish(&mut world, MANY, 1);
    let all: Vec<u64> = (1..=MANY).collect();
    assert_eq!(logged(&world, id), all);
    assert_eq!(world.peek(id).expect("there").depth().ready, MANY);
    // An ack of long ago settles nothing.
    consume::settle(&mut world, &held[2..], Settlement::Ack);
    world.ports.clients.got.clear();
    let spec = ConsumerSpec { offset: Some(Offset::First), ..consumer(2, 60_000) };
    consume::consume(&mut world, "q", spec, true).expect("it may");
    world.pump();
    assert_eq!(world.ports.clients.got, all);

    become_another(&mut world, id, Shape::Durable);
    assert_eq!(world.ports.clients.cancelled.len(), 2);
    let offsets = |it: &Definition| matches!(it, Definition::Offsets { .. });
    assert!(!world.definitions.values().any(offsets));
    world.ports.clients.got.clear();
    consume::consume(&mut world, "q", consumer(3, 3), true).expect("it may");
    world.pump();
    assert_eq!(world.ports.clients.got, [1, 2, 3]);
    consume::settle(&mut world, &held, Settlement::Ack);
    assert_eq!(logged(&world, id).len() as u64, MANY);
    consume::cancel(&mut world, id, consumer(3, 3).id);
    publish(&mut world, MANY + 1, 2);
    assert_eq!(drain(&mut world), (4..=MANY + 1).collect::<Vec<_>>());
    assert_eq!(logged(&world, id), [1, 2, 3]);
}

#[test]
fn non_persistent_messages_between_others_come_last_in_a_stream() {
    let (mut world, id) = world(Shape::Durable);
    for (at, mode) in [2, 1, 2, 1].into_iter().enumerate() {
        publish(&mut world, at as u64, mode);
    }
    become_another(&mut world, id, Shape::Stream);
    publish(&mut world, 4, 2);
    // Behind the last that the log had: in order.
    assert_eq!(logged(&world, id), [0, 2, 3, 1, 4]);
    become_another(&mut world, id, Shape::Transient);
    assert_eq!(drain(&mut world), [0, 2, 3, 1, 4]);
}

#[test]
fn a_stream_of_messages_with_priorities_has_all_of_them() {
    let (mut world, id) = world(Shape::Durable);
    let priorities = || {
        let mut new = shaped(Shape::Durable);
        new.settings.priority_max = Some(5);
        new
    };
    let mut list = PropertyList::default();
    list.set_delivery_mode(2);
    replace_queue(&mut world, id, &priorities());
    for at in 0..4 {
        list.set_priority(at % 2);
        let bytes = list.to_bytes();
        let parts = Parts {
            exchange: "",
            routing_key: RoutingKey("q"),
            properties: Properties::from_checked(&bytes),
            published_at: Timestamp(1),
        };
        let message = Message::copied(parts, at.to_string().as_bytes(), &mut Vec::new());
        publish::publish(&mut world, &mut Scratch::default(), &message, "guest").expect("taken");
    }
    become_another(&mut world, id, Shape::Stream);
    let spec = ConsumerSpec { offset: Some(Offset::First), ..consumer(2, 100) };
    consume::consume(&mut world, "q", spec, true).expect("it may");
    world.pump();
    assert_eq!(world.ports.clients.got, upto(4));
    become_another(&mut world, id, Shape::Durable);
    assert_eq!(drain(&mut world), upto(4));
}
