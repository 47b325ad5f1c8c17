//! FAN-007: a binding key that filters nothing.

use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::fix::FixChange;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "FAN-007", name: "key-on-fanout" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A fanout exchange gives every message to every queue and looks at no key, so a key that \
           stands here filters nothing.",
    wrong: "[services.eu]\n\
            [exchanges.news]\n\
            type = \"fanout\"\n\
            [queues.\"news.eu\"]\n\
            service = \"eu\"\n\
            bindings = [{ exchange = \"news\", key = \"eu.*\" }]\n",
    right: "[services.eu]\n\
            [exchanges.news]\n\
            type = \"topic\"\n\
            [queues.\"news.eu\"]\n\
            service = \"eu\"\n\
            bindings = [{ exchange = \"news\", key = \"eu.*\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, _) in facts.bindings() {
        let exchange = &binding.exchange.value;
        if binding.key.value.is_empty() || facts.kind(exchange) != Some(Kind::Fanout) {
            continue;
        }
        let key = &binding.key.value;
        let title = format!("the key `{key}` filters nothing: `{exchange}` is a fanout exchange");
        let new = Diagnostic::new(CODE, Severity::Warning, title, (binding.key.origin, "ignored"));
        let new = match facts.exchange(exchange) {
            Some(it) => new.also(it.kind.origin, "looks at no key").about(it.origin),
            None => new,
        };
        let new = new.fix(binding.key.origin, FixChange::Write("\"\""));
        report.add(new.help("delete the key, or make it a topic exchange"));
    }
}
