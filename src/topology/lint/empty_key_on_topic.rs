//! RTE-009: a binding to a topic exchange without a key.

use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-009", name: "empty-key-on-topic" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A binding to a topic exchange has no key, so it matches only messages that are \
           published with an empty key. Mostly `#` is meant, or the key was forgotten.",
    wrong: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\" }]\n",
    right: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, bound) in facts.bindings() {
        let name = &binding.exchange.value;
        let meant = facts.exchange(name).is_some_and(|exchange| {
            exchange.messages.iter().any(|message| message.key.value.is_empty())
        });
        if facts.kind(name) != Some(Kind::Topic) || !binding.key.value.is_empty() || meant {
            continue;
        }
        let title = format!("a binding to the topic exchange `{name}` has no key");
        report.add(
            Diagnostic::new(
                CODE,
                Severity::Warning,
                title,
                (binding.origin, "matches the empty key only"),
            )
            .help("write `key = \"#\"` for everything, or the key that is meant")
            .about(bound.origin()),
        );
    }
}
