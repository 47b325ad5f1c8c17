//! QUE-016: a memory of messages that is too short to find duplicates.

use crate::amqp::deduplication::Deduplication;
use crate::amqp::table::Table;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "QUE-016", name: "short-memory" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue or an exchange takes each message once (`x-message-deduplication`), and forgets \
           too early what it has seen: it remembers 128 messages or fewer (`x-cache-size`, 10,000 \
           unless it is written), fewer than may wait in the queue at once, or for less time than \
           a message may still be tried (`x-cache-ttl`); or it is not durable, and remembers \
           nothing after a restart. A duplicate that comes later is taken.",
    wrong: "[services.billing]\n\
            [queues.payments]\n\
            service = \"billing\"\n\
            retry = {}\n\
            arguments = { x-message-deduplication = true, x-cache-size = 128 }\n",
    right: "[services.billing]\n\
            [queues.payments]\n\
            service = \"billing\"\n\
            retry = {}\n\
            arguments = { x-message-deduplication = true, x-cache-size = 100000 }\n",
    find,
};

/// COMPAT: what LavinMQ remembers when nothing is said; a burst is longer.
const KEYS_FEW: usize = 128;

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let Some(memory) = memory(&queue.arguments) else { continue };
        let forgets = of_queue(queue, &memory).or_else(|| of_any(&memory, queue.durable));
        let Some(forgets) = forgets else { continue };
        let title = format!("`{}` takes duplicates: {forgets}", queue.name);
        report.add(finding(title, queue.origin));
    }
    for exchange in facts.vhost.exchanges.values() {
        let Some(memory) = memory(&exchange.arguments) else { continue };
        let Some(forgets) = of_any(&memory, exchange.durable) else { continue };
        let title = format!("`{}` takes duplicates: {forgets}", exchange.name);
        report.add(finding(title, exchange.origin));
    }
}

fn memory(arguments: &Table) -> Option<Deduplication> {
    Deduplication::parse(arguments).ok().flatten()
}

fn of_any(memory: &Deduplication, durable: bool) -> Option<String> {
    if memory.size <= KEYS_FEW {
        return Some(format!("it remembers {} messages", memory.size));
    }
    (!durable).then(|| "it is not durable, and forgets all in a restart".to_owned())
}

fn of_queue(queue: &Queue, memory: &Deduplication) -> Option<String> {
    let said = queue.arguments.get("x-cache-size").is_some();
    let most = queue.limits.messages.map(|it| it.value).filter(|_| said);
    let size = u64::try_from(memory.size).unwrap_or(u64::MAX);
    if let Some(most) = most.filter(|it| size < *it) {
        return Some(format!("it remembers {size} messages, and {most} may wait"));
    }
    let (ttl, policy) = (memory.ttl?, queue.retry.as_ref()?);
    let tried = policy.waits_total();
    (ttl < tried).then(|| format!("it remembers for {ttl}, and tries messages for {tried}"))
}

fn finding(title: String, origin: Origin) -> Diagnostic {
    Diagnostic::new(CODE, Severity::Warning, title, (origin, "forgets too early"))
        .help(
            "raise `x-cache-size` (a million at most) or `x-cache-ttl`, to cover the time after \
             which a publisher may send a message again",
        )
        .about(origin)
}
