//! The `x-…` arguments of a queue, checked and typed once, when the queue is declared.

use crate::amqp::deduplication::Deduplication;
use crate::amqp::limit;
use crate::amqp::name::ExchangeName;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;

/// What a queue was asked to be. Absent arguments are `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueueArguments {
    pub queue_type: QueueType,
    pub message_ttl: Option<Millis>,
    pub expires: Option<Millis>,
    pub length_max: Option<u64>,
    pub length_bytes_max: Option<u64>,
    pub overflow: Option<Overflow>,
    pub dead_letter_exchange: Option<ExchangeName>,
    pub dead_letter_routing_key: Option<String>,
    pub priority_max: Option<u8>,
    pub single_active_consumer: bool,
    /// Deliveries a message may have had when it fails once more; `Some(None)` means no limit.
    pub delivery_limit: Option<Option<u32>>,
    pub delayed_retry: Option<DelayedRetry>,
    pub consumer_timeout: Option<Millis>,
    /// Where the key of a keyed queue is found (`x-railpost-key`).
    pub key: Option<KeySource>,
    /// The queue takes each message once.
    pub deduplication: Option<Deduplication>,
    /// How long a stream keeps its messages.
    pub age_max: Option<Millis>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueueType {
    #[default]
    Classic,
    Quorum,
    Stream,
}

/// What happens to a message that would make a queue longer than its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The oldest message goes. This is the default.
    #[default]
    DropHead,
    /// The new message is refused: nack to a publisher that asked for confirms.
    RejectPublish,
    /// As `RejectPublish`, and a copy goes to the dead-letter exchange.
    RejectPublishDeadLetter,
    /// As `RejectPublish`, but a copy goes to the queue's parking lot and the publisher is acked.
    Park,
}

/// `x-delayed-retry-*`: failed deliveries wait before they are ready again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DelayedRetry {
    pub min: Millis,
    pub max: Millis,
    /// Thousandths, so that equality is exact: 2000 doubles the wait each time.
    pub multiplier_milli: u32,
}

/// Which part of a message is its key on a keyed queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    RoutingKey,
    CorrelationId,
    MessageId,
    UserId,
    Header(String),
}

/// Why an argument is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArgumentError {
    /// The value is not one the argument can have.
    Invalid { key: &'static str, fault: ArgumentFault },
    /// The argument belongs to another type of queue.
    OtherQueueType { key: &'static str, queue_type: QueueType },
    /// The dead-letter exchange is not named by a string.
    ExchangeNotText { key: &'static str, got: &'static str },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArgumentFault {
    NotInteger {
        got: &'static str,
    },
    Negative(i64),
    Zero,
    TooLarge(i64),
    AboveMaximum(i64),
    UnacceptableType {
        got: &'static str,
    },
    /// A word that is not in the argument's list; the text is the name of the rule.
    Unknown(&'static str),
    UnsupportedQueueType(String),
    KeyWithoutExchange,
    SegmentTooLarge,
    FilterSize,
}

impl KeySource {
    /// Reads `routing-key`, `correlation-id`, `message-id`, `user-id` or `header:NAME`.
    pub fn parse(text: &str) -> Option<KeySource> {
        match text {
            "routing-key" => Some(KeySource::RoutingKey),
            "correlation-id" => Some(KeySource::CorrelationId),
            "message-id" => Some(KeySource::MessageId),
            "user-id" => Some(KeySource::UserId),
            _ => match text.strip_prefix("header:") {
                Some(name) if !name.is_empty() => Some(KeySource::Header(name.to_owned())),
                Some(_) | None => None,
            },
        }
    }
}

impl QueueType {
    /// COMPAT: the implementation names in RabbitMQ's error texts.
    pub fn rabbit_name(self) -> &'static str {
        match self {
            QueueType::Classic => "rabbit_classic_queue",
            QueueType::Quorum => "rabbit_quorum_queue",
            QueueType::Stream => "rabbit_stream_queue",
        }
    }

    /// The type of this name in `x-queue-type`.
    pub fn parse(text: &str) -> Option<QueueType> {
        let all = [QueueType::Classic, QueueType::Quorum, QueueType::Stream];
        all.into_iter().find(|it| it.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
            QueueType::Stream => "stream",
        }
    }
}

/// The arguments RabbitMQ compares when a queue is declared again, in its order: the first that
/// differs is told. Any other key is stored and ignored.
pub const COMPARED: [&str; 30] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-delayed-retry-multiplier",
    "x-consumer-timeout",
    "x-quorum-initial-group-size",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-queue-leader-locator",
    "x-railpost-key",
    "x-message-deduplication",
    "x-cache-size",
    "x-cache-ttl",
    "x-deduplication-header",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
];

/// COMPAT: the arguments RabbitMQ has for streams alone; on one node only the first has an effect.
const OF_STREAMS: [&str; 4] = [
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
];

/// COMPAT: the arguments RabbitMQ refuses on a stream.
const NOT_OF_STREAMS: [&str; 22] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-consumer-disconnected-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-delayed-retry-multiplier",
    "x-railpost-key",
];

