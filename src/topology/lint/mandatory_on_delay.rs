//! RTE-015: mandatory messages at an exchange that holds them back.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-015", name: "mandatory-on-delay" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Messages are published as `mandatory`, to be returned when no queue takes them, and \
           their exchange holds messages back before it routes them (`x-delayed-message`). When \
           their time has come, their publisher has long been told that all is well: what no queue \
           takes then is dropped. RabbitMQ's plugin does not support it either, and returns such \
           messages although they will be delivered. An `alternate` exchange is asked when the \
           message is routed, and works.",
    wrong: "[services.shop]\n\
            [services.mailer]\n\
            [exchanges.reminders]\n\
            type = \"x-delayed-message\"\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            messages = [{ key = \"cart\", from = \"shop\", mandatory = true }]\n\
            [queues.reminders]\n\
            service = \"mailer\"\n\
            bindings = [{ exchange = \"reminders\", key = \"cart\" }]\n",
    right: "[services.shop]\n\
            [services.mailer]\n\
            [exchanges.reminders]\n\
            type = \"x-delayed-message\"\n\
            alternate = \"lost\"\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            messages = [{ key = \"cart\", from = \"shop\" }]\n\
            [exchanges.lost]\n\
            type = \"fanout\"\n\
            [queues.reminders]\n\
            service = \"mailer\"\n\
            bindings = [{ exchange = \"reminders\", key = \"cart\" }]\n\
            [queues.lost]\n\
            bindings = [{ exchange = \"lost\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (exchange, message) in facts.publications() {
        let Some(mandatory) = message.mandatory.filter(|it| it.value && exchange.delays) else {
            continue;
        };
        let title = format!(
            "`{}` holds messages back, and cannot return those that no queue takes",
            exchange.name
        );
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (mandatory.origin, "to be returned"))
                .also(exchange.kind.origin, "routed when their time has come")
                .help("publish without `mandatory`, and give the exchange an `alternate`")
                .about(exchange.origin),
        );
    }
}
