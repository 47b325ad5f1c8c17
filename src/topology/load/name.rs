//! Names of files' objects: what they may be, and whether what they refer to is there.

use crate::amqp::limit;
use crate::amqp::name::Name;
use crate::amqp::name::ServiceName;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::quoted;
use crate::topology::load::mistake;
use crate::topology::load::value;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// Checks the name of an object to be declared; `kind` is "queue", "exchange" and so on.
pub(in crate::topology) fn declared<K>(
    kind: &str,
    text: &str,
    origin: Origin,
    report: &mut Report,
) -> Option<Name<K>> {
    let mut bad = |title: String, label: &str, help: &str| {
        let at = (origin, label);
        report.add(Diagnostic::new(mistake::BAD_NAME, Severity::Error, title, at).help(help));
        report.left_out = true;
        None
    };
    if text.is_empty() {
        return bad(format!("a {kind} has an empty name"), "empty name", "give it a name");
    }
    if text.len() > limit::SHORT_STRING_BYTES {
        let start: String = text.chars().take(20).collect();
        let title = format!("the name of {kind} `{start}…` is {} bytes long", text.len());
        return bad(title, "over 255 bytes", "AMQP names have at most 255 bytes: shorten it");
    }
    if text.starts_with("amq.") && kind != "service" {
        let title = format!("the name of {kind} `{text}` begins with `amq.`");
        return bad(title, "reserved", "such names are the broker's: choose another one");
    }
    Some(Name::new(text))
}

/// A service that a key names; reports one that the vhost does not declare.
pub(in crate::topology) fn service(
    item: &Item<'_, '_>,
    vhost: &Vhost,
    report: &mut Report,
) -> Option<Located<ServiceName>> {
    let text = item.text(report)?;
    if let Some(service) = vhost.services.get(text.value) {
        return Some(text.map(|_| service.name.clone()));
    }
    let title = format!("{} names the service `{}`, which no file declares", item.subject, *text);
    let known = vhost.services.keys().map(|it| it.as_str());
    let new = unknown(title, *text, text.origin, known);
    let example = format!("declare it: `[services.{}]`", bare_key(text.value));
    let help = new.help.clone().unwrap_or(example);
    report.add(new.help(help));
    report.left_out = true;
    None
}

/// The diagnostic for a name that is not among `known`.
pub(in crate::topology) fn unknown<'n>(
    title: String,
    name: &str,
    origin: Origin,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Diagnostic {
    let meant = value::nearest(name, known.clone());
    let label = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "unknown name".to_owned(),
    };
    let new = Diagnostic::new(mistake::UNKNOWN_NAME, Severity::Error, title, (origin, label));
    let few = known.clone().take(9).count() < 9;
    match meant {
        Some(meant) => new.help(format!("write `{meant}`, or declare `{name}`")),
        None if few && known.clone().next().is_some() => {
            new.help(format!("declared are {}", quoted(known)))
        }
        None => new,
    }
}

/// A name as the key of a TOML table: in quotes where it needs them.
pub(in crate::topology) fn bare_key(name: &str) -> String {
    let bare = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

/// Reports that a key needs, or excludes, another one.
pub(in crate::topology) fn contradiction(
    title: String,
    at: (Origin, impl Into<String>),
    help: impl Into<String>,
) -> Diagnostic {
    Diagnostic::new(mistake::CONTRADICTION, Severity::Error, title, at).help(help)
}

/// Reports a key that changes nothing.
pub(in crate::topology) fn no_effect(
    item: &Item<'_, '_>,
    because: &str,
    help: impl Into<String>,
    report: &mut Report,
) {
    let title = format!("{} has no effect: {because}", item.what());
    let at = (item.key_origin, "no effect");
    report.add(Diagnostic::new(mistake::NO_EFFECT, Severity::Warning, title, at).help(help));
}

/// Reports the `keys` that are there, as having no meaning for this kind of object.
pub(in crate::topology) fn refuse(
    fields: &Fields<'_>,
    keys: &[&str],
    because: &str,
    help: &str,
    report: &mut Report,
) {
    for item in keys.iter().filter_map(|key| fields.get(key)) {
        let title = format!("{} cannot have `{}`: {because}", fields.subject, item.key);
        report.add(contradiction(title, (item.key_origin, "not here"), help));
    }
}
