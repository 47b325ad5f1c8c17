//! FAN-005: a service with two queues for one message.

use std::collections::BTreeMap;

use crate::amqp::name::ServiceName;
use crate::routing::Kind;
use crate::topology::declared::Binding;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::could_match;

const CODE: Code = Code { id: "FAN-005", name: "subscribed-twice" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Two queues of one service both match some message, so the service handles it twice: \
           a queue gets one copy however many of its bindings match, but two queues get two.",
    wrong: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.\"billing.all\"]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"#\" }]\n\
            [queues.\"billing.created\"]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    right: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.\"billing.paid\"]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.paid\" }]\n\
            [queues.\"billing.created\"]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    find,
};

/// Pairs of bindings are compared up to this many per service and exchange.
const COMPARED_MAX: usize = 200;

fn find(facts: &Facts<'_>, report: &mut Report) {
    let mut all: BTreeMap<(&str, &ServiceName), Vec<(&Binding, &Queue)>> = BTreeMap::new();
    for (binding, bound) in facts.bindings() {
        if let Bound::Queue(queue) = bound
            && let Some(service) = queue.service()
            && !queue.is_tap()
        {
            let of = all.entry((&binding.exchange.value, service)).or_default();
            of.push((binding, queue));
        }
    }
    for ((exchange, service), bindings) in all {
        let comparable = [Kind::Direct, Kind::Topic, Kind::Fanout];
        let Some(kind) = facts.kind(exchange).filter(|it| comparable.contains(it)) else {
            continue;
        };
        let pair = first_pair(kind, &bindings[..bindings.len().min(COMPARED_MAX)]);
        let Some(((one, first), (two, second))) = pair else { continue };
        let title = format!(
            "service `{service}` would handle some messages of `{exchange}` twice, by `{}` and `{}`",
            first.name, second.name
        );
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (two.origin, "a second copy"))
                .also(one.origin, "the first copy")
                .help("bind one queue with both keys, or let the keys differ")
                .about(first.origin)
                .about(second.origin),
        );
    }
}

type Pair<'t> = ((&'t Binding, &'t Queue), (&'t Binding, &'t Queue));

fn first_pair<'t>(kind: Kind, all: &[(&'t Binding, &'t Queue)]) -> Option<Pair<'t>> {
    for (at, two) in all.iter().enumerate() {
        let same = |one: &&(&Binding, &Queue)| {
            one.1.name != two.1.name
                && could_match(kind, &one.0.key.value, &two.0.key.value, || false)
        };
        if let Some(one) = all[..at].iter().find(same) {
            return Some((*one, *two));
        }
    }
    None
}
