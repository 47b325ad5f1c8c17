//! OPS-001: what is on the broker and in no file.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;

const CODE: Code = Code { id: "OPS-001", name: "made-by-clients" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A client declared it on its own, or somebody by hand: nobody reviewed who gets which \
           message by it. `railpost adopt` writes it into a file; `railpost apply --prune` \
           deletes it.",
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
            [queues.spy]\n\
            # spy: made by a client\n",
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
            limits = { age = \"1d\" }\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for it in subject.live.iter().flat_map(|it| &it.rollout.undeclared) {
        let title = format!(
            "{} `{}` of the vhost `{}` is on the broker and in no file",
            it.kind, it.name, it.vhost
        );
        let origin = subject.topology.vhost(&it.vhost).map(|it| it.origin).unwrap_or_default();
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (origin, "the files of this vhost"))
                .help("`railpost adopt` writes it into a file, `apply --prune` deletes it"),
        );
    }
}
