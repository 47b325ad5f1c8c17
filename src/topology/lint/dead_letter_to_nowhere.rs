//! DLX-001: a dead-letter exchange that is not there.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::subject::Subject;
use crate::topology::lint::undeclared_reference::is_exchange;
use crate::topology::load::value;

const CODE: Code = Code { id: "DLX-001", name: "dead-letter-to-nowhere" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue gives its dead letters to an exchange that no file declares. AMQP brokers accept \
           such a queue and drop its dead letters. Allow it only where a client declares the \
           exchange.",
    wrong: "[services.billing]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            dead_letter = { exchange = \"dlx.typo\" }\n\
            [exchanges.dlx]\n\
            type = \"fanout\"\n\
            [queues.dead]\n\
            bindings = [{ exchange = \"dlx\" }]\n",
    right: "[services.billing]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            dead_letter = { exchange = \"dlx\" }\n\
            [exchanges.dlx]\n\
            type = \"fanout\"\n\
            [queues.dead]\n\
            bindings = [{ exchange = \"dlx\" }]\n",
    find,
};

/// Queues that clients made: those of files are looked at without a broker.
pub(in crate::topology::lint) fn find_live(subject: &Subject<'_>, report: &mut Report) {
    let Some(live) = subject.live else { return };
    for (name, vhost) in &live.observed.vhosts {
        let Some(declared) = subject.topology.vhost(name) else { continue };
        for (queue, it) in &vhost.queues {
            let arguments = it.arguments.table().unwrap_or_default();
            let letter = arguments.get("x-dead-letter-exchange").and_then(|it| it.as_text());
            let Some(letter) = letter.filter(|_| !declared.queues.contains_key(queue.as_str()))
            else {
                continue;
            };
            let is_there = letter.is_empty() || letter.starts_with("amq.");
            if is_there || vhost.exchanges.contains_key(letter) {
                continue;
            }
            let title = format!(
                "dead letters of `{queue}`, which a client made, go to `{letter}`, which is not on \
                 the broker"
            );
            let at = (declared.origin, "the files of this vhost");
            report.add(
                Diagnostic::new(CODE, Severity::Error, title, at)
                    .help(format!("declare exchange `{letter}` and a queue bound to it")),
            );
        }
    }
}

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(letter) = &queue.dead_letter else { continue };
        let name = &letter.exchange.value;
        if is_exchange(name, facts.vhost) {
            continue;
        }
        let title =
            format!("dead letters of `{}` go to `{name}`, which no file declares", queue.name);
        let label = "they would be dropped";
        let known = facts.vhost.exchanges.keys().map(|it| it.as_str());
        let help = match value::nearest(name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("declare exchange `{name}` and a queue bound to it"),
        };
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (letter.exchange.origin, label))
                .help(help)
                .about(queue.origin),
        );
    }
}
