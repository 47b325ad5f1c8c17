//! SEC-004: a publisher that chooses receivers by itself.

use std::collections::BTreeSet;

use crate::amqp::name::ServiceName;
use crate::topology::declared::Exchange;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;
use crate::topology::load::fields::quoted;

const CODE: Code = Code { id: "SEC-004", name: "publisher-copies" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A declared message has a `CC` or `BCC` header: its publisher adds routing keys of its \
           own, one by one and unseen by whoever reads the files. It matters where the exchange \
           is wide and the publisher a stranger there: several services have queues bound to it, \
           and the publisher owns none of them. A service that owns one of the receivers may \
           send copies to its peers.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [services.audit]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            messages = [{ key = \"created\", from = \"shop\", headers = { CC = [\"paid\"] } }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n\
            [queues.audit]\n\
            service = \"audit\"\n\
            bindings = [{ exchange = \"orders\", key = \"paid\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [services.audit]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            delivers = \"broadcast\"\n\
            messages = [{ key = \"created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n\
            [queues.audit]\n\
            service = \"audit\"\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.publications() {
        let Some(header) = ["CC", "BCC"].iter().find(|it| message.headers.get(it).is_some()) else {
            continue;
        };
        let owners = owners(facts, exchange);
        let Some(from) = message.from.iter().find(|it| !owners.contains(&it.value)) else {
            continue;
        };
        if owners.len() < 2 {
            continue;
        }
        let title = format!(
            "`{}` chooses receivers of its own at `{}`, by the header `{header}`",
            from.value, exchange.name
        );
        let who = quoted(owners.iter().map(|it| it.as_str()));
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (message.origin, "adds routing keys"))
                .note(format!("queues of {who} can be reached that way"))
                .help("publish once for each key, or bind the receivers to the one there is")
                .about(exchange.origin),
        );
    }
}

/// The services with a queue that this exchange leads to, by whatever key.
fn owners<'t>(facts: &Facts<'t>, exchange: &'t Exchange) -> BTreeSet<&'t ServiceName> {
    let bindings = facts.bindings();
    let (mut owners, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut todo = vec![&exchange.name];
    while let Some(name) = todo.pop() {
        if !seen.insert(name) {
            continue;
        }
        for (_, to) in bindings.iter().filter(|(it, _)| it.exchange.value == *name) {
            match to {
                Bound::Queue(it) => owners.extend(it.services.iter().map(|it| &it.value)),
                Bound::Instances(it) => owners.extend(it.services.iter().map(|it| &it.value)),
                Bound::Exchange(it) => todo.push(&it.name),
            }
        }
    }
    owners
}
