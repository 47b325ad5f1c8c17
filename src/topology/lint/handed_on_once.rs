//! DLX-021: dead letters that RabbitMQ hands on at most once, though they were to arrive.

use crate::amqp::argument::Overflow;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-021", name: "handed-on-once" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "`x-dead-letter-strategy = \"at-least-once\"` holds on RabbitMQ only with `overflow = \
           \"reject-publish\"`; without it, the queue falls back to handing dead letters on at \
           most once, and says so in its log alone. `reject-publish-dlx` is nothing that quorum \
           queues have. railpost moves a dead letter in one step, whatever is written.",
    wrong: "[exchanges.dead]\ntype = \"fanout\"\n\
            [queues.dead]\nbindings = [{ exchange = \"dead\" }]\n\
            [queues.bills]\n\
            dead_letter = { exchange = \"dead\" }\n\
            arguments = { x-queue-type = \"quorum\", x-dead-letter-strategy = \"at-least-once\" }\n",
    right: "[exchanges.dead]\ntype = \"fanout\"\n\
            [queues.dead]\nbindings = [{ exchange = \"dead\" }]\n\
            [queues.bills]\n\
            dead_letter = { exchange = \"dead\" }\n\
            limits = { messages = 1_000_000, overflow = \"reject-publish\" }\n\
            arguments = { x-queue-type = \"quorum\", x-dead-letter-strategy = \"at-least-once\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let says = |key: &str, word: &str| {
            queue.arguments.get(key).and_then(|it| it.as_text()) == Some(word)
        };
        let overflow = queue.limits.overflow();
        let is_quorum = says("x-queue-type", "quorum");
        let wanted = says("x-dead-letter-strategy", "at-least-once");
        let (title, help) = if wanted && overflow != Overflow::RejectPublish {
            (
                format!("dead letters of `{}` may be lost on RabbitMQ on their way", queue.name),
                "say `overflow = \"reject-publish\"` in its limits",
            )
        } else if is_quorum && overflow == Overflow::RejectPublishDeadLetter {
            (
                format!(
                    "`{}` is a quorum queue, which dead-letters nothing it refuses",
                    queue.name
                ),
                "say `overflow = \"reject-publish\"`",
            )
        } else {
            continue;
        };
        let at = (queue.origin, "not kept on RabbitMQ");
        report.add(Diagnostic::new(CODE, Severity::Warning, title, at).help(help));
    }
}
