//! The broker says no: the only place where reply codes and texts are chosen.
//!
//! COMPAT: codes and texts are RabbitMQ's, because clients match on them; texts of rules that only
//! railpost has begin with the rule's id.

use crate::access::permission::Right;
use crate::amqp::argument::ArgumentError;
use crate::amqp::argument::ArgumentFault;
use crate::amqp::id::ChannelId;
use crate::amqp::limit;
use crate::amqp::reply_code::ReplyCode;
use crate::amqp::reply_code::Scope;
use crate::amqp::table;
use crate::amqp::table::TableError;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::broker::consume::ConsumeError;
use crate::broker::declare::DeclareError;
use crate::broker::declare::Inequivalent;
use crate::broker::declare::Resource;
use crate::broker::publish::ExpirationFault;
use crate::broker::publish::PublishError;
use crate::broker::rules::Breach;
use crate::codec::content::ContentError;
use crate::codec::frame::Binary;
use crate::codec::method::MethodFault;
use crate::codec::reply::Close;
use crate::queue::consumer;
use crate::routing::delay::TypeError;
use crate::routing::hash::HashSourceError;
use crate::routing::headers::CriteriaError;
use crate::routing::table::BindError;
use crate::session::desk::Eviction;
use crate::session::desk::OpenError;
use crate::session::outbox::UnknownTag;

/// A refusal, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: ReplyCode,
    /// The explanation, without the code's name.
    pub text: String,
    /// Closes the connection although the code alone would close the channel.
    pub hard: bool,
    /// The failing method is not named (zeros): frame errors, closes by force.
    pub anonymous: bool,
}

impl Refusal {
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into(), hard: false, anonymous: false }
    }

    /// Without class and method.
    pub fn anonymous(code: ReplyCode, text: impl Into<String>) -> Refusal {
        Refusal { anonymous: true, ..Refusal::new(code, text) }
    }

    pub fn scope(&self) -> Scope {
        if self.hard { Scope::Connection } else { self.code.scope() }
    }

    /// The close method's arguments; the text is cut to what a short string holds.
    pub fn close(&self, class: u16, method: u16) -> Close {
        let mut reply_text = format!("{} - {}", self.code.name(), self.text);
        if reply_text.len() > limit::REPLY_TEXT_BYTES {
            let cut = table::truncate_utf8(&reply_text, limit::REPLY_TEXT_BYTES - 3).len();
            reply_text.truncate(cut);
            reply_text.push_str("...");
        }
        let (class, method) = if self.anonymous { (0, 0) } else { (class, method) };
        Close { reply_code: self.code.number(), reply_text, class, method }
    }
}

use ReplyCode::*;

fn resource(resource: &Resource, vhost: &str) -> String {
    match resource {
        Resource::Exchange(name) => exchange(name, vhost),
        Resource::Queue(name) => queue(name, vhost),
    }
}

