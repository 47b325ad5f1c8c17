//! RabbitMQ's definitions as topology files, one for each vhost, and what they cannot say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value as Json;

use crate::amqp::argument::QueueType;
use crate::routing::Kind;
use crate::routing::delay;
use crate::topology::Source;
use crate::topology::ladder;
use crate::topology::lint::facts::Facts;
use crate::topology::load;
use crate::topology::rabbitmq::write;
use crate::topology::rabbitmq::write::Hints;

/// The files, and what is not in them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// Text by vhost.
    pub files: BTreeMap<String, String>,
    /// What has no form in a topology file, one sentence each.
    pub left_out: Vec<String>,
}

/// The text is no definitions.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("these are no definitions of RabbitMQ: {0}")]
    Json(#[from] serde_json::Error),
    #[error("these are no definitions of RabbitMQ: none of their lists is there")]
    Empty,
    #[error("line {line}, column {column}: {cause}, in an object of `{list}`")]
    Object { list: &'static str, line: usize, column: usize, cause: String },
}

/// The parts that topologies are made of. In an export of one vhost, objects name no vhost.
#[derive(Debug, Deserialize)]
pub(super) struct Definitions {
    #[serde(default)]
    rabbit_version: Option<String>,
    #[serde(default)]
    pub(super) original_vhost_name: Option<String>,
    #[serde(default)]
    vhosts: Vec<Named>,
    #[serde(default)]
    pub(super) exchanges: Vec<Exchange>,
    #[serde(default)]
    pub(super) queues: Vec<Queue>,
    #[serde(default)]
    pub(super) bindings: Vec<Binding>,
    #[serde(flatten)]
    others: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Exchange {
    pub(super) name: String,
    #[serde(default)]
    pub(super) vhost: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default = "yes")]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) internal: bool,
    #[serde(default)]
    pub(super) arguments: Map<String, Json>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Queue {
    pub(super) name: String,
    #[serde(default)]
    pub(super) vhost: Option<String>,
    #[serde(default = "yes")]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    /// Written by RabbitMQ 4, beside the argument.
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) arguments: Map<String, Json>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Binding {
    pub(super) source: String,
    #[serde(default)]
    pub(super) vhost: Option<String>,
    pub(super) destination: String,
    pub(super) destination_type: String,
    #[serde(default)]
    pub(super) routing_key: String,
    #[serde(default)]
    pub(super) arguments: Map<String, Json>,
}

impl Queue {
    /// Classic, unless it says otherwise in either of the two places.
    pub(super) fn queue_type(&self) -> QueueType {
        let argument = self.arguments.get("x-queue-type").and_then(Json::as_str);
        let written = argument.or(self.kind.as_deref());
        written.and_then(QueueType::parse).unwrap_or(QueueType::Classic)
    }
}

fn yes() -> bool {
    true
}

/// The objects of one vhost that a file can hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) queues: Vec<Queue>,
    pub(super) bindings: Vec<Binding>,
}

/// Makes files of definitions.
///
/// # Errors
/// When the text is no JSON, or no definitions.
pub fn import(text: &str) -> Result<Imported, ImportError> {
    let definitions = parse(text)?;
    let mut left_out = Vec::new();
    let version = definitions.rabbit_version.clone().unwrap_or_default();
    others(&definitions.others, &mut left_out);
    let mut files = BTreeMap::new();
    for (vhost, contents) in contents(definitions, &mut left_out) {
        let from = format!("Imported from the definitions of RabbitMQ {version}").trim().to_owned();
        let plain = write::file(&from, &vhost, &contents, &Hints::default());
        let hints = hints(&plain.text);
        left_out.extend(plain.left_out.into_iter().map(|it| format!("vhost `{vhost}`: {it}")));
        let text = write::file(&from, &vhost, &contents, &hints).text;
        left_out.extend(refused(&vhost, &text));
        files.insert(vhost, text);
    }
    Ok(Imported { files, left_out })
}

pub(super) fn parse(text: &str) -> Result<Definitions, ImportError> {
    Ok(serde_json::from_str(text)?)
}

