//! DLX-006: a message that fails for ever in a queue that keeps order.

use crate::topology::declared::Mode;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-006", name: "poison-blocks-order" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue keeps order, and a message that fails in it is tried without end: \
           everything behind it, or everything of its key, waits for ever.",
    wrong: "[services.books]\n\
            [queues.books]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            retry = { attempts = 0, delivery_limit = 0 }\n",
    right: "[services.books]\n\
            [queues.books]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            retry = { attempts = 5 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let ordered = match &queue.mode {
            Mode::SingleActive => true,
            Mode::Keyed(keyed) => keyed.hold,
            Mode::Compete | Mode::Tap => false,
        };
        let Some(policy) = &queue.retry else { continue };
        let endless = policy.attempts.value == 0 || queue.requeue_immediate;
        if !ordered || !endless || policy.deliveries_max().is_some() {
            continue;
        }
        let title = format!("a message that always fails stops `{}` for ever", queue.name);
        report.add(
            Diagnostic::new(
                CODE,
                Severity::Warning,
                title,
                (policy.attempts.origin, "without end"),
            )
            .also(queue.mode_origin, "the others wait")
            .help(
                "give the policy `attempts` or a `delivery_limit`, so that it is parked in the end",
            )
            .about(queue.origin),
        );
    }
}
