//! QUE-006: a backlog that goes with the last consumer.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-006", name: "backlog-auto-deleted" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue in which a service's work waits is deleted when its last consumer leaves, \
           with everything in it: a deploy or a network fault is enough. Queues of single \
           instances belong under `consumers = \"per-instance\"`.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            auto_delete = true\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        if !queue.auto_delete || queue.service().is_none() || queue.is_tap() {
            continue;
        }
        let title = format!("the messages of `{}` go when its last consumer leaves", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "auto-delete"))
                .help("delete `auto_delete`, or write `consumers = \"per-instance\"`")
                .about(queue.origin),
        );
    }
}
