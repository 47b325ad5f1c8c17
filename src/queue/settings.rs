//! What one queue is asked to do, resolved from its arguments, policies and topology file.

use crate::amqp::argument::KeySource;
use crate::amqp::argument::Overflow;
use crate::amqp::argument::QueueArguments;
use crate::amqp::argument::QueueType;
use crate::amqp::deduplication::Deduplication;
use crate::amqp::name::ExchangeName;
use crate::amqp::time::Millis;
use crate::queue::effect::Reason;
use crate::queue::retry::RetryPolicy;
use crate::queue::retry::Then;

/// The behaviour of a queue. Everything in it may change while the queue lives.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    /// Persistent messages are written to the log.
    pub durable: bool,
    pub durability: Durability,
    /// The queue goes when its last consumer does.
    pub auto_delete: bool,
    pub message_ttl: Option<Millis>,
    /// How long the queue may go without consumers, gets and declares before it is deleted.
    pub expires: Option<Millis>,
    pub length_max: Option<u64>,
    pub length_bytes_max: Option<u64>,
    pub overflow: Overflow,
    pub dead_letter: Option<DeadLetter>,
    /// Highest level of a priority queue; `None` is one level for all.
    pub priority_max: Option<u8>,
    pub single_active: bool,
    /// Deliveries a message may have in all; the failure of the last one ends it.
    pub deliveries_max: Option<u32>,
    /// Whether `basic.nack` with requeue counts as a failed delivery.
    pub count_nacks: bool,
    pub retry: Option<RetryPolicy>,
    /// Requeue goes back at once, in spite of the retry policy.
    pub requeue_immediate: bool,
    /// A rejection without requeue ends the message at once, in spite of the retry policy.
    pub fail_fast: bool,
    /// The queue has a parking lot: what would be dropped goes there.
    pub parking: bool,
    pub keyed: Option<Keyed>,
    /// How long a delivery may stay unsettled.
    pub consumer_timeout: Option<Millis>,
    /// Messages stay as long as their `x-delay` header says, whatever their expiration is.
    pub schedule: bool,
    /// Messages that came before are not taken again.
    pub deduplication: Option<Deduplication>,
    /// The queue is a stream; of the above, only its durability and `length_bytes_max` apply.
    pub stream: Option<StreamSettings>,
}

/// What only streams have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamSettings {
    /// How long messages are kept.
    pub age_max: Option<Millis>,
}

/// When a persistent message in a durable queue counts as safe, so that it is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Once the disk has it: it outlives a power loss.
    #[default]
    Sync,
    /// Once the operating system has it: it outlives the broker, not the machine.
    Write,
}

/// Where dead letters go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    pub exchange: ExchangeName,
    /// Replaces the message's own keys when given.
    pub routing_key: Option<String>,
}

/// Order per key: at most one unsettled message of each key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyed {
    pub source: KeySource,
    /// While a failed message waits for its retry, its key waits with it.
    pub hold: bool,
}

impl Settings {
    /// Where a message goes whose life in the queue is over: one that failed where its retry
    /// policy says, else to the dead-letter exchange, else to the parking lot; one that expired or
    /// was too many to the dead-letter exchange, or it is dropped and counted.
    pub fn end_of(&self, reason: Reason) -> Then {
        let failed = matches!(reason, Reason::Rejected | Reason::DeliveryLimit);
        let then = self.retry.filter(|_| failed).map(|it| it.then);
        let letters = self.dead_letter.is_some();
        let parks = self.parking && failed;
        match then {
            Some(Then::Drop) => Then::Drop,
            Some(Then::Park) if parks => Then::Park,
            Some(_) | None if letters => Then::DeadLetter,
            Some(Then::DeadLetter) | None if parks => Then::Park,
            Some(_) | None => Then::Drop,
        }
    }

    /// The settings a client's arguments ask for.
    ///
    /// COMPAT: `x-delivery-limit` L allows L failed deliveries, so L + 1 in all. A quorum queue
    /// has a limit of 20 unless told otherwise and does not count `basic.nack` with requeue.
    pub fn from_arguments(
        arguments: &QueueArguments,
        durable: bool,
        auto_delete: bool,
    ) -> Settings {
        let quorum = arguments.queue_type == QueueType::Quorum;
        let default_limit = quorum.then_some(20);
        let limit = arguments.delivery_limit.unwrap_or(default_limit);
        let deliveries_max = limit.map(|it| it.saturating_add(1));
        let retry = arguments.delayed_retry.map(|it| RetryPolicy {
            first: it.min,
            max: it.max,
            multiplier_milli: it.multiplier_milli,
            then: Then::DeadLetter,
            ..RetryPolicy::default()
        });
        Settings {
            durable,
            durability: Durability::Sync,
            auto_delete,
            message_ttl: arguments.message_ttl,
            expires: arguments.expires,
            length_max: arguments.length_max,
            length_bytes_max: arguments.length_bytes_max,
            overflow: arguments.overflow.unwrap_or_default(),
            dead_letter: arguments.dead_letter_exchange.clone().map(|exchange| DeadLetter {
                exchange,
                routing_key: arguments.dead_letter_routing_key.clone(),
            }),
            priority_max: arguments.priority_max,
            single_active: arguments.single_active_consumer,
            deliveries_max,
            count_nacks: !quorum,
            retry,
            requeue_immediate: false,
            fail_fast: retry.is_some(),
            parking: false,
            keyed: arguments.key.clone().map(|source| Keyed { source, hold: false }),
            consumer_timeout: arguments.consumer_timeout,
            schedule: false,
            deduplication: arguments.deduplication.clone(),
            stream: (arguments.queue_type == QueueType::Stream)
                .then_some(StreamSettings { age_max: arguments.age_max }),
        }
    }

    /// Whether failed deliveries mean anything here.
    pub(in crate::queue) fn counts_failures(&self) -> bool {
        self.retry.is_some() || self.deliveries_max.is_some() || self.parking
    }

    pub(in crate::queue) fn has_length_limit(&self) -> bool {
        self.length_max.is_some() || self.length_bytes_max.is_some()
    }
}
