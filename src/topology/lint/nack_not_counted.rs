//! DLX-008: a limit of deliveries that consumers never reach.

use crate::amqp::argument::QueueType;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::scenario::Outcome;

const CODE: Code = Code { id: "DLX-008", name: "nack-not-counted" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A quorum queue has a limit of deliveries or growing waits by its arguments \
           (`x-delivery-limit`, `x-delayed-retry-*`), and its consumers give messages back with \
           `basic.nack`, as a test says. As on RabbitMQ since 4.3, that does not count as a failed \
           delivery of a quorum queue: the limit is never reached, the wait never grows there, and \
           the message comes back for ever. `basic.reject` counts; so does every failure with a \
           `retry` policy.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            arguments = { x-queue-type = \"quorum\", x-delivery-limit = 4 }\n\
            [[tests]]\n\
            name = \"a mail that cannot be sent\"\n\
            publish = { exchange = \"\", key = \"mail.send\" }\n\
            when = { \"mail.send\" = \"nack-requeue\" }\n\
            until = \"1m\"\n\
            left = { \"mail.send\" = 0 }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5 }\n\
            [[tests]]\n\
            name = \"a mail that cannot be sent\"\n\
            publish = { exchange = \"\", key = \"mail.send\" }\n\
            when = { \"mail.send\" = \"nack-requeue\" }\n\
            parked = { \"mail.send\" = 1 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let limit = queue.spelled_out.iter().find(|it| it.key == "retry");
        let Some(limit) = limit.filter(|_| queue.queue_type() == QueueType::Quorum) else {
            continue;
        };
        let answers = facts.vhost.scenarios.iter().filter_map(|it| it.when.get(&queue.name));
        let mut nacks = answers.filter(|it| it.value.contains(&Outcome::Nack { requeue: true }));
        let Some(nack) = nacks.next() else { continue };
        let title = format!("messages that fail in `{}` come back for ever", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (limit.origin, "never reached"))
                .also(nack.origin, "counts as no failed delivery")
                .help("let consumers use `basic.reject`, or write a `retry` policy instead")
                .about(queue.origin),
        );
    }
}
