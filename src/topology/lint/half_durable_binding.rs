//! QUE-008: a binding that a restart takes away.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-008", name: "half-durable-binding" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A durable queue is bound to an exchange that is not durable, or the other way \
           round. The binding is gone after a restart; until it is declared again, messages \
           go past the queue.",
    wrong: "[services.worker]\n\
            [exchanges.jobs]\n\
            type = \"fanout\"\n\
            durable = false\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            bindings = [{ exchange = \"jobs\" }]\n",
    right: "[services.worker]\n\
            [exchanges.jobs]\n\
            type = \"fanout\"\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            bindings = [{ exchange = \"jobs\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, bound) in facts.bindings() {
        let name = &binding.exchange.value;
        let (Bound::Queue(queue), Some(exchange)) = (bound, facts.exchange(name)) else { continue };
        if queue.durable == exchange.durable || queue.auto_delete {
            continue;
        }
        let (lasts, goes) = match queue.durable {
            true => ("queue", "exchange"),
            false => ("exchange", "queue"),
        };
        let title = format!("a restart takes the binding of `{}` to `{name}`", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (binding.origin, "not durable"))
                .note(format!("the {lasts} is durable and the {goes} is not"))
                .help("let both be durable")
                .about(queue.origin)
                .about(exchange.origin),
        );
    }
}
