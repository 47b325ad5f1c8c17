//! ORD-003: keys that move from queue to queue, because queues come and go.

use crate::routing::Kind;
use crate::topology::declared::Exchange;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "ORD-003", name: "keys-move" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A hash exchange spreads messages whose order matters over queues of which some come and \
           go: they are made by instances, or go when nobody uses them (`auto_delete`, `expires`). \
           Each time their number changes, keys move to another queue, and a new message of a key \
           is handled while older ones still wait in the queue before. Use queues that stay; or \
           one queue with `consumers = \"keyed\"`, where any number of instances share all keys.",
    wrong: "[services.shop]\n\
            [services.books]\n\
            [exchanges.payments]\n\
            type = \"x-consistent-hash\"\n\
            messages = [{ from = \"shop\", order = \"routing-key\" }]\n\
            [queues.\"books.1\"]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            auto_delete = true\n\
            bindings = [{ exchange = \"payments\", key = \"1\" }]\n\
            [queues.\"books.2\"]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            auto_delete = true\n\
            bindings = [{ exchange = \"payments\", key = \"1\" }]\n",
    right: "[services.shop]\n\
            [services.books]\n\
            [exchanges.payments]\n\
            type = \"x-consistent-hash\"\n\
            messages = [{ from = \"shop\", order = \"routing-key\" }]\n\
            [queues.\"books.1\"]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            bindings = [{ exchange = \"payments\", key = \"1\" }]\n\
            [queues.\"books.2\"]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            bindings = [{ exchange = \"payments\", key = \"1\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for exchange in facts.vhost.exchanges.values() {
        let Some((moves, order)) = moves(facts, exchange) else { continue };
        let title = format!("keys of `{}` move when a queue comes or goes", exchange.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (moves, "comes and goes"))
                .also(order, "in order by this")
                .help("bind queues that stay, or one queue with `consumers = \"keyed\"`")
                .about(moves)
                .about(exchange.origin),
        );
    }
}

/// A queue that comes and goes at a hash exchange, and the order that its messages need.
fn moves(facts: &Facts<'_>, exchange: &Exchange) -> Option<(Origin, Origin)> {
    if !matches!(exchange.kind.value, Kind::ConsistentHash | Kind::ModulusHash) {
        return None;
    }
    let order = exchange.messages.iter().find_map(|it| it.order.as_ref())?;
    let bindings = facts.bindings();
    let mut bound = bindings.iter().filter(|(it, _)| it.exchange.value == exchange.name);
    let (_, moves) = bound.find(|(_, bound)| match bound {
        Bound::Queue(queue) => queue.comes_and_goes(),
        Bound::Instances(_) => true,
        Bound::Exchange(it) => it.auto_delete,
    })?;
    Some((moves.origin(), order.origin))
}
