//! OPS-003: an exchange or a queue that is not there between two bindings.

use crate::broker::rules::Unroutable;
use crate::topology::declared::Exchange;
use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "OPS-003", name: "gap-after-last-binding" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "`railpost apply` binds what is new before it unbinds what goes, so that a message has \
           a way at every moment. That does not hold for what deletes itself. An exchange with \
           `auto_delete` goes with its last binding, whoever takes that away: until the next \
           apply its publishers have their channels closed, and alternates and dead letters that \
           lead to it go nowhere. A queue with `auto_delete` and no owner goes with its last \
           consumer; it is reported where it is the only receiver of a declared message that is \
           not kept otherwise (for queues of services see QUE-006).",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            auto_delete = true\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for exchange in facts.vhost.exchanges.values().filter(|it| it.auto_delete) {
        let Some(use_of) = use_of(facts, exchange) else { continue };
        let name = &exchange.name;
        let title = format!("exchange `{name}` goes with its last binding, and {use_of}");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (exchange.origin, "auto-delete"))
                .help("delete `auto_delete`")
                .about(exchange.origin),
        );
    }
    for (exchange, message) in facts.publications() {
        let kept = exchange.unroutable() != Unroutable::Return || exchange.alternate.is_some();
        if let (false, Some(queue)) = (kept, only_receiver(facts, exchange, message)) {
            let title = format!(
                "nothing takes `{}` of `{}` once the last consumer of `{}` leaves",
                message.key.value, exchange.name, queue.name
            );
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "auto-delete"))
                    .also(message.origin, "its only way")
                    .help("delete `auto_delete`, or say what becomes of it: `unroutable`")
                    .about(queue.origin)
                    .about(exchange.origin),
            );
        }
    }
}

/// What depends on the exchange being there.
fn use_of(facts: &Facts<'_>, exchange: &Exchange) -> Option<&'static str> {
    let name = &exchange.name;
    let mut exchanges = facts.vhost.exchanges.values();
    if !exchange.messages.is_empty() {
        return Some("services publish to it");
    }
    if exchanges.any(|it| it.alternate.as_ref().is_some_and(|it| it.value == *name)) {
        return Some("it is where unroutable messages go");
    }
    let mut dead_letters = facts.vhost.queues.values().filter_map(|it| it.dead_letter.as_ref());
    let is_target = dead_letters.any(|it| it.exchange.value == *name);
    is_target.then_some("it is where dead letters go")
}

fn only_receiver<'t>(
    facts: &Facts<'t>,
    exchange: &Exchange,
    message: &Publication,
) -> Option<&'t Queue> {
    match facts.reach(&exchange.name, message)[..] {
        [End::Queue(queue)] if queue.auto_delete && queue.services.is_empty() => Some(queue),
        _ => None,
    }
}
