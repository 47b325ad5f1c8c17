//! `railpost ls`: tables of what there is.

use serde_json::Value;

use crate::cli::args::PlainFormat;
use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::LsArgs;
use crate::cli::client::args::LsKind;
use crate::cli::client::condition::Condition;
use crate::cli::client::failure::Failure;
use crate::cli::client::output;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

/// A heading, and where in an answer its values are.
type Column = (&'static str, &'static str);

const QUEUES: &[Column] = &[
    ("vhost", "vhost"),
    ("name", "name"),
    ("type", "type"),
    ("ready", "messages_ready"),
    ("unacked", "messages_unacknowledged"),
    ("delayed", "messages_delayed"),
    ("consumers", "consumers"),
    ("in/s", "message_stats.publish_details.rate"),
    ("out/s", "message_stats.deliver_get_details.rate"),
    ("policy", "policy"),
];
const EXCHANGES: &[Column] = &[
    ("vhost", "vhost"),
    ("name", "name"),
    ("type", "type"),
    ("durable", "durable"),
    ("internal", "internal"),
    ("policy", "policy"),
];
const BINDINGS: &[Column] = &[
    ("vhost", "vhost"),
    ("source", "source"),
    ("destination", "destination"),
    ("kind", "destination_type"),
    ("key", "routing_key"),
    ("arguments", "arguments"),
];
const CONNECTIONS: &[Column] = &[
    ("name", "name"),
    ("client", "user_provided_name"),
    ("user", "user"),
    ("vhost", "vhost"),
    ("channels", "channels"),
    ("state", "state"),
];
const CHANNELS: &[Column] = &[
    ("name", "name"),
    ("user", "user"),
    ("vhost", "vhost"),
    ("consumers", "consumer_count"),
    ("unacked", "messages_unacknowledged"),
    ("prefetch", "prefetch_count"),
    ("confirm", "confirm"),
];
const CONSUMERS: &[Column] = &[
    ("vhost", "queue.vhost"),
    ("queue", "queue.name"),
    ("tag", "consumer_tag"),
    ("channel", "channel_details.name"),
    ("prefetch", "prefetch_count"),
    ("ack", "ack_required"),
    ("active", "active"),
];
const USERS: &[Column] =
    &[("name", "name"), ("tags", "tags"), ("hash", "hashing_algorithm"), ("limits", "limits")];
const VHOSTS: &[Column] = &[
    ("name", "name"),
    ("description", "description"),
    ("tags", "tags"),
    ("ready", "messages_ready"),
    ("unacked", "messages_unacknowledged"),
];
const POLICIES: &[Column] = &[
    ("vhost", "vhost"),
    ("name", "name"),
    ("pattern", "pattern"),
    ("apply-to", "apply-to"),
    ("priority", "priority"),
    ("definition", "definition"),
];

impl LsKind {
    fn name(self) -> &'static str {
        match self {
            LsKind::Queues => "queues",
            LsKind::Exchanges => "exchanges",
            LsKind::Bindings => "bindings",
            LsKind::Connections => "connections",
            LsKind::Channels => "channels",
            LsKind::Consumers => "consumers",
            LsKind::Users => "users",
            LsKind::Vhosts => "vhosts",
            LsKind::Policies => "policies",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            LsKind::Queues => QUEUES,
            LsKind::Exchanges => EXCHANGES,
            LsKind::Bindings => BINDINGS,
            LsKind::Connections => CONNECTIONS,
            LsKind::Channels => CHANNELS,
            LsKind::Consumers => CONSUMERS,
            LsKind::Users => USERS,
            LsKind::Vhosts => VHOSTS,
            LsKind::Policies => POLICIES,
        }
    }

    /// The list of one vhost, or of all that may be seen.
    fn path(self, vhost: Option<&str>) -> String {
        let name = self.name();
        match (self, vhost) {
            (LsKind::Connections | LsKind::Channels, Some(vhost)) => {
                format!("/api/vhosts/{}/{name}", escape(vhost))
            }
            (LsKind::Users | LsKind::Vhosts, _) | (_, None) => format!("/api/{name}"),
            (_, Some(vhost)) => format!("/api/{name}/{}", escape(vhost)),
        }
    }
}

pub(super) fn run(args: &LsArgs) -> Outcome {
    let condition = args.condition.as_deref().map(Condition::parse).transpose()?;
    let api = Api::new(&args.target)?;
    let vhost = api.target.vhost.as_deref();
    let mut items = api.list(&args.kind.path(vhost), &format!("vhost `{}`", api.vhost()))?;
    if let Some(condition) = condition {
        items.retain(|item| condition.holds(|column| look(item, path(args.kind, column))));
    }
    match args.format {
        PlainFormat::Json => output::say_json(args.kind.name(), "items", Value::Array(items)),
        PlainFormat::Text => output::say(&text(args, &items)),
    }
    Ok(Exit::Fine)
}

/// The same table for commands that list one kind of thing.
pub(super) fn list(
    kind: LsKind,
    api: &Api,
    vhost: Option<&str>,
    format: PlainFormat,
) -> Result<(), Failure> {
    let items = api.list(&kind.path(vhost), &format!("vhost `{}`", api.vhost()))?;
    match format {
        PlainFormat::Json => output::say_json(kind.name(), "items", Value::Array(items)),
        PlainFormat::Text => {
            let headings: Vec<&str> = kind.columns().iter().map(|it| it.0).collect();
            let rows = items.iter().map(|item| row(item, kind, &headings)).collect::<Vec<_>>();
            output::say(&output::table(&headings, &rows, true));
        }
    }
    Ok(())
}

fn text(args: &LsArgs, items: &[Value]) -> String {
    let usual = || args.kind.columns().iter().map(|it| it.0).collect();
    let chosen: Vec<&str> = args.columns.iter().map(|it| it.trim()).collect();
    let headings: Vec<&str> = if chosen.is_empty() { usual() } else { chosen };
    let rows: Vec<Vec<String>> = items.iter().map(|item| row(item, args.kind, &headings)).collect();
    output::table(&headings, &rows, !args.no_headers)
}

fn row(item: &Value, kind: LsKind, headings: &[&str]) -> Vec<String> {
    headings.iter().map(|it| output::cell(look(item, path(kind, it)))).collect()
}

/// Where a column is: a known one, or the key itself.
fn path(kind: LsKind, column: &str) -> &str {
    let known = kind.columns().iter().find(|(heading, _)| *heading == column);
    known.map_or(column, |(_, path)| path)
}

/// A value behind dots. A key that has dots itself is found as a whole first.
fn look<'a>(item: &'a Value, path: &str) -> &'a Value {
    match (item.get(path), path.split_once('.')) {
        (Some(found), _) => found,
        (None, Some((first, rest))) => look(&item[first], rest),
        (None, None) => &Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_found_by_heading_key_and_path() {
        let item = json!({ "messages_ready": 3, "arguments": { "a.b": 1 }, "name": "q" });
        let cells = row(&item, LsKind::Queues, &["name", "ready", "arguments.a.b", "nothing.here"]);
        assert_eq!(cells, ["q", "3", "1", ""]);
    }
}
