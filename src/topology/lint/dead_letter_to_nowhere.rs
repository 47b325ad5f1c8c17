//! DLX-001: a dead-letter exchange that is not there.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
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
