//! QUE-004: arguments that say what the file has keys for.

use std::collections::BTreeSet;

use crate::amqp::argument::Overflow;
use crate::amqp::time::Millis;
use crate::topology::compile;
use crate::topology::declared::Mode;
use crate::topology::declared::Queue;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Located;

const CODE: Code = Code { id: "QUE-004", name: "spelled-out" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue has an argument such as `x-message-ttl` for something that topology files have \
           a key for. As an argument it looks like a part of what the queue is, which a client has \
           to repeat in its own declare and which no broker changes without the queue being \
           deleted; its times have no unit. As a key it is the file's: it changes in place, and a \
           client may leave it out.",
    wrong: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5 }\n\
            arguments = { x-message-ttl = 86400000 }\n",
    right: "[services.mailer]\n\
            [queues.\"mail.send\"]\n\
            service = \"mailer\"\n\
            retry = { attempts = 5 }\n\
            ttl = \"1d\"\n",
    find,
};

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        let mut keys = BTreeSet::new();
        // Several arguments may make one value, which is written once.
        for it in queue.spelled_out.iter().filter(|it| keys.insert(it.key)) {
            let title = format!("`{}` has `{}` as an argument", queue.name, it.argument);
            let label = format!("the file has the key `{}` for it", it.key);
            let help = match instead(queue, it.key) {
                Some(text) => format!("write `{text}`, and delete the argument"),
                None => format!("write it as `{}`, and delete the argument", it.key),
            };
            report.add(
                Diagnostic::new(CODE, Severity::Warning, title, (it.origin, label))
                    .help(help)
                    .about(queue.origin),
            );
        }
    }
}

/// The key with the value that the queue has.
fn instead(queue: &Queue, key: &str) -> Option<String> {
    let span = |value: Option<Located<Millis>>| value.map(|it| format!("{key} = \"{}\"", it.value));
    match key {
        "ttl" => span(queue.ttl),
        "expires" => span(queue.expires),
        "ack_timeout" => span(queue.ack_timeout),
        "max_priority" => queue.max_priority.map(|it| format!("max_priority = {}", it.value)),
        "consumers" if queue.mode == Mode::SingleActive => {
            Some("consumers = \"single-active\"".to_owned())
        }
        "limits" => {
            let messages = queue.limits.messages.map(|it| format!("messages = {}", it.value));
            let bytes = queue.limits.bytes.map(|it| format!("bytes = {}", it.value));
            let overflow = queue.limits.overflow.map(|it| match it.value {
                Overflow::DropHead => "overflow = \"drop-head\"".to_owned(),
                Overflow::RejectPublish => "overflow = \"reject-publish\"".to_owned(),
                Overflow::RejectPublishDeadLetter => "overflow = \"reject-publish-dlx\"".to_owned(),
                Overflow::Park => "overflow = \"park\"".to_owned(),
            });
            let all: Vec<String> = messages.into_iter().chain(bytes).chain(overflow).collect();
            (!all.is_empty()).then(|| format!("limits = {{ {} }}", all.join(", ")))
        }
        "dead_letter" => queue.dead_letter.as_ref().map(|it| {
            let key = it.key.as_ref().map(|it| format!(", key = \"{}\"", it.value));
            let key = key.unwrap_or_default();
            format!("dead_letter = {{ exchange = \"{}\"{key} }}", it.exchange.value)
        }),
        "retry" => policy(queue),
        _ => None,
    }
}

/// The policy that does what the arguments ask for.
fn policy(queue: &Queue) -> Option<String> {
    let settings = compile::settings(queue);
    let deliveries = settings.deliveries_max?;
    let waits = settings.retry.map(|it| {
        let multiplier = f64::from(it.multiplier_milli) / 1000.0;
        format!(", first = \"{}\", multiplier = {multiplier:?}, max = \"{}\"", it.first, it.max)
    });
    let then = queue.dead_letter.as_ref().map(|_| ", then = \"dead-letter\"");
    let (waits, then) = (waits.unwrap_or_default(), then.unwrap_or_default());
    Some(format!("retry = {{ attempts = {deliveries}{waits}{then} }}"))
}
