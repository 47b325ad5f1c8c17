//! `[retry.NAME]` and inline `retry = { … }`: policies with their defaults filled in.

use crate::amqp::limit;
use crate::amqp::time::Millis;
use crate::queue::retry::Counts;
use crate::queue::retry::Then;
use crate::topology::declared::RetryPolicy;
use crate::topology::diagnostic::Report;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::load::name;
use crate::topology::source::Located;

const INSTEAD: [(&str, &str); 8] = [
    ("delay", "write `first`, the wait after the first failed attempt"),
    ("initial", "write `first`, the wait after the first failed attempt"),
    ("backoff", "write `first`, `multiplier` and `max`"),
    ("factor", "write `multiplier`"),
    ("retries", "write `attempts`, which counts the first delivery too: retries + 1"),
    ("max_attempts", "write `attempts`; the first delivery counts"),
    ("dead_letter", "a queue says where its dead letters go: `dead_letter = { exchange = \"…\" }`"),
    ("on_exhausted", "write `then = \"park\"`, \"dead-letter\" or \"drop\""),
];

/// The keys of a named policy.
pub(in crate::topology) const NAMED: Shape = Shape {
    keys: &[
        "attempts",
        "first",
        "multiplier",
        "max",
        "jitter",
        "counts",
        "delivery_limit",
        "then",
        "description",
        "allow",
    ],
    instead: &INSTEAD,
};

/// The keys of a queue's own policy.
pub(in crate::topology) const INLINE: Shape = Shape {
    keys: &["attempts", "first", "multiplier", "max", "jitter", "counts", "delivery_limit", "then"],
    instead: &INSTEAD,
};

/// Attempts where the file does not say: the first delivery and four retries.
const ATTEMPTS: u32 = 5;
const FIRST: Millis = Millis(1000);
const MULTIPLIER_MILLI: u32 = 2000;
const MAX: Millis = Millis(60_000);
/// COMPAT: RabbitMQ's limit for quorum queues.
const DELIVERY_LIMIT: u32 = 20;

/// The words of `then`.
pub(in crate::topology) const THEN: [(&str, Then); 3] =
    [("park", Then::Park), ("dead-letter", Then::DeadLetter), ("drop", Then::Drop)];

/// The words of `counts`, and where each stands.
pub(in crate::topology) const COUNTS: [(&str, usize); 3] =
    [("rejected", 0), ("nacked", 1), ("ack-timeout", 2)];

/// Reads a policy. What is wrong in it is reported and has its default.
pub(in crate::topology) fn load(
    name: Option<&str>,
    fields: &Fields<'_>,
    report: &mut Report,
) -> RetryPolicy {
    let origin = fields.origin;
    let or = |value: Option<Located<u32>>, default| value.unwrap_or(Located::new(default, origin));
    let number = |key, report: &mut Report| {
        let number = fields.get(key)?.number(0, u64::from(u32::MAX), report)?;
        Some(number.map(|it| u32::try_from(it).unwrap_or(u32::MAX)))
    };
    let first = fields.millis("first", report).unwrap_or(Located::new(FIRST, origin));
    let max = fields.millis("max", report);
    let multiplier = fields.get("multiplier").and_then(|it| it.milli(0.0, 1000.0, report));
    let jitter = fields.get("jitter").and_then(|it| it.milli(0.0, 1.0, report));
    let attempts = or(number("attempts", report), ATTEMPTS);
    // A limit that nobody wrote does not cut short what somebody did.
    let default_limit = match attempts.value {
        0 => 0,
        attempts => DELIVERY_LIMIT.max(attempts),
    };
    let policy = RetryPolicy {
        name: name.map(str::to_owned),
        origin,
        attempts,
        first,
        multiplier_milli: or(multiplier, MULTIPLIER_MILLI),
        // A wait that is longer from the beginning is not cut by a default.
        max: max.unwrap_or(Located::new(MAX.max(first.value), origin)),
        jitter_milli: or(jitter, 0),
        counts: fields.get("counts").and_then(|it| counts(&it, report)).unwrap_or_default(),
        delivery_limit: or(number("delivery_limit", report), default_limit),
        then: fields.word("then", &THEN, report).unwrap_or(Located::new(Then::Park, origin)),
    };
    check_limit(&policy, fields, report);
    policy
}

fn counts(item: &Item<'_, '_>, report: &mut Report) -> Option<Counts> {
    let all = item.list(report);
    if all.is_empty() && matches!(item.value, toml::de::DeValue::Array(_)) {
        let title = format!("{} is empty, so that nothing is ever retried", item.what());
        let help = "name what counts as a failed attempt, or delete the line for all of it";
        return item.bad(title, "empty", help, report);
    }
    let mut chosen = [false; COUNTS.len()];
    for word in all.iter().filter_map(|it| it.word(&COUNTS, report)) {
        chosen[word.value] = true;
    }
    let [rejected, nacked, ack_timeout] = chosen;
    Some(Counts { rejected, nacked, ack_timeout })
}

/// Every attempt is a delivery, so a lower limit of deliveries ends a message first.
fn check_limit(policy: &RetryPolicy, fields: &Fields<'_>, report: &mut Report) {
    let (limit, attempts) = (policy.delivery_limit, policy.attempts);
    if limit.value == 0 || attempts.value <= limit.value {
        return;
    }
    let title = format!(
        "{} has {} attempts, but ends after {} deliveries",
        fields.subject, attempts.value, limit.value
    );
    let at = (limit.origin, "all deliveries together");
    let new = name::contradiction(
        title,
        at,
        "raise `delivery_limit` (0 is no limit), or lower `attempts`",
    );
    report.add(match fields.get("attempts") {
        Some(item) => new.also(item.origin, "never reached"),
        None => new.note(format!("without `attempts` there are {ATTEMPTS}")),
    });
}

/// The longest wait any policy can ask for.
const _: () = assert!(MAX.0 <= limit::TTL_MS);
