//! OPS-002: a queue that nobody uses.

use crate::amqp::time::Millis;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;

const CODE: Code = Code { id: "OPS-002", name: "unused-queue" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "No consumer, no message, and nobody has declared it or fetched from it for a week: it may be \
           left over. A broker that was restarted counts from then on.",
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
            # bills: 0 messages, 0 consumers, 9 days\n",
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
            # bills: 0 messages, 0 consumers, 1 days\n",
    find: found_in_all,
};

/// A week.
const UNUSED: Millis = Millis(7 * 24 * 60 * 60 * 1000);

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    let Some(live) = subject.live else { return };
    for (name, vhost) in &live.observed.vhosts {
        for (queue, it) in vhost.queues.iter().filter(|(_, it)| !it.is_lot) {
            let Some(unused) = it.unused_ms.map(Millis).filter(|it| *it >= UNUSED) else {
                continue;
            };
            if it.n_messages > 0 || it.n_consumers > 0 || subject.topology.vhost(name).is_none() {
                continue;
            }
            let days = unused.0 / (24 * 60 * 60 * 1000);
            let title = format!("nobody has used queue `{queue}` for {days} days");
            let at = (subject.place_of_queue(name, queue), "is it still needed?");
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, at)
                    .help("delete it where it is declared, and apply"),
            );
        }
    }
}
