use serde_json::json;

use super::*;
use crate::amqp::table::Table;
use crate::amqp::table::Value as Field;

fn map(definition: Value) -> Map<String, Value> {
    let Value::Object(map) = definition else { panic!("{definition} is no object") };
    map
}

fn policy(side: Side, name: &str, apply_to: &str, priority: i64, definition: Value) -> Policy {
    Policy::new(side, name, "^q", apply_to, priority, map(definition)).unwrap()
}

fn arguments(entries: &[(&str, Field)]) -> QueueArguments {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    QueueArguments::parse(&Table(entries.collect())).unwrap()
}

#[test]
fn what_is_wrong_is_said() {
    let cases = [
        (Side::User, json!({}), "the definition is empty"),
        (Side::User, json!({"nope": 1}), "'nope' is not a recognised policy setting"),
        (
            Side::User,
            json!({"message-ttl": "1"}),
            "'message-ttl' is \"1\"; it must be an integer, zero or above",
        ),
        (Side::User, json!({"expires": 0}), "'expires' is 0; it must be an integer above zero"),
        (
            Side::User,
            json!({"overflow": "x"}),
            "'overflow' is \"x\"; it must be 'drop-head', 'reject-publish' or 'reject-publish-dlx'",
        ),
        (
            Side::User,
            json!({"dead-letter-exchange": 1}),
            "'dead-letter-exchange' is 1; it must be a string",
        ),
        (
            Side::Operator,
            json!({"dead-letter-exchange": "x"}),
            "'dead-letter-exchange' cannot be set by an operator policy",
        ),
        (
            Side::User,
            json!({"message-ttl": 315_360_000_001_u64}),
            "'message-ttl' is 315360000001; it must be at most ten years, in milliseconds",
        ),
    ];
    for (side, definition, expected) in cases {
        let error = Policy::new(side, "p", ".*", "all", 0, map(definition)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let some = || map(json!({"max-length": 1}));
    assert!(Policy::new(Side::User, "p", "(", "all", 0, some()).is_err());
    assert!(Policy::new(Side::User, "p", "", "nothing", 0, some()).is_err());
}

#[test]
fn keys_of_clusters_are_taken_and_named() {
    let definition = json!({"ha-mode": "all", "queue-mode": "lazy", "max-length": 1});
    let policy = policy(Side::User, "p", "all", 0, definition);
    assert_eq!(policy.ignored(), ["ha-mode", "queue-mode"]);
}

#[test]
fn one_policy_holds_and_it_is_the_highest() {
    let mut policies = Policies::default();
    for (name, apply_to, priority, definition) in [
        ("a", "queues", 1, json!({"max-length": 1})),
        ("b", "queues", 1, json!({"max-length": 2})),
        ("c", "all", 0, json!({"max-length": 3})),
        ("d", "quorum_queues", 5, json!({"delivery-limit": 4})),
        ("e", "exchanges", 9, json!({"alternate-exchange": "ae"})),
        ("f", "queues", 7, json!({"delivery-limit": 3})),
        ("g", "streams", 8, json!({"max-age": "1h"})),
        ("h", "all", 6, json!({"queue-mode": "lazy"})),
    ] {
        policies.put(Side::User, policy(Side::User, name, apply_to, priority, definition)).unwrap();
    }
    let of = |name, queue_type| policies.of_queue(name, queue_type).policy.map(|it| &*it.name);
    // `f` has a key that classic queues do not have, and `h` one that quorum queues do not have.
    assert_eq!(of("q1", QueueType::Classic), Some("h"));
    assert_eq!(of("q1", QueueType::Quorum), Some("f"));
    assert_eq!(of("q1", QueueType::Stream), Some("g"));
    assert_eq!(of("other", QueueType::Quorum), None);
    let exchange = policies.of_exchange("q");
    assert_eq!(exchange.alternate_exchange(), Some(&"ae".into()));
    policies.remove(Side::User, "h");
    assert_eq!(
        policies.of_queue("q1", QueueType::Classic).policy.map(|it| &*it.name),
        Some("a"),
        "of equal priorities the first name"
    );
}

#[test]
fn arguments_policy_and_operator_policy_are_merged() {
    let user = policy(
        Side::User,
        "u",
        "all",
        0,
        json!({
            "message-ttl": 1000, "max-length": 5, "overflow": "reject-publish",
            "dead-letter-exchange": "policy-dlx", "dead-letter-routing-key": "policy-key",
            "delivery-limit": -1
        }),
    );
    let bounds = json!({"message-ttl": 500, "max-length": 9, "delivery-limit": 7});
    let operator = policy(Side::Operator, "o", "all", 0, bounds);
    let both = Governing { policy: Some(&user), operator: Some(&operator) };
    let amended = both.amend(&arguments(&[
        ("x-message-ttl", Field::I32(800)),
        ("x-max-length", Field::I32(2)),
        ("x-dead-letter-exchange", Field::text("own-dlx")),
        ("x-overflow", Field::text("drop-head")),
    ]));
    assert_eq!(amended.message_ttl, Some(Millis(500)));
    assert_eq!(amended.length_max, Some(2));
    assert_eq!(amended.overflow, Some(Overflow::DropHead));
    assert_eq!(amended.dead_letter_exchange, Some("own-dlx".into()));
    assert_eq!(amended.dead_letter_routing_key.as_deref(), Some("policy-key"));
    assert_eq!(amended.delivery_limit, Some(Some(7)));
    let quorum = both.amend(&arguments(&[
        ("x-queue-type", Field::text("quorum")),
        ("x-overflow", Field::text("drop-head")),
    ]));
    assert_eq!(quorum.overflow, Some(Overflow::RejectPublish));
    let definition = Value::Object(both.definition());
    assert_eq!(definition["message-ttl"], 500);
    assert_eq!(definition["max-length"], 5);
    assert_eq!(definition["delivery-limit"], 7);
    assert_eq!(definition["overflow"], "reject-publish");
}

#[test]
fn what_a_file_declares_is_only_tightened_and_only_by_operators() {
    let user = policy(Side::User, "u", "all", 0, json!({"message-ttl": 1, "max-length": 1}));
    let bounds = json!({"max-length": 10, "expires": 5, "message-ttl": 700});
    let operator = policy(Side::Operator, "o", "all", 0, bounds);
    let declared = Settings {
        durable: true,
        message_ttl: Some(Millis(600)),
        length_max: Some(20),
        ..Settings::default()
    };
    let alone = Governing { policy: Some(&user), operator: None };
    assert_eq!(alone.tighten(&declared), declared);
    let both = Governing { policy: Some(&user), operator: Some(&operator) };
    let expected = Settings { length_max: Some(10), ..declared.clone() };
    assert_eq!(both.tighten(&declared), expected);
}
