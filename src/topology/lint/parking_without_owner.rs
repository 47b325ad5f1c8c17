//! DLX-015: parked messages that are nobody's.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-015", name: "parking-without-owner" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Messages that nobody could handle are parked, and the service they failed in has \
           no `owner`: when somebody finds them, it is not known whom to ask. Looked at where \
           other services of the vhost have one.",
    wrong: "[services.shop]\n\
            owner = \"team-shop\"\n\
            [services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = {}\n",
    right: "[services.shop]\n\
            owner = \"team-shop\"\n\
            [services.mailer]\n\
            owner = \"team-crm\"\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = {}\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let services = &facts.vhost.services;
    if services.values().all(|it| it.owner.is_none()) {
        return;
    }
    for queue in facts.vhost.queues.values() {
        let Some(service) = queue.service().and_then(|it| services.get(it)) else { continue };
        if queue.parking.is_none() || service.owner.is_some() {
            continue;
        }
        let title = format!("nobody is named who looks at the messages parked in `{}`", queue.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (service.origin, "no owner"))
                .also(queue.origin, "parks messages")
                .help("add `owner = \"team-…\"` to the service")
                .about(queue.origin)
                .about(service.origin),
        );
    }
}
