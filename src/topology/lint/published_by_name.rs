//! RTE-014: messages published to another service's queue by its name.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-014", name: "published-by-name" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A service publishes through the default exchange to a queue that another one owns. It \
           knows the queue by name then, so that the queue can neither be split nor renamed, \
           nobody else can have a copy, and what is said of exchanges does not hold. Publish to an \
           exchange, and let the owner bind its queue.",
    wrong: "[services.shop]\n[services.billing]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            limits = { age = \"1d\" }\n\
            retry = {}\n\
            messages = [{ from = \"shop\" }]\n",
    right: "[services.shop]\n[services.billing]\n\
            [exchanges.charges]\n\
            type = \"direct\"\n\
            messages = [{ key = \"new\", from = \"shop\" }]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            limits = { age = \"1d\" }\n\
            retry = {}\n\
            bindings = [{ exchange = \"charges\", key = \"new\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(owner) = queue.service() else { continue };
        for from in queue.messages.iter().flat_map(|it| &it.from) {
            if from.value == *owner {
                continue;
            }
            let title = format!(
                "`{}` publishes to `{}` by its name, which is a queue of `{owner}`",
                from.value, queue.name
            );
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (from.origin, "knows its name"))
                    .help(format!("publish to an exchange, and bind `{}` to it", queue.name))
                    .about(queue.origin),
            );
        }
    }
}
