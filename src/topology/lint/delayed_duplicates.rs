//! QUE-017: duplicates at an exchange that holds messages back.

use crate::amqp::deduplication::Deduplication;
use crate::amqp::table::Table;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-017", name: "delayed-duplicates" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "An exchange holds messages back, and a queue bound to it takes each message once: the \
           queue does not look at messages that were held back, and takes their duplicates. Or the \
           exchange itself takes each message once, for some time (`x-cache-ttl`): that time runs \
           while the message is held back, so that a duplicate may be taken before the first one \
           is delivered, and on LavinMQ it counts twice. Take duplicates out before: by an \
           exchange of its own, from which messages come to this one.",
    wrong: "[services.mailer]\n\
            [exchanges.reminders]\n\
            type = \"x-delayed-message\"\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            [queues.reminders]\n\
            service = \"mailer\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"reminders\", key = \"cart\" }]\n\
            arguments = { x-message-deduplication = true }\n",
    right: "[services.mailer]\n\
            [exchanges.once]\n\
            type = \"direct\"\n\
            arguments = { x-message-deduplication = true }\n\
            [exchanges.reminders]\n\
            type = \"x-delayed-message\"\n\
            bindings = [{ exchange = \"once\", key = \"cart\" }]\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            [queues.reminders]\n\
            service = \"mailer\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"reminders\", key = \"cart\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let help = "let an exchange of its own take duplicates out, and bind this one to it";
    for exchange in facts.vhost.exchanges.values() {
        if exchange.delays && memory(&exchange.arguments).is_some_and(|it| it.ttl.is_some()) {
            let name = &exchange.name;
            let title = format!("`{name}` may forget messages while it still holds them back");
            let at = (exchange.kind.origin, "holds messages back, and forgets by time");
            let new = Diagnostic::new(CODE, Severity::Warning, title, at);
            report.add(new.help(help).about(exchange.origin));
        }
    }
    for (binding, bound) in facts.bindings() {
        let Bound::Queue(queue) = bound else { continue };
        let Some(exchange) = facts.exchange(&binding.exchange.value) else { continue };
        if !exchange.delays || memory(&queue.arguments).is_none() {
            continue;
        }
        let title = format!("`{}` takes duplicates that were held back", queue.name);
        let at = (binding.exchange.origin, "does not look at what comes from here later");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, at)
                .also(exchange.kind.origin, "holds messages back")
                .help(help)
                .about(queue.origin)
                .about(exchange.origin),
        );
    }
}

fn memory(arguments: &Table) -> Option<Deduplication> {
    Deduplication::parse(arguments).ok().flatten()
}
