//! DLX-017: consumers that try several times what the broker tries several times.

use crate::topology::compile;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-017", name: "retries-multiply" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The consumers of a queue try each delivery several times themselves \
           (`client_attempts`), and the queue delivers a failed message several times: the two \
           multiply. Five by five are 25 calls of a service that is in trouble, and while a \
           consumer waits between its own tries it holds the message and does nothing else. One of \
           the two is enough, and the broker's waits cost nobody anything.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5, first = \"1s\" }\n\
            client_attempts = 5\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5, first = \"1s\" }\n\
            client_attempts = 1\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(own) = queue.client_attempts.filter(|it| it.value > 1) else { continue };
        let Some((n, over)) = deliveries(queue) else { continue };
        let title = match n {
            0 => format!(
                "messages of `{}` are tried without end, {} times each",
                queue.name, own.value
            ),
            n => {
                let all = own.value.saturating_mul(u64::from(n));
                format!("messages of `{}` are tried up to {all} times{over}", queue.name)
            }
        };
        let label = format!("{} times for each delivery", own.value);
        let new = Diagnostic::new(CODE, Severity::Warning, title, (own.origin, label));
        let new = match &queue.retry {
            Some(policy) => new.also(policy.origin, "and delivered again by this"),
            None => new,
        };
        report.add(
            new.help(
                "let the consumers reject at the first failure, and write `client_attempts = 1`",
            )
            .about(queue.origin),
        );
    }
}

/// How often the broker delivers a message that fails, 0 for without end, and over what time.
fn deliveries(queue: &Queue) -> Option<(u32, String)> {
    if let Some(policy) = &queue.retry {
        let over = format!(" over {}", policy.waits_total());
        return Some((policy.attempts.value, over)).filter(|(n, _)| *n != 1);
    }
    let limit = compile::settings(queue).deliveries_max.filter(|it| *it > 1)?;
    Some((limit, String::new()))
}
