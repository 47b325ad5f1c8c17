//! OPS-004: two environments in one vhost.

use std::collections::BTreeMap;

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::environment_in_name::ENVIRONMENTS;
use crate::topology::lint::facts::Facts;
use crate::topology::load::fields::quoted;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "OPS-004", name: "environments-mixed" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Names of one vhost begin or end with those of different environments. What is tried \
           in one can fill the disk of the other, take its messages, or be bound to its \
           exchanges. A vhost is the least that keeps them apart, a broker of its own is better. \
           A name with one environment only is QUE-015.",
    wrong: "[services.worker]\n\
            [queues.jobs-prod]\n\
            service = \"worker\"\n\
            [queues.jobs-staging]\n\
            service = \"worker\"\n",
    right: "vhost = \"staging\"\n\
            [services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let vhost = facts.vhost;
    let queues = vhost.queues.values().map(|it| (it.name.as_str(), it.origin));
    let exchanges = vhost.exchanges.values().map(|it| (it.name.as_str(), it.origin));
    let services = vhost.services.values().map(|it| (it.name.as_str(), it.origin));
    let mut first: BTreeMap<&str, (Origin, &str)> = BTreeMap::new();
    for (name, origin) in queues.chain(exchanges).chain(services) {
        for environment in environments(name) {
            let at = first.entry(environment).or_insert((origin, name));
            *at = (*at).min((origin, name));
        }
    }
    let mut all: Vec<(Origin, &str)> = first.values().copied().collect();
    all.sort_unstable();
    all.dedup();
    let [(one, _), (other, _), more @ ..] = &all[..] else { return };
    let names = quoted(first.keys().copied());
    let title = format!("vhost `{}` has objects of {names}", vhost.name);
    let mut new = Diagnostic::new(CODE, Severity::Warning, title, (*other, "another environment"))
        .also(*one, "one environment")
        .help("give each environment its own vhost or broker, and leave it out of the names")
        .about(*one)
        .about(*other);
    for (origin, _) in more {
        new = new.also(*origin, "a further one").about(*origin);
    }
    report.add(new);
}

/// The environments a name begins and ends with, each by one word.
fn environments(name: &str) -> impl Iterator<Item = &'static str> {
    let mut words = name.split(['.', '-', '_', '/', ':']).filter(|it| *it != name);
    let (first, last) = (words.next(), words.next_back());
    first.into_iter().chain(last).filter_map(|word| {
        let known = ENVIRONMENTS.iter().find(|it| **it == word)?;
        Some(match *known {
            "development" => "dev",
            "stage" => "staging",
            "production" => "prod",
            known => known,
        })
    })
}
