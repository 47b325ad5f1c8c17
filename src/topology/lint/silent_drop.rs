//! RTE-002: messages that may find no queue, and are dropped without a word.

use crate::topology::declared::Exchange;
use crate::topology::declared::Publication;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "RTE-002", name: "silent-drop" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A message that no queue takes is confirmed to its publisher and dropped, unless it was \
           published as `mandatory` or its exchange says what becomes of it. Found where that can \
           happen and nobody would notice: the message is declared with `mandatory = false`, or \
           every queue it reaches goes when nobody uses it (`auto_delete`, `expires`), and its \
           exchange has neither `unroutable` nor `alternate`. Not found where files do not say \
           how a message is published, and where a fanout or hash exchange has a queue that stays. \
           Where dropping is meant, write `unroutable = \"drop\"`, which is counted.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.*\", from = \"shop\", mandatory = false }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            unroutable = \"park\"\n\
            messages = [{ key = \"order.*\", from = \"shop\", mandatory = false }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.publications() {
        if exchange.unroutable.is_some() || exchange.alternate.is_some() {
            continue;
        }
        let Some((origin, label)) = reason(facts, exchange, message) else { continue };
        let title =
            format!("messages of `{}` that no queue takes are dropped unnoticed", exchange.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (origin, label))
                .also(exchange.origin, "does not say what becomes of them")
                .help(
                    "add `unroutable = \"park\"` or \"reject\" to the exchange, or an `alternate`; \
                     \"drop\" if that is meant",
                )
                .about(exchange.origin),
        );
    }
}

/// Why a message may find no queue without anybody noticing.
fn reason(
    facts: &Facts<'_>,
    exchange: &Exchange,
    message: &Publication,
) -> Option<(Origin, &'static str)> {
    let ends = facts.reach(&exchange.name, message);
    let lasts = ends.iter().any(|it| match it {
        End::Queue(queue) => !queue.comes_and_goes(),
        End::Lot => true,
        End::Instances => false,
    });
    let takes_all =
        exchange.kind.value == crate::routing::Kind::Fanout || exchange.kind.value.picks_one();
    match message.mandatory {
        Some(it) if it.value => None,
        _ if lasts && takes_all => None,
        Some(it) => Some((it.origin, "not returned to its publisher")),
        None if lasts || !ends.iter().any(|it| matches!(it, End::Queue(_))) => None,
        None => Some((message.origin, "every queue it reaches goes when nobody uses it")),
    }
}
