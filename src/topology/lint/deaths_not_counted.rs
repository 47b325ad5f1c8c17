//! DLX-009: retries that end by a count which the broker takes away.

use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::ladder;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "DLX-009", name: "deaths-not-counted" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Consumers publish a failed message again, and count its attempts by the header \
           `x-death`, while the vhost removes that header from what clients publish \
           (`client_x_death = \"ignore\"`, and RabbitMQ since 4.0): the count stays at one, and \
           the retries never end. Found where a message is declared with the header `x-death`, \
           and where the consumers of a queue publish to the queue in which its messages wait, \
           without a header that could count. A retry policy counts by itself.",
    wrong: "[vhost]\n\
            client_x_death = \"ignore\"\n\
            [services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            messages = [{ from = \"worker\" }]\n\
            retry = { attempts = 1 }\n\
            [queues.\"jobs.wait\"]\n\
            ttl = \"5s\"\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n\
            messages = [{ from = \"worker\" }]\n",
    right: "[vhost]\n\
            client_x_death = \"ignore\"\n\
            [services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            messages = [{ from = \"worker\" }]\n\
            retry = { attempts = 5, first = \"5s\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let settings = &facts.vhost.settings;
    let Some(ignores) = settings.ignore_client_deaths.filter(|it| it.value) else { return };
    for (exchange, message) in facts.published() {
        if message.headers.get("x-death").is_some() {
            let to = facts.queues_reached(exchange, message).next();
            let title = "`x-death` is removed from a message, and counts nothing".to_owned();
            report_lost(title, message.origin, ignores.origin, to, report);
        }
    }
    for ladder in ladder::all(facts) {
        for wait in &ladder.waits {
            let Some(message) = by_hand(facts, ladder.work, wait) else { continue };
            let title = format!(
                "the attempts of messages that go round by `{}` are not counted",
                wait.name
            );
            report_lost(title, message.origin, ignores.origin, Some(ladder.work), report);
        }
    }
}

/// What the consumers of `work` publish to `wait`, without a header that could count.
fn by_hand<'t>(facts: &Facts<'t>, work: &Queue, wait: &Queue) -> Option<&'t Publication> {
    let fed = ladder::letters(facts, work).iter().any(|it| it.name == wait.name);
    let by_consumer =
        |message: &Publication| message.from.iter().any(|it| Some(&it.value) == work.service());
    let mut published =
        facts.published().filter(|(_, it)| by_consumer(it) && it.headers.is_empty());
    let found = published.find(|(exchange, message)| {
        facts.queues_reached(exchange, message).any(|it| it.name == wait.name)
    });
    found.map(|(_, message)| message).filter(|_| !fed)
}

fn report_lost(
    title: String,
    at: Origin,
    ignores: Origin,
    queue: Option<&Queue>,
    report: &mut Report,
) {
    let new = Diagnostic::new(CODE, Severity::Error, title, (at, "published again by a client"))
        .also(ignores, "removes `x-death` from it")
        .help(
            "reject the message and give the queue a `retry` policy; or write `client_x_death = \
             \"honour\"`",
        );
    report.add(match queue {
        Some(queue) => new.about(queue.origin),
        None => new,
    });
}
