//! DLX-024: failed messages that come back by way of the exchange, to everybody.

use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::ladder;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "DLX-024", name: "redriven-to-all" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A message that failed in one queue is sent again to the exchange it came by: by the \
           dead-lettering of the queue in which it waited, or by the service that looks at dead \
           letters and publishes there, among others. The services that had handled it get it \
           again. Send it to the queue it failed in, by the queue's name; a `retry` policy and the \
           redrive of a parking lot do just that.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [services.stock]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
            dead_letter = { exchange = \"\", key = \"billing.wait\" }\n\
            [queues.stock]\n\
            service = \"stock\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
            [queues.\"billing.wait\"]\n\
            ttl = \"10s\"\n\
            dead_letter = { exchange = \"orders\", key = \"order.created\" }\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [services.stock]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
            retry = { attempts = 5, first = \"10s\" }\n\
            [queues.stock]\n\
            service = \"stock\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for work in facts.vhost.queues.values().filter(|it| !it.services.is_empty()) {
        let mut behind = ladder::letters(facts, work);
        behind.retain(|it| it.name != work.name);
        for from in std::iter::once(work).chain(behind.iter().copied()) {
            let Some(letter) = &from.dead_letter else { continue };
            let reached = ladder::letters(facts, from);
            if let Some(other) = bystander(work, from, &reached) {
                report.add(finding(work, other, (letter.origin, "back to the exchange")));
            }
        }
        for last in behind {
            if let Some((message, other)) = republished(facts, work, last) {
                report.add(finding(work, other, (message.origin, "published again to all")));
            }
        }
    }
}

/// Another service's queue among those reached, if the queue that failed is reached too.
fn bystander<'t>(work: &Queue, from: &Queue, reached: &[&'t Queue]) -> Option<&'t Queue> {
    if !reached.iter().any(|it| it.name == work.name) {
        return None;
    }
    let mut others = reached.iter().filter(|it| it.name != work.name && it.name != from.name);
    others
        .find(|it| it.service().is_some() && it.service() != work.service() && !it.is_tap())
        .copied()
}

/// What the service that consumes the dead letters in `last` publishes beside others, so that it
/// reaches the queue that failed and one of another service.
fn republished<'t>(
    facts: &Facts<'t>,
    work: &Queue,
    last: &Queue,
) -> Option<(&'t Publication, &'t Queue)> {
    let service = last.service()?;
    for (exchange, message) in facts.published().filter(|(exchange, _)| !exchange.is_empty()) {
        let by_it = message.from.iter().any(|it| it.value == *service);
        let by_others = message.from.iter().any(|it| it.value != *service);
        if !by_it || !by_others {
            continue;
        }
        let reached: Vec<&Queue> = facts.queues_reached(exchange, message).collect();
        if let Some(other) = bystander(work, last, &reached) {
            return Some((message, other));
        }
    }
    None
}

fn finding(work: &Queue, other: &Queue, at: (Origin, &str)) -> Diagnostic {
    let title = format!(
        "messages that failed in `{}` are sent again to `{}` as well",
        work.name, other.name
    );
    Diagnostic::new(CODE, Severity::Warning, title, at)
        .also(other.origin, "had its copy")
        .help(format!(
            "publish them to the default exchange with the key `{}`, or write a `retry` policy",
            work.name
        ))
        .about(work.origin)
}
