//! `allow = [{ rule, reason, until }]`: findings that somebody accepted.

use toml::de::DeValue;

use crate::topology::day::Day;
use crate::topology::declared::Allow;
use crate::topology::declared::AllowScope;
use crate::topology::diagnostic::Report;
use crate::topology::lint;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::load::mistake;
use crate::topology::load::name;
use crate::topology::source::Located;

pub(in crate::topology) const ALLOW: Shape =
    Shape { keys: &["rule", "reason", "until"], instead: &[] };

/// Reads the `allow` of an object or a file.
pub(in crate::topology) fn load(
    fields: &Fields<'_>,
    scope: AllowScope,
    allows: &mut Vec<Allow>,
    report: &mut Report,
) {
    let Some(item) = fields.get("allow") else { return };
    for element in item.list(report) {
        let subject = format!("an `allow` of {}", fields.subject);
        if let Some(entry) = element.fields(subject, &ALLOW, report) {
            allows.extend(one(&entry, scope, report));
        }
    }
}

fn one(fields: &Fields<'_>, scope: AllowScope, report: &mut Report) -> Option<Allow> {
    let rule = match fields.get("rule") {
        Some(item) => rule(&item, report),
        None => {
            fields.missing("rule", "name the rule, for example `rule = \"QUE-001\"`", report);
            None
        }
    };
    let reason = match fields.get("reason") {
        Some(item) => reason(&item, report),
        None => {
            fields.missing("reason", "say why the finding is accepted: `reason = \"…\"`", report);
            None
        }
    };
    let until = fields.get("until").map(|item| until(&item, report));
    let until = match until {
        Some(None) => return None,
        Some(until) => until,
        None => None,
    };
    Some(Allow { rule: rule?, reason: reason?, until, scope, origin: fields.origin })
}

fn rule(item: &Item<'_, '_>, report: &mut Report) -> Option<Located<&'static str>> {
    let text = item.text(report)?;
    let is = |id: &str, name: &str| text.value == id || text.value == name;
    if let Some(rule) = lint::RULES.iter().find(|it| is(it.code.id, it.code.name)) {
        if rule.allowable {
            return Some(text.map(|_| rule.code.id));
        }
        let title = format!("{} cannot be allowed", rule.code.id);
        let help = "nothing could be declared that way: change what it is about";
        return item.bad(title, "cannot be allowed", help, report);
    }
    if mistake::ALL.iter().any(|it| is(it.code.id, it.code.name)) {
        let title = format!("{} cannot be allowed", text.value);
        return item.bad(title, "cannot be allowed", "correct what it is about", report);
    }
    let known = lint::RULES.iter().flat_map(|it| [it.code.id, it.code.name]);
    let title = format!("{} names the rule `{}`, which does not exist", item.subject, text.value);
    let new = name::unknown(title, text.value, text.origin, known);
    let help = new.help.clone().unwrap_or("findings name their rules in brackets".to_owned());
    report.add(new.help(help));
    None
}

fn reason(item: &Item<'_, '_>, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    if text.trim().is_empty() {
        let title = format!("{} is empty", item.what());
        return item.bad(title, "empty", "say why the finding is accepted", report);
    }
    Some(text.value.to_owned())
}

/// A string or a TOML date.
fn until(item: &Item<'_, '_>, report: &mut Report) -> Option<Located<Day>> {
    let day = match item.value {
        DeValue::String(text) => Day::parse(text),
        DeValue::Datetime(it) if it.time.is_none() => {
            it.date.and_then(|it| Day::new(it.year, it.month, it.day))
        }
        DeValue::Datetime(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            item.wrong_type("a day", "\"2027-01-31\"", report);
            return None;
        }
    };
    match day {
        Some(day) => Some(Located::new(day, item.origin)),
        None => {
            let title = format!("{} is no day", item.what());
            item.bad(title, "not a day", "write year, month and day: \"2027-01-31\"", report)
        }
    }
}
