//! DLX-014: a last resort that forgets.

use std::collections::BTreeSet;

use crate::amqp::argument::Overflow;
use crate::amqp::name::QueueName;
use crate::amqp::table::Table;
use crate::topology::declared::Limits;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "DLX-014", name: "evidence-thrown-away" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A parking lot, or a queue at the end of a dead-letter exchange, throws its oldest \
           messages away when it is full, or all of them after some time. What is there could not \
           be handled and is waiting for a person.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5 }\n\
            parking = { messages = 1000 }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5 }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        if let Some(lot) = &queue.parking {
            let subject = format!("the parking lot `{}`", lot.name);
            judge(&subject, &lot.limits, None, queue.origin, report);
        }
    }
    let last = last_resorts(facts);
    for queue in facts.vhost.queues.values().filter(|it| last.contains(&it.name)) {
        let subject = format!("`{}`, which gets dead letters,", queue.name);
        judge(&subject, &queue.limits, queue.ttl.map(|it| it.origin), queue.origin, report);
    }
}

fn judge(subject: &str, limits: &Limits, ttl: Option<Origin>, about: Origin, report: &mut Report) {
    let forgets = limits.overflow() == Overflow::DropHead;
    let length = limits.messages.or(limits.bytes).filter(|_| forgets).map(|it| it.origin);
    let age = limits.age.map(|it| it.origin).or(ttl);
    for (origin, when) in [(length, "when it is full"), (age, "after a time")] {
        let Some(origin) = origin else { continue };
        let title = format!("{subject} throws messages away {when}");
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (origin, "nobody may have seen them"))
                .help("delete the limit, and watch the queue's length instead")
                .about(about),
        );
    }
}

/// Queues that get dead letters and hand them to nobody.
fn last_resorts(facts: &Facts<'_>) -> BTreeSet<QueueName> {
    let mut found = BTreeSet::new();
    for queue in facts.vhost.queues.values() {
        let Some(letter) = &queue.dead_letter else { continue };
        let keys: Vec<&str> = match &letter.key {
            Some(key) => vec![&key.value],
            None => queue.bindings.iter().map(|it| it.key.value.as_str()).collect(),
        };
        for key in keys {
            for end in facts.reach_of(&letter.exchange.value, key, &Table::default()) {
                if let End::Queue(it) = end
                    && it.dead_letter.is_none()
                    && it.services.is_empty()
                {
                    found.insert(it.name.clone());
                }
            }
        }
    }
    found
}