impl QueueArguments {
    /// Types the arguments of a declare.
    ///
    /// COMPAT: accepted ranges and the order of checks follow RabbitMQ 4.3; arguments of clustered
    /// or older versions that mean nothing on one node are accepted without effect.
    /// `x-delivery-limit` and `x-delayed-retry-*` are accepted on classic queues too.
    pub fn parse(table: &Table) -> Result<QueueArguments, ArgumentError> {
        let mut arguments = QueueArguments { queue_type: queue_type(table)?, ..Default::default() };
        let of = |key: &'static str| table.get(key).map(|value| (key, value));
        arguments.message_ttl = of("x-message-ttl").map(|it| millis(it, 0)).transpose()?;
        arguments.expires = of("x-expires").map(|it| millis(it, 1)).transpose()?;
        arguments.length_max = of("x-max-length").map(natural).transpose()?;
        arguments.length_bytes_max = of("x-max-length-bytes").map(natural).transpose()?;
        arguments.overflow = of("x-overflow").map(overflow).transpose()?;
        arguments.dead_letter_exchange = of("x-dead-letter-exchange").map(exchange).transpose()?;
        arguments.dead_letter_routing_key =
            of("x-dead-letter-routing-key").map(|it| text(it).map(str::to_owned)).transpose()?;
        if arguments.dead_letter_routing_key.is_some() && arguments.dead_letter_exchange.is_none() {
            return Err(invalid("x-dead-letter-routing-key", ArgumentFault::KeyWithoutExchange));
        }
        arguments.single_active_consumer =
            of("x-single-active-consumer").map(boolean).transpose()?.unwrap_or_default();
        arguments.priority_max = of("x-max-priority").map(priority).transpose()?;
        arguments.delivery_limit = of("x-delivery-limit").map(delivery_limit).transpose()?;
        arguments.consumer_timeout =
            of("x-consumer-timeout").map(|it| millis(it, 0)).transpose()?;
        arguments.delayed_retry = delayed_retry(table)?;
        arguments.key = of("x-railpost-key").map(key_source).transpose()?;
        arguments.deduplication = Deduplication::parse(table)?;
        arguments.age_max = of("x-max-age").map(age).transpose()?;
        check_words(table)?;
        check_stream_sizes(table)?;
        let refuse = |keys| only_on(table, arguments.queue_type, keys);
        match arguments.queue_type {
            QueueType::Classic => refuse(&["x-dead-letter-strategy"])?,
            QueueType::Quorum => refuse(&["x-max-priority"])?,
            QueueType::Stream => refuse(&NOT_OF_STREAMS)?,
        }
        if arguments.queue_type != QueueType::Stream {
            refuse(&OF_STREAMS)?;
        }
        Ok(arguments)
    }
}

