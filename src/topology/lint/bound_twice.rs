//! FAN-006: a queue bound twice for the same messages.

use crate::routing::Kind;
use crate::routing::topic;
use crate::topology::declared::Binding;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::fix::FixChange;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "FAN-006", name: "bound-twice" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue is bound to an exchange with two keys, and one of them matches everything \
           the other does. The queue still gets one copy of each message, so nothing goes \
           wrong; but who removes the narrow one to stop those messages will wonder why they \
           still come.",
    wrong: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [\n\
              { exchange = \"orders\", key = \"order.#\" },\n\
              { exchange = \"orders\", key = \"order.created\" },\n\
            ]\n",
    right: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        for (at, narrow) in queue.bindings.iter().enumerate() {
            let wide = queue.bindings.iter().enumerate().find(|(other, wide)| {
                *other != at
                    && wide.exchange.value == narrow.exchange.value
                    && covers(facts, wide, narrow)
            });
            let Some((_, wide)) = wide else { continue };
            let title = format!(
                "`{}` is bound with `{}`, which its binding with `{}` includes",
                queue.name, narrow.key.value, wide.key.value
            );
            report.add(
                Diagnostic::new(CODE, Severity::Info, title, (narrow.origin, "included"))
                    .also(wide.origin, "in this one")
                    .help("delete the narrower of the two")
                    .fix(narrow.origin, FixChange::DropElement)
                    .about(queue.origin),
            );
        }
    }
}

/// Whether all that `narrow` matches is matched by `wide`, and not the other way round.
fn covers(facts: &Facts<'_>, wide: &Binding, narrow: &Binding) -> bool {
    let (of, key) = (&*wide.key.value, &*narrow.key.value);
    // A `*` of the wide key matches one word, and a `#` of the narrow one stands for any number.
    let several = topic::words(key).any(|it| it == "#");
    facts.kind(&wide.exchange.value) == Some(Kind::Topic)
        && of != key
        && (of == "#" || !several)
        && topic::matches(of, key)
}
