//! CON-006: messages that nobody fetches.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;

const CODE: Code = Code { id: "CON-006", name: "backlog-without-consumer" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Messages wait in a queue, and no instance of its service consumes it: the service is \
           not deployed, cannot connect, or consumes another queue. At the moment of looking, \
           that is; a warning, because a deployment looks the same for a while.",
    wrong: "[services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            #--- what a broker has\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            # bills: 12 messages, 0 consumers\n",
    right: "[services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            #--- what a broker has\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            # bills: 12 messages, 2 consumers\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    let Some(live) = subject.live else { return };
    for vhost in subject.topology.vhosts.values() {
        let Some(seen) = live.observed.vhosts.get(vhost.name.as_str()) else { continue };
        for queue in vhost.queues.values().filter(|it| !it.is_tap()) {
            let (Some(service), Some(seen)) =
                (queue.service(), seen.queues.get(queue.name.as_str()))
            else {
                continue;
            };
            if seen.n_messages == 0 || seen.n_consumers > 0 {
                continue;
            }
            let n = seen.n_messages;
            let title = format!(
                "{n} messages wait in `{}`, and no instance of `{service}` consumes it",
                queue.name
            );
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "nobody is there"))
                    .help("see whether the service runs, and which queue it consumes"),
            );
        }
    }
}
