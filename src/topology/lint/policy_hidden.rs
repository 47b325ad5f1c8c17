//! POL-002: a policy whose keys another one hides.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::broker::policy::Side;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::policy_tie::and_more;
use crate::topology::lint::subject::Subject;
use crate::topology::load::fields::quoted;
use crate::topology::rabbitmq::defined::DefinedVhost;
use crate::topology::rabbitmq::defined::Object;

const CODE: Code = Code { id: "POL-002", name: "policy-hidden" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Policies are not added up: of those that are for an object only the one with the \
           highest priority holds, whole. What another one says and it does not is silently off: \
           a policy about TTL takes the dead-lettering away.",
    wrong: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders.work\", \"vhost\": \"/\"},\n  \
            {\"name\": \"orders.dead\", \"vhost\": \"/\"}],\n \
            \"bindings\": [{\"source\": \"dlx\", \"vhost\": \"/\", \"destination\": \"orders.dead\",\n  \
            \"destination_type\": \"queue\"}],\n \
            \"exchanges\": [{\"name\": \"dlx\", \"vhost\": \"/\", \"type\": \"fanout\"}],\n \
            \"policies\": [\n  \
            {\"name\": \"dead\", \"vhost\": \"/\", \"pattern\": \".*\", \"apply-to\": \"queues\",\n   \
            \"definition\": {\"dead-letter-exchange\": \"dlx\"}, \"priority\": 0},\n  \
            {\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^orders\\\\.\", \
            \"apply-to\": \"queues\",\n   \
            \"definition\": {\"message-ttl\": 60000}, \"priority\": 5}]}\n",
    right: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders.work\", \"vhost\": \"/\"},\n  \
            {\"name\": \"orders.dead\", \"vhost\": \"/\"}],\n \
            \"bindings\": [{\"source\": \"dlx\", \"vhost\": \"/\", \"destination\": \"orders.dead\",\n  \
            \"destination_type\": \"queue\"}],\n \
            \"exchanges\": [{\"name\": \"dlx\", \"vhost\": \"/\", \"type\": \"fanout\"}],\n \
            \"policies\": [\n  \
            {\"name\": \"dead\", \"vhost\": \"/\", \"pattern\": \".*\", \"apply-to\": \"queues\",\n   \
            \"definition\": {\"dead-letter-exchange\": \"dlx\"}, \"priority\": 0},\n  \
            {\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^orders\\\\.work$\", \
            \"apply-to\": \"queues\",\n   \
            \"definition\": {\"message-ttl\": 60000, \"dead-letter-exchange\": \"dlx\"},\n   \
            \"priority\": 5}]}\n",
    find: found_in_all,
};

/// The winner, the loser, and what is lost where.
type Lost<'a> = BTreeMap<(&'a str, &'a str), (BTreeSet<&'a str>, Vec<String>)>;

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for (_, vhost) in subject.defined() {
        for side in [Side::User, Side::Operator] {
            judge(vhost, side, report);
        }
    }
}

fn judge(vhost: &DefinedVhost, side: Side, report: &mut Report) {
    let mut lost = Lost::new();
    for object in &vhost.objects {
        let matching = vhost.matching(side, object);
        let [best, others @ ..] = &matching[..] else { continue };
        for other in others.iter().filter(|it| it.priority < best.priority) {
            let missing = |key: &&str| {
                concerns(object, key)
                    && !best.definition.contains_key(*key)
                    && !object.arguments.contains_key(&format!("x-{key}"))
            };
            let keys = other.definition.keys().map(String::as_str).filter(missing);
            let keys: Vec<&str> = keys.collect();
            if !keys.is_empty() {
                let entry = lost.entry((&best.name, &other.name)).or_default();
                entry.0.extend(keys);
                entry.1.push(object.subject());
            }
        }
    }
    for ((best, other), (keys, objects)) in lost {
        let (Some(winner), Some(loser)) =
            (vhost.policies.get(side, best), vhost.policies.get(side, other))
        else {
            continue;
        };
        let kind = side.as_str();
        let keys = quoted(keys.into_iter());
        let title = format!(
            "{kind} `{other}` sets {keys}, and is off for {}, because `{best}` holds alone",
            and_more(&objects)
        );
        let at = (vhost.place(side, winner).origin, format!("does not say {keys}"));
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, at)
                .also(vhost.place(side, loser).origin, "of a lower priority")
                .help(format!("add {keys} to `{best}`, or make the patterns exclude each other")),
        );
    }
}

/// Whether a key of a policy means anything to the object.
fn concerns(object: &Object, key: &str) -> bool {
    let of_exchanges = key == "alternate-exchange";
    object.queue_type.is_none() == of_exchanges
}
