//! DLX-018: messages that expire before their last attempt.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-018", name: "retry-outlives-message" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The waits between the attempts take longer than a message may be in the queue. It \
           expires while it is still being tried: the last attempts never happen, and it is \
           not parked.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            ttl = \"10m\"\n\
            retry = { attempts = 10, first = \"1m\", max = \"1h\" }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            ttl = \"1d\"\n\
            retry = { attempts = 10, first = \"1m\", max = \"1h\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let (Some(policy), Some(ttl)) = (&queue.retry, queue.message_ttl()) else { continue };
        let all = policy.waits_total();
        if all < ttl.value {
            continue;
        }
        let title = format!(
            "{} attempts take {}, and messages of `{}` live for {}",
            policy.attempts.value, all, queue.name, ttl.value
        );
        report.add(
            Diagnostic::new(
                CODE,
                Severity::Warning,
                title,
                (ttl.origin, "shorter than the attempts"),
            )
            .also(policy.origin, "tried for longer")
            .help("let messages live longer, or try fewer times or faster")
            .about(queue.origin),
        );
    }
}
