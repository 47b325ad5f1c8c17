//! POL-001: two policies of one priority for one object.

use std::collections::BTreeMap;

use crate::broker::policy::Side;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::rabbitmq::defined::DefinedVhost;

const CODE: Code = Code { id: "POL-001", name: "policy-tie" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Two policies of equal priority are for one queue or exchange, and say different \
           things. At most one policy holds for an object, and in RabbitMQ it is not determined \
           which; railpost takes the first name. Operator policies are a list of their own.",
    wrong: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders.work\", \"vhost\": \"/\"},\n  \
            {\"name\": \"orders.dead\", \"vhost\": \"/\"}],\n \
            \"bindings\": [{\"source\": \"dlx\", \"vhost\": \"/\", \"destination\": \"orders.dead\",\n  \
            \"destination_type\": \"queue\"}],\n \
            \"policies\": [\n  \
            {\"name\": \"dead\", \"vhost\": \"/\", \"pattern\": \"^orders\\\\.\", \"priority\": 1,\n   \
            \"definition\": {\"dead-letter-exchange\": \"dlx\"}},\n  \
            {\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"\\\\.work$\", \"priority\": 1,\n   \
            \"definition\": {\"message-ttl\": 60000}}]}\n",
    right: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders.work\", \"vhost\": \"/\"},\n  \
            {\"name\": \"orders.dead\", \"vhost\": \"/\"}],\n \
            \"bindings\": [{\"source\": \"dlx\", \"vhost\": \"/\", \"destination\": \"orders.dead\",\n  \
            \"destination_type\": \"queue\"}],\n \
            \"exchanges\": [{\"name\": \"dlx\", \"vhost\": \"/\", \"type\": \"fanout\"}],\n \
            \"policies\": [\n  \
            {\"name\": \"work\", \"vhost\": \"/\", \"pattern\": \"\\\\.work$\", \"priority\": 1,\n   \
            \"definition\": {\"dead-letter-exchange\": \"dlx\", \"message-ttl\": 60000}}]}\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for (name, vhost) in subject.defined() {
        for side in [Side::User, Side::Operator] {
            judge(name, vhost, side, report);
        }
    }
}

fn judge(name: &str, vhost: &DefinedVhost, side: Side, report: &mut Report) {
    let mut ties: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for object in &vhost.objects {
        let matching = vhost.matching(side, object);
        let [first, others @ ..] = &matching[..] else { continue };
        let tied = others.iter().take_while(|it| it.priority == first.priority);
        for other in tied.filter(|it| it.definition != first.definition) {
            ties.entry((&first.name, &other.name)).or_default().push(object.subject());
        }
    }
    for ((first, second), objects) in ties {
        let (Some(one), Some(other)) =
            (vhost.policies.get(side, first), vhost.policies.get(side, second))
        else {
            continue;
        };
        let kind = side.as_str();
        let title = format!(
            "either {kind} `{first}` or `{second}` holds for {} of vhost `{name}`: both have the \
             priority {}",
            and_more(&objects),
            one.priority
        );
        let at = (vhost.place(side, other).origin, "of the same priority");
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, at)
                .also(vhost.place(side, one).origin, "the other one")
                .help("give one of them a higher priority, and what the other says as well"),
        );
    }
}

/// "queue `a` (and 3 more)".
pub(in crate::topology::lint) fn and_more(objects: &[String]) -> String {
    match objects {
        [] => String::new(),
        [only] => only.clone(),
        [first, others @ ..] => format!("{first} (and {} more)", others.len()),
    }
}
