//! PUB-010: messages with an expiration of their own, for queues that must not lose them.

use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "PUB-010", name: "expires-on-the-way" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A message is published with an `expiration`, and reaches a durable queue of a service \
           that has no dead-letter exchange: when the service is down or slow for that long, the \
           message goes and nobody hears of it. It is not parked either, since it did not fail. A \
           queue that gives its dead letters away, and a `tap`, are left alone.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\", expiration = \"30s\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            retry = { attempts = 5 }\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            retry = { attempts = 5 }\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.published() {
        for queue in facts.queues_reached(exchange, message) {
            judge(message, queue, report);
        }
    }
}

fn judge(message: &Publication, queue: &Queue, report: &mut Report) {
    let Some(expiration) = message.expiration else { return };
    if queue.service().is_none() || queue.is_tap() || !queue.durable || queue.dead_letter.is_some()
    {
        return;
    }
    let title = format!(
        "messages for `{}` are lost when they wait longer than {}",
        queue.name, expiration.value
    );
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (expiration.origin, "then it is gone"))
            .also(queue.origin, "gives nothing to a dead-letter exchange")
            .help(
                "publish it without an expiration, or give the queue `dead_letter`; where a late \
                 message is worth nothing, allow this with that reason",
            )
            .about(queue.origin),
    );
}
