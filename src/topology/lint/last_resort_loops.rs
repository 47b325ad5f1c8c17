//! DLX-016: the consumers of dead letters give them back to where they failed.

use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::ladder;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-016", name: "last-resort-loops" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A service consumes the dead letters of a queue, and what it rejects goes back to that \
           queue: a message that nobody can handle goes round between the two for ever, and no \
           count ends it. Whoever looks at dead letters is the last one; what fails there has to \
           stay.",
    wrong: "[services.worker]\n\
            [services.medic]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            dead_letter = { exchange = \"\", key = \"jobs.dead\" }\n\
            [queues.\"jobs.dead\"]\n\
            service = \"medic\"\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n",
    right: "[services.worker]\n\
            [services.medic]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            dead_letter = { exchange = \"\", key = \"jobs.dead\" }\n\
            [queues.\"jobs.dead\"]\n\
            service = \"medic\"\n\
            retry = { attempts = 3 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for work in facts.vhost.queues.values() {
        for last in ladder::letters(facts, work) {
            let back = ladder::letters(facts, last).iter().any(|it| it.name == work.name);
            if last.name == work.name || !back || !is_last(facts, work, last) {
                continue;
            }
            let title = format!(
                "what fails in `{}` goes back to `{}`, from where it came",
                last.name, work.name
            );
            let at = last.dead_letter.as_ref().map_or(last.origin, |it| it.origin);
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (at, "leads back"))
                    .also(work.origin, "its dead letters come from here")
                    .help("write a `retry` policy here instead, so that what still fails is parked")
                    .about(last.origin)
                    .about(work.origin),
            );
        }
    }
}

/// Which of two queues that give each other their dead letters is the one behind: the one to which
/// nobody publishes, else the one whose name comes later. Both have consumers.
fn is_last(facts: &Facts<'_>, work: &Queue, last: &Queue) -> bool {
    if work.services.is_empty() || last.services.is_empty() || last.is_tap() {
        return false;
    }
    let published = |queue: &Queue| {
        facts.published().any(|(exchange, message)| {
            facts.queues_reached(exchange, message).any(|it| it.name == queue.name)
        })
    };
    match (published(work), published(last)) {
        (true, false) => true,
        (false, true) => false,
        (true, true) | (false, false) => last.name > work.name,
    }
}
