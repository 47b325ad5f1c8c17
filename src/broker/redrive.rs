//! What an operator does with single messages: parked ones go back or are discarded, waiting ones
//! are retried now, held-back ones are cancelled, queues pause.

use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::property::Properties;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::broker::confirm::Confirm;
use crate::broker::declare;
use crate::broker::declare::DeclareError;
use crate::broker::declare::DeclareQueue;
use crate::broker::effect::settle_later;
use crate::broker::effect::with_queue;
use crate::broker::host::Host;
use crate::broker::host::Moved;
use crate::broker::host::Ports as _;
use crate::broker::parking::ATTEMPTS;
use crate::broker::parking::PARKED_AT;
use crate::broker::parking::PARKED_QUEUE;
use crate::broker::parking::PARKED_REASON;
use crate::broker::publish::Scratch;
use crate::broker::publish::place;
use crate::queue::effect::Cause;
use crate::queue::entry::Mark;

/// Where discarded messages are until [`DISCARDED_TTL_MS`] have passed.
pub const DISCARDED: &str = "amq.discarded";
/// A day.
pub const DISCARDED_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// The parking lot a discarded message was in.
pub const DISCARDED_FROM: &str = "x-railpost-discarded-from";

/// What became of one parked message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redriven {
    /// It is in the queue that failed, and gone from the parking lot, once this batch is on disk.
    Moved(BatchId),
    /// It is not in the parking lot any more.
    Gone,
    /// It does not say which queue failed, or that queue is no more.
    NoQueue,
    /// The queue that failed takes no more messages; this one stays parked.
    Full,
}

/// Sends a parked message back to the queue that failed, and to no other that had a copy, with no
/// attempts made: one record of the log puts it there and takes it out of the parking lot.
///
/// `message` is what a look into the parking lot has found under this number.
pub fn redrive<H: Host>(host: &mut H, lot: QueueId, seq: Seq, message: &Message) -> Redriven {
    let Some(to) = failed_queue(host, message).filter(|it| *it != lot) else {
        return Redriven::NoQueue;
    };
    transfer(host, lot, seq, message, to, unparked)
}

/// Takes a message out of one queue and puts it into another, as `change` has it there.
fn transfer<H: Host>(
    host: &mut H,
    lot: QueueId,
    seq: Seq,
    message: &Message,
    to: QueueId,
    change: impl FnOnce(&Message) -> Message,
) -> Redriven {
    let bytes = message.body_bytes();
    if host.queue(to, |queue, _| queue.is_full_for(bytes)).unwrap_or(true) {
        return Redriven::Full;
    }
    let taken = host.queue(lot, |queue, _| queue.take_out(seq, Some(message))).flatten();
    let Some(taken) = taken else { return Redriven::Gone };
    let moved = taken.stored.then_some(Moved { queue: lot, seq, cause: Cause::Moved });
    let mut scratch = Scratch::default();
    scratch.routes.set(to);
    let confirm = place(host, &mut scratch, &change(&taken.message), moved);
    if confirm == Confirm::Refused {
        // It was filled meanwhile. The log hears of the copy in the lot before that of the other
        // one's end, so that a crash between the two leaves at least one.
        scratch.routes.set(lot);
        place(host, &mut scratch, &taken.message, None);
    }
    settle_later(host);
    match confirm {
        Confirm::Now => Redriven::Moved(BatchId(0)),
        Confirm::After(batch) => Redriven::Moved(batch),
        Confirm::Refused => Redriven::Full,
    }
}