type Argument<'a> = (&'static str, &'a Value);

fn invalid(key: &'static str, fault: ArgumentFault) -> ArgumentError {
    ArgumentError::Invalid { key, fault }
}

fn queue_type(table: &Table) -> Result<QueueType, ArgumentError> {
    let key = "x-queue-type";
    let Some(value) = table.get(key) else {
        return Ok(QueueType::Classic);
    };
    match text((key, value))? {
        "classic" => Ok(QueueType::Classic),
        "quorum" => Ok(QueueType::Quorum),
        "stream" => Ok(QueueType::Stream),
        other => Err(invalid(key, ArgumentFault::UnsupportedQueueType(other.to_owned()))),
    }
}

/// Arguments with a list of words and no effect on one node.
fn check_words(table: &Table) -> Result<(), ArgumentError> {
    if let Some(value) = table.get("x-dead-letter-strategy") {
        let key = "x-dead-letter-strategy";
        if !matches!(text((key, value))?, "at-most-once" | "at-least-once") {
            return Err(invalid(key, ArgumentFault::Unknown("invalid_dlx_strategy")));
        }
    }
    if let Some(value) = table.get("x-queue-leader-locator") {
        let key = "x-queue-leader-locator";
        let known = ["client-local", "balanced", "random", "least-leaders"];
        if !known.contains(&text((key, value))?) {
            return Err(invalid(key, ArgumentFault::Unknown("invalid_queue_locator_arg")));
        }
    }
    for key in ["x-max-in-memory-length", "x-max-in-memory-bytes"] {
        table.get(key).map(|value| natural((key, value))).transpose()?;
    }
    if let Some(value) = table.get("x-quorum-initial-group-size") {
        positive(("x-quorum-initial-group-size", value))?;
    }
    Ok(())
}

/// Sizes of RabbitMQ's files and filters, which have no effect here.
fn check_stream_sizes(table: &Table) -> Result<(), ArgumentError> {
    let key = "x-stream-max-segment-size-bytes";
    if let Some(value) = table.get(key)
        && natural((key, value))? > SEGMENT_BYTES_MAX
    {
        return Err(invalid(key, ArgumentFault::SegmentTooLarge));
    }
    let key = "x-stream-filter-size-bytes";
    if let Some(value) = table.get(key)
        && !(16..=255).contains(&natural((key, value))?)
    {
        return Err(invalid(key, ArgumentFault::FilterSize));
    }
    if let Some(value) = table.get("x-initial-cluster-size") {
        positive(("x-initial-cluster-size", value))?;
    }
    Ok(())
}

/// COMPAT: RabbitMQ's largest segment of a stream.
const SEGMENT_BYTES_MAX: u64 = 3_000_000_000;

fn only_on(
    table: &Table,
    queue_type: QueueType,
    refused: &[&'static str],
) -> Result<(), ArgumentError> {
    match refused.iter().find(|key| table.get(key).is_some()) {
        Some(key) => Err(ArgumentError::OtherQueueType { key, queue_type }),
        None => Ok(()),
    }
}

fn integer((key, value): Argument<'_>) -> Result<i64, ArgumentError> {
    let fault = ArgumentFault::NotInteger { got: value.type_name() };
    value.as_integer().ok_or(invalid(key, fault))
}

fn natural(argument: Argument<'_>) -> Result<u64, ArgumentError> {
    let number = integer(argument)?;
    u64::try_from(number).map_err(|_| invalid(argument.0, ArgumentFault::Negative(number)))
}

fn positive(argument: Argument<'_>) -> Result<u64, ArgumentError> {
    match natural(argument)? {
        0 => Err(invalid(argument.0, ArgumentFault::Zero)),
        number => Ok(number),
    }
}

fn millis(argument: Argument<'_>, minimum: u64) -> Result<Millis, ArgumentError> {
    let number = if minimum == 0 { natural(argument)? } else { positive(argument)? };
    if number > limit::TTL_MS {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        return Err(invalid(argument.0, ArgumentFault::TooLarge(number)));
    }
    Ok(Millis(number))
}

fn text<'a>((key, value): Argument<'a>) -> Result<&'a str, ArgumentError> {
    let fault = ArgumentFault::UnacceptableType { got: value.type_name() };
    value.as_text().ok_or(invalid(key, fault))
}

