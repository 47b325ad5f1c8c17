//! QUE-012: messages of several priorities that are dead-lettered by their age.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "QUE-012", name: "priority-expires-late" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue has priorities, and dead-letters what has waited for some time, as the queues \
           of a hand-built retry do. RabbitMQ lets messages expire at the head of each priority \
           only, so that those of a high one wait for others to be delivered or to expire, and \
           come back late. This broker lets them expire where they stand. A `retry` policy in the \
           queue that fails keeps priorities and waits apart in both.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            max_priority = 3\n\
            dead_letter = { exchange = \"\", key = \"jobs.wait\" }\n\
            [queues.\"jobs.wait\"]\n\
            ttl = \"10s\"\n\
            max_priority = 3\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            max_priority = 3\n\
            retry = { attempts = 5, first = \"10s\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let (Some(highest), Some(_)) = (queue.max_priority, &queue.dead_letter) else { continue };
        let own = || -> Option<Origin> {
            let mut expiring = facts.published().filter(|(_, it)| it.expiration.is_some());
            let found = expiring.find(|(exchange, message)| {
                facts.queues_reached(exchange, message).any(|it| it.name == queue.name)
            });
            found.and_then(|(_, message)| message.expiration).map(|it| it.origin)
        };
        let Some(expires) = queue.message_ttl().map(|it| it.origin).or_else(own) else { continue };
        let title = format!("on RabbitMQ, messages of `{}` are dead-lettered late", queue.name);
        let at = (highest.origin, "of each priority, only the first one expires");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, at)
                .also(expires, "they expire")
                .help(
                    "delete `max_priority` where messages only wait; or write a `retry` policy in \
                     the queue that fails",
                )
                .about(queue.origin),
        );
    }
}