/// Makes the queue that discarded messages go to, unless it is there.
///
/// # Errors
/// When somebody made another one of that name.
pub fn declare_discarded<H: Host>(host: &mut H) -> Result<QueueId, DeclareError> {
    let mut arguments = Table::default();
    arguments.set("x-message-ttl", Value::I64(DISCARDED_TTL_MS));
    let declare = DeclareQueue {
        name: DISCARDED.to_owned(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
        connection: ConnectionId(0),
        // Its name is reserved.
        generated: true,
    };
    let declared = declare::declare_queue(host, &declare)?;
    Ok(declared.id)
}

/// Moves a parked message to where it can be restored from for a day.
pub fn discard<H: Host>(
    host: &mut H,
    (lot, name): (QueueId, &str),
    seq: Seq,
    message: &Message,
    discarded: QueueId,
) -> Redriven {
    transfer(host, lot, seq, message, discarded, |message| {
        edited(message, |headers| headers.set(DISCARDED_FROM, Value::text(name)))
    })
}

/// Puts a discarded message back into the parking lot it was in.
pub fn restore<H: Host>(
    host: &mut H,
    discarded: QueueId,
    seq: Seq,
    message: &Message,
    lot: QueueId,
) -> Redriven {
    transfer(host, discarded, seq, message, lot, |message| {
        edited(message, |headers| {
            headers.remove(DISCARDED_FROM);
        })
    })
}

/// The parking lot a message was discarded from.
pub fn discarded_from(message: &Message) -> Option<String> {
    let headers = message.properties().headers()?;
    Some(headers.get(DISCARDED_FROM)?.as_text()?.to_owned())
}

/// Drops a ready message that a delayed exchange holds back, for good; `false` when it is not there
/// any more.
///
/// `message` is what a look into the queue has found under this number.
pub fn cancel<H: Host>(host: &mut H, lot: QueueId, seq: Seq, message: &Message) -> bool {
    let taken = host.queue(lot, |queue, ports| {
        let taken = queue.take_out(seq, Some(message))?;
        if taken.stored {
            ports.erase(lot, seq, Cause::Moved);
        }
        Some(())
    });
    settle_later(host);
    taken.flatten().is_some()
}

/// Retries up to `max` of the messages that wait in a queue, before their time; how many.
pub fn retry_now<H: Host>(
    host: &mut H,
    queue: QueueId,
    max: usize,
    which: impl FnMut(Seq, &Mark) -> bool,
) -> usize {
    let hastened = with_queue(host, queue, |queue, ports, effects, now| {
        let n = queue.hasten(now, max, which);
        queue.tick(now, ports, effects);
        n
    });
    settle_later(host);
    hastened.unwrap_or_default()
}

/// Stops or restarts delivery to all consumers; `false` for a queue that cannot be paused.
pub fn set_paused<H: Host>(host: &mut H, queue: QueueId, paused: bool) -> bool {
    let done = with_queue(host, queue, |queue, ports, effects, now| {
        let done = queue.set_paused(paused);
        queue.dispatch(now, ports, effects);
        done
    });
    settle_later(host);
    done.unwrap_or_default()
}

fn failed_queue<H: Host>(host: &mut H, message: &Message) -> Option<QueueId> {
    let headers = message.properties().headers()?;
    let name = headers.get(PARKED_QUEUE)?.as_text()?.to_owned();
    host.vhost().table.queue(&name)
}

/// The message without what parking noted on it.
fn unparked(message: &Message) -> Message {
    edited(message, |headers| {
        for name in [PARKED_QUEUE, PARKED_REASON, PARKED_AT, ATTEMPTS] {
            headers.remove(name);
        }
    })
}

/// The message with other headers.
fn edited(message: &Message, edit: impl FnOnce(&mut Table)) -> Message {
    let mut list = message.properties().edit();
    let headers = list.headers_mut();
    edit(headers);
    if headers.is_empty() {
        list.headers = None;
    }
    message.readdressed(Parts {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties: Properties::from_checked(&list.to_bytes()),
        published_at: message.published_at(),
    })
}

/// Describes why and when a message was parked: the reason's name, and milliseconds since 1970.
pub fn parked_for(message: &Message) -> (String, Option<u64>) {
    let headers = message.properties().headers().unwrap_or_default();
    let reason = headers.get(PARKED_REASON).and_then(Value::as_text).unwrap_or("unknown");
    let at = headers.get(PARKED_AT).and_then(Value::as_integer);
    (reason.to_owned(), at.and_then(|it| u64::try_from(it).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::id::ConnectionId;
    use crate::amqp::id::ConsumerId;
    use crate::amqp::name::ConsumerTag;
    use crate::amqp::name::RoutingKey;
    use crate::amqp::name::VhostName;
    use crate::amqp::property::PropertyList;
    use crate::amqp::table::Table;
    use crate::amqp::time::Millis;
    use crate::amqp::time::Timestamp;
    use crate::broker::declare;
    use crate::broker::declare::DeclareQueue;
    use crate::broker::memory::Clients;
    use crate::broker::memory::Memory;
    use crate::broker::publish;
    use crate::broker::vhost::Vhost;
    use crate::queue::dispatch::Delivery;
    use crate::queue::peek::State;

    type World = Memory<Nobody>;

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

    fn world(limit: Option<i64>) -> (World, QueueId, QueueId) {
        let vhost = Vhost::new(VhostName::new("/"));
        let mut world = Memory::new(vhost, Nobody, Timestamp::from_millis(1));
        let mut declare = |name: &str, limit: Option<i64>| {
            let mut arguments = Table::default();
            if let Some(limit) = limit {
                arguments.set("x-max-length", Value::I64(limit));
                arguments.set("x-overflow", Value::text("reject-publish"));
            }
            let declare = DeclareQueue {
                name: name.to_owned(),
                passive: false,
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments,
                connection: ConnectionId(0),
                generated: false,
            };
            declare::declare_queue(&mut world, &declare).expect("declared");
            world.vhost.queue(name).expect("there").id
        };
        let (queue, lot) = (declare("bills", limit), declare("bills.parked", None));
        (world, queue, lot)
    }

    fn park(world: &mut World, body: &[u8], queue: &str) {
        let mut list = PropertyList::default();
        list.headers_mut().set(PARKED_QUEUE, Value::text(queue));
        list.headers_mut().set(PARKED_REASON, Value::text("rejected"));
        list.headers_mut().set("kept", Value::I64(7));
        list.set_delivery_mode(2);
        let bytes = list.to_bytes();
        let parts = Parts {
            exchange: "",
            routing_key: RoutingKey("bills.parked"),
            properties: Properties::from_checked(&bytes),
            published_at: Timestamp(5),
        };
        let message = Message::copied(parts, body, &mut Vec::new());
        let mut scratch = Scratch::default();
        publish::publish(world, &mut scratch, &message, "guest").expect("published");
    }

    fn look(world: &World, queue: QueueId) -> Vec<(Seq, Message)> {
        let look = world.peek(queue).expect("there").look(State::Ready, None, 100);
        look.seen.into_iter().filter_map(|it| Some((it.seq, it.message?))).collect()
    }

    #[test]
    fn a_parked_message_goes_back_to_its_queue_alone_and_as_new() {
        let (mut world, queue, lot) = world(Some(2));
        ["a", "b", "c"].iter().for_each(|it| park(&mut world, it.as_bytes(), "bills"));
        park(&mut world, b"d", "nobody");
        let parked = look(&world, lot);
        assert_eq!(parked.len(), 4);
        let mut redrive_at = |at: usize| {
            let (seq, message) = &parked[at];
            redrive(&mut world, lot, *seq, message)
        };
        assert!(matches!(redrive_at(1), Redriven::Moved(_)));
        assert_eq!(redrive_at(1), Redriven::Gone);
        assert!(matches!(redrive_at(0), Redriven::Moved(_)));
        assert_eq!(redrive_at(2), Redriven::Full);
        assert_eq!(redrive_at(3), Redriven::NoQueue);
        let back = look(&world, queue);
        let bodies: Vec<Vec<u8>> = back.iter().map(|(_, it)| it.body_to_vec()).collect();
        assert_eq!(bodies, [b"b", b"a"]);
        let headers = back[0].1.properties().headers().expect("headers");
        assert_eq!(headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["kept"]);
        assert_eq!(back[0].1.published_at(), parked[1].1.published_at());
        // The log has each of them once.
        let of = |id: QueueId| world.ports.log.keys().filter(|(it, _)| *it == id).count();
        assert_eq!((of(queue), of(lot)), (2, 2));
    }

    #[test]
    fn a_discarded_message_is_elsewhere_until_it_is_restored() {
        let (mut world, _, lot) = world(None);
        park(&mut world, b"a", "bills");
        let before = look(&world, lot).remove(0);
        let discarded = declare_discarded(&mut world).expect("declared");
        assert_eq!(declare_discarded(&mut world), Ok(discarded));
        let (seq, message) = &before;
        let name = "bills.parked";
        let done = discard(&mut world, (lot, name), *seq, message, discarded);
        assert!(matches!(done, Redriven::Moved(_)));
        let again = discard(&mut world, (lot, name), *seq, message, discarded);
        assert_eq!(again, Redriven::Gone);
        assert!(look(&world, lot).is_empty());
        let (seq, message) = look(&world, discarded).remove(0);
        assert_eq!(discarded_from(&message).as_deref(), Some(name));
        let done = restore(&mut world, discarded, seq, &message, lot);
        assert!(matches!(done, Redriven::Moved(_)));
        let (_, back) = look(&world, lot).remove(0);
        assert_eq!(back.properties().headers(), before.1.properties().headers());
        assert!(look(&world, discarded).is_empty());
        // Nobody restores it: a day later it is gone for good.
        let seq = look(&world, lot).remove(0).0;
        discard(&mut world, (lot, name), seq, &back, discarded);
        let day = world.now + Millis(DISCARDED_TTL_MS.unsigned_abs());
        world.advance(day);
        assert!(look(&world, discarded).is_empty() && world.ports.log.is_empty());
    }

    #[test]
    fn a_cancelled_message_is_gone_from_queue_and_log() {
        let (mut world, _, lot) = world(None);
        park(&mut world, b"a", "bills");
        let (seq, message) = look(&world, lot).remove(0);
        assert!(cancel(&mut world, lot, seq, &message));
        assert!(!cancel(&mut world, lot, seq, &message));
        assert!(look(&world, lot).is_empty() && world.ports.log.is_empty());
        assert_eq!(world.peek(lot).expect("there").depth().ready_bytes, 0);
    }

    #[test]
    fn a_paused_queue_says_so() {
        let (mut world, queue, _) = world(None);
        assert!(set_paused(&mut world, queue, true));
        assert!(world.peek(queue).expect("there").is_paused());
        assert!(set_paused(&mut world, queue, false));
        assert!(!world.peek(queue).expect("there").is_paused());
    }
}
