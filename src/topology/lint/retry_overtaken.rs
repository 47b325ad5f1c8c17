//! ORD-002: messages that overtake the one of their key that waits for its retry.

use crate::topology::declared::Mode;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "ORD-002", name: "retry-overtaken" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue keeps order per key and tries failed messages again, and does not say what \
           becomes of a key while its message waits: by default the next messages of the key go \
           on, and overtake it. Write `on_failure = \"hold\"`, so that the key waits with it, or \
           \"skip\" where a late message is harmless. A queue with `consumers = \"single-active\"` \
           cannot hold, and is found when messages that declare an `order` reach it.",
    wrong: "[services.books]\n\
            [queues.books]\n\
            service = \"books\"\n\
            consumers = \"keyed\"\n\
            key = \"header:user_id\"\n\
            retry = { attempts = 5, first = \"10s\" }\n",
    right: "[services.books]\n\
            [queues.books]\n\
            service = \"books\"\n\
            consumers = \"keyed\"\n\
            key = \"header:user_id\"\n\
            on_failure = \"hold\"\n\
            retry = { attempts = 5, first = \"10s\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(policy) = queue.retry.as_ref().filter(|it| it.attempts.value != 1) else {
            continue;
        };
        let (keeps, help) = match &queue.mode {
            Mode::Keyed(keyed) if keyed.on_failure_origin.is_none() => (
                Some(keyed.source.origin),
                "add `on_failure = \"hold\"`, so that the key waits with its message; \"skip\" if \
                 it may be overtaken",
            ),
            Mode::SingleActive => (
                ordered(facts, queue),
                "write `consumers = \"keyed\"` with `on_failure = \"hold\"`; it keeps order with any \
                 number of consumers",
            ),
            Mode::Keyed(_) | Mode::Compete | Mode::Tap => continue,
        };
        let Some(keeps) = keeps else { continue };
        let title = format!("in `{}` a message that is tried again is overtaken", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (policy.origin, "it waits"))
                .also(keeps, "in order by this")
                .help(help)
                .about(queue.origin),
        );
    }
}

/// Where a message that reaches the queue declares its order.
fn ordered(facts: &Facts<'_>, queue: &Queue) -> Option<Origin> {
    let mut ordered = facts.published().filter(|(_, it)| it.order.is_some());
    let found = ordered.find(|(exchange, message)| {
        facts.queues_reached(exchange, message).any(|it| it.name == queue.name)
    });
    found.and_then(|(_, message)| message.order.as_ref()).map(|it| it.origin)
}
