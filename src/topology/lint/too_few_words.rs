//! RTE-008: a key that matches only the shorter messages.

use crate::routing::Kind;
use crate::routing::topic;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::is_pattern;

const CODE: Code = Code { id: "RTE-008", name: "too-few-words" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A binding key ends in `*`, which is exactly one word, and the exchange has \
           messages that begin the same way and have more words. They do not come, which \
           nobody notices until one is missed.",
    wrong: "[services.market]\n\
            [services.trader]\n\
            [exchanges.stock]\n\
            type = \"topic\"\n\
            messages = [\n\
              { key = \"stock.ibm\", from = \"market\" },\n\
              { key = \"stock.nyse.ibm\", from = \"market\" },\n\
            ]\n\
            [queues.trader]\n\
            service = \"trader\"\n\
            bindings = [{ exchange = \"stock\", key = \"stock.*\" }]\n\
            [queues.audit]\n\
            service = \"market\"\n\
            bindings = [{ exchange = \"stock\", key = \"#\" }]\n",
    right: "[services.market]\n\
            [services.trader]\n\
            [exchanges.stock]\n\
            type = \"topic\"\n\
            messages = [\n\
              { key = \"stock.ibm\", from = \"market\" },\n\
              { key = \"stock.nyse.ibm\", from = \"market\" },\n\
            ]\n\
            [queues.trader]\n\
            service = \"trader\"\n\
            bindings = [{ exchange = \"stock\", key = \"stock.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, bound) in facts.bindings() {
        let name = &binding.exchange.value;
        let (Bound::Queue(queue), Some(exchange)) = (bound, facts.exchange(name)) else { continue };
        let key = &*binding.key.value;
        let Some(stem) = key.strip_suffix(".*") else { continue };
        if exchange.kind.value != Kind::Topic {
            continue;
        }
        let longer = format!("{stem}.*.*.#");
        let keys = exchange.messages.iter().map(|it| &it.key).filter(|it| !is_pattern(&it.value));
        let missed = keys.filter(|it| topic::matches(&longer, &it.value)).find(|it| {
            let mut own = queue.bindings.iter().filter(|own| own.exchange.value == *name);
            !own.any(|own| topic::matches(&own.key.value, &it.value))
        });
        let Some(missed) = missed else { continue };
        let title = format!("`{key}` does not match `{}`, which is longer", missed.value);
        report.add(
            Diagnostic::new(
                CODE,
                Severity::Warning,
                title,
                (binding.key.origin, "one word at the end"),
            )
            .also(missed.origin, "has more words")
            .help(format!("write `{stem}.#`, or a binding that names what is wanted"))
            .about(queue.origin),
        );
    }
}
