//! QUE-002: a limit that drops messages whose publishers had a confirm.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-002", name: "full-queue-drops" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue has a greatest length and does not say what becomes of one message too many. \
           AMQP's default drops the oldest one, although its publisher has been told that it is \
           safe. Where that is meant, write `overflow = \"drop-head\"`.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            limits = { messages = 1000 }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            limits = { messages = 1000, overflow = \"reject-publish\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let limit = queue.limits.messages.or(queue.limits.bytes);
        let (Some(limit), None, None) = (limit, queue.limits.overflow, &queue.dead_letter) else {
            continue;
        };
        let title = format!("`{}` drops confirmed messages when it is full", queue.name);
        let at = (limit.origin, "one more, and the oldest is dropped");
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, at)
                .help(
                    "add `overflow = \"reject-publish\"`, so that publishers are told; or \
                       \"park\", or \"drop-head\" if that is meant",
                )
                .about(queue.origin),
        );
    }
}
