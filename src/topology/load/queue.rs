//! `[queues.NAME]`: queues, and the patterns for queues that instances make for themselves.

use crate::amqp::argument::KeySource;
use crate::amqp::argument::Overflow;
use crate::amqp::argument::QueueArguments;
use crate::amqp::argument::QueueType;
use crate::amqp::limit;
use crate::amqp::name::QueueName;
use crate::broker::parking::parked_name;
use crate::queue::retry::Then;
use crate::queue::settings::Durability;
use crate::topology::compile;
use crate::topology::declared::Keyed;
use crate::topology::declared::Limits;
use crate::topology::declared::Mode;
use crate::topology::declared::Parking;
use crate::topology::declared::PerInstance;
use crate::topology::declared::Queue;
use crate::topology::declared::RetryPolicy;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::load::argument;
use crate::topology::load::exchange;
use crate::topology::load::exchange::REDECLARE;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Shape;
use crate::topology::load::limits;
use crate::topology::load::mistake;
use crate::topology::load::name;
use crate::topology::load::queue_argument;
use crate::topology::load::retry;
use crate::topology::load::service::DURABILITY;
use crate::topology::source::Located;

const SERVICE_HINT: &str = "write `service = \"…\"`, the owner, whose instances share the queue";

pub(in crate::topology) const QUEUE: Shape = Shape {
    keys: &[
        "service",
        "bindings",
        "consumers",
        "key",
        "on_failure",
        "retry",
        "parking",
        "dead_letter",
        "limits",
        "ttl",
        "expires",
        "ack_timeout",
        "prefetch",
        "max_priority",
        "fail_fast",
        "requeue",
        "client_attempts",
        "messages",
        "durable",
        "durability",
        "auto_delete",
        "protected",
        "redeclare",
        "arguments",
        "description",
        "allow",
    ],
    instead: &[
        ("owner", SERVICE_HINT),
        ("services", SERVICE_HINT),
        ("consumer", SERVICE_HINT),
        (
            "exclusive",
            "exclusive queues belong to one connection, not to a file; for one per \
                       instance write `consumers = \"per-instance\"`",
        ),
        ("exchange", "write `bindings = [{ exchange = \"…\", key = \"…\" }]`"),
        ("binding", "write `bindings = [{ exchange = \"…\", key = \"…\" }]`"),
        ("max_length", "write `limits = { messages = … }`"),
        ("max_length_bytes", "write `limits = { bytes = … }`"),
        ("overflow", "write `limits = { messages = …, overflow = \"…\" }`"),
        ("messages_max", "write `limits = { messages = … }`"),
        ("message_ttl", "write `ttl`"),
        ("delivery_limit", "write it in the retry policy: `retry = { delivery_limit = … }`"),
        ("attempts", "write it in the retry policy: `retry = { attempts = … }`"),
        ("dlx", "write `dead_letter = { exchange = \"…\" }`"),
        ("dead_letter_exchange", "write `dead_letter = { exchange = \"…\" }`"),
        ("qos", "write `prefetch`, what its consumers ask for"),
        ("priority", "write `max_priority`, the highest level"),
        ("parked", "write `parking = true`"),
        ("single_active", "write `consumers = \"single-active\"`"),
        ("type", "queues have no type here; write `arguments = { x-queue-type = \"quorum\" }`"),
        ("vhost", "`vhost` stands at the top of the file, above the first table"),
    ],
};

/// AMQP's prefetch has sixteen bits.
const PREFETCH_MAX: u64 = 65_535;

/// The keys that also mean something for queues which instances make for themselves.
const PER_INSTANCE: [&str; 5] = ["service", "bindings", "consumers", "description", "allow"];

/// What a `[queues.NAME]` table turns out to be.
#[derive(Debug)]
pub(in crate::topology) enum Loaded {
    Queue(Box<Queue>),
    PerInstance(PerInstance),
}

/// A word of `consumers`.
#[derive(Clone, Copy, Debug)]
pub(in crate::topology) enum Word {
    Compete,
    SingleActive,
    PerInstance,
    Keyed,
    Tap,
}

/// The words of `consumers`.
pub(in crate::topology) const CONSUMERS: [(&str, Word); 5] = [
    ("compete", Word::Compete),
    ("single-active", Word::SingleActive),
    ("per-instance", Word::PerInstance),
    ("keyed", Word::Keyed),
    ("tap", Word::Tap),
];

/// The words of `requeue`.
pub(in crate::topology) const REQUEUE: [(&str, bool); 2] = [("retry", false), ("immediate", true)];

/// The words of `on_failure`.
pub(in crate::topology) const ON_FAILURE: [(&str, bool); 2] = [("skip", false), ("hold", true)];

