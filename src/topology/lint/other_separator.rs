//! RTE-007: words of a topic key that dots do not separate.

use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "RTE-007", name: "other-separator" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A key of a topic exchange has its words separated by `/` or `:`. Topic exchanges \
           know only dots: to them this is one word, which `*` matches as a whole and \
           `order.#` does not match at all.",
    wrong: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order/created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order/created\" }]\n",
    right: "[services.shop]\n\
            [services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [{ key = \"order.created\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, bound) in facts.bindings() {
        if facts.kind(&binding.exchange.value) == Some(Kind::Topic) {
            judge(&binding.key.value, binding.key.origin, bound.origin(), report);
        }
    }
    for (exchange, message) in facts.publications() {
        if exchange.kind.value == Kind::Topic {
            judge(&message.key.value, message.key.origin, exchange.origin, report);
        }
    }
}

fn judge(key: &str, origin: Origin, about: Origin, report: &mut Report) {
    if key.contains('.') || !key.contains(['/', ':']) {
        return;
    }
    let title = format!("to a topic exchange the key `{key}` is one word");
    let dotted = key.replace(['/', ':'], ".");
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (origin, "no dot"))
            .help(format!("separate words by dots: `{dotted}`"))
            .about(about),
    );
}
