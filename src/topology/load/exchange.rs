//! `[exchanges.NAME]`, bindings, and the messages that services publish.

use toml::de::DeValue;

use crate::amqp::argument::KeySource;
use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::table::Table;
use crate::broker::rules::Delivers;
use crate::broker::rules::Unroutable;
use crate::routing::Kind;
use crate::routing::delay;
use crate::routing::hash::HashSource;
use crate::routing::hash::HashSourceError;
use crate::routing::headers::Criteria;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::Publication;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::load::argument;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::load::mistake;
use crate::topology::load::name;
use crate::topology::load::value;
use crate::topology::source::Located;
use crate::topology::source::Origin;

pub(in crate::topology) const EXCHANGE: Shape = Shape {
    keys: &[
        "type",
        "delivers",
        "unroutable",
        "alternate",
        "messages",
        "bindings",
        "durable",
        "auto_delete",
        "protected",
        "internal",
        "redeclare",
        "arguments",
        "description",
        "allow",
    ],
    instead: &[
        ("kind", "write `type`"),
        ("queues", "a queue says what it is bound to: `bindings = [{ exchange = \"…\" }]`"),
        ("alternate_exchange", "write `alternate`"),
        ("alternate-exchange", "write `alternate`"),
        ("service", "an exchange has no owner; `messages` says who publishes to it"),
    ],
};

pub(in crate::topology) const BINDING: Shape = Shape {
    keys: &["exchange", "key", "arguments"],
    instead: &[
        ("routing_key", "write `key`"),
        ("binding_key", "write `key`"),
        ("headers", "write `arguments`, with `x-match` among them"),
        ("weight", "write it as the key: `key = \"2\"`"),
        ("queue", "a binding stands in its queue and names the exchange"),
    ],
};

pub(in crate::topology) const MESSAGE: Shape = Shape {
    keys: &["key", "from", "order", "mandatory", "expiration", "headers", "description"],
    instead: &[
        ("routing_key", "write `key`"),
        ("service", "write `from`"),
        ("ttl", "write `expiration`, the message's own property"),
    ],
};

pub(in crate::topology) const QUEUE_MESSAGE: Shape = Shape {
    keys: &["from", "order", "mandatory", "expiration", "headers", "description"],
    instead: &[("key", "a message to a queue goes by the queue's name: delete `key`")],
};

pub(in crate::topology) const REDECLARE: [(&str, bool); 2] =
    [("refuse", false), ("tolerate", true)];

/// The words of `delivers`.
pub(in crate::topology) const DELIVERS: [(&str, Delivers); 2] =
    [("broadcast", Delivers::Broadcast), ("work", Delivers::Work)];

/// The words of `unroutable`.
pub(in crate::topology) const UNROUTABLE: [(&str, Unroutable); 4] = [
    ("return", Unroutable::Return),
    ("park", Unroutable::Park),
    ("reject", Unroutable::Reject),
    ("drop", Unroutable::Drop),
];

/// The words of `type`. One that holds messages back says by an argument how it routes them.
pub(in crate::topology) const TYPES: [(&str, Option<Kind>); 9] = [
    ("direct", Some(Kind::Direct)),
    ("fanout", Some(Kind::Fanout)),
    ("topic", Some(Kind::Topic)),
    ("headers", Some(Kind::Headers)),
    ("x-consistent-hash", Some(Kind::ConsistentHash)),
    ("x-modulus-hash", Some(Kind::ModulusHash)),
    ("x-random", Some(Kind::Random)),
    ("x-local-random", Some(Kind::LocalRandom)),
    (delay::TYPE, None),
];

