//! QUE-013: one queue for everything.

use std::collections::BTreeSet;

use crate::amqp::name::ServiceName;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "QUE-013", name: "one-queue-for-all" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Every message of the vhost goes to one queue: five kinds or more, of two exchanges and \
           two publishers at least, and none of them reaches another queue. What is slow holds up \
           what is urgent, one policy of retries and limits has to do for all, and one queue is as \
           fast as one core. Give each kind of work a queue of its own; one service may consume \
           them all.",
    wrong: "[services.shop]\n\
            [services.accounts]\n\
            [services.backend]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [\n\
            { key = \"order.created\", from = \"shop\" },\n\
            { key = \"order.paid\", from = \"shop\" },\n\
            { key = \"order.sent\", from = \"shop\" },\n\
            ]\n\
            [exchanges.users]\n\
            type = \"topic\"\n\
            messages = [\n\
            { key = \"user.created\", from = \"accounts\" },\n\
            { key = \"user.deleted\", from = \"accounts\" },\n\
            ]\n\
            [queues.tasks]\n\
            service = \"backend\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"orders\", key = \"#\" }, { exchange = \"users\", key = \"#\" }]\n",
    right: "[services.shop]\n\
            [services.accounts]\n\
            [services.backend]\n\
            [exchanges.orders]\n\
            type = \"topic\"\n\
            messages = [\n\
            { key = \"order.created\", from = \"shop\" },\n\
            { key = \"order.paid\", from = \"shop\" },\n\
            { key = \"order.sent\", from = \"shop\" },\n\
            ]\n\
            [exchanges.users]\n\
            type = \"topic\"\n\
            messages = [\n\
            { key = \"user.created\", from = \"accounts\" },\n\
            { key = \"user.deleted\", from = \"accounts\" },\n\
            ]\n\
            [queues.orders]\n\
            service = \"backend\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"orders\", key = \"#\" }]\n\
            [queues.users]\n\
            service = \"backend\"\n\
            retry = {}\n\
            bindings = [{ exchange = \"users\", key = \"#\" }]\n",
    find,
};

/// Fewer kinds of message may well be one kind of work.
const KINDS_MIN: usize = 5;
const SOURCES_MIN: usize = 2;

fn find(facts: &Facts<'_>, report: &mut Report) {
    if !facts.whole {
        return;
    }
    let mut only: Option<&Queue> = None;
    let mut n_kinds = 0;
    let mut exchanges: BTreeSet<&str> = BTreeSet::new();
    let mut publishers: BTreeSet<&ServiceName> = BTreeSet::new();
    for (exchange, message) in facts.published() {
        let ends = facts.reach(exchange, message);
        let [End::Queue(queue)] = ends[..] else { return };
        if queue.services.is_empty() || only.is_some_and(|it| it.name != queue.name) {
            return;
        }
        only = Some(queue);
        n_kinds += 1;
        exchanges.insert(exchange);
        publishers.extend(message.from.iter().map(|it| &it.value));
    }
    let Some(queue) = only else { return };
    let n_sources = exchanges.len().min(publishers.len());
    if n_kinds < KINDS_MIN || n_sources < SOURCES_MIN {
        return;
    }
    let title = format!("all {n_kinds} kinds of message go to the queue `{}`", queue.name);
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (queue.origin, "and to no other"))
            .help("give each kind of work a queue of its own; their service may be the same")
            .about(queue.origin),
    );
}
