//! FAN-001: instances that would each get a copy of work they are meant to share.

use crate::broker::rules::Delivers;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "FAN-001", name: "copy-per-instance" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "An exchange hands out work (`delivers = \"work\"`: exactly one instance handles each \
           message), and a queue per instance is bound to it, so that every instance handles every \
           message: ten messages and two instances make twenty handlings. At run time a client \
           that binds its own queue to such an exchange is refused for the same reason.",
    wrong: "[services.mailer]\n\
            [exchanges.mail]\n\
            type = \"direct\"\n\
            delivers = \"work\"\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            consumers = \"per-instance\"\n\
            bindings = [{ exchange = \"mail\", key = \"welcome\" }]\n",
    right: "[services.mailer]\n\
            [exchanges.mail]\n\
            type = \"direct\"\n\
            delivers = \"work\"\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            bindings = [{ exchange = \"mail\", key = \"welcome\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for pattern in facts.vhost.per_instance.values() {
        for binding in &pattern.bindings {
            let Some(exchange) = facts.exchange(&binding.exchange.value) else { continue };
            if exchange.delivers() != Delivers::Work {
                continue;
            }
            let title = format!(
                "each instance would get a copy of `{}`'s messages, which are work to be shared",
                exchange.name
            );
            let at = (binding.exchange.origin, "a queue per instance, each with a copy");
            let says = exchange.delivers.map_or(exchange.kind.origin, |it| it.origin);
            report.add(
                Diagnostic::new(CODE, Severity::Error, title, at)
                    .also(says, "hands out work")
                    .help(
                        "delete `consumers = \"per-instance\"`, so that the instances share one \
                           queue; or write `delivers = \"broadcast\"`",
                    )
                    .about(pattern.origin)
                    .about(exchange.origin),
            );
        }
    }
}
