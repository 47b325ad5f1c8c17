//! DLX-010: a queue in which messages wait for different times, one behind the other.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::name::QueueName;
use crate::amqp::time::Millis;
use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-010", name: "waits-in-line" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Messages with different expirations wait in one queue to be dead-lettered. On RabbitMQ \
           a message expires when it is at the head of its queue: one that asked for 200 ms comes \
           out after the 3 s of the one before it. This broker lets them expire where they stand; \
           a retry policy, or an exchange that holds messages back (`x-delayed-message`), says \
           what is meant and works in both.",
    wrong: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            [queues.\"jobs.wait\"]\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n\
            messages = [\n\
            { from = \"worker\", expiration = \"1s\", headers = { try = 1 } },\n\
            { from = \"worker\", expiration = \"30s\", headers = { try = 2 } },\n\
            ]\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            retry = { attempts = 3, first = \"1s\", multiplier = 30.0 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    if facts.published().all(|(_, message)| message.expiration.is_none()) {
        return;
    }
    let mut waiting: BTreeMap<&QueueName, (&Queue, Vec<&Publication>)> = BTreeMap::new();
    for (exchange, message) in facts.published() {
        for queue in facts.queues_reached(exchange, message) {
            if queue.dead_letter.is_some() && queue.services.is_empty() {
                let known = waiting.entry(&queue.name).or_insert((queue, Vec::new()));
                known.1.push(message);
            }
        }
    }
    for (queue, messages) in waiting.into_values() {
        let waits: BTreeSet<Option<Millis>> = messages.iter().map(|it| wait(it, queue)).collect();
        let Some(expiration) = messages.iter().find_map(|it| it.expiration) else { continue };
        if waits.len() < 2 {
            continue;
        }
        let title = format!("on RabbitMQ, messages in `{}` wait for those before them", queue.name);
        let at = expiration.origin;
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (at, "not the same for all"))
                .also(queue.origin, "they wait here, in one line")
                .help(
                    "write a `retry` policy in the queue that fails; or a queue with a `ttl` for \
                     each wait",
                )
                .about(queue.origin),
        );
    }
}

/// How long a message waits here; the shorter of the two times counts.
fn wait(message: &Publication, queue: &Queue) -> Option<Millis> {
    let own = message.expiration.map(|it| it.value);
    own.into_iter().chain(queue.message_ttl().map(|it| it.value)).min()
}
