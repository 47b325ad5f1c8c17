//! DLX-003: a work queue that drops what fails.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-003", name: "no-failure-handling" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue of a service has neither a retry policy nor a dead-letter exchange. A message \
           that its consumer rejects is dropped, and one that it requeues comes back at once and \
           for ever.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5, first = \"1s\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        if queue.services.is_empty()
            || queue.is_tap()
            || queue.retry.is_some()
            || queue.dead_letter.is_some()
            || queue.arguments.get("x-delivery-limit").is_some()
        {
            continue;
        }
        let title = format!("messages of `{}` that fail are dropped", queue.name);
        let at = (queue.origin, "no retry, no dead-letter exchange");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, at)
                .help("add `retry = { attempts = 5, first = \"1s\" }`: what still fails is parked")
                .about(queue.origin),
        );
    }
}