/// Reads one queue.
pub(in crate::topology) fn load(
    name: QueueName,
    fields: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> Loaded {
    let word = fields.word("consumers", &CONSUMERS, report);
    let services = match fields.get("service") {
        Some(item) => {
            let all = item.one_or_more();
            all.iter().filter_map(|it| name::service(it, vhost, report)).collect()
        }
        None => Vec::new(),
    };
    let bindings = exchange::bindings(fields, report);
    let description = fields.description(report);
    if word.is_some_and(|it| matches!(it.value, Word::PerInstance)) {
        let because = "each instance declares its own queue";
        let help = "delete it, or write `consumers = \"compete\"` for one queue of this name";
        let others: Vec<&str> =
            QUEUE.keys.iter().copied().filter(|it| !PER_INSTANCE.contains(it)).collect();
        name::refuse(fields, &others, because, help, report);
        let origin = fields.origin;
        return Loaded::PerInstance(PerInstance { name, origin, description, services, bindings });
    }
    let flag =
        |key, default, report: &mut Report| fields.flag(key, report).map_or(default, |it| it.value);
    let mut queue = Queue {
        origin: fields.origin,
        description,
        services,
        mode: mode(fields, word, report),
        mode_origin: word.map_or(fields.origin, |it| it.origin),
        bindings,
        messages: exchange::queue_messages(fields, &name, vhost, report),
        retry: policy(fields, vhost, report),
        parking: None,
        dead_letter: limits::dead_letter(fields, report),
        limits: limits::load(fields, "limits", report),
        ttl: fields.millis("ttl", report),
        expires: fields.millis("expires", report),
        ack_timeout: fields.millis("ack_timeout", report),
        max_priority: fields
            .get("max_priority")
            .and_then(|it| it.number(1, 255, report))
            .map(|it| it.map(|it| u8::try_from(it).unwrap_or(u8::MAX))),
        fail_fast: flag("fail_fast", false, report),
        requeue_immediate: fields.word("requeue", &REQUEUE, report).is_some_and(|it| it.value),
        prefetch: fields.get("prefetch").and_then(|it| it.number(0, PREFETCH_MAX, report)),
        client_attempts: fields
            .get("client_attempts")
            .and_then(|it| it.number(1, u64::from(u32::MAX), report)),
        durable: flag("durable", true, report),
        durability: fields
            .word("durability", &DURABILITY, report)
            .or(vhost.settings.durability)
            .map_or(Durability::Sync, |it| it.value),
        auto_delete: flag("auto_delete", false, report),
        protected: flag("protected", false, report),
        tolerate: fields.word("redeclare", &REDECLARE, report).is_some_and(|it| it.value),
        arguments: crate::amqp::table::Table::default(),
        spelled_out: Vec::new(),
        name,
    };
    queue_argument::load(&mut queue, fields, report);
    queue.parking = parking(&queue, fields, report);
    check(&queue, fields, report);
    Loaded::Queue(Box::new(queue))
}

fn mode(fields: &Fields<'_>, word: Option<Located<Word>>, report: &mut Report) -> Mode {
    let keyed = word.is_some_and(|it| matches!(it.value, Word::Keyed));
    if !keyed {
        let because = "only keyed queues have keys";
        let help = "write `consumers = \"keyed\"`, or delete it";
        // A word that could not be read may have been meant as `keyed`.
        if word.is_some() || fields.get("consumers").is_none() {
            name::refuse(fields, &["key", "on_failure"], because, help, report);
        }
    }
    match word.map(|it| it.value) {
        None | Some(Word::Compete | Word::PerInstance) => Mode::Compete,
        Some(Word::SingleActive) => Mode::SingleActive,
        Some(Word::Tap) => Mode::Tap,
        Some(Word::Keyed) => {
            let source = match fields.get("key") {
                Some(item) => exchange::key_source(&item, report),
                None => {
                    let help = "say what keeps its order, for example `key = \"header:user_id\"`";
                    fields.missing("key", help, report);
                    None
                }
            };
            Mode::Keyed(Keyed {
                source: source.unwrap_or(Located::new(KeySource::RoutingKey, fields.origin)),
                hold: fields.word("on_failure", &ON_FAILURE, report).is_some_and(|it| it.value),
                on_failure_origin: fields.get("on_failure").map(|it| it.origin),
            })
        }
    }
}

/// The policy a queue names, or has for itself.
fn policy(fields: &Fields<'_>, vhost: &Vhost, report: &mut Report) -> Option<Located<RetryPolicy>> {
    let item = fields.get("retry")?;
    if let toml::de::DeValue::Table(_) = item.value {
        let inner =
            item.fields(format!("`retry` of {}", fields.subject), &retry::INLINE, report)?;
        return Some(Located::new(retry::load(None, &inner, report), item.origin));
    }
    let toml::de::DeValue::String(policy) = item.value else {
        item.wrong_type(
            "the name of a policy, or a table",
            "{ attempts = 5, first = \"1s\" }",
            report,
        );
        return None;
    };
    if let Some(policy) = vhost.retry.get(&**policy) {
        return Some(Located::new(policy.clone(), item.origin));
    }
    let title =
        format!("{} uses the retry policy `{policy}`, which no file declares", item.subject);
    let known = vhost.retry.keys().map(String::as_str);
    let new = name::unknown(title, policy, item.origin, known);
    let example = format!("declare it: `[retry.{}]`", name::bare_key(policy));
    let help = new.help.clone().unwrap_or(example);
    report.add(new.help(help));
    None
}

/// Every queue with a retry policy has a parking lot, and one whose overflow or file asks for it.
fn parking(queue: &Queue, fields: &Fields<'_>, report: &mut Report) -> Option<Parking> {
    let then = queue.retry.as_ref().map(|it| it.then);
    let parks_overflow = queue.limits.overflow.filter(|it| it.value == Overflow::Park);
    let lot = |origin, limits| Some(Parking { name: parked_name(&queue.name), origin, limits });
    let Some(item) = fields.get("parking") else {
        let needed = queue.retry.is_some() || parks_overflow.is_some();
        return if needed { lot(queue.origin, Limits::default()) } else { None };
    };
    if let toml::de::DeValue::Table(_) = item.value {
        return lot(item.key_origin, limits::load(fields, "parking", report));
    }
    let toml::de::DeValue::Boolean(wanted) = item.value else {
        item.wrong_type("`true`, `false`, or a table of limits", "true", report);
        return lot(item.key_origin, Limits::default());
    };
    if *wanted {
        return lot(item.key_origin, Limits::default());
    }
    let title = format!("{} has no parking lot, but parks messages", fields.subject);
    let needs = match (then, parks_overflow) {
        (Some(then), _) if then.value == Then::Park => {
            let origin = queue.retry.as_ref().map_or(then.origin, |it| it.origin);
            Some((origin, "its retries end there"))
        }
        (_, Some(overflow)) => Some((overflow.origin, "what is too much goes there")),
        (_, None) => None,
    };
    if let Some((origin, label)) = needs {
        let at = (item.origin, "no parking lot");
        let new = name::contradiction(title, at, "delete `parking = false`");
        report.add(new.also(origin, label));
    }
    None
}

/// What one key of a queue means for another.
fn check(queue: &Queue, fields: &Fields<'_>, report: &mut Report) {
    let subject = &fields.subject;
    if let Some(policy) = &queue.retry
        && policy.then.value == Then::DeadLetter
        && queue.dead_letter.is_none()
    {
        let title =
            format!("{subject} gives failed messages to a dead-letter exchange, but has none");
        let at = (policy.origin, "ends with `then = \"dead-letter\"`");
        let help = "add `dead_letter = { exchange = \"…\" }`, or write `then = \"park\"`";
        let new = name::contradiction(title, at, help);
        let elsewhere = policy.name.is_some();
        report.add(if elsewhere { new.also(policy.then.origin, "here") } else { new });
    }
    if queue.retry.is_none() {
        let help = "add a `retry`, or delete it";
        for key in ["fail_fast", "requeue"] {
            if let Some(item) = fields.get(key) {
                let because = "without a retry policy nothing is retried";
                name::no_effect(&item, because, help, report);
            }
        }
    }
    if let Some(overflow) = queue.limits.overflow
        && overflow.value == Overflow::RejectPublishDeadLetter
        && queue.dead_letter.is_none()
    {
        let title = format!("{subject} dead-letters what is too much, but has no `dead_letter`");
        let at = (overflow.origin, "needs a dead-letter exchange");
        let help = "add `dead_letter = { exchange = \"…\" }`, or write `overflow = \"park\"`";
        report.add(name::contradiction(title, at, help));
    }
    check_arguments(queue, fields, report);
    if let Some(lot) = &queue.parking
        && lot.name.len() > limit::SHORT_STRING_BYTES
    {
        let title = format!("the parking lot of {subject} would have a name of over 255 bytes");
        let at = (queue.origin, "too long for `.parked` behind it");
        let new = Diagnostic::new(mistake::BAD_NAME, Severity::Error, title, at);
        report.add(new.help("shorten the name to 248 bytes"));
    }
}

/// What the broker would say to a client that asked for all this at once.
fn check_arguments(queue: &Queue, fields: &Fields<'_>, report: &mut Report) {
    let arguments = match QueueArguments::parse(&compile::queue_arguments(queue)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let at = queue.max_priority.map_or(fields.origin, |it| it.origin);
            return argument::report_error(&fields.subject, &error, |_| at, report);
        }
    };
    let of_type = arguments.queue_type.as_str();
    let replicated = arguments.queue_type != QueueType::Classic;
    let wrong = [(!queue.durable, "durable"), (queue.auto_delete, "auto_delete")];
    for (_, key) in wrong.into_iter().filter(|(is, _)| replicated && *is) {
        let subject = &fields.subject;
        let title = format!("{subject} is a {of_type} queue, which is durable and permanent");
        let origin = fields.get(key).map_or(fields.origin, |it| it.key_origin);
        let help = format!("delete `{key}`, or the argument `x-queue-type`");
        report.add(name::contradiction(
            title,
            (origin, &format!("not for {of_type} queues")),
            help,
        ));
    }
}
