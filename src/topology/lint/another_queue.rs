//! QUE-003: a queue that is there and is another one.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::plan::Action;
use crate::topology::plan::Kind;

const CODE: Code = Code { id: "QUE-003", name: "another-queue" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The queue is on the broker, and differs from the files in what cannot change while it \
           lives: clients that declare it as the files say get 406, and it has to be made anew. \
           `railpost plan` says what becomes of its messages. Or let the file say what is there.",
    wrong: "[services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            durable = true\n\
            #--- what a broker has\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            durable = false\n",
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
    let changes = subject.live.iter().flat_map(|it| &it.rollout.plan.changes);
    for it in changes.filter(|it| (it.kind, it.action) == (Kind::Queue, Action::Replace)) {
        let fixed = it.properties.iter().filter(|it| it.identity);
        let said: Vec<String> = fixed
            .map(|it| {
                let side = |it: &Option<String>| it.clone().unwrap_or_else(|| "not set".into());
                let (before, after) = (side(&it.before), side(&it.after));
                format!("`{}` is {before} there and {after} in the file", it.property)
            })
            .collect();
        let title =
            format!("queue `{}` is another one on the broker: {}", it.name, said.join("; "));
        let origin = subject.place_of_queue(&it.vhost, &it.name);
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (origin, "cannot change while it lives"))
                .help("declare it as it is there, or let `railpost apply` replace it"),
        );
    }
}
