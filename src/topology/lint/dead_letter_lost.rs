//! DLX-002: a dead-letter exchange behind which no queue takes the letters.

use crate::topology::declared::DeadLetter;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::is_pattern;
use crate::topology::lint::undeclared_reference::is_exchange;

const CODE: Code = Code { id: "DLX-002", name: "dead-letter-lost" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The dead-letter exchange is there, and no queue behind it matches the key the letters \
           have, so that they are dropped. Without a `key` of its own a dead letter keeps the key \
           it was published with.",
    wrong: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n\
            dead_letter = { exchange = \"dlx\" }\n\
            [exchanges.dlx]\n\
            type = \"direct\"\n\
            [queues.dead]\n\
            bindings = [{ exchange = \"dlx\", key = \"dead\" }]\n",
    right: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n\
            dead_letter = { exchange = \"dlx\", key = \"dead\" }\n\
            [exchanges.dlx]\n\
            type = \"direct\"\n\
            [queues.dead]\n\
            bindings = [{ exchange = \"dlx\", key = \"dead\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    if !facts.whole {
        return;
    }
    for queue in facts.vhost.queues.values() {
        let Some(letter) = &queue.dead_letter else { continue };
        if !is_exchange(&letter.exchange.value, facts.vhost) {
            continue;
        }
        let Some(key) = lost_key(facts, queue, letter) else { continue };
        let title = format!(
            "dead letters of `{}` with the key `{key}` reach no queue behind `{}`",
            queue.name, letter.exchange.value
        );
        let origin = letter.key.as_ref().map_or(letter.origin, |it| it.origin);
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (origin, "they would be dropped"))
                .help("bind a queue with this key to the exchange, or give the letters another key")
                .about(queue.origin),
        );
    }
}

/// A key of dead letters that no queue takes.
fn lost_key(facts: &Facts<'_>, queue: &Queue, letter: &DeadLetter) -> Option<String> {
    let exchange = &letter.exchange.value;
    let headers = crate::amqp::table::Table::default();
    let is_lost = |key: &str| facts.reach_of(exchange, key, &headers).is_empty();
    if let Some(key) = &letter.key {
        return Some(key.value.clone()).filter(|it| is_lost(it));
    }
    let own = std::iter::once(queue.name.as_str()).filter(|_| queue.bindings.is_empty());
    let keys = queue.bindings.iter().map(|it| it.key.value.as_str());
    // Of a pattern, something that it matches must get through.
    let mut keys = keys.chain(own).filter(|it| !it.is_empty() || !is_pattern(it));
    keys.find(|it| is_lost(it)).map(str::to_owned)
}
