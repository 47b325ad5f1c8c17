//! FAN-003: a broadcast that reaches one queue.

use crate::broker::rules::Delivers;
use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "FAN-003", name: "lone-subscriber" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "An exchange is there to broadcast (a fanout exchange, or one with `delivers = \
           \"broadcast\"`) and has exactly one queue. Often the second queue was forgotten, or \
           its service consumes the first one's.",
    wrong: "[services.member]\n\
            [exchanges.newuser]\n\
            type = \"fanout\"\n\
            [queues.\"newuser.member\"]\n\
            service = \"member\"\n\
            bindings = [{ exchange = \"newuser\" }]\n",
    right: "[services.member]\n\
            [services.promotion]\n\
            [exchanges.newuser]\n\
            type = \"fanout\"\n\
            [queues.\"newuser.member\"]\n\
            service = \"member\"\n\
            bindings = [{ exchange = \"newuser\" }]\n\
            [queues.\"newuser.promotion\"]\n\
            service = \"promotion\"\n\
            bindings = [{ exchange = \"newuser\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    if !facts.whole {
        return;
    }
    let bindings = facts.bindings();
    for exchange in facts.vhost.exchanges.values() {
        let said = exchange.delivers.filter(|it| it.value == Delivers::Broadcast);
        if exchange.delivers() != Delivers::Broadcast
            || (said.is_none() && exchange.kind.value != Kind::Fanout)
        {
            continue;
        }
        let mut bound = bindings.iter().filter(|(it, _)| it.exchange.value == exchange.name);
        let (Some((_, Bound::Queue(queue))), None) = (bound.next(), bound.next()) else {
            continue;
        };
        let title = format!("`{}` broadcasts to one queue, `{}`", exchange.name, queue.name);
        let at = (said.map_or(exchange.kind.origin, |it| it.origin), "broadcasts");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, at)
                .also(queue.origin, "the only queue")
                .help("add the queue of the other service, or write `delivers = \"work\"`")
                .about(exchange.origin),
        );
    }
}
