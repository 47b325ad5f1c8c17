//! A plan for people, for programs, and for the comments of a pull request.

use serde_json::json;

use crate::topology::plan::Action;
use crate::topology::plan::Change;
use crate::topology::plan::Copy;
use crate::topology::plan::Difference;
use crate::topology::plan::Flow;
use crate::topology::plan::Plan;

impl Plan {
    /// One document, `"schema": "railpost.plan/1"`.
    pub fn json(&self) -> String {
        let document = json!({
            "schema": "railpost.plan/1",
            "create": self.count(Action::Create),
            "change": self.count(Action::Change),
            "replace": self.count(Action::Replace),
            "delete": self.count(Action::Delete),
            "changed_flows": self.changed_flows().count(),
            "changes": self.changes,
            "flows": self.flows,
            "irreversible": self.irreversible,
        });
        format!("{document:#}\n")
    }

    /// Changes, flows, what cannot be undone, and a line that counts them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let name = |it: &Change| it.name.chars().count();
        let wide = self.changes.iter().map(name).max().unwrap_or(0).min(48);
        for it in &self.changes {
            let (sign, kind) = (sign(it.action), it.kind.as_str());
            let place = &it.place;
            let what = what(it);
            let line = format!("{sign:>3} {kind:9} {:wide$}  {what}", it.name);
            text.push_str(&format!("{}  {place}\n", line.trim_end()));
        }
        let mut flows = self.changed_flows().peekable();
        if flows.peek().is_some() {
            text.push_str("\nmessages that go another way\n");
        }
        for flow in flows {
            let (now, was) = (copies(flow.after.len()), flow.before.len());
            let from = from(flow);
            text.push_str(&format!("    {}{from}: {now}, was {was}\n", flow.message));
            for it in flow.gained() {
                text.push_str(&format!("      + {}\n", copy(it)));
            }
            for it in flow.lost() {
                text.push_str(&format!("      - {}{}\n", copy(it), moved(flow, it)));
            }
        }
        if !self.irreversible.is_empty() {
            text.push_str("\nwhat cannot be undone\n");
        }
        for it in &self.irreversible {
            text.push_str(&format!("  ! {it}\n"));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text + &format!("{}\n", self.summary())
    }

    /// For a comment of a pull request.
    pub fn markdown(&self) -> String {
        let mut text = format!("### Topology: {}\n", self.summary());
        let lost: Vec<String> = self.changed_flows().filter_map(loss).collect();
        if !lost.is_empty() {
            text.push_str("\n> [!WARNING]\n");
            lost.iter().for_each(|it| text.push_str(&format!("> {it}\n")));
        }
        if self.changed_flows().next().is_some() {
            text.push_str("\n#### Who gets what\n\n| message | before | after |\n|---|---|---|\n");
            for flow in self.changed_flows() {
                let message = code(&format!("{}{}", flow.message, from(flow)));
                let before = cell(&flow.before, &flow.after, "~~");
                let after = cell(&flow.after, &flow.before, "**");
                text.push_str(&format!("| {message} | {before} | {after} |\n"));
            }
        }
        if !self.changes.is_empty() {
            text.push_str("\n#### Objects\n\n| | object | what | where |\n|---|---|---|---|\n");
            for it in &self.changes {
                let object = format!("{} {}", it.kind.as_str(), code(&it.name));
                let (sign, place) = (sign(it.action), code(&it.place));
                let what = escaped(&what(it));
                text.push_str(&format!("| `{sign}` | {object} | {what} | {place} |\n"));
            }
        }
        if !self.irreversible.is_empty() {
            text.push_str("\n#### What cannot be undone\n\n");
            self.irreversible.iter().for_each(|it| text.push_str(&format!("- {it}\n")));
        }
        text
    }

    /// `1 to create, 2 to change; 1 of 4 flows changes`.
    pub fn summary(&self) -> String {
        if self.is_empty() {
            return "no differences".to_owned();
        }
        let all = [
            (Action::Create, "to create"),
            (Action::Change, "to change"),
            (Action::Replace, "to replace"),
            (Action::Delete, "to delete"),
        ];
        let counted = all.into_iter().map(|(action, word)| (self.count(action), word));
        let words: Vec<String> =
            counted.filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let changed = self.changed_flows().count();
        format!("{}; {changed} of {} flows changed", words.join(", "), self.flows.len())
    }
}

fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Change => "~",
        Action::Replace => "-/+",
        Action::Delete => "-",
    }
}

fn what(change: &Change) -> String {
    let differences: Vec<String> = change.properties.iter().map(difference).collect();
    match change.action {
        Action::Create => "new".to_owned(),
        Action::Delete => "no longer declared".to_owned(),
        Action::Change => format!("{}; in place", differences.join("; ")),
        Action::Replace => format!("{}; must be replaced", differences.join("; ")),
    }
}

fn difference(it: &Difference) -> String {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    format!("{} {} → {}", it.property, or(&it.before), or(&it.after))
}

fn from(flow: &Flow) -> String {
    match flow.from.is_empty() {
        true => String::new(),
        false => format!(" from {}", flow.from.join(", ")),
    }
}

fn copies(n: usize) -> String {
    match n {
        0 => "no copy".to_owned(),
        1 => "1 copy".to_owned(),
        n => format!("{n} copies"),
    }
}

fn copy(it: &Copy) -> String {
    match &it.service {
        Some(service) => format!("{} ({service})", it.queue),
        None => it.queue.clone(),
    }
}

/// Whether a service that loses a copy gets another one.
fn moved(flow: &Flow, lost: &Copy) -> String {
    match &lost.service {
        Some(service) if flow.services_lost().contains(service.as_str()) => {
            format!(": {service} gets no copy any more")
        }
        Some(service) => format!(": {service} still gets one elsewhere"),
        None => String::new(),
    }
}

/// What a reviewer must not overlook.
fn loss(flow: &Flow) -> Option<String> {
    let lost: Vec<&str> = flow.services_lost().into_iter().collect();
    match (flow.after.is_empty(), lost.is_empty()) {
        (true, _) => Some(format!("{} reaches nobody any more", code(&flow.message))),
        (false, false) => {
            let names: Vec<String> = lost.into_iter().map(code).collect();
            Some(format!("{} no longer reaches {}", code(&flow.message), names.join(", ")))
        }
        (false, true) => None,
    }
}

/// Copies of one side, marked where the other side does not have them.
fn cell(own: &[Copy], other: &[Copy], mark: &str) -> String {
    let text = |it: &Copy| {
        let mark = if other.contains(it) { "" } else { mark };
        format!("{mark}{}{mark}", escaped(&copy(it)))
    };
    match own.is_empty() {
        true => "nobody".to_owned(),
        false => own.iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for it in text.chars() {
        if matches!(it, '|' | '*' | '_' | '#' | '<' | '`' | '~' | '\\') {
            escaped.push('\\');
        }
        escaped.push(it);
    }
    escaped
}
