//! RTE-010: exchanges that lead back to themselves.

use crate::amqp::name::ExchangeName;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

const CODE: Code = Code { id: "RTE-010", name: "exchange-cycle" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Bindings between exchanges, or alternate exchanges, lead in a circle. The broker \
           stops where it has been, without a word, so that a message takes another way than \
           the picture in somebody's head.",
    wrong: "[exchanges.a]\n\
            type = \"topic\"\n\
            bindings = [{ exchange = \"b\", key = \"#\" }]\n\
            [exchanges.b]\n\
            type = \"topic\"\n\
            bindings = [{ exchange = \"a\", key = \"#\" }]\n",
    right: "[exchanges.a]\n\
            type = \"topic\"\n\
            [exchanges.b]\n\
            type = \"topic\"\n\
            bindings = [{ exchange = \"a\", key = \"#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let mut next: BTreeMap<&ExchangeName, Vec<&ExchangeName>> = BTreeMap::new();
    for exchange in facts.vhost.exchanges.values() {
        for binding in &exchange.bindings {
            next.entry(&binding.exchange.value).or_default().push(&exchange.name);
        }
        let alternate = exchange.alternate.as_ref().map(|it| &it.value);
        next.entry(&exchange.name).or_default().extend(alternate);
    }
    let mut reported = BTreeSet::new();
    for exchange in facts.vhost.exchanges.values() {
        let circle = reached(&next, &exchange.name);
        if !circle.contains(&exchange.name) || reported.contains(&exchange.name) {
            continue;
        }
        // Everything on the way that also leads back here is of the same circle.
        let back = |it: &&&ExchangeName| reached(&next, it).contains(&exchange.name);
        reported.extend(circle.iter().filter(back).copied());
        let title =
            format!("messages of `{}` come back to it by way of other exchanges", exchange.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (exchange.origin, "leads back here"))
                .help("delete one of the bindings or alternate exchanges on the way")
                .about(exchange.origin),
        );
    }
}

/// Where messages of an exchange can go from it.
fn reached<'t>(
    next: &BTreeMap<&'t ExchangeName, Vec<&'t ExchangeName>>,
    from: &ExchangeName,
) -> BTreeSet<&'t ExchangeName> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<&ExchangeName> = next.get(from).cloned().unwrap_or_default();
    while let Some(name) = todo.pop() {
        if reached.insert(name) {
            todo.extend(next.get(name).into_iter().flatten());
        }
    }
    reached
}
