//! What lies between two topologies, as a value: objects to create, change, replace and delete,
//! messages that go another way, and what cannot be undone.

mod flow;
mod object;
mod render;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde::Serialize;

use crate::topology::declared::Topology;
use crate::topology::engine::Engine;
pub use crate::topology::plan::flow::Copy;
pub use crate::topology::plan::flow::Flow;
pub use crate::topology::plan::object::Kind;
use crate::topology::plan::object::Object;
pub(in crate::topology) use crate::topology::plan::object::message_name;
pub(in crate::topology) use crate::topology::plan::object::mode;

/// The way from one topology to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// By vhost, kind and name.
    pub changes: Vec<Change>,
    /// All flows of messages, those that stay as they are among them.
    pub flows: Vec<Flow>,
    /// One sentence each.
    pub irreversible: Vec<String>,
}

/// What happens to one object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    pub action: Action,
    pub kind: Kind,
    pub vhost: String,
    pub name: String,
    /// What differs; empty for what is created or deleted.
    pub properties: Vec<Difference>,
    /// `path:line` in the new topology; in the old one for what is deleted.
    pub place: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Create,
    /// While it lives, with everything in it.
    Change,
    /// It is another object: the old one goes, a new one comes.
    Replace,
    Delete,
}

/// One property before and after; absent where it is not set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    pub property: String,
    pub before: Option<String>,
    pub after: Option<String>,
    /// It cannot change while the object lives.
    pub identity: bool,
}

impl Plan {
    /// What has to be done to get from `old` to `new`.
    pub fn between(old: &Topology, new: &Topology) -> Plan {
        Plan::on(Engine::Railpost, old, new)
    }

    /// As [`Plan::between`], on a broker of this kind.
    pub fn on(engine: Engine, old: &Topology, new: &Topology) -> Plan {
        let (before, after) = (object::all(old, engine), object::all(new, engine));
        let mut changes = Vec::new();
        let mut irreversible = Vec::new();
        for key in object::keys(&before, &after) {
            let (was, is) = (before.get(key), after.get(key));
            if let Some(change) = change(was, is) {
                irreversible.extend(cannot_be_undone(&change, was, engine));
                changes.push(change);
            }
        }
        Plan { changes, flows: flow::between(old, new), irreversible }
    }

    /// Nothing differs that anybody could notice.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.flows.iter().all(|it| !it.is_changed())
    }

    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|it| it.action == action).count()
    }

    pub fn changed_flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(|it| it.is_changed())
    }
}

fn change(was: Option<&Object>, is: Option<&Object>) -> Option<Change> {
    let object = is.or(was)?;
    let new = |action, properties| Change {
        action,
        kind: object.kind,
        vhost: object.vhost.clone(),
        name: object.name.clone(),
        properties,
        place: object.place.clone(),
    };
    let (was, is) = match (was, is) {
        (Some(was), Some(is)) => (was, is),
        (None, _) => return Some(new(Action::Create, Vec::new())),
        (_, None) => return Some(new(Action::Delete, Vec::new())),
    };
    let mut names: Vec<&String> = was.properties.keys().chain(is.properties.keys()).collect();
    names.sort();
    names.dedup();
    let differences = names.into_iter().filter_map(|name| {
        let (before, after) = (was.properties.get(name), is.properties.get(name));
        let identity = before.or(after).is_some_and(|it| it.identity);
        (before.map(|it| &it.value) != after.map(|it| &it.value)).then(|| Difference {
            property: name.clone(),
            before: before.map(|it| it.value.clone()),
            after: after.map(|it| it.value.clone()),
            identity,
        })
    });
    let differences: Vec<Difference> = differences.collect();
    let action = match differences.iter().any(|it| it.identity) {
        _ if differences.is_empty() => return None,
        true => Action::Replace,
        false => Action::Change,
    };
    Some(new(action, differences))
}

/// What is lost with a change, if it meets messages.
fn cannot_be_undone(change: &Change, was: Option<&Object>, engine: Engine) -> Vec<String> {
    let name = &change.name;
    match (change.kind, change.action) {
        (Kind::Queue, Action::Delete) => {
            let parks = was.is_some_and(|it| it.properties.contains_key("parking"));
            let lot =
                if parks { format!(", and those parked in `{name}.parked`") } else { "".into() };
            vec![format!("deleting the queue `{name}` loses the messages waiting in it{lot}")]
        }
        (Kind::Queue, Action::Replace) if engine == Engine::Railpost => {
            change.properties.iter().flat_map(|it| turns(name, it).or(loses(name, it))).collect()
        }
        (Kind::Exchange, Action::Replace) if engine == Engine::Railpost => Vec::new(),
        (Kind::Queue, Action::Replace) => vec![format!(
            "the queue `{name}` is made anew; its messages are moved aside and back, and those published \
             while its bindings move may come twice, or before others"
        )],
        (Kind::Exchange, Action::Replace) => vec![format!(
            "while the exchange `{name}` is replaced, messages published to it reach nobody"
        )],
        (Kind::Exchange, Action::Delete) => {
            vec![format!("publishers to the exchange `{name}` are refused once it is deleted")]
        }
        (Kind::Queue, Action::Change) => {
            change.properties.iter().filter_map(|it| loses(name, it)).collect()
        }
        _ => Vec::new(),
    }
}

/// What becomes of messages whose queue becomes another one.
fn turns(queue: &str, it: &Difference) -> Option<String> {
    let (before, after) = (it.before.as_deref(), it.after.as_deref());
    match it.property.as_str() {
        "durable" if after == Some("false") => {
            Some(format!("messages of the queue `{queue}` do not outlive the broker any more"))
        }
        "arguments.x-queue-type" if it.identity && after.is_some_and(is_stream) => Some(format!(
            "the queue `{queue}` becomes a stream: its messages lose their retries, priorities and \
             expirations"
        )),
        "arguments.x-queue-type" if it.identity && before.is_some_and(is_stream) => Some(format!(
            "the stream `{queue}` becomes a queue: all that it keeps is delivered, each message to \
             one consumer, and goes with its ack"
        )),
        _ => None,
    }
}

fn is_stream(queue_type: &str) -> bool {
    queue_type.trim_matches('"') == "stream"
}

/// What a changed property does to messages that wait already.
fn loses(queue: &str, it: &Difference) -> Option<String> {
    let after = it.after.as_deref();
    match it.property.as_str() {
        "limits.messages" | "limits.bytes" if is_smaller(it) => Some(format!(
            "messages of the queue `{queue}` beyond {} may be dropped when the limit falls",
            after.unwrap_or_default()
        )),
        "ttl" | "limits.age" if is_smaller(it) => Some(format!(
            "messages that have waited in the queue `{queue}` for over {} expire at once",
            after.unwrap_or_default()
        )),
        "expires" if is_smaller(it) => Some(format!(
            "the queue `{queue}` is deleted with its messages once it is unused for {}",
            after.unwrap_or_default()
        )),
        "parking" if after.is_none() => Some(format!(
            "`{queue}.parked` stays as an ordinary queue: nothing new is parked in it"
        )),
        "retry" if after.is_none_or(|it| it.ends_with("dropped")) => {
            Some(format!("messages that fail in the queue `{queue}` are no longer kept"))
        }
        _ => None,
    }
}

/// Whether a limit is new or lower than before. Limits are shown as numbers or spans.
fn is_smaller(it: &Difference) -> bool {
    let number = |text: &str| {
        let number = text.parse::<u64>().ok();
        number.or_else(|| crate::topology::load::value::millis(text).ok().map(|it| it.0))
    };
    match (&it.before, &it.after) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(after)) => number(after) < number(before),
    }
}
