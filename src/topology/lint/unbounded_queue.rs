//! QUE-001: a queue that may fill the disk.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-001", name: "unbounded-queue" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A durable queue of a service has no limit, neither in messages nor in bytes nor in age. \
           When its consumers stop, it grows until the disk is full, and then the publishers of \
           all queues wait.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            limits = { messages = 1_000_000, overflow = \"reject-publish\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let bounded = !queue.limits.is_empty() || queue.message_ttl().is_some();
        if bounded || !queue.durable || queue.services.is_empty() {
            continue;
        }
        let title = format!("`{}` may grow until the disk is full", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "no limit"))
                .help("add `limits = { messages = 1_000_000, overflow = \"reject-publish\" }`")
                .about(queue.origin),
        );
    }
}
