//! `[services.NAME]` and `[vhost]`: who there is, and how strictly they are held to the files.

use crate::amqp::name::ServiceName;
use crate::broker::rules::Enforce;
use crate::broker::rules::Identity;
use crate::queue::settings::Durability;
use crate::topology::declared::Budget;
use crate::topology::declared::Service;
use crate::topology::declared::Vhost;
use crate::topology::declared::VhostSettings;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::shared_identity;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::load::mistake;
use crate::topology::source::Located;
use crate::topology::source::Origin;

pub(in crate::topology) const SERVICE: Shape = Shape {
    keys: &["owner", "identities", "instances", "description", "allow"],
    instead: &[
        ("user", "write `identities = [\"user:NAME\"]`"),
        ("users", "write `identities = [\"user:NAME\"]`"),
        ("queues", "a queue names its service: `[queues.NAME]` with `service = \"…\"`"),
        ("team", "write `owner`"),
        ("replicas", "write `instances`"),
    ],
};

pub(in crate::topology) const VHOST: Shape = Shape {
    keys: &[
        "name",
        "enforce",
        "undeclared",
        "identity",
        "client_x_death",
        "durability",
        "late_ack",
        "budget",
    ],
    instead: &[],
};

/// More of one service than anybody runs.
const INSTANCES_MAX: u64 = 1_000_000;
pub(in crate::topology) const BUDGET: Shape =
    Shape { keys: &["queues", "exchanges", "bindings"], instead: &[] };

/// The words of `durability`.
pub(in crate::topology) const DURABILITY: [(&str, Durability); 2] =
    [("sync", Durability::Sync), ("write", Durability::Write)];

/// Reads one service.
pub(in crate::topology) fn load(
    name: ServiceName,
    fields: &Fields<'_>,
    report: &mut Report,
) -> Service {
    let identities = match fields.get("identities") {
        Some(item) => identities(&item, report),
        None => {
            let of = |it| Located::new(it, fields.origin);
            vec![
                of(Identity::User(name.to_string())),
                of(Identity::ConnectionName(name.to_string())),
            ]
        }
    };
    Service {
        origin: fields.origin,
        owner: fields.text("owner", report).map(|it| it.map(str::to_owned)),
        description: fields.description(report),
        identities,
        instances: fields.get("instances").and_then(|it| it.number(1, INSTANCES_MAX, report)),
        name,
    }
}

fn identities(item: &Item<'_, '_>, report: &mut Report) -> Vec<Located<Identity>> {
    let all = item.list(report);
    if all.is_empty() && matches!(item.value, toml::de::DeValue::Array(_)) {
        let title = format!("{} is empty, so that no connection can be an instance", item.what());
        let help = "name at least one, or delete the line for the default";
        item.bad::<()>(title, "empty", help, report);
    }
    all.iter().filter_map(|it| identity(it, report)).collect()
}

fn identity(item: &Item<'_, '_>, report: &mut Report) -> Option<Located<Identity>> {
    let text = item.text(report)?;
    let (kind, rest) = text.split_once(':').unwrap_or(("", text.value));
    let identity = match kind {
        _ if rest.is_empty() => None,
        "user" => Some(Identity::User(rest.to_owned())),
        "cert" => Some(Identity::Certificate(rest.to_owned())),
        // A connection's name counts up to the first of these, so it would never be the same.
        "name" if !rest.contains(['@', ':', '#']) => {
            Some(Identity::ConnectionName(rest.to_owned()))
        }
        _ => None,
    };
    match identity {
        Some(identity) => Some(text.map(|_| identity)),
        None => {
            let title = format!("{} has `{}`, which is no identity", item.subject, text.value);
            let help = "write \"user:NAME\", \"cert:SAN\" or \"name:CONNECTION_NAME\" (the part \
                        before `@`, `:` or `#`)";
            item.bad(title, "not an identity", help, report)
        }
    }
}

