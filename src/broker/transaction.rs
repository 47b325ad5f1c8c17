//! Transactions: publishes and acks of one channel that happen together.

use crate::amqp::id::BatchId;
use crate::amqp::message::Message;
use crate::broker::confirm::Confirm;
use crate::broker::consume;
use crate::broker::consume::Held;
use crate::broker::effect::settle_later;
use crate::broker::host::Host;
use crate::broker::host::Moved;
use crate::broker::host::Note;
use crate::broker::publish;
use crate::broker::publish::Scratch;
use crate::queue::effect::Cause;
use crate::queue::settle::Settlement;

/// What a channel did since `tx.select` or its last commit.
#[derive(Debug, Default)]
pub struct Transaction {
    pub publishes: Vec<Pending>,
    pub settlements: Vec<(Settlement, Vec<Held>)>,
}

/// A publish that waits for its commit.
#[derive(Clone, Debug)]
pub struct Pending {
    pub message: Message,
    pub mandatory: bool,
}

/// What became of a commit.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Mandatory messages that no queue took, in publishing order.
    pub returned: Vec<Message>,
    /// A queue refused a message.
    pub refused: bool,
    /// Answer when this batch is durable.
    pub after: BatchId,
}

/// Publishes and settles everything at once.
///
/// Acks and publishes are one unit of the log: after a crash all of them happened, or none.
/// Rejections take effect in the same turn, but what they bring about (dead letters, retries)
/// is logged like that of any other rejection.
pub fn commit<H: Host>(host: &mut H, scratch: &mut Scratch, transaction: Transaction) -> Committed {
    let mut committed = Committed::default();
    let acked: Vec<Held> = transaction
        .settlements
        .iter()
        .filter(|(settlement, _)| *settlement == Settlement::Ack)
        .flat_map(|(_, held)| held.iter().copied())
        .collect();
    let stored = acked_numbers(host, &acked);
    let messages = transaction.publishes.iter().map(|it| &it.message);
    let (placed, after) = publish::place_all(host, scratch, messages, &stored);
    committed.after = after;
    for (pending, confirm) in transaction.publishes.iter().zip(placed) {
        host.note(Note::Published { routed: confirm.is_some() });
        match confirm {
            None if pending.mandatory => committed.returned.push(pending.message.clone()),
            None | Some(Confirm::Now) => {}
            Some(Confirm::Refused) => committed.refused = true,
            Some(Confirm::After(batch)) => committed.after = committed.after.max(batch),
        }
    }
    for (settlement, mut held) in transaction.settlements {
        held.sort_by_key(|it| it.queue);
        consume::settle(host, &held, settlement);
    }
    settle_later(host);
    committed
}

/// The numbers of the acked messages that the log has, so that it forgets them in the same unit.
fn acked_numbers<H: Host>(host: &mut H, acked: &[Held]) -> Vec<Moved> {
    let mut stored = Vec::new();
    for run in acked.chunk_by(|a, b| a.queue == b.queue) {
        host.queue(run[0].queue, |queue, _| {
            let numbers = run.iter().filter_map(|it| queue.stored_number(it.handle));
            let queue_id = run[0].queue;
            stored.extend(numbers.map(|seq| Moved { queue: queue_id, seq, cause: Cause::Acked }));
        });
    }
    stored
}
