//! Writing a topology file as a person would: defaults left out, arguments as the keys that
//! express them, bindings where they belong.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value as Json;

use crate::amqp::time::Millis;
use crate::topology::load::name::bare_key;
use crate::topology::rabbitmq::import::Binding;
use crate::topology::rabbitmq::import::Contents;
use crate::topology::rabbitmq::import::Exchange;
use crate::topology::rabbitmq::import::Queue;

/// Comments above queues, by their names.
#[derive(Debug, Default)]
pub(super) struct Hints(pub(super) BTreeMap<String, Vec<String>>);

#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) left_out: Vec<String>,
}

/// One file.
pub(super) fn file(from: &str, vhost: &str, contents: &Contents, hints: &Hints) -> Written {
    let mut written = Written::default();
    written.line(&format!("# {from}."));
    written
        .line("# Who consumes a queue is not in definitions: add `[services.NAME]` and `service`.");
    if vhost != "/" {
        written.line(&format!("vhost = {}", quoted(vhost)));
    }
    for exchange in &contents.exchanges {
        written.exchange(exchange, &contents.bindings);
    }
    for queue in &contents.queues {
        written.text.push('\n');
        for line in hints.0.get(&queue.name).into_iter().flatten() {
            written.line(&format!("# {line}"));
        }
        written.queue(queue, &contents.bindings);
    }
    written
}

impl Written {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn exchange(&mut self, it: &Exchange, bindings: &[Binding]) {
        self.line(&format!("\n[exchanges.{}]", bare_key(&it.name)));
        self.line(&format!("type = {}", quoted(&it.kind)));
        let mut arguments = it.arguments.clone();
        if let Some(Json::String(alternate)) = arguments.get("alternate-exchange") {
            self.line(&format!("alternate = {}", quoted(alternate)));
            arguments.remove("alternate-exchange");
        }
        self.flags(&[
            ("durable", it.durable, true),
            ("auto_delete", it.auto_delete, false),
            ("internal", it.internal, false),
        ]);
        self.bindings("exchange", &it.name, bindings);
        self.arguments(&format!("exchange `{}`", it.name), &arguments);
    }

    fn flags(&mut self, flags: &[(&str, bool, bool)]) {
        for (key, value, default) in flags {
            if value != default {
                self.line(&format!("{key} = {value}"));
            }
        }
    }

    fn queue(&mut self, it: &Queue, bindings: &[Binding]) {
        self.line(&format!("[queues.{}]", bare_key(&it.name)));
        let mut arguments = it.arguments.clone();
        // What a queue is that says nothing.
        if arguments.get("x-queue-type").and_then(Json::as_str) == Some("classic") {
            arguments.remove("x-queue-type");
        }
        self.bindings("queue", &it.name, bindings);
        if arguments.get("x-single-active-consumer") == Some(&Json::Bool(true)) {
            arguments.remove("x-single-active-consumer");
            self.line("consumers = \"single-active\"");
        }
        self.dead_letter(&mut arguments);
        self.limits(&mut arguments);
        let spans = [
            ("ttl", "x-message-ttl"),
            ("expires", "x-expires"),
            ("ack_timeout", "x-consumer-timeout"),
        ];
        for (key, argument) in spans {
            if let Some(ms) = take_number(&mut arguments, argument) {
                self.line(&format!("{key} = \"{}\"", Millis(ms)));
            }
        }
        if let Some(level) = take_number(&mut arguments, "x-max-priority") {
            self.line(&format!("max_priority = {level}"));
        }
        self.flags(&[("durable", it.durable, true), ("auto_delete", it.auto_delete, false)]);
        self.arguments(&format!("queue `{}`", it.name), &arguments);
    }

