//! QUE-010: a backlog that is deleted while nobody looks.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-010", name: "work-queue-expires" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue of a service is deleted with everything in it once it has had no consumer \
           for a while. That is when its messages are needed most, and they are not dead- \
           lettered.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            expires = \"1h\"\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            limits = { age = \"3d\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(expires) = &queue.expires else { continue };
        if queue.service().is_none() || queue.is_tap() {
            continue;
        }
        let title = format!(
            "`{}` is deleted with its messages after {} without a consumer",
            queue.name, expires.value
        );
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (expires.origin, "and its backlog"))
                .help("let messages expire instead: `limits = { age = \"3d\" }`")
                .about(queue.origin),
        );
    }
}
