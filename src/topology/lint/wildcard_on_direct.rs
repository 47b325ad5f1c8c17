//! RTE-005: a pattern where keys are compared literally.

use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::is_pattern;

const CODE: Code = Code { id: "RTE-005", name: "wildcard-on-direct" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A direct exchange compares keys literally: `order.*` matches only messages whose key is \
           the text `order.*`. Patterns are for topic exchanges.",
    wrong: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.*\" }]\n",
    right: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.*\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, _) in facts.bindings() {
        let (exchange, key) = (&binding.exchange.value, &binding.key.value);
        if facts.kind(exchange) != Some(Kind::Direct) || !is_pattern(key) {
            continue;
        }
        let title = format!("`{key}` is no pattern here: `{exchange}` is a direct exchange");
        let at = (binding.key.origin, "compared literally");
        let new = Diagnostic::new(CODE, Severity::Warning, title, at);
        let new = match facts.exchange(exchange) {
            Some(it) => new.also(it.kind.origin, "compares keys").about(it.origin),
            None => new,
        };
        report.add(new.help("make it a topic exchange, or write the keys out"));
    }
}
