//! FAN-002: one queue for several services.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "FAN-002", name: "fanout-shared-queue" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: false,
    page: "Two services consume one queue, so they take each other's messages: of twenty events \
           each sees about ten. A copy for each needs a queue for each. At run time a connection of \
           another service that consumes a declared queue is refused for the same reason.",
    wrong: "[services.member]\n\
            [services.promotion]\n\
            [exchanges.newuser]\n\
            type = \"fanout\"\n\
            [queues.newuser]\n\
            service = [\"member\", \"promotion\"]\n\
            bindings = [{ exchange = \"newuser\" }]\n",
    right: "[services.member]\n\
            [services.promotion]\n\
            [exchanges.newuser]\n\
            type = \"fanout\"\n\
            [queues.\"newuser.member\"]\n\
            service = \"member\"\n\
            bindings = [{ exchange = \"newuser\" }]\n\
            [queues.\"newuser.promotion\"]\n\
            service = \"promotion\"\n\
            bindings = [{ exchange = \"newuser\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some((first, others)) = queue.services.split_first() else { continue };
        let other = others.iter().find(|it| it.value != first.value);
        let Some(second) = other else { continue };
        let (name, first_name, second_name) = (&queue.name, &first.value, &second.value);
        let title = format!("services `{first_name}` and `{second_name}` compete for `{name}`");
        let at = (second.origin, "each message reaches only one of them");
        let help = format!(
            "give each service its own queue: `[queues.\"{name}.{first_name}\"]` and \
             `[queues.\"{name}.{second_name}\"]`, both with these bindings"
        );
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, at)
                .also(first.origin, "the first owner")
                .help(help)
                .about(queue.origin),
        );
    }
}
