//! `limits`, `parking` and `dead_letter` of a queue.

use crate::amqp::argument::Overflow;
use crate::amqp::name::ExchangeName;
use crate::topology::declared::DeadLetter;
use crate::topology::declared::Limits;
use crate::topology::diagnostic::Report;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Shape;
use crate::topology::load::name;

const LIMITS: Shape = Shape {
    keys: &["messages", "bytes", "age", "overflow"],
    instead: &[
        ("length", "write `messages`"),
        ("max_length", "write `messages`"),
        ("size", "write `bytes`"),
        ("ttl", "write `age`"),
    ],
};

const DEAD_LETTER: Shape = Shape {
    keys: &["exchange", "key"],
    instead: &[
        ("routing_key", "write `key`"),
        ("queue", "write `exchange = \"\"` and its name as `key`"),
    ],
};

/// The words of `overflow`.
pub(in crate::topology) const OVERFLOW: [(&str, Overflow); 4] = [
    ("reject-publish", Overflow::RejectPublish),
    ("drop-head", Overflow::DropHead),
    ("reject-publish-dlx", Overflow::RejectPublishDeadLetter),
    ("park", Overflow::Park),
];

/// Reads the limits under `key`, of a queue or its parking lot.
pub(in crate::topology) fn load(fields: &Fields<'_>, key: &str, report: &mut Report) -> Limits {
    let Some(item) = fields.get(key) else { return Limits::default() };
    let subject = format!("`{key}` of {}", fields.subject);
    let Some(inner) = item.fields(subject, &LIMITS, report) else { return Limits::default() };
    let limits = Limits {
        messages: inner.get("messages").and_then(|it| it.number(1, i64::MAX as u64, report)),
        bytes: inner.get("bytes").and_then(|it| it.bytes(report)),
        age: inner.millis("age", report),
        overflow: inner.word("overflow", &OVERFLOW, report),
    };
    let written = inner.get("messages").or(inner.get("bytes"));
    if let (Some(item), None) = (inner.get("overflow"), written) {
        let because = "there is no number or size of messages that could be too much";
        let help = "add `messages` or `bytes`, or delete it";
        name::no_effect(&item, because, help, report);
    }
    limits
}

/// Reads where dead letters go.
pub(in crate::topology) fn dead_letter(
    fields: &Fields<'_>,
    report: &mut Report,
) -> Option<DeadLetter> {
    let item = fields.get("dead_letter")?;
    let subject = format!("`dead_letter` of {}", fields.subject);
    let inner = item.fields(subject, &DEAD_LETTER, report)?;
    let Some(exchange) = inner.get("exchange") else {
        let help = "name the exchange: `exchange = \"…\"`, or \"\" for a queue by its name";
        inner.missing("exchange", help, report);
        return None;
    };
    Some(DeadLetter {
        exchange: exchange.text(report)?.map(ExchangeName::new),
        key: inner.text("key", report).map(|it| it.map(str::to_owned)),
        origin: item.origin,
    })
}
