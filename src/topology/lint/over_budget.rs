//! OPS-005: more objects than were planned for.

use std::collections::BTreeSet;

use crate::topology::compile;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::source::Located;

const CODE: Code = Code { id: "OPS-005", name: "over-budget" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A vhost has more queues, exchanges or bindings than its `budget` says. Nothing breaks \
           at that number: it is the point at which somebody wanted to be asked, because each \
           costs memory, and queues that are made per customer or per day never end. Parking \
           lots count as queues; queues that instances make do not count. Definitions are held \
           against the `max-queues` of their vhost. In the daemon's configuration, \
           `connections_max` below the number of services is too small for one instance of each.",
    wrong: "[vhost]\n\
            budget = { queues = 1 }\n\
            [services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            [queues.reports]\n\
            service = \"worker\"\n",
    right: "[vhost]\n\
            budget = { queues = 10 }\n\
            [services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n\
            [queues.reports]\n\
            service = \"worker\"\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for vhost in subject.topology.vhosts.values() {
        let budget = vhost.settings.budget;
        let lots = compile::parking_lots(vhost);
        let lots = lots.iter().filter(|it| !vhost.queues.contains_key(&it.name)).count();
        let name = &vhost.name;
        let mut judge = |n: usize, what: &str, most: Option<Located<u64>>| {
            over(&format!("vhost `{name}`"), (n, what), most, report);
        };
        judge(vhost.queues.len() + lots, "queues", budget.queues);
        judge(vhost.exchanges.len(), "exchanges", budget.exchanges);
        judge(n_bindings(vhost), "bindings", budget.bindings);
    }
    for (name, vhost) in subject.defined() {
        let n = vhost.objects.iter().filter(|it| it.queue_type.is_some()).count();
        over(&format!("vhost `{name}`"), (n, "queues"), vhost.queues_max, report);
    }
    let connections = subject.configuration.and_then(|it| it.connections_max);
    let vhosts = subject.topology.vhosts.values();
    let services: BTreeSet<&str> =
        vhosts.flat_map(|it| it.services.keys()).map(|it| it.as_str()).collect();
    over("the broker", (services.len(), "services to connect"), connections, report);
}

fn over(whose: &str, (n, what): (usize, &str), most: Option<Located<u64>>, report: &mut Report) {
    let Some(most) = most else { return };
    if u64::try_from(n).unwrap_or(u64::MAX) <= most.value {
        return;
    }
    let title = format!("{whose} has {n} {what}, and may have {}", most.value);
    let label = format!("{n} are there");
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (most.origin, label))
            .help("raise the number if they are meant to be there"),
    );
}

fn n_bindings(vhost: &Vhost) -> usize {
    let queues = vhost.queues.values().map(|it| it.bindings.len());
    queues.chain(vhost.exchanges.values().map(|it| it.bindings.len())).sum()
}
