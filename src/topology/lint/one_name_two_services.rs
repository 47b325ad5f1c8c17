//! FAN-010: one queue's name in two places.

use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_while_reading;
use crate::topology::load::mistake;

const CODE: Code = Code { id: "FAN-010", name: "one-name-two-services" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: false,
    page: "Two files declare a queue of one name for different services. The broker has one queue \
           of a name, so the two services would take each other's messages. It happens where names \
           are made from the kind of message alone.",
    wrong: "[services.billing]\n\
            [services.search]\n\
            [queues.order-created]\n\
            service = \"billing\"\n\
            #--- another file\n\
            [queues.order-created]\n\
            service = \"search\"\n",
    right: "[services.billing]\n\
            [services.search]\n\
            [queues.\"billing.order-created\"]\n\
            service = \"billing\"\n\
            #--- another file\n\
            [queues.\"search.order-created\"]\n\
            service = \"search\"\n",
    find: found_while_reading,
};

/// The finding about a queue that is declared again.
pub(in crate::topology) fn twice(first: &Queue, second: &Queue) -> Diagnostic {
    let name = &first.name;
    let (title, code, help) = match (first.service(), second.service()) {
        (Some(one), Some(other)) if one != other => (
            format!("queue `{name}` is declared for `{one}` and for `{other}`"),
            CODE,
            format!(
                "give each its own: `[queues.\"{one}.{name}\"]`, `[queues.\"{other}.{name}\"]`"
            ),
        ),
        _ => (
            format!("queue `{name}` is declared twice"),
            mistake::TWICE,
            "keep one of them".to_owned(),
        ),
    };
    Diagnostic::new(code, Severity::Error, title, (second.origin, "the second time"))
        .also(first.origin, "the first time")
        .help(help)
}