fn exchange((key, value): Argument<'_>) -> Result<ExchangeName, ArgumentError> {
    match value.as_text() {
        Some(name) => Ok(ExchangeName::new(name)),
        None => Err(ArgumentError::ExchangeNotText { key, got: value.type_name() }),
    }
}

fn boolean((key, value): Argument<'_>) -> Result<bool, ArgumentError> {
    let fault = ArgumentFault::UnacceptableType { got: value.type_name() };
    value.as_bool().ok_or(invalid(key, fault))
}

fn overflow(argument: Argument<'_>) -> Result<Overflow, ArgumentError> {
    match text(argument)? {
        "drop-head" => Ok(Overflow::DropHead),
        "reject-publish" => Ok(Overflow::RejectPublish),
        "reject-publish-dlx" => Ok(Overflow::RejectPublishDeadLetter),
        _ => Err(invalid(argument.0, ArgumentFault::Unknown("invalid_overflow"))),
    }
}

fn priority(argument: Argument<'_>) -> Result<u8, ArgumentError> {
    let number = natural(argument)?;
    u8::try_from(number).map_err(|_| {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        invalid(argument.0, ArgumentFault::AboveMaximum(number))
    })
}

fn age(argument: Argument<'_>) -> Result<Millis, ArgumentError> {
    let fault = ArgumentFault::Unknown("invalid_max_age");
    Millis::from_age(text(argument)?).ok_or(invalid(argument.0, fault))
}

/// COMPAT: -1, and any other negative number, means no limit.
fn delivery_limit(argument: Argument<'_>) -> Result<Option<u32>, ArgumentError> {
    Ok(u32::try_from(integer(argument)?).ok())
}

fn delayed_retry(table: &Table) -> Result<Option<DelayedRetry>, ArgumentError> {
    let of = |key: &'static str| table.get(key).map(|value| (key, value));
    if let Some(argument) = of("x-delayed-retry-type") {
        match text(argument)? {
            "all" | "failed" | "returned" => {}
            "disabled" => return Ok(None),
            _ => {
                return Err(invalid(argument.0, ArgumentFault::Unknown("invalid_delayed_retry")));
            }
        }
    }
    let Some(min) = of("x-delayed-retry-min").map(|it| millis(it, 1)).transpose()? else {
        return Ok(None);
    };
    let max = of("x-delayed-retry-max").map(|it| millis(it, 1)).transpose()?;
    let multiplier_milli = of("x-delayed-retry-multiplier").map(multiplier).transpose()?;
    Ok(Some(DelayedRetry {
        min,
        max: max.unwrap_or(Millis(limit::TTL_MS)).max(min),
        multiplier_milli: multiplier_milli.unwrap_or(2000),
    }))
}

