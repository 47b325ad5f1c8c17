//! QUE-005: a queue that would go with what is in it.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;

const CODE: Code = Code { id: "QUE-005", name: "backlog-at-stake" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "What the files say would delete a queue, or make it anew, that has messages or \
           consumers. Let it run empty first, or name it when the plan is made (`--delete`), so \
           that somebody has decided it.",
    wrong: "[services.billing]\n\
            #--- what a broker has\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            # bills: 12 messages, 0 consumers\n",
    right: "[services.billing]\n\
            #--- what a broker has\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            # bills: 0 messages, 0 consumers\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for it in subject.live.iter().flat_map(|it| &it.rollout.stakes) {
        if it.n_messages == 0 && it.n_consumers == 0 {
            continue;
        }
        let title = format!(
            "queue `{}` would go with {} messages and {} consumers",
            it.queue, it.n_messages, it.n_consumers
        );
        let at = (subject.place_of_queue(&it.vhost, &it.queue), "not as it is on the broker");
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, at)
                .help("let it run empty, or apply with `--delete`, which names it"),
        );
    }
}
