//! ORD-004: messages whose order matters, in a queue with priorities.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "ORD-004", name: "priority-reorders" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A message declares that those of one key must be handled in order, and a queue it \
           reaches has priorities, by which a later one overtakes an earlier one.",
    wrong: "[services.shop]\n\
            [services.books]\n\
            [exchanges.payments]\n\
            type = \"fanout\"\n\
            messages = [{ from = \"shop\", order = \"header:user_id\" }]\n\
            [queues.books]\n\
            service = \"books\"\n\
            max_priority = 3\n\
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
        let Some(order) = &message.order else { continue };
        for end in facts.reach(&exchange.name, message) {
            let End::Queue(queue) = end else { continue };
            let Some(highest) = &queue.max_priority else { continue };
            let title = format!("in `{}` messages overtake those of their own key", queue.name);
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (highest.origin, "by priority"))
                    .also(order.origin, "in order by this")
                    .help("delete `max_priority`, or give urgent messages a queue of their own")
                    .about(queue.origin),
            );
        }
    }
}
