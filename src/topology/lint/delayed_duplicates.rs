//! QUE-017: duplicates at an exchange that holds messages back.

use crate::amqp::deduplication::Deduplication;
use crate::amqp::table::Table;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-017", name: "delayed-duplicates" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "An exchange holds messages back and takes each message once, for some time \
           (`x-cache-ttl`): that time runs while the message is held back, so that a duplicate may \
           be taken before the first one is delivered, and on LavinMQ it counts twice. Let the \
           queues behind it take each message once: they look at a message when it has been held \
           back long enough, and their time begins then.",
    wrong: "[services.mailer]\n\
            [exchanges.reminders]\n\
            type = \"x-delayed-message\"\n\
            arguments = { x-delayed-type = \"direct\", x-message-deduplication = true, \
                          x-cache-ttl = 60000 }\n\
            [queues.reminders]\n\
            service = \"mailer\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"reminders\", key = \"cart\" }]\n",
    right: "[services.mailer]\n\
            [exchanges.reminders]\n\
            type = \"x-delayed-message\"\n\
            arguments = { x-delayed-type = \"direct\" }\n\
            [queues.reminders]\n\
            service = \"mailer\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"reminders\", key = \"cart\" }]\n\
            arguments = { x-message-deduplication = true }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for exchange in facts.vhost.exchanges.values() {
        if exchange.delays && memory(&exchange.arguments).is_some_and(|it| it.ttl.is_some()) {
            let name = &exchange.name;
            let title = format!("`{name}` may forget messages while it still holds them back");
            let at = (exchange.kind.origin, "holds messages back, and forgets by time");
            let new = Diagnostic::new(CODE, Severity::Warning, title, at);
            let help = "let the queues bound to it take duplicates out";
            report.add(new.help(help).about(exchange.origin));
        }
    }
}

fn memory(arguments: &Table) -> Option<Deduplication> {
    Deduplication::parse(arguments).ok().flatten()
}
