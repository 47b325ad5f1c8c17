//! RTE-001: a message that services publish and no queue gets.

use crate::broker::rules::Unroutable;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::load::value;

const CODE: Code = Code { id: "RTE-001", name: "unreachable-message" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A service publishes a message that matches no binding. The publisher gets its confirm \
           all the same, and the message is gone unless it was mandatory. Where that is meant, \
           `unroutable = \"drop\"`, `\"park\"` or `\"reject\"` says so.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.create\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    if !facts.whole {
        return;
    }
    for (exchange, message) in facts.publications() {
        if exchange.unroutable() != Unroutable::Return
            || !facts.reach(&exchange.name, message).is_empty()
        {
            continue;
        }
        let key = &message.key.value;
        let title = format!("no queue gets messages published to `{}` as `{key}`", exchange.name);
        let keys = facts.bindings().into_iter();
        let keys: Vec<&str> = keys
            .filter(|(it, _)| it.exchange.value == exchange.name)
            .map(|(it, _)| &*it.key.value)
            .collect();
        let help = match value::nearest(key, keys.iter().copied()) {
            Some(meant) => format!("a queue is bound with `{meant}`: let the two be the same"),
            None if keys.is_empty() => "no queue is bound to the exchange: bind one, or write \
                                        `unroutable = \"drop\"`"
                .to_owned(),
            None => "bind a queue with a key that matches, or write `unroutable`".to_owned(),
        };
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (message.key.origin, "goes nowhere"))
                .help(help)
                .about(exchange.origin),
        );
    }
}
