//! DLX-026: copies that a message asks for, and its dead letter does not get.

use crate::amqp::table::Value;
use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-026", name: "copies-lost" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A message is published with the header `CC`, which gives it more routing keys, and \
           reaches a queue whose dead letters get a `key` of their own. Such a letter goes by that \
           key alone; RabbitMQ removes the header besides. The queues behind the other keys get no \
           dead letter. Without `key` a dead letter keeps all its keys.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            delivers = \"broadcast\"\n\
            messages = [{ key = \"created\", from = \"shop\", headers = { CC = [\"audit\"] } }]\n\
            [exchanges.failed]\n\
            type = \"fanout\"\n\
            delivers = \"work\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n\
            dead_letter = { exchange = \"failed\", key = \"billing\" }\n\
            [queues.failed]\n\
            bindings = [{ exchange = \"failed\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            delivers = \"broadcast\"\n\
            messages = [{ key = \"created\", from = \"shop\", headers = { CC = [\"audit\"] } }]\n\
            [exchanges.failed]\n\
            type = \"fanout\"\n\
            delivers = \"work\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n\
            dead_letter = { exchange = \"failed\" }\n\
            [queues.failed]\n\
            bindings = [{ exchange = \"failed\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.published() {
        let Some(copies) = message.headers.get("CC").and_then(Value::as_array) else { continue };
        let mut reached: Vec<&Queue> = facts.queues_reached(exchange, message).collect();
        for key in copies.iter().filter_map(Value::as_text) {
            for end in facts.reach_of(exchange, key, &message.headers) {
                match end {
                    End::Queue(it) if !reached.iter().any(|known| known.name == it.name) => {
                        reached.push(it);
                    }
                    End::Queue(_) | End::Lot | End::Instances => {}
                }
            }
        }
        reached.into_iter().for_each(|it| judge(message, it, report));
    }
}

fn judge(message: &Publication, queue: &Queue, report: &mut Report) {
    let Some(key) = queue.dead_letter.as_ref().and_then(|it| it.key.as_ref()) else { return };
    let title = format!("dead letters of `{}` go by one key, and lose those of `CC`", queue.name);
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (key.origin, "the only key of the letter"))
            .also(message.origin, "published by several keys")
            .help("delete `key`, or bind what needs the letters to the dead-letter exchange by it")
            .about(queue.origin),
    );
}
