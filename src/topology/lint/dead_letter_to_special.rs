//! DLX-013: dead letters at an exchange that does more than route.

use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-013", name: "dead-letter-to-special" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Dead letters go to an exchange that holds messages back, or that spreads them by a \
           hash. A dead letter waits only if it still has a positive `x-delay`, and one that was \
           held back before has none, so that it comes at once; a hash of a fixed `key` is always \
           the same, and one of the message's own key puts the failed messages of a key where \
           nobody looks for them. LavinMQ leaves both out for dead letters.",
    wrong: "[services.worker]\n\
            [exchanges.later]\n\
            type = \"x-delayed-message\"\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            bindings = [{ exchange = \"later\", key = \"jobs\" }]\n\
            dead_letter = { exchange = \"later\", key = \"jobs\" }\n",
    right: "[services.worker]\n\
            [exchanges.later]\n\
            type = \"x-delayed-message\"\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            bindings = [{ exchange = \"later\", key = \"jobs\" }]\n\
            retry = { attempts = 5, first = \"10s\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(letter) = &queue.dead_letter else { continue };
        let Some(exchange) = facts.exchange(&letter.exchange.value) else { continue };
        let hashes = matches!(exchange.kind.value, Kind::ConsistentHash | Kind::ModulusHash);
        let (of, name) = (&queue.name, &exchange.name);
        let (title, label) = match (exchange.delays, hashes) {
            (true, _) => (
                format!("`{name}` does not hold back the dead letters of `{of}`"),
                "waits for other messages",
            ),
            (false, true) => (
                format!("`{name}` spreads the dead letters of `{of}` by a hash"),
                "a hash chooses one of its queues",
            ),
            (false, false) => continue,
        };
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (letter.exchange.origin, label))
                .also(exchange.kind.origin, "its type")
                .help(
                    "let dead letters go to a direct or fanout exchange of their own; to try \
                     again later, write a `retry` policy",
                )
                .about(queue.origin),
        );
    }
}
