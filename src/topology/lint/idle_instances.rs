//! CON-010: more instances than there are queues for them.

use std::collections::BTreeMap;

use crate::routing::Kind;
use crate::topology::declared::Mode;
use crate::topology::declared::Queue;
use crate::topology::declared::Service;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "CON-010", name: "idle-instances" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A hash exchange spreads messages over queues with one active consumer each, and their \
           service runs more instances than it has queues: the others stand by and do nothing, and \
           starting still more changes nothing. One queue with `consumers = \"keyed\"` keeps the \
           same order and lets every instance work. Where the others are there to take over, allow \
           this with that reason.",
    wrong: "[services.shop]\n\
            [services.books]\n\
            instances = 5\n\
            [exchanges.payments]\n\
            type = \"x-consistent-hash\"\n\
            messages = [{ from = \"shop\", order = \"routing-key\" }]\n\
            [queues.\"books.1\"]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            bindings = [{ exchange = \"payments\", key = \"1\" }]\n\
            [queues.\"books.2\"]\n\
            service = \"books\"\n\
            consumers = \"single-active\"\n\
            bindings = [{ exchange = \"payments\", key = \"1\" }]\n",
    right: "[services.shop]\n\
            [services.books]\n\
            instances = 5\n\
            [exchanges.payments]\n\
            type = \"direct\"\n\
            messages = [{ key = \"payment\", from = \"shop\", order = \"header:user_id\" }]\n\
            [queues.books]\n\
            service = \"books\"\n\
            consumers = \"keyed\"\n\
            key = \"header:user_id\"\n\
            bindings = [{ exchange = \"payments\", key = \"payment\" }]\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for service in facts.vhost.services.values() {
        let Some(instances) = service.instances else { continue };
        let Some(n_queues) = one_consumer_each(facts, service) else { continue };
        let n_idle = instances.value.saturating_sub(n_queues);
        if n_idle == 0 {
            continue;
        }
        let title =
            format!("{n_idle} of {} instances of `{}` are idle", instances.value, service.name);
        let label = format!("{n_queues} of them have a queue");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (instances.origin, label))
                .help(
                    "run as many as there are queues, or write one queue with `consumers = \
                     \"keyed\"`",
                )
                .about(service.origin),
        );
    }
}

/// How many queues a service has, if each of them has one active consumer and a hash exchange
/// spreads messages over several of them.
fn one_consumer_each(facts: &Facts<'_>, service: &Service) -> Option<u64> {
    let queues: Vec<&Queue> =
        facts.vhost.queues.values().filter(|it| it.service() == Some(&service.name)).collect();
    if queues.iter().any(|it| it.mode != Mode::SingleActive) {
        return None;
    }
    let mut n_behind: BTreeMap<&str, u64> = BTreeMap::new();
    for binding in queues.iter().flat_map(|it| &it.bindings) {
        let kind = facts.kind(&binding.exchange.value);
        if matches!(kind, Some(Kind::ConsistentHash | Kind::ModulusHash)) {
            *n_behind.entry(&binding.exchange.value).or_default() += 1;
        }
    }
    let spreads = n_behind.values().any(|n| *n > 1);
    u64::try_from(queues.len()).ok().filter(|_| spreads)
}