/// Reads one exchange.
pub(in crate::topology) fn load(
    name: ExchangeName,
    fields: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> Exchange {
    let arguments = argument::arguments(fields, "arguments", report);
    let (kind, delays) = kind(fields, &argument::table(&arguments), report);
    check_arguments(fields, &arguments, report);
    let flag =
        |key, default, report: &mut Report| fields.flag(key, report).map_or(default, |it| it.value);
    let internal = flag("internal", false, report);
    let messages = messages(fields, kind.value, vhost, report);
    if let (true, Some(first)) = (internal, messages.first()) {
        let title = format!("{} is internal, so that nobody can publish to it", fields.subject);
        let at = (first.origin, "published by a service");
        let help = "delete `internal`, or these `messages`";
        report.add(name::contradiction(title, at, help));
    }
    Exchange {
        origin: fields.origin,
        description: fields.description(report),
        delivers: fields.word("delivers", &DELIVERS, report),
        unroutable: fields.word("unroutable", &UNROUTABLE, report),
        alternate: fields.text("alternate", report).map(|it| it.map(ExchangeName::new)),
        bindings: bindings(fields, report),
        messages,
        durable: flag("durable", true, report),
        auto_delete: flag("auto_delete", false, report),
        internal,
        protected: flag("protected", false, report),
        tolerate: fields.word("redeclare", &REDECLARE, report).is_some_and(|it| it.value),
        arguments: argument::table(&arguments),
        kind,
        delays,
        name,
    }
}

/// How it routes, and whether it holds messages back before.
fn kind(fields: &Fields<'_>, arguments: &Table, report: &mut Report) -> (Located<Kind>, bool) {
    let found = match fields.get("type") {
        Some(item) => match item.word(&TYPES, report) {
            Some(Located { value: Some(kind), origin }) => {
                Some((Located::new(kind, origin), false))
            }
            Some(Located { value: None, origin }) => {
                delayed_kind(fields, arguments, report).map(|it| (Located::new(it, origin), true))
            }
            None => None,
        },
        None => {
            let help = "write for example `type = \"topic\"`; the types are `direct`, `fanout`, \
                        `topic`, `headers`, `x-consistent-hash`, `x-modulus-hash`, `x-random`, \
                        `x-local-random` and `x-delayed-message`";
            fields.missing("type", help, report);
            None
        }
    };
    if found.is_none() {
        // Which messages match its bindings is unknown.
        report.left_out = true;
    }
    found.unwrap_or((Located::new(Kind::Fanout, fields.origin), false))
}

/// How an exchange routes that holds messages back.
fn delayed_kind(fields: &Fields<'_>, arguments: &Table, report: &mut Report) -> Option<Kind> {
    if let Ok((kind, _)) = delay::exchange_type(delay::TYPE, arguments) {
        return Some(kind);
    }
    let title = format!("{} does not say how it routes what it held back", fields.subject);
    let at = fields.get("type").map_or(fields.origin, |it| it.origin);
    let at = (at, "routes as `x-delayed-type` says");
    let new = Diagnostic::new(mistake::MISSING_KEY, Severity::Error, title, at);
    report.add(new.help("write for example `arguments = { x-delayed-type = \"topic\" }`"));
    None
}

fn check_arguments(
    fields: &Fields<'_>,
    arguments: &[(String, Located<crate::amqp::table::Value>)],
    report: &mut Report,
) {
    let origin_of = |key: &str| {
        let found = arguments.iter().find(|(it, _)| it == key);
        found.map_or(fields.origin, |(_, value)| value.origin)
    };
    if arguments.iter().any(|(key, _)| key == "alternate-exchange") {
        let title = format!("{} says its alternate exchange as an argument", fields.subject);
        let at = (origin_of("alternate-exchange"), "an argument");
        let help = "write `alternate = \"…\"`, and delete the argument";
        report.add(name::contradiction(title, at, help));
    }
    let (title, key, help) = match HashSource::parse(&argument::table(arguments)) {
        Ok(_) => return,
        Err(HashSourceError::Both) => (
            format!("{} hashes both a header and a property", fields.subject),
            "hash-property",
            "keep `hash-header` or `hash-property`",
        ),
        Err(HashSourceError::UnsupportedProperty(it)) => (
            format!("{} cannot hash the property `{it}`", fields.subject),
            "hash-property",
            "it is one of `correlation_id`, `message_id` and `timestamp`",
        ),
    };
    let at = (origin_of(key), "refused");
    report.add(Diagnostic::new(mistake::BAD_VALUE, Severity::Error, title, at).help(help));
}

/// Reads the `bindings` of a queue or an exchange.
pub(in crate::topology) fn bindings(fields: &Fields<'_>, report: &mut Report) -> Vec<Binding> {
    let Some(item) = fields.get("bindings") else { return Vec::new() };
    let mut all: Vec<Binding> = Vec::new();
    for element in item.list(report) {
        let subject = format!("a binding of {}", fields.subject);
        let Some(inner) = element.fields(subject, &BINDING, report) else {
            report.left_out = true;
            continue;
        };
        let Some(binding) = binding(&inner, report) else {
            report.left_out = true;
            continue;
        };
        let same = |it: &&Binding| {
            it.exchange.value == binding.exchange.value
                && it.key.value == binding.key.value
                && it.arguments == binding.arguments
        };
        if let Some(first) = all.iter().find(same) {
            let exchange = &binding.exchange.value;
            let title = format!("{} is bound to `{exchange}` twice by one key", fields.subject);
            let at = (binding.origin, "the second time");
            let new = Diagnostic::new(mistake::TWICE, Severity::Warning, title, at);
            report.add(new.also(first.origin, "the first time").help("keep one of them"));
            continue;
        }
        all.push(binding);
    }
    all
}

fn binding(fields: &Fields<'_>, report: &mut Report) -> Option<Binding> {
    let key = fields.get("key").map(|item| item.text(report).map(|it| it.map(BindingKey::new)));
    // With a key that cannot be read, what the binding matches is unknown.
    report.left_out |= matches!(key, Some(None));
    let key = key.flatten().unwrap_or(Located::new(BindingKey::new(""), fields.origin));
    let Some(item) = fields.get("exchange") else {
        fields.missing("exchange", "name what it is bound to: `exchange = \"…\"`", report);
        return None;
    };
    let exchange = item.text(report)?;
    if exchange.is_empty() {
        let title = format!("{} names the default exchange", fields.subject);
        let help = "every queue is bound to it by its own name, and nothing else can be: delete \
                    the binding, or name another exchange";
        return item.bad(title, "the default exchange", help, report);
    }
    check_key_length(&key, &fields.subject, report);
    let arguments = argument::table(&argument::arguments(fields, "arguments", report));
    if let Err(error) = Criteria::parse(&arguments) {
        let title = format!("{} has an `x-match` that is none", fields.subject);
        let at = fields.get("arguments").map_or(fields.origin, |it| it.origin);
        let label = match error {
            crate::routing::headers::CriteriaError::UnknownMatch(it) => format!("`{it}`"),
            crate::routing::headers::CriteriaError::MatchNotText { .. } => {
                "not a string".to_owned()
            }
        };
        let new = Diagnostic::new(mistake::BAD_VALUE, Severity::Error, title, (at, label));
        report.add(new.help("it is one of `all`, `any`, `all-with-x` and `any-with-x`"));
    }
    Some(Binding {
        exchange: exchange.map(ExchangeName::new),
        key,
        arguments,
        origin: fields.origin,
    })
}

fn check_key_length<T: std::ops::Deref<Target = str>>(
    key: &Located<T>,
    subject: &str,
    report: &mut Report,
) {
    if key.value.len() > crate::amqp::limit::SHORT_STRING_BYTES {
        let title = format!("{subject} has a key of {} bytes", key.value.len());
        let at = (key.origin, "over 255 bytes");
        let new = Diagnostic::new(mistake::BAD_NAME, Severity::Error, title, at);
        report.add(new.help("AMQP's keys have at most 255 bytes: shorten it"));
    }
}

fn messages(
    fields: &Fields<'_>,
    kind: Kind,
    vhost: &Vhost,
    report: &mut Report,
) -> Vec<Publication> {
    let Some(item) = fields.get("messages") else { return Vec::new() };
    let mut all = Vec::new();
    for element in item.list(report) {
        let subject = format!("a message of {}", fields.subject);
        let Some(inner) = element.fields(subject, &MESSAGE, report) else {
            report.left_out = true;
            continue;
        };
        let key = match inner.get("key") {
            Some(item) => match item.text(report) {
                Some(text) => text.map(str::to_owned),
                None => {
                    report.left_out = true;
                    continue;
                }
            },
            None => {
                if matches!(kind, Kind::Direct | Kind::Topic) {
                    let help = "write the routing key it is published with: `key = \"…\"`";
                    inner.missing("key", help, report);
                }
                Located::new(String::new(), inner.origin)
            }
        };
        check_key_length(&key, &inner.subject, report);
        all.push(publication(&inner, key, vhost, report));
    }
    all
}

/// Reads the `messages` of a queue, which go there by its name.
pub(in crate::topology) fn queue_messages(
    fields: &Fields<'_>,
    name: &str,
    vhost: &Vhost,
    report: &mut Report,
) -> Vec<Publication> {
    let Some(item) = fields.get("messages") else { return Vec::new() };
    let mut all = Vec::new();
    for element in item.list(report) {
        let subject = format!("a message of {}", fields.subject);
        if let Some(inner) = element.fields(subject, &QUEUE_MESSAGE, report) {
            let key = Located::new(name.to_owned(), inner.origin);
            all.push(publication(&inner, key, vhost, report));
        }
    }
    all
}

fn publication(
    fields: &Fields<'_>,
    key: Located<String>,
    vhost: &Vhost,
    report: &mut Report,
) -> Publication {
    let from = match fields.get("from") {
        Some(item) => {
            let all = item.one_or_more();
            all.iter().filter_map(|it| name::service(it, vhost, report)).collect()
        }
        None => {
            let help = "name the service that publishes it: `from = \"…\"`";
            fields.missing("from", help, report);
            Vec::new()
        }
    };
    Publication {
        key,
        from,
        order: fields.get("order").and_then(|it| key_source(&it, report)),
        mandatory: fields.flag("mandatory", report),
        expiration: fields.millis("expiration", report),
        headers: argument::table(&argument::arguments(fields, "headers", report)),
        description: fields.description(report),
        origin: fields.origin,
    }
}

/// Reads which part of a message is its key.
pub(in crate::topology) fn key_source(
    item: &Item<'_, '_>,
    report: &mut Report,
) -> Option<Located<KeySource>> {
    const WORDS: [&str; 4] = ["routing-key", "correlation-id", "message-id", "user-id"];
    let text = item.text(report)?;
    if let Some(source) = KeySource::parse(text.value) {
        return Some(text.map(|_| source));
    }
    let title = format!("{} cannot be `{}`", item.what(), text.value);
    let label = match value::nearest(text.value, WORDS) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "no part of a message".to_owned(),
    };
    let help = "it is `header:NAME`, `routing-key`, `correlation-id`, `message-id` or `user-id`";
    item.bad(title, label, help, report)
}

/// Where the name of an object stands in its header, and its table.
pub(in crate::topology) fn objects<'a, 'd>(
    file: &'a Fields<'d>,
    key: &str,
    report: &mut Report,
) -> Vec<(Item<'a, 'd>, &'d toml::de::DeTable<'d>)> {
    let Some(item) = file.get(key) else { return Vec::new() };
    let DeValue::Table(table) = item.value else {
        item.wrong_type("a table of tables", "{ NAME = { … } }", report);
        report.left_out = true;
        return Vec::new();
    };
    let mut all = Vec::new();
    for (name, value) in table {
        let key_origin = Origin::new(file.origin.file, name.span());
        let origin = Origin::new(file.origin.file, value.span());
        let element =
            Item { key: name.get_ref(), key_origin, value: value.get_ref(), origin, ..item };
        match value.get_ref() {
            DeValue::Table(table) => all.push((element, table)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                let item = Item { subject: "the file", ..element };
                item.wrong_type("a table", "{ … }", report);
                report.left_out = true;
            }
        }
    }
    all.sort_by_key(|(it, _)| it.key_origin);
    all
}
