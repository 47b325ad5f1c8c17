//! RTE-013: a binding of a consistent-hash exchange without a weight.

use crate::routing::Kind;
use crate::routing::table::hash_weight_max;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-013", name: "hash-weight" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: false,
    page: "The binding key of a consistent-hash exchange is the weight of the queue, a whole number \
           above zero. Anything else is refused by the broker.",
    wrong: "[services.worker]\n\
            [exchanges.jobs]\n\
            type = \"x-consistent-hash\"\n\
            [queues.\"jobs.1\"]\n\
            service = \"worker\"\n\
            bindings = [{ exchange = \"jobs\", key = \"user.*\" }]\n",
    right: "[services.worker]\n\
            [exchanges.jobs]\n\
            type = \"x-consistent-hash\"\n\
            [queues.\"jobs.1\"]\n\
            service = \"worker\"\n\
            bindings = [{ exchange = \"jobs\", key = \"1\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, _) in facts.bindings() {
        let (exchange, key) = (&binding.exchange.value, &binding.key.value);
        let is_weight = |it: i64| (1..=hash_weight_max()).contains(&it);
        if facts.kind(exchange) != Some(Kind::ConsistentHash)
            || key.parse::<i64>().is_ok_and(is_weight)
        {
            continue;
        }
        let title = format!("`{key}` is no weight: `{exchange}` is a consistent-hash exchange");
        let help = format!(
            "write a number from 1 to {}, the same for all queues that shall get the same share",
            hash_weight_max()
        );
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (binding.key.origin, "not a weight"))
                .help(help),
        );
    }
}
