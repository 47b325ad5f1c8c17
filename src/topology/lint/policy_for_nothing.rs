//! POL-005: a policy that is for nothing.

use crate::amqp::argument::QueueType;
use crate::broker::policy::Policy;
use crate::broker::policy::Side;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::rabbitmq::defined::DefinedVhost;

const CODE: Code = Code { id: "POL-005", name: "policy-for-nothing" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A policy is for none of the queues and exchanges in the definitions, nor for those \
           that topology files declare in this vhost: its pattern has a mistake, or what it was \
           for is gone. Queues that clients make for themselves are not in definitions; a policy \
           for those is fine.",
    wrong: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders\", \"vhost\": \"/\"}],\n \
            \"policies\": [{\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^order$\",\n   \
            \"definition\": {\"message-ttl\": 60000}, \"priority\": 0}]}\n",
    right: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders\", \"vhost\": \"/\"}],\n \
            \"policies\": [{\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^orders$\",\n   \
            \"definition\": {\"message-ttl\": 60000}, \"priority\": 0}]}\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for (name, vhost) in subject.defined() {
        let declared = subject.topology.vhost(name);
        for (side, policy) in vhost.all_policies() {
            if !is_for_any(policy, vhost) && !declared.is_some_and(|it| is_for_declared(policy, it))
            {
                judge(name, vhost, (side, policy), report);
            }
        }
    }
}

fn judge(name: &str, vhost: &DefinedVhost, (side, policy): (Side, &Policy), report: &mut Report) {
    let (kind, own) = (side.as_str(), &policy.name);
    let title = format!("{kind} `{own}` is for nothing that is in vhost `{name}`");
    let at = (vhost.place(side, policy).pattern, "found in no name");
    let help = "correct its pattern or what it applies to, or delete it";
    report.add(Diagnostic::new(CODE, Severity::Info, title, at).help(help));
}

fn is_for_any(policy: &Policy, vhost: &DefinedVhost) -> bool {
    vhost.objects.iter().any(|it| match it.queue_type {
        Some(queue_type) => policy.is_for_queue(&it.name, queue_type),
        None => policy.is_for_exchange(&it.name),
    })
}

fn is_for_declared(policy: &Policy, vhost: &Vhost) -> bool {
    let types = [QueueType::Classic, QueueType::Quorum];
    vhost.exchanges.keys().any(|it| policy.is_for_exchange(it))
        || vhost
            .queues
            .keys()
            .chain(vhost.per_instance.keys())
            .any(|name| types.iter().any(|queue_type| policy.is_for_queue(name, *queue_type)))
}
