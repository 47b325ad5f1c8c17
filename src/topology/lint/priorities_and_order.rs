//! QUE-011: priorities that starve, or break an order.

use crate::topology::declared::Mode;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-011", name: "priorities-and-order" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue has more than ten priorities, each of which costs memory and most of which \
           nobody can tell apart; or it has priorities and keeps order, and a message of a \
           higher priority overtakes those before it.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            max_priority = 100\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            max_priority = 4\n",
    find,
};

/// COMPAT: what RabbitMQ's manual recommends at most.
const USEFUL_PRIORITIES: u8 = 10;

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(highest) = &queue.max_priority else { continue };
        let ordered = match queue.mode {
            Mode::SingleActive | Mode::Keyed(_) => true,
            Mode::Compete | Mode::Tap => false,
        };
        let (title, label, help) = match (ordered, highest.value > USEFUL_PRIORITIES) {
            (true, _) => (
                format!("priorities break the order that `{}` keeps", queue.name),
                "overtakes",
                "delete `max_priority`, or let consumers compete",
            ),
            (false, true) => (
                format!("`{}` has {} priorities", queue.name, highest.value),
                "more than anybody needs",
                "ten are enough; three mostly are",
            ),
            (false, false) => continue,
        };
        let new = Diagnostic::new(CODE, Severity::Warning, title, (highest.origin, label));
        report.add(new.help(help).about(queue.origin));
    }
}
