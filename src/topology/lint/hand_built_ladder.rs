//! DLX-012: retries built of queues with a TTL that dead-letter back.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::ladder;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-012", name: "hand-built-ladder" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Failed messages wait in queues of their own, whose TTL sends them back by \
           dead-lettering. Each retry writes the message twice, a message with a long wait holds \
           up those with shorter ones behind it in the same queue, and the number of attempts has \
           to be counted by every consumer. One retry policy does the same in place, ends in a \
           parking lot, and keeps the history of attempts.",
    wrong: "[services.worker]\n\
            [exchanges.failed]\n\
            type = \"direct\"\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            dead_letter = { exchange = \"failed\", key = \"jobs\" }\n\
            [queues.\"jobs.wait\"]\n\
            ttl = \"5s\"\n\
            bindings = [{ exchange = \"failed\", key = \"jobs\" }]\n\
            dead_letter = { exchange = \"\", key = \"jobs\" }\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            retry = { attempts = 5, first = \"5s\", multiplier = 1.0 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for ladder in ladder::all(facts) {
        let queue = ladder.work;
        let n = ladder.waits.len();
        let plural = if n == 1 { "" } else { "s" };
        let title = format!(
            "the retries of queue `{}` are built by hand, of {n} queue{plural} in which they wait",
            queue.name
        );
        let at = (queue.origin, "its failed messages wait elsewhere");
        let mut new = Diagnostic::new(CODE, Severity::Warning, title, at);
        for wait in &ladder.waits {
            let ttl = wait.message_ttl().map(|it| it.value.to_string()).unwrap_or_default();
            new = new.also(wait.origin, format!("here, for {ttl}")).about(wait.origin);
        }
        let help = format!(
            "write `retry = {}` in the queue, once its consumers reject what fails, and delete the \
             queues in which messages wait",
            ladder.policy()
        );
        report.add(new.about(queue.origin).help(help));
    }
}
