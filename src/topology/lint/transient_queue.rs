//! QUE-007: a queue that does not survive a restart.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-007", name: "transient-queue" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue of a service is not durable: after a restart it is declared again, and \
           empty. RabbitMQ refuses such queues since 4.3 unless they are exclusive.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            durable = false\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        if queue.durable || queue.auto_delete || queue.service().is_none() {
            continue;
        }
        let title = format!("the messages of `{}` go with a restart", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "not durable"))
                .help("delete `durable = false`")
                .about(queue.origin),
        );
    }
}
