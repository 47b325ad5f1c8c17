//! POL-003: a policy and an argument that say different things.

use serde_json::Map;
use serde_json::Value as Json;

use crate::amqp::argument::QueueArguments;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::broker::policy::Governing;
use crate::broker::policy::Policy;
use crate::broker::policy::Side;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::load::limits;
use crate::topology::rabbitmq::defined::DefinedVhost;
use crate::topology::rabbitmq::defined::Object;
use crate::topology::rabbitmq::defined::POLICY_KEYS;

const CODE: Code = Code { id: "POL-003", name: "policy-and-argument" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "An argument of a queue or an exchange and the policy for it say different things. \
           RabbitMQ and railpost take the smaller of two numbers, and of the rest the argument \
           (of `overflow` of a quorum queue, the policy); LavinMQ takes what restricts more. So \
           one of them does not hold, and which may change with the broker. The finding says \
           what counts. An operator's policy is there to bound arguments, and reported where it \
           does.",
    wrong: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders.work\", \"vhost\": \"/\",\n   \
            \"arguments\": {\"x-message-ttl\": 60000}}],\n \
            \"policies\": [\n  \
            {\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^orders\\\\.\",\n   \
            \"definition\": {\"message-ttl\": 3600000}, \"priority\": 0}]}\n",
    right: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders.work\", \"vhost\": \"/\"}],\n \
            \"policies\": [\n  \
            {\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^orders\\\\.\",\n   \
            \"definition\": {\"message-ttl\": 60000}, \"priority\": 0}]}\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for (_, vhost) in subject.defined() {
        for object in &vhost.objects {
            judge(vhost, object, report);
        }
    }
}

fn judge(vhost: &DefinedVhost, object: &Object, report: &mut Report) {
    let best = |side| vhost.matching(side, object).first().copied();
    let governing = Governing { policy: best(Side::User), operator: best(Side::Operator) };
    if object.queue_type.is_none() {
        let key = "alternate-exchange";
        if let (Some(policy), Some(argument)) = (governing.policy, object.arguments.get(key))
            && let Some(other) = policy.definition.get(key)
            && argument != other
        {
            report_one(vhost, object, (key, argument, argument), (Side::User, policy), report);
        }
        return;
    }
    let effective = effective(&object.arguments, &governing);
    for key in POLICY_KEYS {
        let Some(argument) = object.arguments.get(&format!("x-{key}")) else { continue };
        let Some(counts) = effective.as_ref().and_then(|it| value(key, it)) else { continue };
        for (side, policy) in [(Side::User, governing.policy), (Side::Operator, governing.operator)]
        {
            let Some(policy) = policy else { continue };
            let Some(other) = policy.definition.get(key).filter(|it| *it != argument) else {
                continue;
            };
            if side == Side::User || counts == *other {
                report_one(vhost, object, (key, argument, &counts), (side, policy), report);
            }
        }
    }
}

fn report_one(
    vhost: &DefinedVhost,
    object: &Object,
    (key, argument, counts): (&str, &Json, &Json),
    (side, policy): (Side, &Policy),
    report: &mut Report,
) {
    let other = &policy.definition[key];
    let title = format!(
        "`{key}` of {} is {counts}: its argument says {argument}, and {} `{}` {other}",
        object.subject(),
        side.as_str(),
        policy.name
    );
    let why = match (argument.is_number() && other.is_number(), counts == argument) {
        (true, _) => "of two numbers the smaller one counts",
        (false, true) => "an argument counts before a policy",
        (false, false) => "`overflow` of a quorum queue is taken from the policy",
    };
    report.add(
        Diagnostic::new(CODE, Severity::Warning, title, (object.origin, "has the argument"))
            .also(vhost.place(side, policy).origin, "says otherwise")
            .note(why)
            .help("leave the argument out when the queue is declared, or the key of the policy"),
    );
}

/// The arguments as they count; `None` when a broker would not take them.
fn effective(arguments: &Map<String, Json>, governing: &Governing<'_>) -> Option<QueueArguments> {
    let mut table = Table::default();
    for (key, value) in arguments {
        let value = match value {
            Json::Number(it) => Value::I64(it.as_i64()?),
            Json::String(it) => Value::text(it),
            Json::Bool(it) => Value::Bool(*it),
            Json::Null | Json::Array(_) | Json::Object(_) => continue,
        };
        table.set(key, value);
    }
    Some(governing.amend(&QueueArguments::parse(&table).ok()?))
}

/// What counts for a key of [`POLICY_KEYS`].
fn value(key: &str, it: &QueueArguments) -> Option<Json> {
    match key {
        "message-ttl" => it.message_ttl.map(|it| it.0.into()),
        "expires" => it.expires.map(|it| it.0.into()),
        "max-length" => it.length_max.map(Json::from),
        "max-length-bytes" => it.length_bytes_max.map(Json::from),
        "overflow" => {
            let word = limits::OVERFLOW.iter().find(|(_, meaning)| Some(*meaning) == it.overflow);
            word.map(|(word, _)| (*word).into())
        }
        "dead-letter-exchange" => it.dead_letter_exchange.as_ref().map(|it| it.as_str().into()),
        "dead-letter-routing-key" => it.dead_letter_routing_key.clone().map(Json::from),
        "delivery-limit" => it.delivery_limit.map(|it| it.map_or(Json::from(-1), Json::from)),
        _ => None,
    }
}
