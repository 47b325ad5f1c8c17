//! DLX-011: a queue that is deleted while messages wait in it.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-011", name: "waiting-queue-expires" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Messages wait in this queue until their TTL sends them on, and the queue itself \
           expires when nobody uses it. Nobody uses a queue that only holds messages, so it \
           is deleted with them; what was in it is not dead-lettered.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            [queues.\"jobs.wait\"]\n\
            ttl = \"1m\"\n\
            expires = \"1h\"\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            [queues.\"jobs.wait\"]\n\
            ttl = \"1m\"\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let (Some(expires), Some(_), Some(_)) =
            (&queue.expires, &queue.dead_letter, queue.message_ttl())
        else {
            continue;
        };
        let title = format!("`{}` is deleted with the messages that wait in it", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (expires.origin, "unused for so long"))
                .help("delete `expires`, or write `retry` in the queue the messages come from")
                .about(queue.origin),
        );
    }
}
