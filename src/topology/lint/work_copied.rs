//! FAN-004: work that more than one queue would get.

use std::collections::BTreeMap;

use crate::broker::rules::Delivers;
use crate::routing::Kind;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::could_match;
use crate::topology::lint::facts::is_pattern;

const CODE: Code = Code { id: "FAN-004", name: "work-copied" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "An exchange hands out work: for each routing key at most one queue. Here one message \
           would go to two queues, so that the work is done twice. It is an error where `delivers \
           = \"work\"` is written, and a warning where it is only the default of the type. A queue \
           with `consumers = \"tap\"` only looks and does not count.",
    wrong: "[services.billing]\n\
            [services.audit]\n\
            [exchanges.commands]\n\
            type = \"direct\"\n\
            delivers = \"work\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"commands\", key = \"charge\" }]\n\
            [queues.audit]\n\
            service = \"audit\"\n\
            bindings = [{ exchange = \"commands\", key = \"charge\" }]\n",
    right: "[services.billing]\n\
            [services.audit]\n\
            [exchanges.commands]\n\
            type = \"direct\"\n\
            delivers = \"work\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"commands\", key = \"charge\" }]\n\
            [queues.audit]\n\
            service = \"audit\"\n\
            consumers = \"tap\"\n\
            bindings = [{ exchange = \"commands\", key = \"charge\" }]\n",
    find,
};

type Subscription<'t> = (&'t Binding, &'t Queue);

fn find(facts: &Facts<'_>, report: &mut Report) {
    let mut by_exchange: BTreeMap<&str, Vec<Subscription<'_>>> = BTreeMap::new();
    for (binding, bound) in facts.bindings() {
        if let Bound::Queue(queue) = bound
            && !queue.is_tap()
        {
            by_exchange.entry(&binding.exchange.value).or_default().push((binding, queue));
        }
    }
    for (name, subscriptions) in by_exchange {
        let Some(exchange) = facts.exchange(name) else { continue };
        let picks_one = exchange.kind.value.picks_one();
        if exchange.delivers() == Delivers::Work && !picks_one {
            for (first, second) in collisions(exchange, &subscriptions) {
                report.add(finding(exchange, first, second));
            }
        }
    }
}

/// For each queue the first other one, if any, that some message would also go to.
fn collisions<'t>(
    exchange: &Exchange,
    all: &[Subscription<'t>],
) -> Vec<(Subscription<'t>, Subscription<'t>)> {
    let mut found: Vec<(Subscription<'t>, Subscription<'t>)> = Vec::new();
    let mut by_key: BTreeMap<&str, Subscription<'t>> = BTreeMap::new();
    let mut patterns: Vec<Subscription<'t>> = Vec::new();
    let kind = exchange.kind.value;
    for it in all {
        let key = &*it.0.key.value;
        // Bindings by headers are compared as if every header could be there.
        let other = |known: &&Subscription<'t>| {
            known.1.name != it.1.name && could_match(kind, &known.0.key.value, key, || true)
        };
        let exact = by_key.get(key).filter(other).or(patterns.iter().find(other));
        let exact = match exact {
            None if kind == Kind::Topic && is_pattern(key) => by_key.values().find(other),
            None if matches!(kind, Kind::Fanout | Kind::Headers) => by_key.values().find(other),
            found => found,
        };
        if let Some(known) = exact {
            found.push((*known, *it));
        }
        if kind == Kind::Topic && is_pattern(key) {
            patterns.push(*it);
        } else {
            by_key.entry(key).or_insert(*it);
        }
    }
    found
}

fn finding(exchange: &Exchange, first: Subscription<'_>, second: Subscription<'_>) -> Diagnostic {
    let severity = match exchange.delivers {
        Some(_) => Severity::Error,
        None => Severity::Warning,
    };
    let title = format!(
        "work of `{}` would be done twice: by `{}` and by `{}`",
        exchange.name, first.1.name, second.1.name
    );
    let says = exchange.delivers.map_or(exchange.kind.origin, |it| it.origin);
    Diagnostic::new(CODE, severity, title, (second.0.origin, "matches the same messages"))
        .also(first.0.origin, "matches them too")
        .also(says, "hands out work")
        .help(
            "let the keys differ, write `consumers = \"tap\"` for the queue that only looks, or \
               `delivers = \"broadcast\"` on the exchange",
        )
        .about(exchange.origin)
        .about(first.1.origin)
        .about(second.1.origin)
}
