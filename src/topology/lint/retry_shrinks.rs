//! DLX-019: waits that do not grow.

use std::collections::BTreeSet;

use crate::topology::declared::RetryPolicy;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-019", name: "retry-shrinks" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The waits between the attempts get shorter (`multiplier` below 1), or the longest one is \
           shorter than the first, so that a service in trouble is asked more and more often.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5, first = \"10s\", max = \"1s\" }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5, first = \"1s\", max = \"10s\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let named = facts.vhost.retry.values();
    let queues = facts.vhost.queues.values();
    let own = queues.filter_map(|it| Some((it.retry.as_ref()?, it.origin)));
    let mut seen = BTreeSet::new();
    let all = named.map(|it| (it, it.origin)).chain(own.map(|(it, origin)| (&it.value, origin)));
    for (policy, about) in all {
        if seen.insert(policy.origin) {
            judge(policy, about, report);
        }
    }
}

fn judge(policy: &RetryPolicy, about: crate::topology::source::Origin, report: &mut Report) {
    let shrinks = policy.multiplier_milli.value < 1000 && policy.attempts.value != 1;
    let capped = policy.max.value < policy.first.value;
    let (origin, title, help) = match (shrinks, capped) {
        (true, _) => (
            policy.multiplier_milli.origin,
            "the waits between attempts get shorter and shorter".to_owned(),
            "write a `multiplier` of at least 1.0; 2.0 doubles the wait each time",
        ),
        (_, true) => (
            policy.max.origin,
            format!(
                "the longest wait, {}, is shorter than the first, {}",
                *policy.max, *policy.first
            ),
            "let `max` be at least `first`",
        ),
        (false, false) => return,
    };
    let new =
        Diagnostic::new(CODE, Severity::Warning, title, (origin, "shorter than the wait before"));
    report.add(new.help(help).about(about));
}
