//! RTE-004: a name that leads nowhere.

use crate::amqp::name::ExchangeName;
use crate::topology::compile;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::PREDECLARED;
use crate::topology::load::value;
use crate::topology::source::Located;

const CODE: Code = Code { id: "RTE-004", name: "undeclared-reference" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: false,
    page: "A binding, an alternate exchange or a test names an exchange or a queue that no file of \
           this vhost declares. The broker could not bind what is not there, so the topology is \
           refused.",
    wrong: "[services.billing]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"order\", key = \"order.created\" }]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n",
    right: "[services.billing]\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    let vhost = facts.vhost;
    for (binding, _) in facts.bindings() {
        if !is_exchange(&binding.exchange.value, vhost) {
            let at = Located::new(&*binding.exchange.value, binding.exchange.origin);
            report.add(exchange("a binding", at, vhost));
        }
    }
    for it in vhost.exchanges.values() {
        let Some(alternate) = &it.alternate else { continue };
        if !is_exchange(&alternate.value, vhost) {
            let at = Located::new(&*alternate.value, alternate.origin);
            report.add(exchange(&format!("exchange `{}`", it.name), at, vhost));
        }
    }
}

/// Whether messages can be published to an exchange of this name; the empty one is the default
/// exchange.
pub(in crate::topology) fn is_exchange(name: &str, vhost: &Vhost) -> bool {
    name.is_empty()
        || vhost.exchanges.contains_key(name)
        || PREDECLARED.iter().any(|(it, _)| *it == name)
}

/// The finding about an exchange that `subject` names.
pub(in crate::topology) fn exchange(
    subject: &str,
    name: Located<&str>,
    vhost: &Vhost,
) -> Diagnostic {
    let known = vhost.exchanges.keys().map(ExchangeName::as_str);
    finding(subject, "exchange", name, known)
}

/// The finding about a queue that `subject` names.
pub(in crate::topology) fn queue(subject: &str, name: Located<&str>, vhost: &Vhost) -> Diagnostic {
    let is_lot = compile::parking_lots(vhost).iter().any(|it| *it.name == *name.value);
    let new = finding(subject, "queue", name, vhost.queues.keys().map(|it| it.as_str()));
    if is_lot {
        return new.help("this is a parking lot: name its queue, below `parked`");
    }
    new
}

fn finding<'n>(
    subject: &str,
    kind: &str,
    name: Located<&str>,
    known: impl Iterator<Item = &'n str>,
) -> Diagnostic {
    let name_text = name.value;
    let title = format!("{subject} names the {kind} `{name_text}`, which no file declares");
    let (label, help) = match value::nearest(name_text, known) {
        Some(meant) => (
            format!("did you mean `{meant}`?"),
            format!("write `{meant}`, or declare `{name_text}`"),
        ),
        None => {
            ("not declared".to_owned(), format!("declare it below `[{kind}s.…]`, or correct it"))
        }
    };
    Diagnostic::new(CODE, Severity::Error, title, (name.origin, label)).help(help)
}
