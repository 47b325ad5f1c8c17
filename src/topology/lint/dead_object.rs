//! RTE-011: exchanges and queues that no message can come to.

use std::collections::BTreeSet;

use crate::amqp::name::QueueName;
use crate::topology::declared::Exchange;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::ladder;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-011", name: "dead-object" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Nobody publishes to an exchange, no other exchange leads to it and no dead letters go \
           there; or a queue has no binding, nobody publishes to it by its name and no dead \
           letters reach it. Either it is a leftover, or what leads to it was forgotten. Looked at \
           where the files of a vhost say who publishes what (`messages`); an internal exchange, \
           and one to which nothing is bound either, need nobody to say so. What a test publishes \
           counts.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [exchanges.invoices]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
            [queues.refunds]\n\
            service = \"billing\"\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
            [queues.refunds]\n\
            service = \"billing\"\n\
            messages = [{ from = \"billing\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    if !facts.whole {
        return;
    }
    let says_who_publishes = facts.published().next().is_some();
    let bindings = facts.bindings();
    for exchange in facts.vhost.exchanges.values() {
        let leads_on = bindings.iter().any(|(it, _)| it.exchange.value == exchange.name);
        let is_certain = says_who_publishes || exchange.internal || !leads_on;
        if !is_certain || is_reached(facts, exchange) {
            continue;
        }
        let title = format!("no message comes to exchange `{}`", exchange.name);
        report.add(
            Diagnostic::new(
                CODE,
                Severity::Warning,
                title,
                (exchange.origin, "nothing leads here"),
            )
            .help("delete it, or say who publishes to it: `messages = [{ from = \"…\" }]`")
            .about(exchange.origin),
        );
    }
    if !says_who_publishes {
        return;
    }
    let queues = facts.vhost.queues.values();
    let letters = queues.flat_map(|it| ladder::letters(facts, it));
    let dead: BTreeSet<&QueueName> = letters.map(|it| &it.name).collect();
    for queue in facts.vhost.queues.values() {
        if !queue.bindings.is_empty()
            || !queue.messages.is_empty()
            || dead.contains(&queue.name)
            || is_tested(facts, "", Some(&queue.name))
        {
            continue;
        }
        let title = format!("no message comes to queue `{}`", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "nothing leads here"))
                .help(
                    "add `bindings`, or `messages` for those who publish to it by its name; or \
                     delete it",
                )
                .about(queue.origin),
        );
    }
}

fn is_reached(facts: &Facts<'_>, exchange: &Exchange) -> bool {
    let is_this = |name: &str| name == exchange.name.as_str();
    let alternates = facts.vhost.exchanges.values().filter_map(|it| it.alternate.as_ref());
    let letters = facts.vhost.queues.values().filter_map(|it| it.dead_letter.as_ref());
    !exchange.messages.is_empty()
        || !exchange.bindings.is_empty()
        || alternates.map(|it| &it.value).any(|it| is_this(it))
        || letters.map(|it| &it.exchange.value).any(|it| is_this(it))
        || is_tested(facts, &exchange.name, None)
}

/// Whether a test publishes to the exchange, by this key if one is given.
fn is_tested(facts: &Facts<'_>, exchange: &str, key: Option<&str>) -> bool {
    let mut published = facts.vhost.scenarios.iter().flat_map(|it| &it.publish);
    published.any(|it| {
        it.exchange.value.as_str() == exchange && key.is_none_or(|key| it.key.value == key)
    })
}
