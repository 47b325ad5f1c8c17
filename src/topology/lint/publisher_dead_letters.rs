//! SEC-005: a publisher that says where dead letters go.

use crate::topology::declared::Publication;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "SEC-005", name: "publisher-dead-letters" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A declared message has the header `x-dead-letter-exchange` or \
           `x-dead-letter-routing-key`. Some brokers (LavinMQ) go by it, so that the publisher \
           says where another service's failures go, to any exchange at all; RabbitMQ and \
           railpost go by the queue alone, and the header does nothing.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            messages = [\n  \
            { key = \"created\", from = \"shop\", headers = { x-dead-letter-exchange = \"shop\" } },\n\
            ]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            messages = [{ key = \"created\", from = \"shop\" }]\n\
            [exchanges.failed]\n\
            type = \"fanout\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            dead_letter = { exchange = \"failed\" }\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n\
            [queues.failed]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"failed\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.publications() {
        judge(message, exchange.origin, report);
    }
    for queue in facts.vhost.queues.values() {
        queue.messages.iter().for_each(|it| judge(it, queue.origin, report));
    }
}

fn judge(message: &Publication, object: Origin, report: &mut Report) {
    let headers = ["x-dead-letter-exchange", "x-dead-letter-routing-key"];
    let Some(header) = headers.iter().find(|it| message.headers.get(it).is_some()) else { return };
    let from = message.from.first().map(|it| format!("`{}`", it.value));
    let from = from.unwrap_or_else(|| "the publisher".to_owned());
    let title = format!("{from} says where dead letters go, by the header `{header}`");
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (message.origin, "a message's own word"))
            .help("leave it out, and write `dead_letter` or `retry` at the queue")
            .about(object),
    );
}
