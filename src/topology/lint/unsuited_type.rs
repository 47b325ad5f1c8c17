//! QUE-014: a quorum queue for what quorum queues are bad at.

use crate::amqp::argument::QueueType;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "QUE-014", name: "unsuited-type" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue asks for the type `quorum`, and is temporary (`expires`), holds answers (a test \
           publishes with its name as `reply_to`), may hold more than five million messages, or is \
           one of more than a hundred that get a copy of each message. RabbitMQ keeps a log on \
           several nodes for such a queue, and advises against it for all of these: take a classic \
           queue for what is short-lived, a stream for long backlogs and many readers. Here the \
           type changes nothing about how a queue is kept.",
    wrong: "[services.reports]\n\
            [queues.\"reports.today\"]\n\
            service = \"reports\"\n\
            expires = \"1h\"\n\
            retry = {}\n\
            arguments = { x-queue-type = \"quorum\" }\n",
    right: "[services.reports]\n\
            [queues.reports]\n\
            service = \"reports\"\n\
            retry = {}\n\
            arguments = { x-queue-type = \"quorum\" }\n",
    find,
};

/// COMPAT: the backlog up to which RabbitMQ's manual recommends quorum queues.
const BACKLOG_MAX: u64 = 5_000_000;

/// More copies than these are a large fan-out.
const COPIES_MAX: usize = 100;

fn find(facts: &Facts<'_>, report: &mut Report) {
    let is_quorum = |it: &Queue| it.queue_type() == QueueType::Quorum;
    let answers = answers(facts);
    for queue in facts.vhost.queues.values().filter(|it| is_quorum(it)) {
        if let Some((origin, what)) = unsuited(queue, &answers) {
            let title = format!("`{}` is a quorum queue and {what}", queue.name);
            report.add(finding(title, (origin, "not what quorum queues are for"), queue));
        }
    }
    for (exchange, message) in facts.published() {
        let mut queues = facts.queues_reached(exchange, message).filter(|it| is_quorum(it));
        let Some(first) = queues.next() else { continue };
        let n_copies = queues.count() + 1;
        if n_copies > COPIES_MAX {
            let title = format!("{n_copies} quorum queues get a copy of each message");
            report.add(finding(title, (message.origin, "one message, many logs"), first));
        }
    }
}

fn finding(title: String, at: (Origin, &str), queue: &Queue) -> Diagnostic {
    Diagnostic::new(CODE, Severity::Warning, title, at)
        .help("delete `x-queue-type`, or write `x-queue-type = \"stream\"` for many readers")
        .about(queue.origin)
}

fn unsuited(queue: &Queue, answers: &[String]) -> Option<(Origin, &'static str)> {
    if let Some(expires) = queue.expires {
        return Some((expires.origin, "goes when nobody uses it"));
    }
    if let Some(most) = queue.limits.messages.filter(|it| it.value > BACKLOG_MAX) {
        return Some((most.origin, "may hold more than five million messages"));
    }
    let is_answered = answers.iter().any(|it| *it == queue.name.as_str());
    is_answered.then_some((queue.origin, "holds answers"))
}

/// The queues in which tests wait for answers.
fn answers(facts: &Facts<'_>) -> Vec<String> {
    let published = facts.vhost.scenarios.iter().flat_map(|it| &it.publish);
    let reply_to = |bytes: Vec<u8>| {
        Properties::from_checked(&bytes).text(Property::ReplyTo).map(str::to_owned)
    };
    published.filter_map(|it| reply_to(it.properties.to_bytes())).collect()
}
