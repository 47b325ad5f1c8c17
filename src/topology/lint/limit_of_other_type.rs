//! DLX-007: a limit of deliveries on a queue whose type does not know it.

use crate::amqp::argument::QueueType;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "DLX-007", name: "limit-of-other-type" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue has the argument `x-delivery-limit`, or one of `x-delayed-retry-*`, and is no \
           quorum queue. This broker honours them on every queue; RabbitMQ refuses a classic queue \
           that has them, and LavinMQ forgets its counts in a restart, so that the file means \
           something else there. Or a stream has `retry`: a stream keeps its messages and knows \
           no failed ones, so that nothing is retried or parked.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            arguments = { x-delivery-limit = 5 }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 6 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some((origin, what, help)) = ignored(queue) else { continue };
        let queue_type = queue.queue_type().as_str();
        let title = format!("`{}` is a {queue_type} queue, for which {what}", queue.name);
        report.add(
            Diagnostic::new(
                CODE,
                Severity::Warning,
                title,
                (origin, "not for queues of this type"),
            )
            .help(help)
            .about(queue.origin),
        );
    }
}

/// What its type does not know, in which words, and what to do.
fn ignored(queue: &Queue) -> Option<(Origin, String, &'static str)> {
    match queue.queue_type() {
        QueueType::Quorum => None,
        QueueType::Classic => {
            let found = queue.spelled_out.iter().find(|it| it.key == "retry")?;
            let what = format!("other brokers have no `{}`", found.argument);
            let help = "write a `retry` policy; or, for RabbitMQ, add `x-queue-type = \"quorum\"`";
            Some((found.origin, what, help))
        }
        QueueType::Stream => {
            let policy = queue.retry.as_ref()?;
            let help = "delete `retry`, or `x-queue-type`";
            Some((policy.origin, "there are no retries".to_owned(), help))
        }
    }
}
