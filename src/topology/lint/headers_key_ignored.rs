//! RTE-012: headers of a binding that are not looked at.

use crate::routing::Kind;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "RTE-012", name: "headers-key-ignored" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A binding to a headers exchange asks for a header whose name begins with `x-`. \
           Unless `x-match` is `all-with-x` or `any-with-x`, such headers are left out of the \
           comparison. Or it asks for several and does not say whether all of them or any \
           must match: `all` is then taken.",
    wrong: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"headers\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", arguments = { x-match = \"all\", x-tenant = \"eu\" } }]\n",
    right: "[services.billing]\n\
            [exchanges.orders]\n\
            type = \"headers\"\n\
            [queues.billing]\n\
            service = \"billing\"\n\
            bindings = [{ exchange = \"orders\", arguments = { x-match = \"all\", tenant = \"eu\" } }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for (binding, bound) in facts.bindings() {
        if facts.kind(&binding.exchange.value) != Some(Kind::Headers) {
            continue;
        }
        let how = binding.arguments.get("x-match").and_then(|it| it.as_text());
        let names = binding.arguments.iter().map(|(key, _)| key);
        let asked: Vec<&str> = names.filter(|it| *it != "x-match").collect();
        let n_asked = asked.len();
        let ignored = asked.iter().find(|it| it.starts_with("x-"));
        let with_x = how.is_some_and(|it| it.ends_with("-with-x"));
        let (title, label, help) = match (ignored, how) {
            (Some(name), _) if !with_x => (
                format!("the header `{name}` is not looked at"),
                "begins with `x-`",
                "write `x-match = \"all-with-x\"`, or give the header another name",
            ),
            (_, None) if n_asked > 1 => (
                "a binding asks for several headers and does not say how many must match"
                    .to_owned(),
                "all of them",
                "write `x-match = \"all\"` or `\"any\"`",
            ),
            _ => continue,
        };
        let new = Diagnostic::new(CODE, Severity::Warning, title, (binding.origin, label));
        report.add(new.help(help).about(bound.origin()));
    }
}
