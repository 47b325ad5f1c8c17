//! Carrying out what queues want done.

use crate::amqp::id::QueueId;
use crate::amqp::limit;
use crate::amqp::time::Timestamp;
use crate::broker::dead_letter;
use crate::broker::delete;
use crate::broker::host::Host;
use crate::broker::host::Ports;
use crate::broker::parking;
use crate::queue::Queue;
use crate::queue::effect::DeleteCause;
use crate::queue::effect::Effect;

/// Works with one queue and carries out its effects while it is still borrowed, so that what
/// happened to it first is also written first.
pub fn with_queue<H: Host, R>(
    host: &mut H,
    id: QueueId,
    work: impl FnOnce(&mut Queue, &mut H::Ports, &mut Vec<Effect>, Timestamp) -> R,
) -> Option<R> {
    let now = host.now();
    host.queue(id, |queue, ports| {
        let mut effects = ports.effects();
        let result = work(queue, ports, &mut effects, now);
        for effect in effects.drain(..) {
            carry_out(id, effect, ports);
        }
        ports.keep(effects);
        result
    })
}

/// Carries out one effect of a queue that is borrowed.
pub(in crate::broker) fn carry_out<P: Ports>(queue: QueueId, effect: Effect, ports: &mut P) {
    match effect {
        Effect::Erase { seq, cause } => ports.erase(queue, seq, cause),
        Effect::Remember { seq, mark, due } => ports.remember(queue, seq, &mark, due),
        Effect::MayHaveDelivered { up_to } => ports.may_have_delivered(queue, up_to),
        Effect::Purge { below, except } => ports.purge(queue, below, &except),
        Effect::Wake { at } => ports.wake(queue, at),
        Effect::Fetch(fetch) => ports.fetch(queue, fetch),
        Effect::DeadLetter(_) | Effect::Park(_) | Effect::Late { .. } | Effect::Delete(_) => {
            ports.later(queue, effect);
        }
    }
}

/// Carries out the effects that reach beyond their queue: a work list, because a dead letter may
/// make another queue drop a message, and so on.
///
/// After about [`limit::CASCADE`] of them, what they brought about is left for the next turn.
pub fn settle_later<H: Host>(host: &mut H) {
    let mut n_done = 0;
    while n_done < limit::CASCADE && !host.later().is_empty() {
        for (queue, effect) in std::mem::take(host.later()) {
            n_done += 1;
            settle_one(host, queue, &effect);
        }
    }
}

fn settle_one<H: Host>(host: &mut H, queue: QueueId, effect: &Effect) {
    match effect {
        Effect::DeadLetter(dead) => dead_letter::publish_dead(host, queue, dead),
        Effect::Park(dead) => parking::park(host, queue, dead),
        Effect::Late { consumer, timeout } => {
            if host.vhost().rules.late_ack_closes {
                host.late(*consumer, *timeout);
            }
        }
        Effect::Delete(cause) => {
            let why = match cause {
                DeleteCause::Unused => "its last consumer went",
                DeleteCause::Expired => "it was not used for as long as x-expires says",
            };
            delete::delete_unused(host, queue, why);
        }
        Effect::Erase { .. }
        | Effect::Remember { .. }
        | Effect::MayHaveDelivered { .. }
        | Effect::Purge { .. }
        | Effect::Wake { .. }
        | Effect::Fetch(_) => {}
    }
}
