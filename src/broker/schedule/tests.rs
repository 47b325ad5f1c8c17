use super::*;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::RoutingKey;
use crate::amqp::name::VhostName;
use crate::amqp::property::PropertyList;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::confirm::Confirm;
use crate::broker::declare;
use crate::broker::declare::Bind;
use crate::broker::declare::DeclareExchange;
use crate::broker::declare::DeclareQueue;
use crate::broker::declare::Resource;
use crate::broker::definition::Definition;
use crate::broker::memory::Clients;
use crate::broker::memory::Memory;
use crate::broker::publish;
use crate::broker::vhost::Vhost;
use crate::queue::dispatch::Delivery;
use crate::queue::peek::State;

#[derive(Debug)]
struct Nobody;

impl Clients for Nobody {
    fn deliver(&mut self, _: QueueId, _: &Delivery<'_>) -> bool {
        false
    }

    fn begin_consumer(&mut self, _: QueueId, _: ConsumerId, _: &ConsumerTag, _: bool) {}

    fn cancel(&mut self, _: ConsumerId) {}

    fn late(&mut self, _: ConsumerId, _: Millis) {}

    fn reply(&mut self, _: ConsumerId, _: &Message) -> bool {
        false
    }
}

/// An exchange `later` that holds messages back, with queues bound to it that take each message
/// once (`once`, with these arguments besides) or not (`all`).
struct World {
    memory: Memory<Nobody>,
    once: QueueId,
    all: QueueId,
    schedule: QueueId,
}

fn world(arguments: &[(&str, Value)]) -> World {
    let vhost = Vhost::new(VhostName::new("/"));
    let mut memory = Memory::new(vhost, Nobody, Timestamp::from_millis(1));
    let mut of_exchange = Arguments::default();
    of_exchange.set("x-delayed-type", Value::text("fanout"));
    let exchange = DeclareExchange {
        name: "later".to_owned(),
        kind: "x-delayed-message".to_owned(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: of_exchange,
    };
    declare::declare_exchange(&mut memory, &exchange).expect("declared");
    let mut queue = |name: &str, arguments: &[(&str, Value)]| {
        let mut table = Arguments::default();
        arguments.iter().for_each(|(name, value)| table.set(name, value.clone()));
        let queue = DeclareQueue {
            name: name.to_owned(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: table,
            connection: ConnectionId(1),
            generated: false,
        };
        declare::declare_queue(&mut memory, &queue).expect("declared");
        let bind = Bind {
            source: "later".to_owned(),
            destination: Resource::Queue(name.to_owned()),
            key: String::new(),
            arguments: Arguments::default(),
            connection: ConnectionId(1),
            service: None,
        };
        declare::bind(&mut memory, &bind).expect("bound");
        memory.vhost.queue(name).expect("there").id
    };
    let mut once = vec![("x-message-deduplication", Value::Bool(true))];
    once.extend_from_slice(arguments);
    let (once, all) = (queue("once", &once), queue("all", &[]));
    let schedule = memory.vhost.queue(&schedule_name("later")).expect("there").id;
    World { memory, once, all, schedule }
}

impl World {
    fn publish(&mut self, id: &str, delay_ms: i64, body: &str) -> Confirm {
        let mut list = PropertyList::default();
        list.headers_mut().set("x-deduplication-header", Value::text(id));
        if delay_ms > 0 {
            list.headers_mut().set(DELAY, Value::I64(delay_ms));
        }
        list.set_delivery_mode(2);
        let bytes = list.to_bytes();
        let parts = Parts {
            exchange: "later",
            routing_key: RoutingKey(""),
            properties: Properties::from_checked(&bytes),
            published_at: self.memory.now,
        };
        let message = Message::copied(parts, body.as_bytes(), &mut Vec::new());
        let mut scratch = Scratch::default();
        let published = publish::publish(&mut self.memory, &mut scratch, &message, "guest");
        published.expect("published").confirm
    }

    fn at(&mut self, now: u64) {
        self.memory.advance(Timestamp::from_millis(now));
    }

    fn bodies(&self, queue: QueueId) -> Vec<String> {
        let look = self.memory.peek(queue).expect("there").look(State::Ready, None, 100);
        let seen = look.seen.into_iter().filter_map(|it| it.message);
        seen.map(|it| String::from_utf8_lossy(&it.body_to_vec()).into_owned()).collect()
    }

    fn n_logged(&self, queue: QueueId) -> usize {
        self.memory.ports.log.keys().filter(|(it, _)| *it == queue).count()
    }

    fn n_duplicates(&self) -> usize {
        let is_duplicate = |it: &&Note| **it == Note::Duplicate { at: "queue 'once'".into() };
        self.memory.notes.iter().filter(is_duplicate).count()
    }

    /// When the log says that `once` has seen each of its keys.
    fn logged_keys(&self) -> Vec<u64> {
        let mut found = Vec::new();
        for it in self.memory.definitions.values() {
            if let Definition::Seen { at_ms, .. } = it {
                found.push(*at_ms);
            }
        }
        found
    }
}

#[test]
fn what_is_held_back_is_taken_once_when_it_is_released() {
    let mut world = world(&[]);
    world.publish("a", 1000, "first");
    world.publish("a", 2000, "second");
    assert_eq!((world.logged_keys(), world.n_logged(world.schedule)), (vec![], 2));
    world.at(1001);
    assert_eq!(world.logged_keys(), [1001], "in the same unit as the message");
    world.at(3000);
    assert_eq!(world.bodies(world.once), ["first"]);
    assert_eq!(world.bodies(world.all), ["first", "second"]);
    assert_eq!((world.n_duplicates(), world.n_logged(world.schedule)), (1, 0));
    // By the other way, too, and the other way round.
    world.publish("a", 0, "at once");
    world.publish("b", 0, "b");
    world.publish("b", 500, "b later");
    world.at(4000);
    assert_eq!(world.bodies(world.once), ["first", "b"]);
    assert_eq!((world.n_duplicates(), world.n_logged(world.schedule)), (3, 0));
}

#[test]
fn a_duplicate_that_no_queue_takes_is_gone_from_the_schedule() {
    let mut world = world(&[]);
    let all = Bind {
        source: "later".to_owned(),
        destination: Resource::Queue("all".to_owned()),
        key: String::new(),
        arguments: Arguments::default(),
        connection: ConnectionId(1),
        service: None,
    };
    declare::unbind(&mut world.memory, &all).expect("unbound");
    world.publish("a", 0, "first");
    world.publish("a", 500, "second");
    world.at(1000);
    assert_eq!(world.bodies(world.once), ["first"]);
    assert_eq!((world.n_duplicates(), world.n_logged(world.schedule)), (1, 0));
}

#[test]
fn the_window_begins_when_a_message_is_released() {
    let mut world = world(&[("x-cache-ttl", Value::I32(1000))]);
    world.publish("a", 5000, "first");
    world.publish("a", 5500, "within");
    world.publish("a", 6000, "after");
    world.at(10_000);
    assert_eq!(world.bodies(world.once), ["first", "after"]);
}

#[test]
fn what_is_refused_when_it_is_released_may_come_again() {
    let limit = [("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish"))];
    let mut world = world(&limit);
    world.publish("full", 0, "full");
    world.publish("a", 500, "refused");
    world.at(1000);
    assert_eq!(
        (world.bodies(world.once), world.n_logged(world.schedule)),
        (vec!["full".into()], 0)
    );
    assert_eq!(world.logged_keys(), [1], "only what was taken");
    assert_eq!(world.publish("a", 0, "again"), Confirm::Refused, "but not for a duplicate");
    assert_eq!(world.n_duplicates(), 0);
}
