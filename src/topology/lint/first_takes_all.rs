//! CON-001: consumers that ask for as many messages as there are.

use crate::topology::declared::Mode;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "CON-001", name: "first-takes-all" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The consumers of a queue ask for no prefetch (`prefetch = 0`), and are meant to share \
           it: whoever comes first is given everything that waits, a thousand of a thousand \
           messages, and the others get nothing. When it is lost, all of them come back at once. \
           100 to 300 keep a fast consumer busy, one is right for slow work. Not found where one \
           instance runs (`instances = 1`), and where files do not say what consumers ask for.",
    wrong: "[services.mailer]\n\
            instances = 4\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = {}\n\
            prefetch = 0\n",
    right: "[services.mailer]\n\
            instances = 4\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = {}\n\
            prefetch = 100\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(prefetch) = queue.prefetch.filter(|it| it.value == 0) else { continue };
        let shared = match queue.mode {
            Mode::Compete | Mode::Keyed(_) => true,
            Mode::SingleActive | Mode::Tap => false,
        };
        let service = queue.service().and_then(|it| facts.vhost.services.get(it));
        let instances = service.and_then(|it| it.instances);
        if !shared || instances.is_some_and(|it| it.value == 1) {
            continue;
        }
        let title = format!("the first consumer of `{}` takes all that waits", queue.name);
        let new = Diagnostic::new(CODE, Severity::Warning, title, (prefetch.origin, "no limit"));
        let new = match instances {
            Some(it) => new.also(it.origin, "meant to share it"),
            None => new.also(queue.mode_origin, "shared by its consumers"),
        };
        report.add(
            new.help("let them call `basic.qos` with 100 to 300, or 1 for slow work")
                .about(queue.origin),
        );
    }
}
