//! DLX-018: messages that expire before their last attempt.

use crate::amqp::time::Millis;
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

/// More waits than this are not added up; at a millisecond each they would be no time.
const WAITS_MAX: u32 = 10_000;

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let (Some(policy), Some(ttl)) = (&queue.retry, queue.message_ttl()) else { continue };
        let machine = policy.to_machine();
        let n_waits = policy.attempts.value.saturating_sub(1).min(WAITS_MAX);
        let all_ms = (1..=n_waits).fold(0u64, |sum, n| sum.saturating_add(machine.wait(n).0));
        if all_ms < ttl.value.0 {
            continue;
        }
        let title = format!(
            "{} attempts take {}, and messages of `{}` live for {}",
            policy.attempts.value,
            Millis(all_ms),
            queue.name,
            ttl.value
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
