//! The JSON Schema of a topology file, made of the very tables that reading checks keys with, so
//! that editors complete and explain what `check` accepts.

use serde_json::Map;
use serde_json::Value as Json;
use serde_json::json;

use crate::topology::load::FILE;
use crate::topology::load::allow;
use crate::topology::load::exchange;
use crate::topology::load::fields::Shape;
use crate::topology::load::limits;
use crate::topology::load::publish;
use crate::topology::load::queue;
use crate::topology::load::retry;
use crate::topology::load::scenario;
use crate::topology::load::service;
use crate::topology::scenario::Outcome;

/// The manual, whose words explain each key.
const MANUAL: &str = include_str!("../../../docs/topology-file.md");

/// One JSON Schema document, draft 2020-12.
pub fn schema() -> String {
    let mut root = object("The file", &FILE, &[]);
    if let Some(map) = root.as_object_mut() {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".into(), json!("railpost topology file"));
    }
    format!("{root:#}\n")
}

/// A table with the keys of its shape and no others; `section` is where the manual explains them.
fn object(section: &str, shape: &Shape, required: &[&str]) -> Json {
    let mut properties = Map::new();
    for key in shape.keys {
        let mut value = value(section, key);
        if let (Some(text), Some(map)) = (explained(section, key), value.as_object_mut()) {
            map.insert("description".to_owned(), json!(text));
        }
        properties.insert((*key).to_owned(), value);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// What a key may have as its value. `true`, which allows anything, stands for a key that was
/// forgotten here; a test finds it.
fn value(section: &str, key: &str) -> Json {
    let of = |json: Json| json!({ "type": "object", "additionalProperties": json });
    match (section, key) {
        (_, "description" | "body" | "owner" | "name") | ("Bindings", "exchange" | "key") => text(),
        (_, "allow") => list(object("Accepting a finding", &allow::ALLOW, &["rule", "reason"])),
        (_, "durable" | "auto_delete" | "protected" | "internal" | "fail_fast" | "unroutable")
            if (section, key) != ("Exchanges", "unroutable") =>
        {
            flag()
        }
        (_, "arguments" | "headers") => json!({ "type": "object" }),
        (_, "redeclare") => words(&exchange::REDECLARE),
        (_, "durability") => words(&service::DURABILITY),
        (_, "bindings") if section != "Budget" => {
            list(object("Bindings", &exchange::BINDING, &["exchange"]))
        }
        ("Budget", _) => whole(0),
        ("The file", _) => of_file(key),
        ("The vhost" | "Services", _) => of_service(key),
        ("Exchanges" | "Messages", _) => of_exchange(key),
        ("Retry", _) => of_retry(key),
        ("Tests", "instances" | "reaches" | "services" | "parked" | "dead_lettered") => {
            of(whole(0))
        }
        ("Tests", "expired" | "dropped" | "left") => of(whole(0)),
        ("Tests", _) => of_test(key),
        ("Properties", "delivery_mode" | "priority" | "timestamp") => whole(0),
        ("Properties" | "Publish" | "Dead letters", "exchange" | "key") => text(),
        ("Properties", _) => text(),
        ("Publish", "times") => whole(1),
        ("Publish", "at") | ("Limits", "age") => span(),
        ("Publish", "properties") => object("Properties", &publish::PROPERTIES, &[]),
        ("Limits", "messages") => whole(1),
        ("Limits", "bytes") => json!({ "type": ["integer", "string"], "minimum": 0 }),
        ("Limits", "overflow") => words(&limits::OVERFLOW),
        ("Accepting a finding", _) => text(),
        ("Queues", _) => of_queue(key),
        _ => json!(true),
    }
}

fn of_file(key: &str) -> Json {
    let of = |json: Json| json!({ "type": "object", "additionalProperties": json });
    match key {
        "vhost" => json!({ "anyOf": [text(), object("The vhost", &service::VHOST, &[])] }),
        "services" => of(object("Services", &service::SERVICE, &[])),
        "exchanges" => of(object("Exchanges", &exchange::EXCHANGE, &["type"])),
        "queues" => of(object("Queues", &queue::QUEUE, &[])),
        "retry" => of(object("Retry", &retry::NAMED, &[])),
        "tests" => list(object("Tests", &scenario::TEST, &["name", "publish"])),
        _ => json!(true),
    }
}

fn of_service(key: &str) -> Json {
    match key {
        "enforce" => words(&service::ENFORCE),
        "undeclared" => words(&service::UNDECLARED),
        "identity" => words(&service::IDENTITY),
        "client_x_death" => words(&service::X_DEATH),
        "late_ack" => words(&service::LATE_ACK),
        "instances" => whole(1),
        "budget" => object("Budget", &service::BUDGET, &[]),
        "identities" => list(json!({ "type": "string", "pattern": "^(user|cert|name):." })),
        _ => json!(true),
    }
}

fn of_exchange(key: &str) -> Json {
    match key {
        "type" => words(&exchange::TYPES),
        "delivers" => words(&exchange::DELIVERS),
        "unroutable" => words(&exchange::UNROUTABLE),
        "alternate" | "key" => text(),
        "messages" => list(object("Messages", &exchange::MESSAGE, &["from"])),
        "from" => json!({ "type": ["string", "array"], "items": text() }),
        "order" => key_source(),
        "mandatory" => flag(),
        "expiration" => span(),
        _ => json!(true),
    }
}

fn of_queue(key: &str) -> Json {
    match key {
        "service" => text(),
        "consumers" => words(&queue::CONSUMERS),
        "key" => key_source(),
        "on_failure" => words(&queue::ON_FAILURE),
        "retry" => json!({ "anyOf": [text(), object("Retry", &retry::INLINE, &[])] }),
        "parking" => json!({ "anyOf": [flag(), object("Limits", &limits::LIMITS, &[])] }),
        "dead_letter" => object("Dead letters", &limits::DEAD_LETTER, &["exchange"]),
        "limits" => object("Limits", &limits::LIMITS, &[]),
        "ttl" | "expires" | "ack_timeout" => span(),
        "max_priority" => json!({ "type": "integer", "minimum": 1, "maximum": 255 }),
        "prefetch" => whole(0),
        "requeue" => words(&queue::REQUEUE),
        "client_attempts" => whole(1),
        "messages" => list(object("Messages", &exchange::QUEUE_MESSAGE, &["from"])),
        _ => json!(true),
    }
}

fn of_retry(key: &str) -> Json {
    match key {
        "attempts" | "delivery_limit" => whole(0),
        "first" | "max" => span(),
        "multiplier" => json!({ "type": "number", "minimum": 0, "maximum": 1000 }),
        "jitter" => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        "counts" => list(words(&retry::COUNTS)),
        "then" => words(&retry::THEN),
        _ => json!(true),
    }
}

fn of_test(key: &str) -> Json {
    let of = |json: Json| json!({ "type": "object", "additionalProperties": json });
    let one_or_more = |json: Json| json!({ "anyOf": [json, list(json)] });
    match key {
        "publish" => one_or_more(object("Publish", &publish::PUBLISH, &["exchange"])),
        "when" => of(one_or_more(words(&Outcome::WORDS))),
        "until" => span(),
        "deliveries_at" => of(list(span())),
        "order" => of(list(text())),
        _ => json!(true),
    }
}

fn text() -> Json {
    json!({ "type": "string" })
}

fn flag() -> Json {
    json!({ "type": "boolean" })
}

fn whole(minimum: u64) -> Json {
    json!({ "type": "integer", "minimum": minimum })
}

fn span() -> Json {
    json!({ "type": "string", "pattern": "^\\s*([0-9_]+\\s*(ms|s|m|h|d|w)\\s*)+$" })
}

fn key_source() -> Json {
    let pattern = "^(header:.+|routing-key|correlation-id|message-id|user-id)$";
    json!({ "type": "string", "pattern": pattern })
}

fn words<T>(words: &[(&str, T)]) -> Json {
    json!({ "enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

fn list(items: Json) -> Json {
    let entries = [("type", json!("array")), ("items", items)];
    Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// What the manual says about a key, in the row of that key.
fn explained(section: &str, key: &str) -> Option<String> {
    let start = MANUAL.find(&format!("# {section}\n"))?;
    let text = &MANUAL[start + 2..];
    let text = text.split("\n## ").next()?;
    let quoted = format!("`{key}`");
    let row = text.lines().find(|line| {
        let mut cells = line.split('|');
        line.starts_with('|') && cells.nth(1).is_some_and(|it| it.contains(&quoted))
    })?;
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let meaning = cells.get(1)?.replace("\\|", "|");
    let default = cells.get(2).filter(|it| !it.is_empty());
    Some(match default {
        Some(default) => format!("{meaning} (default: {default})"),
        None => meaning,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place in the schema at which anything is allowed.
    fn forgotten(path: &str, json: &Json, found: &mut Vec<String>) {
        match json {
            Json::Object(map) => {
                for (key, value) in map {
                    forgotten(&format!("{path}/{key}"), value, found);
                }
            }
            Json::Array(all) => all.iter().for_each(|it| forgotten(path, it, found)),
            Json::Bool(true) => found.push(path.to_owned()),
            Json::Null | Json::Bool(false) | Json::Number(_) | Json::String(_) => {}
        }
    }

    #[test]
    fn every_key_has_a_type_and_most_an_explanation() {
        let schema: Json = serde_json::from_str(&schema()).expect("it is JSON");
        let mut found = Vec::new();
        forgotten("", &schema, &mut found);
        assert_eq!(found, [""; 0]);
        let queue = &schema["properties"]["queues"]["additionalProperties"]["properties"];
        assert_eq!(queue["consumers"]["enum"].as_array().map(Vec::len), Some(5));
        let text = queue["ack_timeout"]["description"].as_str().unwrap_or_default();
        assert!(text.starts_with("how long a delivery may stay unsettled"), "{text}");
    }
}