/// Reports identities that two services share: nobody could tell their connections apart.
pub(in crate::topology) fn check_identities(vhost: &Vhost, report: &mut Report) {
    let mut seen: Vec<(&Located<Identity>, &Service)> = Vec::new();
    for service in vhost.services.values() {
        seen.extend(service.identities.iter().map(|it| (it, service)));
    }
    let key = |it: &Identity| match it {
        Identity::Certificate(name) => (0, name.clone()),
        Identity::User(name) => (1, name.clone()),
        Identity::ConnectionName(name) => (2, name.clone()),
    };
    seen.sort_by_key(|(it, _)| (key(&it.value), it.origin));
    for pair in seen.windows(2) {
        let [(first, owner), (second, other)] = pair else { continue };
        if first.value != second.value {
            continue;
        }
        let text = text(&second.value);
        let new = if owner.name == other.name {
            let title = format!("service `{}` has the identity `{text}` twice", owner.name);
            let at = (second.origin, "the second time");
            Diagnostic::new(mistake::CONTRADICTION, Severity::Error, title, at)
                .also(first.origin, "the first time")
                .help("keep one of them")
        } else {
            shared_identity::within_vhost(&text, (owner, first), (other, second))
        };
        report.add(new);
    }
}

fn text(identity: &Identity) -> String {
    match identity {
        Identity::User(name) => format!("user:{name}"),
        Identity::Certificate(name) => format!("cert:{name}"),
        Identity::ConnectionName(name) => format!("name:{name}"),
    }
}

/// The words of `enforce`.
pub(in crate::topology) const ENFORCE: [(&str, Enforce); 3] =
    [("deny", Enforce::Deny), ("warn", Enforce::Warn), ("off", Enforce::Off)];

/// The words of `undeclared`.
pub(in crate::topology) const UNDECLARED: [(&str, Enforce); 3] =
    [("allow", Enforce::Off), ("warn", Enforce::Warn), ("deny", Enforce::Deny)];

/// The words of `identity`.
pub(in crate::topology) const IDENTITY: [(&str, bool); 2] =
    [("any", false), ("authenticated", true)];

/// The words of `late_ack`.
pub(in crate::topology) const LATE_ACK: [(&str, bool); 2] =
    [("requeue", false), ("close-channel", true)];

/// The words of `client_x_death`.
pub(in crate::topology) const X_DEATH: [(&str, bool); 2] = [("honour", false), ("ignore", true)];

/// Adds a file's `[vhost]` table to what other files said.
pub(in crate::topology) fn load_settings(
    settings: &mut VhostSettings,
    fields: &Fields<'_>,
    report: &mut Report,
) {
    let durability = fields.word("durability", &DURABILITY, report);
    once(&mut settings.durability, durability, ("durability", fields), report);
    let enforce = fields.word("enforce", &ENFORCE, report);
    once(&mut settings.enforce, enforce, ("enforce", fields), report);
    let undeclared = fields.word("undeclared", &UNDECLARED, report);
    once(&mut settings.undeclared, undeclared, ("undeclared", fields), report);
    let identity = fields.word("identity", &IDENTITY, report);
    once(&mut settings.authenticated_identity, identity, ("identity", fields), report);
    let deaths = fields.word("client_x_death", &X_DEATH, report);
    once(&mut settings.ignore_client_deaths, deaths, ("client_x_death", fields), report);
    let late = fields.word("late_ack", &LATE_ACK, report);
    once(&mut settings.late_ack_closes, late, ("late_ack", fields), report);
    load_budget(&mut settings.budget, fields, report);
}

fn load_budget(budget: &mut Budget, fields: &Fields<'_>, report: &mut Report) {
    let Some(item) = fields.get("budget") else { return };
    let subject = format!("`budget` of {}", fields.subject);
    let Some(inner) = item.fields(subject, &BUDGET, report) else { return };
    for (key, slot) in [
        ("queues", &mut budget.queues),
        ("exchanges", &mut budget.exchanges),
        ("bindings", &mut budget.bindings),
    ] {
        let number = inner.get(key).and_then(|it| it.number(0, i64::MAX as u64, report));
        once(slot, number, (key, &inner), report);
    }
}

fn once<T>(
    slot: &mut Option<Located<T>>,
    value: Option<Located<T>>,
    (key, fields): (&str, &Fields<'_>),
    report: &mut Report,
) {
    match (&slot, value) {
        (_, None) => {}
        (None, value) => *slot = value,
        (Some(first), Some(second)) => {
            let title = format!("`{key}` of {} is set in two places", fields.subject);
            report.add(twice(title, first.origin, second.origin));
        }
    }
}

/// The diagnostic for one thing declared in two places.
pub(in crate::topology) fn twice(title: String, first: Origin, second: Origin) -> Diagnostic {
    Diagnostic::new(mistake::TWICE, Severity::Error, title, (second, "the second time"))
        .also(first, "the first time")
        .help("keep one of them")
}
