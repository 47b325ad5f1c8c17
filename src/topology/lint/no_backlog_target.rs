//! OPS-006: a message of which nobody said how long it may take.

use std::collections::BTreeMap;

use crate::topology::declared::Exchange;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;
use crate::topology::load::fields::quoted;

const CODE: Code = Code { id: "OPS-006", name: "no-backlog-target" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Services publish to an exchange, and of all the services' queues its messages reach \
           not one has a limit: in messages, bytes, age or TTL. So no file says how far behind a \
           receiver may fall, and an alarm could only guess. One limit among the receivers is \
           taken as an answer. Where the queues are durable this only adds to QUE-001, and is \
           information; queues that are not grow in memory, unseen, and are a warning.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            limits = { age = \"1h\" }\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for exchange in facts.vhost.exchanges.values() {
        let receivers = receivers(facts, exchange);
        let is_bounded = |it: &&Queue| !it.limits.is_empty() || it.message_ttl().is_some();
        if receivers.is_empty() || receivers.values().any(is_bounded) {
            continue;
        }
        let severity = match receivers.values().any(|it| it.durable) {
            true => Severity::Info,
            false => Severity::Warning,
        };
        let title = format!(
            "nothing says how far behind the receivers of `{}` may fall: {}",
            exchange.name,
            quoted(receivers.keys().copied())
        );
        report.add(
            Diagnostic::new(CODE, severity, title, (exchange.origin, "services publish to it"))
                .help("add `limits = { age = \"…\" }` or `messages` to the queues")
                .about(exchange.origin),
        );
    }
}

/// The queues in which services' work waits that is published to the exchange.
fn receivers<'t>(facts: &Facts<'t>, exchange: &Exchange) -> BTreeMap<&'t str, &'t Queue> {
    let ends = exchange.messages.iter().flat_map(|it| facts.reach(&exchange.name, it));
    let queues = ends.filter_map(|it| match it {
        End::Queue(queue) => Some(queue),
        End::Lot | End::Instances => None,
    });
    let work = queues.filter(|it| !it.services.is_empty() && !it.is_tap());
    work.map(|it| (it.name.as_str(), it)).collect()
}
