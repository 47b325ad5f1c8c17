//! RTE-006: a topic key that matches otherwise than it looks.

use crate::routing::Kind;
use crate::routing::topic;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-006", name: "costly-key" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A binding key of a topic exchange has several `#`, each of which is tried at every \
           word of every message (RabbitMQ refuses more than two), or a `*` or `#` within a \
           word, where it is an ordinary character: `order*` matches only the key `order*`.",
    wrong: "[services.ops]\n\
            [exchanges.events]\n\
            type = \"topic\"\n\
            [queues.errors]\n\
            service = \"ops\"\n\
            bindings = [{ exchange = \"events\", key = \"#.error.#\" }]\n",
    right: "[services.ops]\n\
            [exchanges.events]\n\
            type = \"topic\"\n\
            [queues.errors]\n\
            service = \"ops\"\n\
            bindings = [{ exchange = \"events\", key = \"*.error.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, bound) in facts.bindings() {
        if facts.kind(&binding.exchange.value) != Some(Kind::Topic) {
            continue;
        }
        let key = &*binding.key.value;
        let many = topic::words(key).filter(|it| *it == "#").count() > 1;
        let within = topic::words(key).find(|it| it.len() > 1 && it.contains(['*', '#']));
        let (title, label, help) = match (within, many) {
            (Some(word), _) => (
                format!("`{word}` in the key `{key}` is taken as it is written"),
                "no wildcard",
                "a wildcard is a word of its own: `order.*`, `order.#`",
            ),
            (None, true) => (
                format!("the key `{key}` has more than one `#`"),
                "tried at every word",
                "say with `*` how many words there are, and keep one `#`",
            ),
            (None, false) => continue,
        };
        let new = Diagnostic::new(CODE, Severity::Warning, title, (binding.key.origin, label));
        report.add(new.help(help).about(bound.origin()));
    }
}
