//! ORD-001: messages whose order matters, in a queue that does not keep it.

use crate::topology::declared::Mode;
use crate::topology::declared::Publication;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "ORD-001", name: "order-not-kept" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A message declares that those of one key must be handled in order (`order = \
           \"header:user_id\"`), and a queue it reaches has competing consumers: two of them hold \
           two messages of one key at once, and either may be done first.",
    wrong: "[services.shop]\n\
            [services.books]\n\
            [exchanges.payments]\n\
            type = \"fanout\"\n\
            messages = [{ from = \"shop\", order = \"header:user_id\" }]\n\
            [queues.books]\n\
            service = \"books\"\n\
            bindings = [{ exchange = \"payments\" }]\n",
    right: "[services.shop]\n\
            [services.books]\n\
            [exchanges.payments]\n\
            type = \"fanout\"\n\
            messages = [{ from = \"shop\", order = \"header:user_id\" }]\n\
            [queues.books]\n\
            service = \"books\"\n\
            consumers = \"keyed\"\n\
            key = \"header:user_id\"\n\
            bindings = [{ exchange = \"payments\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.publications() {
        judge(facts, &exchange.name, message, report);
    }
    for queue in facts.vhost.queues.values() {
        queue.messages.iter().for_each(|message| judge(facts, "", message, report));
    }
}

fn judge(facts: &Facts<'_>, exchange: &str, message: &Publication, report: &mut Report) {
    let Some(order) = &message.order else { return };
    for end in facts.reach(exchange, message) {
        let End::Queue(queue) = end else { continue };
        let kept = match &queue.mode {
            Mode::SingleActive | Mode::Tap => true,
            Mode::Keyed(keyed) => keyed.source.value == order.value,
            Mode::Compete => false,
        };
        if kept {
            continue;
        }
        let title = format!("`{}` does not keep the order that its messages need", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (queue.mode_origin, "any order"))
                .also(order.origin, "in order by this")
                .help("write `consumers = \"keyed\"` with this key, or \"single-active\"")
                .about(queue.origin),
        );
    }
}
