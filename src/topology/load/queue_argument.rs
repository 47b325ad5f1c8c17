//! The free `arguments` of a queue: those that a key expresses become that key's value.

use crate::amqp::argument::QueueArguments;
use crate::amqp::name::ExchangeName;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::topology::declared::DeadLetter;
use crate::topology::declared::Mode;
use crate::topology::declared::Queue;
use crate::topology::declared::SpelledOut;
use crate::topology::diagnostic::Report;
use crate::topology::load::argument;
use crate::topology::load::fields::Fields;
use crate::topology::load::name;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// Arguments that keys of the file express, with the key.
const EXPRESSED: [(&str, &str); 10] = [
    ("x-message-ttl", "ttl"),
    ("x-expires", "expires"),
    ("x-max-length", "limits"),
    ("x-max-length-bytes", "limits"),
    ("x-overflow", "limits"),
    ("x-dead-letter-exchange", "dead_letter"),
    ("x-dead-letter-routing-key", "dead_letter"),
    ("x-max-priority", "max_priority"),
    ("x-single-active-consumer", "consumers"),
    ("x-consumer-timeout", "ack_timeout"),
];

/// Arguments that ask for retries, which a policy of the file does.
const RETRIES: [&str; 5] = [
    "x-delivery-limit",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-delayed-retry-multiplier",
];

/// Reads the `arguments` of a queue into it.
pub(in crate::topology) fn load(queue: &mut Queue, fields: &Fields<'_>, report: &mut Report) {
    let all = argument::arguments(fields, "arguments", report);
    if all.is_empty() {
        return;
    }
    let place = |key: &str| {
        let found = all.iter().find(|(it, _)| it == key);
        found.map_or(fields.origin, |(_, value)| value.origin)
    };
    let clashes = check_clashes(fields, &all, report);
    let arguments = match QueueArguments::parse(&argument::table(&all)) {
        Ok(arguments) => arguments,
        Err(error) => return argument::report_error(&fields.subject, &error, place, report),
    };
    if let Some(Located { origin, .. }) =
        all.iter().find(|it| it.0 == "x-railpost-key").map(|it| &it.1)
    {
        let title = format!("{} says its key as an argument", fields.subject);
        let help = "write `consumers = \"keyed\"` and `key = \"…\"`";
        report.add(name::contradiction(title, (*origin, "an argument"), help));
    }
    let retries = RETRIES.iter().map(|it| (*it, "retry"));
    let written = |name: &str| all.iter().any(|(it, _)| it == name);
    queue.spelled_out = EXPRESSED
        .into_iter()
        .chain(retries)
        .filter(|(argument, _)| written(argument))
        .map(|(argument, key)| SpelledOut { argument, key, origin: place(argument) })
        .collect();
    if !clashes {
        take(queue, arguments, place);
    }
    let left = all.into_iter().filter(|(key, _)| !EXPRESSED.iter().any(|(it, _)| it == key));
    queue.arguments = Table(left.map(|(key, value)| (key, value.value)).collect());
}

/// Reports what is said twice, by a key and by an argument.
fn check_clashes(
    fields: &Fields<'_>,
    all: &[(String, Located<Value>)],
    report: &mut Report,
) -> bool {
    let retries = RETRIES.iter().map(|it| (*it, "retry"));
    let mut clashes = false;
    for (argument, key) in EXPRESSED.into_iter().chain(retries) {
        let written = fields.get(key);
        let value = all.iter().find(|(it, _)| it == argument).map(|(_, value)| value);
        if let (Some(item), Some(value)) = (written, value) {
            let title = format!("{} has `{key}` and the argument `{argument}`", fields.subject);
            let at = (value.origin, "an argument");
            let new = name::contradiction(title, at, format!("keep `{key}`, delete `{argument}`"));
            report.add(new.also(item.key_origin, "a key of the file"));
            clashes = true;
        }
    }
    clashes
}

fn take(queue: &mut Queue, arguments: QueueArguments, place: impl Fn(&str) -> Origin) {
    fn at<T>(value: Option<T>, origin: Origin) -> Option<Located<T>> {
        value.map(|it| Located::new(it, origin))
    }
    queue.ttl = queue.ttl.or(at(arguments.message_ttl, place("x-message-ttl")));
    queue.expires = queue.expires.or(at(arguments.expires, place("x-expires")));
    queue.ack_timeout =
        queue.ack_timeout.or(at(arguments.consumer_timeout, place("x-consumer-timeout")));
    queue.max_priority = queue.max_priority.or(at(arguments.priority_max, place("x-max-priority")));
    let limits = &mut queue.limits;
    limits.messages = limits.messages.or(at(arguments.length_max, place("x-max-length")));
    limits.bytes = limits.bytes.or(at(arguments.length_bytes_max, place("x-max-length-bytes")));
    limits.overflow = limits.overflow.or(at(arguments.overflow, place("x-overflow")));
    if arguments.single_active_consumer && queue.mode == Mode::Compete {
        queue.mode = Mode::SingleActive;
        queue.mode_origin = place("x-single-active-consumer");
    }
    if queue.dead_letter.is_none()
        && let Some(exchange) = arguments.dead_letter_exchange
    {
        let origin = place("x-dead-letter-exchange");
        queue.dead_letter = Some(DeadLetter {
            exchange: Located::new(ExchangeName::new(&exchange), origin),
            key: at(arguments.dead_letter_routing_key, place("x-dead-letter-routing-key")),
            origin,
        });
    }
}