/// Sorts objects by their vhosts, and leaves out what cannot be declared.
pub(super) fn contents(it: Definitions, left_out: &mut Vec<String>) -> BTreeMap<String, Contents> {
    let default = it.original_vhost_name.unwrap_or_else(|| "/".to_owned());
    let of = |vhost: Option<String>| vhost.unwrap_or_else(|| default.clone());
    let mut all: BTreeMap<String, Contents> = BTreeMap::new();
    for vhost in it.vhosts {
        all.entry(vhost.name).or_default();
    }
    for exchange in it.exchanges {
        let name = &exchange.name;
        let vhost = of(exchange.vhost.clone());
        if name.starts_with("amq.") || name.is_empty() {
            left_out.push(format!("vhost `{vhost}`: exchange `{name}`, a name of the broker's"));
        } else if exchange.kind != delay::TYPE && Kind::parse(&exchange.kind).is_none() {
            let kind = &exchange.kind;
            left_out.push(format!("vhost `{vhost}`: exchange `{name}` of the type `{kind}`"));
        } else {
            all.entry(vhost).or_default().exchanges.push(exchange);
        }
    }
    for queue in it.queues {
        let name = &queue.name;
        let vhost = of(queue.vhost.clone());
        if name.starts_with("amq.") || name.is_empty() {
            left_out.push(format!("vhost `{vhost}`: queue `{name}`, a name of the broker's"));
        } else {
            all.entry(vhost).or_default().queues.push(queue);
        }
    }
    for binding in it.bindings {
        let vhost = of(binding.vhost.clone());
        let contents = all.entry(vhost.clone()).or_default();
        let (to, source) = (&binding.destination, &binding.source);
        let known = match binding.destination_type.as_str() {
            "queue" => contents.queues.iter().any(|it| it.name == *to),
            _ => contents.exchanges.iter().any(|it| it.name == *to),
        };
        let from =
            source.starts_with("amq.") || contents.exchanges.iter().any(|it| it.name == *source);
        if source.is_empty() && binding.routing_key == *to {
            // Every queue has it without anybody's doing.
        } else if known && from {
            contents.bindings.push(binding);
        } else {
            let kind = &binding.destination_type;
            left_out.push(format!(
                "vhost `{vhost}`: the binding of {kind} `{to}` to `{source}`, one of which is not \
                 in the files"
            ));
        }
    }
    for contents in all.values_mut() {
        contents.exchanges.sort_by(|a, b| a.name.cmp(&b.name));
        contents.queues.sort_by(|a, b| a.name.cmp(&b.name));
        let key = |it: &Binding| (it.source.clone(), it.routing_key.clone());
        contents.bindings.sort_by_key(key);
    }
    all
}

/// Users, policies and all that is no topology.
fn others(others: &Map<String, Json>, left_out: &mut Vec<String>) {
    let lists = [
        ("users", "user"),
        ("permissions", "permissions of"),
        ("topic_permissions", "topic permissions of"),
        ("policies", "policy"),
        ("parameters", "parameter"),
        ("global_parameters", "global parameter"),
    ];
    for (key, what) in lists {
        for it in others.get(key).and_then(Json::as_array).into_iter().flatten() {
            let text = |field: &str| it.get(field).and_then(Json::as_str);
            let name = text("name").or(text("user")).unwrap_or_default();
            let vhost = text("vhost").map(|it| format!("vhost `{it}`: ")).unwrap_or_default();
            let value = it.get("definition").or(it.get("value"));
            let value = value.map(|it| format!(" {it}")).unwrap_or_default();
            left_out.push(format!("{vhost}{what} `{name}`{value}"));
        }
    }
    for key in ["limits", "metadata"] {
        if let Some(Json::Object(it)) = others.get(key)
            && !it.is_empty()
        {
            left_out.push(format!("{key} of the vhost: {}", Json::Object(it.clone())));
        }
    }
}

/// What a reader of the file would like to know about its queues.
fn hints(text: &str) -> Hints {
    let loaded = load(&[Source { path: "imported.toml".to_owned(), text: text.to_owned() }]);
    let mut hints = Hints::default();
    for vhost in loaded.topology.vhosts.values() {
        let facts = Facts::new(&loaded.topology, vhost);
        for ladder in ladder::all(&facts) {
            let waits: Vec<String> = ladder.waits.iter().map(|it| it.name.to_string()).collect();
            let name = ladder.work.name.to_string();
            let mut lines = vec![
                format!("Failed messages wait in {} and come back.", waits.join(", ")),
                "One policy does the same, in place, once the consumers reject what fails:"
                    .to_owned(),
                format!("  retry = {}", ladder.policy()),
            ];
            if let Some(end) = ladder.end {
                let end = &end.name;
                lines.push(format!(
                    "What keeps failing is in {end}; with a policy, in {name}.parked."
                ));
            }
            hints.0.insert(name, lines);
        }
    }
    hints
}

/// What the file says and a broker would not take.
fn refused(vhost: &str, text: &str) -> Vec<String> {
    let loaded = load(&[Source { path: "imported.toml".to_owned(), text: text.to_owned() }]);
    let errors = loaded.diagnostics.iter().filter(|it| it.is_error());
    errors.map(|it| format!("vhost `{vhost}`: {} (it is in the file)", it.title)).collect()
}