/// A factor between 1 and 1000, as any number type; in thousandths.
fn multiplier((key, value): Argument<'_>) -> Result<u32, ArgumentError> {
    let number = match (value, value.as_integer()) {
        (Value::F32(it), _) => f64::from(*it),
        (Value::F64(it), _) => *it,
        (_, Some(it)) => f64::from(i32::try_from(it).unwrap_or(i32::MAX)),
        (_, None) => {
            let got = value.type_name();
            return Err(invalid(key, ArgumentFault::UnacceptableType { got }));
        }
    };
    if !(1.0..=1000.0).contains(&number) {
        return Err(invalid(key, ArgumentFault::Unknown("invalid_multiplier")));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1000")]
    Ok((number * 1000.0).round() as u32)
}

fn key_source(argument: Argument<'_>) -> Result<KeySource, ArgumentError> {
    let fault = ArgumentFault::Unknown("invalid_key");
    KeySource::parse(text(argument)?).ok_or(invalid(argument.0, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, Value)]) -> Result<QueueArguments, ArgumentError> {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        QueueArguments::parse(&Table(entries.collect()))
    }

    #[test]
    fn integers_of_any_width_are_taken() {
        for value in [Value::I32(1000), Value::I64(1000), Value::U16(1000)] {
            let arguments = parse(&[("x-message-ttl", value)]).unwrap();
            assert_eq!(arguments.message_ttl, Some(Millis(1000)));
        }
    }

    #[test]
    fn wrong_values_are_named() {
        use ArgumentFault::*;
        let cases = [
            ("x-message-ttl", Value::text("1"), NotInteger { got: "longstr" }),
            ("x-message-ttl", Value::I32(-1), Negative(-1)),
            ("x-message-ttl", Value::I64(315_360_000_001), TooLarge(315_360_000_001)),
            ("x-expires", Value::I32(0), Zero),
            ("x-max-length", Value::I32(-1), Negative(-1)),
            ("x-max-priority", Value::I32(256), AboveMaximum(256)),
            ("x-overflow", Value::text("x"), Unknown("invalid_overflow")),
            ("x-overflow", Value::I32(1), UnacceptableType { got: "signedint" }),
            ("x-queue-type", Value::text("foo"), UnsupportedQueueType("foo".into())),
            ("x-single-active-consumer", Value::text("y"), UnacceptableType { got: "longstr" }),
            ("x-delivery-limit", Value::text("3"), NotInteger { got: "longstr" }),
            ("x-dead-letter-routing-key", Value::text("k"), KeyWithoutExchange),
            ("x-railpost-key", Value::text("header:"), Unknown("invalid_key")),
            ("x-max-age", Value::text("7w"), Unknown("invalid_max_age")),
            ("x-max-age", Value::I32(7), UnacceptableType { got: "signedint" }),
            ("x-stream-max-segment-size-bytes", Value::I64(3_000_000_001), SegmentTooLarge),
            ("x-stream-filter-size-bytes", Value::I32(15), FilterSize),
            ("x-initial-cluster-size", Value::I32(0), Zero),
        ];
        for (key, value, fault) in cases {
            assert_eq!(parse(&[(key, value)]), Err(ArgumentError::Invalid { key, fault }));
        }
    }

    #[test]
    fn arguments_of_other_queue_types_are_refused() {
        let quorum = ("x-queue-type", Value::text("quorum"));
        assert_eq!(
            parse(&[quorum, ("x-max-priority", Value::I32(5))]),
            Err(ArgumentError::OtherQueueType {
                key: "x-max-priority",
                queue_type: QueueType::Quorum
            })
        );
        let stream = || ("x-queue-type", Value::text("stream"));
        for key in ["x-max-length", "x-expires"] {
            assert_eq!(
                parse(&[stream(), (key, Value::I32(5))]),
                Err(ArgumentError::OtherQueueType { key, queue_type: QueueType::Stream })
            );
        }
        let age = ("x-max-age", Value::text("1h"));
        let parsed = parse(&[stream(), age.clone(), ("x-max-length-bytes", Value::I32(9))]);
        assert_eq!(parsed.unwrap().age_max, Some(Millis(3_600_000)));
        assert_eq!(
            parse(&[age]),
            Err(ArgumentError::OtherQueueType { key: "x-max-age", queue_type: QueueType::Classic })
        );
    }

    #[test]
    fn unknown_arguments_are_left_alone() {
        assert_eq!(parse(&[("x-something-else", Value::Void)]), Ok(QueueArguments::default()));
    }
}