fn exchange(name: &str, vhost: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

fn queue(name: &str, vhost: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

fn locked(name: &str, vhost: &str) -> Refusal {
    let text = format!(
        "cannot obtain exclusive access to locked {}. It could be originally declared on another \
         connection or the exclusive property value does not match that of the original \
         declaration.",
        queue(name, vhost)
    );
    Refusal::new(ResourceLocked, text)
}

fn breach(breach: &Breach) -> Refusal {
    Refusal::new(AccessRefused, format!("{}: {}", breach.rule, breach.text))
}

/// Refusals of declare, bind, unbind, delete and purge.
pub fn declare(error: &DeclareError, vhost: &str) -> Refusal {
    let precondition = |text: String| Refusal::new(PreconditionFailed, text);
    let refused = |text: String| Refusal::new(AccessRefused, text);
    let of = |it: &Resource| resource(it, vhost);
    match error {
        DeclareError::NoSuchExchange(name) => {
            Refusal::new(NotFound, format!("no {}", exchange(name, vhost)))
        }
        DeclareError::NoSuchQueue(name) => {
            Refusal::new(NotFound, format!("no {}", queue(name, vhost)))
        }
        DeclareError::DefaultExchange => {
            refused("operation not permitted on the default exchange".to_owned())
        }
        DeclareError::ReservedName(Resource::Exchange(name)) => {
            refused(format!("exchange name '{name}' contains reserved prefix 'amq.*'"))
        }
        DeclareError::ReservedName(Resource::Queue(name)) => {
            refused(format!("queue name '{name}' contains reserved prefix 'amq.*'"))
        }
        DeclareError::Type(TypeError::Unknown(kind)) if kind == "x-recent-history" => {
            Refusal::new(NotImplemented, format!("exchange type '{kind}'"))
        }
        DeclareError::Type(TypeError::Unknown(kind)) => {
            precondition(format!("invalid exchange type '{kind}'"))
        }
        DeclareError::Type(TypeError::DelayedUnknown) => precondition(
            "Invalid argument, 'x-delayed-type' must be an existing exchange type".to_owned(),
        ),
        DeclareError::Type(TypeError::DelayedTwice) => precondition(
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'".to_owned(),
        ),
        DeclareError::Argument { resource, error } => argument(error, &of(resource)),
        DeclareError::AlternateNotText { resource, got } => precondition(format!(
            "invalid type '{got}' for arg 'alternate-exchange' in {}",
            of(resource)
        )),
        DeclareError::HashSource(error) => precondition(hash_source(error)),
        DeclareError::Inequivalent(it) => precondition(inequivalent(it, vhost)),
        DeclareError::InvalidProperty { resource, property } => {
            precondition(format!("invalid property '{property}' for {}", of(resource)))
        }
        DeclareError::ServerNamed(queue_type) => precondition(format!(
            "Cannot declare a server-named queue for type {}",
            queue_type.rabbit_name()
        )),
        DeclareError::Locked(name) => locked(name, vhost),
        DeclareError::InUse(resource) => precondition(format!("{} in use", of(resource))),
        DeclareError::NotEmpty(resource) => precondition(format!("{} not empty", of(resource))),
        DeclareError::SystemExchange(name) => {
            refused(format!("deletion of system {} not allowed", exchange(name, vhost)))
        }
        DeclareError::Bind(error) => bind(error, vhost),
        DeclareError::Rule(it) => breach(it),
        DeclareError::ParkingLot(name) => refused(format!(
            "{} is a parking lot of the broker's; it can be read and purged, not bound or deleted",
            queue(name, vhost)
        )),
        DeclareError::Schedule(name) => refused(format!(
            "{} holds what its exchange delivers later; it can be purged, not bound or deleted",
            queue(name, vhost)
        )),
        DeclareError::PurgeOfStream(name) => not_on_streams("queue.purge", name, vhost),
        DeclareError::Declared { resource, origin } => {
            refused(format!("{} is declared in {origin}; change it there", of(resource)))
        }
        DeclareError::TooMany { resource, max } => {
            precondition(format!("cannot declare {}: limit of {max} is reached", of(resource)))
        }
        DeclareError::QueueLimit { name, max } => precondition(format!(
            "cannot declare queue '{name}': queue limit in vhost '{vhost}' ({max}) is reached"
        )),
    }
}

fn inequivalent(it: &Inequivalent, vhost: &str) -> String {
    let described = |value: &Value| format!("the value '{value}' of type '{}'", value.type_name());
    let (received, current) = match (&it.received, &it.current) {
        (Some(received), Some(current)) => (format!("'{received}'"), format!("'{current}'")),
        (Some(received), None) => (described(received), "none".to_owned()),
        (None, Some(current)) => ("none".to_owned(), described(current)),
        (None, None) => ("none".to_owned(), "none".to_owned()),
    };
    let origin = it.origin.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
    format!(
        "inequivalent arg '{}' for {}: received {received} but current is {current}{origin}",
        it.argument,
        resource(&it.resource, vhost)
    )
}

fn argument(error: &ArgumentError, resource: &str) -> Refusal {
    let precondition = |text: String| Refusal::new(PreconditionFailed, text);
    match error {
        ArgumentError::Invalid { key, fault: ArgumentFault::SegmentTooLarge } => {
            precondition(format!("Exceeded max value for {key}"))
        }
        // COMPAT: with two blanks.
        ArgumentError::Invalid { key, fault: ArgumentFault::FilterSize } => {
            precondition(format!("Invalid value for  {key}"))
        }
        ArgumentError::Invalid { key, fault } => Refusal::new(
            PreconditionFailed,
            format!("invalid arg '{key}' for {resource}: {}", argument_fault(fault)),
        ),
        ArgumentError::OtherQueueType { key, queue_type } => Refusal::new(
            PreconditionFailed,
            format!(
                "invalid arg '{key}' for {resource} of queue type {}",
                queue_type.rabbit_name()
            ),
        ),
        ArgumentError::ExchangeNotText { key, got } => Refusal::new(
            PreconditionFailed,
            format!("invalid type '{got}' for arg '{key}' in {resource}"),
        ),
    }
}

/// COMPAT: the terms RabbitMQ prints.
fn argument_fault(fault: &ArgumentFault) -> String {
    match fault {
        ArgumentFault::NotInteger { got } => format!("\"expected integer, got {got}\""),
        ArgumentFault::Negative(number) => format!("{{value_negative,{number}}}"),
        ArgumentFault::Zero => "{value_zero,0}".to_owned(),
        ArgumentFault::TooLarge(number) => format!("{{value_too_large,{number}}}"),
        ArgumentFault::AboveMaximum(number) => format!("{{max_value_exceeded,{number}}}"),
        ArgumentFault::UnacceptableType { got } => format!("{{unacceptable_type,{got}}}"),
        ArgumentFault::Unknown(rule) => (*rule).to_owned(),
        ArgumentFault::UnsupportedQueueType(name) => {
            format!("\"unsupported queue type '{name}'\"")
        }
        ArgumentFault::KeyWithoutExchange => "routing_key_but_no_dlx_defined".to_owned(),
        ArgumentFault::SegmentTooLarge | ArgumentFault::FilterSize => String::new(),
    }
}

fn hash_source(error: &HashSourceError) -> String {
    match error {
        HashSourceError::Both => "hash-header and hash-property are mutually exclusive".to_owned(),
        HashSourceError::UnsupportedProperty(name) => format!("Unsupported property: {name}"),
    }
}

fn bind(error: &BindError, vhost: &str) -> Refusal {
    let precondition = |text: String| Refusal::new(PreconditionFailed, text);
    match error {
        BindError::NoSuchExchange(name) => {
            Refusal::new(NotFound, format!("no {}", exchange(name, vhost)))
        }
        BindError::Criteria(CriteriaError::UnknownMatch(text)) => precondition(format!(
            "Invalid x-match field value <<\"{text}\">>; expected all, any, all-with-x, or \
             any-with-x"
        )),
        BindError::Criteria(CriteriaError::MatchNotText { type_name, value }) => precondition(
            format!("Invalid x-match field type {type_name} (value {value}); expected longstr"),
        ),
        BindError::WeightNotInteger(key) => {
            precondition(format!("The binding key must be an integer: <<\"{key}\">>"))
        }
        BindError::KeyNotEmpty(key) => {
            precondition(format!("Non empty binding '{key}' key not permitted"))
        }
        BindError::WeightNotPositive => {
            precondition("The binding key must be greater than 0".to_owned())
        }
        BindError::WeightTooLarge => precondition(format!(
            "The binding key must not exceed {}",
            crate::routing::table::hash_weight_max()
        )),
    }
}

/// Refusals of `basic.publish`.
pub fn publish(error: &PublishError, exchange_name: &str, vhost: &str, user: &str) -> Refusal {
    let precondition = |text: String| Refusal::new(PreconditionFailed, text);
    match error {
        PublishError::NoSuchExchange => {
            Refusal::new(NotFound, format!("no {}", exchange(exchange_name, vhost)))
        }
        PublishError::InternalExchange => Refusal::new(
            AccessRefused,
            format!("cannot publish to internal {}", exchange(exchange_name, vhost)),
        ),
        PublishError::CopiesNotArray { header, got } => precondition(format!(
            "invalid message: {{unacceptable_type_in_header,\"{header}\",{got}}}"
        )),
        PublishError::Expiration { text, fault } => {
            let reason = match fault {
                ExpirationFault::NoInteger => "no_integer".to_owned(),
                ExpirationFault::Leftover(rest) => format!("{{leftover_string,\"{rest}\"}}"),
                ExpirationFault::Negative(number) => format!("{{value_negative,{number}}}"),
                ExpirationFault::TooLarge(number) => format!("{{value_too_large,{number}}}"),
            };
            precondition(format!("invalid expiration '{text}': {reason}"))
        }
        PublishError::UserId { claimed } => precondition(format!(
            "user_id property set to '{claimed}' but authenticated user was '{user}'"
        )),
    }
}

/// A body larger than the broker takes. `configured` says whether the maximum is the operator's.
pub fn body_too_large(body_bytes: u64, max: u64) -> Refusal {
    if body_bytes > limit::BODY_BYTES_HARD {
        let text = format!(
            "content body size {body_bytes} exceeds maximum allowed size {}",
            limit::BODY_BYTES_HARD
        );
        return Refusal::new(FrameError, text);
    }
    let text = format!("message size {body_bytes} is larger than configured max size {max}");
    Refusal::new(PreconditionFailed, text)
}

/// Refusals of `basic.consume` and `basic.get`.
pub fn consume(error: &ConsumeError, queue_name: &str, vhost: &str) -> Refusal {
    match error {
        ConsumeError::NoSuchQueue => {
            Refusal::new(NotFound, format!("no {}", queue(queue_name, vhost)))
        }
        ConsumeError::Locked => locked(queue_name, vhost),
        ConsumeError::Schedule => Refusal::new(
            AccessRefused,
            format!(
                "{} holds what its exchange delivers later; it can be purged, not consumed",
                queue(queue_name, vhost)
            ),
        ),
        ConsumeError::Queue(error) => consume_from(error, &queue(queue_name, vhost)),
        ConsumeError::GetFromStream => not_on_streams("basic.get", queue_name, vhost),
        ConsumeError::Rule(it) => breach(it),
    }
}

/// COMPAT: RabbitMQ's text, where a late ack costs the channel.
pub fn late_ack(channel: ChannelId, timeout: Millis) -> Refusal {
    let text = format!(
        "delivery acknowledgement on channel {} timed out. Timeout value used: {} ms. This \
         timeout value can be configured, see consumers doc guide to learn more",
        channel.0, timeout.0
    );
    Refusal::new(PreconditionFailed, text)
}

/// What a queue says to a consumer.
fn consume_from(error: &consumer::ConsumeError, queue: &str) -> Refusal {
    match error {
        consumer::ConsumeError::ExclusiveUse => {
            Refusal::new(AccessRefused, format!("{queue} in exclusive use"))
        }
        consumer::ConsumeError::OtherQueueType { key, queue_type } => {
            argument(&ArgumentError::OtherQueueType { key, queue_type: *queue_type }, queue)
        }
        consumer::ConsumeError::NoPrefetch => Refusal::new(
            PreconditionFailed,
            format!("consumer prefetch count is not set for stream {queue}"),
        ),
        consumer::ConsumeError::NoAck => Refusal::new(
            NotImplemented,
            format!("automatic acknowledgement not supported by stream {queue}"),
        ),
        consumer::ConsumeError::Window => {
            Refusal::new(NotImplemented, format!("{queue} does not support global qos"))
        }
    }
}

/// An `x-stream-offset` that is no place to begin. COMPAT: the term RabbitMQ prints.
pub fn stream_offset(value: &Value, queue_name: &str, vhost: &str) -> Refusal {
    let is_text = matches!(value, Value::LongString(_));
    let term = if is_text { format!("<<\"{value}\">>") } else { value.to_string() };
    let text = format!(
        "invalid arg 'x-stream-offset' for {}: {{invalid_stream_offset_arg,{{{},{term}}}}}",
        queue(queue_name, vhost),
        value.type_name()
    );
    Refusal::new(PreconditionFailed, text)
}

fn not_on_streams(method: &str, name: &str, vhost: &str) -> Refusal {
    let text = format!("{method} not supported by stream queues {}", queue(name, vhost));
    Refusal::new(NotImplemented, text)
}

pub fn unknown_tag(UnknownTag(tag): UnknownTag) -> Refusal {
    Refusal::new(PreconditionFailed, format!("unknown delivery tag {tag}"))
}

/// A user without the right.
pub fn denied(right: Right, of: &Resource, vhost: &str, user: &str) -> Refusal {
    let of = resource(of, vhost);
    let text = format!("{} access to {of} refused for user '{user}'", right.as_str());
    Refusal::new(AccessRefused, text)
}

/// A user without the right to a key of a topic exchange.
pub fn denied_key(right: Right, key: &str, name: &str, vhost: &str, user: &str) -> Refusal {
    let (right, of) = (right.as_str(), exchange(name, vhost));
    let text = format!("{right} access to topic '{key}' in {of} refused for user '{user}'");
    Refusal::new(AccessRefused, text)
}

pub fn too_many_channels(user: &str, max: u64) -> Refusal {
    let text = format!(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit \
         of {max}"
    );
    Refusal::anonymous(NotAllowed, text)
}

/// The broker ends a connection that has done nothing wrong.
pub fn eviction(eviction: &Eviction) -> Refusal {
    let text = match eviction {
        Eviction::Shutdown => "broker forced connection closure with reason 'shutdown'".to_owned(),
        Eviction::ByOperator { reason } => reason.clone(),
        Eviction::UserDeleted { user } => format!("user '{user}' is deleted"),
        Eviction::VhostDeleted { vhost } => format!("vhost '{vhost}' is deleted"),
    };
    Refusal::anonymous(ConnectionForced, text)
}

/// Refusals of `connection.open`.
pub fn open(error: OpenError, vhost: &str, user: &str) -> Refusal {
    match error {
        OpenError::NoSuchVhost => Refusal::new(NotAllowed, format!("vhost {vhost} not found")),
        OpenError::NotAllowed => {
            Refusal::new(NotAllowed, format!("access to vhost '{vhost}' refused for user '{user}'"))
        }
        OpenError::UserHasTooMany { max } => Refusal::new(
            NotAllowed,
            format!(
                "connection refused for user '{user}': user connection limit ({max}) is reached"
            ),
        ),
        OpenError::TooManyConnections { max } => Refusal::new(
            NotAllowed,
            format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is \
                 reached"
            ),
        ),
    }
}

pub fn login(mechanism: &str) -> Refusal {
    let text = format!(
        "Login was refused using authentication mechanism {mechanism}. For details see the broker \
         logfile."
    );
    Refusal { hard: true, ..Refusal::anonymous(AccessRefused, text) }
}

/// A method frame that cannot be read.
pub fn method(fault: &MethodFault, payload: &[u8]) -> Refusal {
    match fault {
        MethodFault::NoMethod => {
            let octets = crate::codec::frame::Octets::of(payload);
            Refusal::anonymous(FrameError, format!("type 1, {octets}: unknown_frame"))
        }
        MethodFault::Unknown | MethodFault::BrokerOnly => {
            Refusal::new(CommandInvalid, "unimplemented method")
        }
        MethodFault::NotUtf8 => Refusal::anonymous(FrameError, "Malformed UTF-8 in shortstr"),
        MethodFault::Truncated
        | MethodFault::TrailingBytes
        | MethodFault::Table(TableError::Truncated) => {
            let arguments = Binary(payload.get(4..).unwrap_or_default());
            Refusal::new(FrameError, format!("cannot decode {arguments}"))
        }
        MethodFault::Table(error) => Refusal::new(FrameError, error.to_string()),
    }
}

/// A content header that cannot be read.
pub fn content(error: ContentError) -> Refusal {
    match error {
        ContentError::Truncated => Refusal::new(FrameError, "truncated content header"),
        ContentError::OtherClass(class) => Refusal::new(
            UnexpectedFrame,
            format!("expected content header for class 60, got one for class {class} instead"),
        ),
        // COMPAT: what has a weight is no header.
        ContentError::Weight(_) => Refusal::new(
            UnexpectedFrame,
            "expected content header for class 60, got non content header frame instead",
        ),
        ContentError::Properties(error) => Refusal::new(FrameError, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let close = Refusal::new(NotFound, "é".repeat(300)).close(50, 10);
        assert!(close.reply_text.len() <= 255 && close.reply_text.ends_with("..."));
        assert!(close.reply_text.starts_with("NOT_FOUND - é"));
        assert_eq!((close.class, close.method), (50, 10));
    }

    #[test]
    fn differences_are_told_as_rabbitmq_tells_them() {
        let it = |received: Option<Value>, current: Option<Value>| Inequivalent {
            resource: Resource::Queue("q1".into()),
            argument: "x-message-ttl".into(),
            received,
            current,
            origin: None,
        };
        let (old, new) = (Some(Value::I32(1000)), Some(Value::I32(2000)));
        let text = |received, current| inequivalent(&it(received, current), "/");
        let start = "inequivalent arg 'x-message-ttl' for queue 'q1' in vhost '/': ";
        assert_eq!(text(new, old.clone()), format!("{start}received '2000' but current is '1000'"));
        assert_eq!(
            text(None, old.clone()),
            format!("{start}received none but current is the value '1000' of type 'signedint'")
        );
        assert_eq!(
            text(old, None),
            format!("{start}received the value '1000' of type 'signedint' but current is none")
        );
    }
}
