//! RTE-016: a change after which a service gets less.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;

const CODE: Code = Code { id: "RTE-016", name: "service-loses-copies" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "On the broker a service gets a copy of the message, and with these files it does not \
           any more. That is the line of a change that hurts most when nobody meant it. Where it \
           is meant, allow it with the reason until it is applied.",
    wrong: "[services.shop]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            unroutable = \"drop\"\n\
            messages = [{ key = \"created\", from = \"shop\" }]\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            #--- what a broker has\n\
            [services.shop]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            messages = [{ key = \"created\", from = \"shop\" }]\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n",
    right: "[services.shop]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            messages = [{ key = \"created\", from = \"shop\" }]\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n\
            #--- what a broker has\n\
            [services.shop]\n\
            [exchanges.orders]\n\
            type = \"direct\"\n\
            messages = [{ key = \"created\", from = \"shop\" }]\n\
            [services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            retry = {}\n\
            limits = { age = \"1d\" }\n\
            bindings = [{ exchange = \"orders\", key = \"created\" }]\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for flow in subject.live.iter().flat_map(|it| it.rollout.plan.changed_flows()) {
        let vhost = subject.topology.vhost(&flow.vhost);
        let exchange = vhost.and_then(|it| it.exchanges.get(flow.exchange.as_str()));
        let origin = exchange.map(|it| it.origin).or(vhost.map(|it| it.origin)).unwrap_or_default();
        for copy in flow.lost() {
            let Some(service) = &copy.service else { continue };
            if flow.after.iter().any(|it| it.service == copy.service) {
                continue;
            }
            let title = format!(
                "`{service}` gets no copy of {} any more; on the broker it has one in `{}`",
                flow.message, copy.queue
            );
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (origin, "goes another way"))
                    .help("bind a queue of the service to it, or say why it is meant"),
            );
        }
    }
}
