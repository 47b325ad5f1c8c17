//! DLX-004: messages that die of age and come back to where they died.

use crate::amqp::table::Table;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

const CODE: Code = Code { id: "DLX-004", name: "dead-letter-cycle" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "Messages that expire in a queue are dead-lettered, and come back to the same queue \
           without any consumer having rejected them. A broker notices such a circle and drops the \
           message.",
    wrong: "[queues.wait]\n\
            ttl = \"5s\"\n\
            dead_letter = { exchange = \"\", key = \"wait\" }\n",
    right: "[services.worker]\n\
            [queues.work]\n\
            service = \"worker\"\n\
            dead_letter = { exchange = \"\", key = \"wait\" }\n\
            [queues.wait]\n\
            ttl = \"5s\"\n\
            dead_letter = { exchange = \"\", key = \"work\" }\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let (Some(ttl), Some(letter)) = (queue.message_ttl(), &queue.dead_letter) else { continue };
        let Some(way) = circle(facts, queue) else { continue };
        let title = format!("messages that expire in `{}` come back to it and are dropped", way[0]);
        let way: Vec<String> = way.iter().map(|it| format!("`{it}`")).collect();
        report.add(
            Diagnostic::new(CODE, Severity::Error, title, (letter.origin, "leads back"))
                .also(ttl.origin, "they expire")
                .note(format!("the way is {} and back", way.join(", ")))
                .help("let the dead letters go to a queue from which they do not expire back")
                .about(queue.origin),
        );
    }
}

/// The queues on a way back to `start` on which messages only expire; unowned queues that do not
/// let messages expire end it, for somebody must consume those.
fn circle<'t>(facts: &Facts<'t>, start: &'t Queue) -> Option<Vec<&'t str>> {
    let mut visited: Vec<&'t Queue> = Vec::new();
    let mut todo = vec![start];
    while let Some(queue) = todo.pop() {
        visited.push(queue);
        let Some(letter) = &queue.dead_letter else { continue };
        let key = letter.key.as_ref().map_or_else(
            || queue.bindings.first().map_or(queue.name.as_str(), |it| &*it.key.value),
            |it| it.value.as_str(),
        );
        for end in facts.reach_of(&letter.exchange.value, key, &Table::default()) {
            let End::Queue(next) = end else { continue };
            if next.name == start.name {
                return Some(visited.iter().map(|it| it.name.as_str()).collect());
            }
            let expires = next.message_ttl().is_some() && next.services.is_empty();
            if expires && !visited.iter().any(|it| it.name == next.name) {
                todo.push(next);
            }
        }
    }
    None
}