    fn dead_letter(&mut self, arguments: &mut Map<String, Json>) {
        let Some(Json::String(exchange)) = arguments.get("x-dead-letter-exchange").cloned() else {
            return;
        };
        arguments.remove("x-dead-letter-exchange");
        let mut entry = format!("exchange = {}", quoted(&exchange));
        if let Some(Json::String(key)) = arguments.get("x-dead-letter-routing-key").cloned() {
            arguments.remove("x-dead-letter-routing-key");
            entry.push_str(&format!(", key = {}", quoted(&key)));
        }
        self.line(&format!("dead_letter = {{ {entry} }}"));
    }

    fn limits(&mut self, arguments: &mut Map<String, Json>) {
        let mut entries = Vec::new();
        for (key, argument) in [("messages", "x-max-length"), ("bytes", "x-max-length-bytes")] {
            // A limit of nothing is none that a file can have.
            if arguments.get(argument).and_then(Json::as_u64) != Some(0)
                && let Some(number) = take_number(arguments, argument)
            {
                entries.push(format!("{key} = {}", grouped(number)));
            }
        }
        let overflow = arguments.get("x-overflow").and_then(Json::as_str).map(quoted);
        if let (Some(word), false) = (overflow, entries.is_empty()) {
            arguments.remove("x-overflow");
            entries.push(format!("overflow = {word}"));
        }
        if !entries.is_empty() {
            self.line(&format!("limits = {{ {} }}", entries.join(", ")));
        }
    }

    fn bindings(&mut self, kind: &str, to: &str, all: &[Binding]) {
        let own = all.iter().filter(|it| it.destination_type == kind && it.destination == to);
        let entries: Vec<String> = own.map(|it| self.binding(kind, it)).collect();
        match &entries[..] {
            [] => {}
            [one] => self.line(&format!("bindings = [{one}]")),
            many => {
                self.line("bindings = [");
                many.iter().for_each(|it| self.line(&format!("  {it},")));
                self.line("]");
            }
        }
    }

    fn binding(&mut self, kind: &str, it: &Binding) -> String {
        let mut entry = format!("{{ exchange = {}", quoted(&it.source));
        if !it.routing_key.is_empty() {
            entry.push_str(&format!(", key = {}", quoted(&it.routing_key)));
        }
        let what = format!("the binding of {kind} `{}` to `{}`", it.destination, it.source);
        if let Some(table) = self.table(&what, &it.arguments) {
            entry.push_str(&format!(", arguments = {table}"));
        }
        entry + " }"
    }

    fn arguments(&mut self, what: &str, arguments: &Map<String, Json>) {
        if let Some(table) = self.table(what, arguments) {
            self.line(&format!("arguments = {table}"));
        }
    }

    /// An inline table, if there is anything in it.
    fn table(&mut self, what: &str, arguments: &Map<String, Json>) -> Option<String> {
        let mut entries = Vec::new();
        for (key, value) in arguments {
            match toml(value) {
                Some(value) => entries.push(format!("{} = {value}", bare_key(key))),
                None => {
                    self.left_out.push(format!("{what}: argument `{key}` with the value {value}"));
                }
            }
        }
        (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
    }
}

/// A whole number that is not negative, taken out.
fn take_number(arguments: &mut Map<String, Json>, key: &str) -> Option<u64> {
    let number = arguments.get(key)?.as_u64()?;
    arguments.remove(key);
    Some(number)
}

/// A value as TOML; nothing is no value there.
fn toml(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Bool(it) => Some(it.to_string()),
        Json::Number(it) => Some(it.to_string()),
        Json::String(it) => Some(quoted(it)),
        Json::Array(all) => {
            let all = all.iter().map(toml).collect::<Option<Vec<_>>>()?;
            Some(format!("[{}]", all.join(", ")))
        }
        Json::Object(entries) => {
            let entry = |(key, value): (&String, &Json)| {
                Some(format!("{} = {}", bare_key(key), toml(value)?))
            };
            let entries = entries.iter().map(entry).collect::<Option<Vec<_>>>()?;
            Some(match entries.is_empty() {
                true => "{}".to_owned(),
                false => format!("{{ {} }}", entries.join(", ")),
            })
        }
    }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A number with `_` between thousands, from five digits on.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}
