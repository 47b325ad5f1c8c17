use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::load;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;

const SAMPLES: [&str; 4] = [
    include_str!("../../../tests/definitions/3.10.8-definitions.json"),
    include_str!("../../../tests/definitions/3.10.8-definitions-vhost.json"),
    include_str!("../../../tests/definitions/4.3.6-definitions.json"),
    include_str!("../../../tests/definitions/4.3.6-definitions-vhost.json"),
];

fn topology(files: &Imported) -> Topology {
    let sources: Vec<Source> = files
        .files
        .iter()
        .map(|(name, text)| Source { path: format!("{name}.toml"), text: text.clone() })
        .collect();
    let loaded = load(&sources);
    let errors: Vec<_> = loaded.diagnostics.iter().filter(|it| it.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{:?}", files.files);
    loaded.topology
}

/// The objects under a key as texts without order, with what means the same written the same.
fn objects(definitions: &Json, key: &str, vhost: &str) -> BTreeSet<String> {
    let all = definitions[key].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .map(|mut it| {
            let map = it.as_object_mut().expect("an object");
            // A queue's type stands among its arguments as well.
            if key != "exchanges" {
                map.remove("type");
            }
            map.entry("vhost").or_insert_with(|| vhost.into());
            map.entry("internal").or_insert(false.into());
            let arguments = map["arguments"].as_object_mut().expect("a table");
            if arguments.get("x-queue-type").is_some_and(|it| it == "classic") {
                arguments.remove("x-queue-type");
            }
            it.to_string()
        })
        .collect()
}

#[test]
fn what_is_imported_is_exported_again() {
    for sample in SAMPLES {
        let before: Json = serde_json::from_str(sample).expect("it is JSON");
        let vhost = before["original_vhost_name"].as_str().unwrap_or("/");
        let imported = import(sample).expect("these are definitions");
        let after = export(&topology(&imported)).definitions;
        for key in ["exchanges", "queues", "bindings"] {
            let (before, after) = (objects(&before, key, vhost), objects(&after, key, vhost));
            let lost: Vec<_> = before.difference(&after).collect();
            let new: Vec<_> = after.difference(&before).collect();
            assert!(new.is_empty(), "{key}: {new:#?} from {lost:#?}");
            assert!(
                lost.len() <= imported.left_out.len(),
                "{key}: {lost:#?} is not among {:#?}",
                imported.left_out
            );
        }
    }
}

#[test]
fn files_read_as_if_a_person_had_written_them() {
    let imported = import(SAMPLES[0]).expect("these are definitions");
    let text = &imported.files["shop"];
    let billing = "# Failed messages wait in billing.retry.1s and come back.\n\
        # One policy does the same, in place, once the consumers reject what fails:\n\
        #   retry = { attempts = 2, first = \"1s\", multiplier = 1.0, max = \"1s\" }\n\
        # What keeps failing is in billing.parked; with a policy, in billing.parked.\n\
        [queues.billing]\n";
    assert!(text.contains(billing), "{text}");
    assert!(text.contains("limits = { messages = 100_000 }\n"), "{text}");
    assert!(text.contains("dead_letter = { exchange = \"\", key = \"billing\" }\nttl = \"1s\""));
    assert!(text.contains("alternate = \"unrouted\"\n"), "{text}");
}

#[test]
fn what_has_no_form_is_listed() {
    let imported = import(SAMPLES[0]).expect("these are definitions");
    for expected in [
        "user `guest`",
        "vhost `shop`: policy `ttl` {\"message-ttl\":600000}",
        "vhost `shop`: topic permissions of `app`",
    ] {
        assert!(imported.left_out.iter().any(|it| it == expected), "{:#?}", imported.left_out);
    }
    let null = r#"{"queues": [{"name": "q", "vhost": "/", "arguments": {"x": null}}],
        "exchanges": [{"name": "d", "vhost": "/", "type": "x-jms-topic"}],
        "bindings": [{"source": "d", "vhost": "/", "destination": "q",
        "destination_type": "queue"}]}"#;
    let left_out = import(null).expect("these are definitions").left_out;
    assert_eq!(left_out.len(), 3, "{left_out:#?}");
    assert!(import("[]").is_err());
}

#[test]
fn retries_become_quorum_queues_and_the_rest_is_said() {
    let text = "[services.a]\n[queues.q]\nservice = \"a\"\nconsumers = \"keyed\"\n\
                key = \"routing-key\"\nretry = { attempts = 3, first = \"1s\", jitter = 0.1 }\n";
    let loaded = load(&[Source { path: "t.toml".into(), text: text.into() }]);
    let exported = export(&loaded.topology);
    let queue = &exported.definitions["queues"][0]["arguments"];
    assert_eq!(queue["x-delivery-limit"], 2);
    assert_eq!(queue["x-dead-letter-routing-key"], "q.parked");
    assert_eq!(exported.definitions["queues"][1]["name"], "q.parked");
    assert_eq!(exported.notes.len(), 4, "{:#?}", exported.notes);
}

const FAILING: &str = "[services.billing]\n\
    [exchanges.orders]\ntype = \"topic\"\nunroutable = \"park\"\n\
    [exchanges.shards]\ntype = \"x-consistent-hash\"\n\
    [queues.bills]\nservice = \"billing\"\nack_timeout = \"1m\"\nlimits = { age = \"1d\" }\n\
    retry = { attempts = 3, first = \"1s\", jitter = 0.5 }\n\
    bindings = [{ exchange = \"orders\", key = \"#\" }]\n\
    [queues.levels]\nmax_priority = 5\n\
    [queues.order]\nconsumers = \"keyed\"\nkey = \"routing-key\"\n";

fn translated(text: &str, node: &Node) -> (Translated, Vec<String>) {
    let loaded = load(&[Source { path: "t.toml".to_owned(), text: text.to_owned() }]);
    let done = translate(&loaded.topology, node);
    let losses = done.losses.iter().map(ToString::to_string).collect();
    (done, losses)
}

#[test]
fn failures_take_a_detour_and_what_is_lost_is_said() {
    let mut old = Node::assumed(Version(3, 10));
    old.exchange_types.remove("x-consistent-hash");
    let (done, losses) = translated(FAILING, &old);
    let vhost = done.topology.vhost("/").expect("one");
    let names: Vec<&str> = vhost.queues.keys().map(|it| it.as_str()).collect();
    let expected = [
        "bills",
        "bills.parked",
        "bills.retry.in",
        "bills.wait.1000",
        "bills.wait.2000",
        "levels",
        "order",
        "orders.parked",
    ];
    assert_eq!(names, expected);
    let definition = |name: &str| {
        let policy = policy::of_queue(&vhost.queues[name]);
        serde_json::Value::Object(policy.map(|it| it.definition).unwrap_or_default())
    };
    assert_eq!(
        definition("bills"),
        serde_json::json!({
            "dead-letter-exchange": "bills.failed",
            "dead-letter-strategy": "at-least-once",
            "delivery-limit": 20,
            "message-ttl": 86_400_000,
            "overflow": "reject-publish",
        })
    );
    assert_eq!(definition("bills.wait.2000")["dead-letter-exchange"], "bills.again");
    assert_eq!(definition("levels"), serde_json::json!({}));
    let fixed = |name: &str| policy::fixed_arguments(&vhost.queues[name]).to_string();
    assert_eq!(fixed("bills"), "{x-queue-type=quorum}");
    assert_eq!(fixed("levels"), "{x-max-priority=5}");
    assert_eq!(fixed("order"), "{x-queue-type=quorum, x-single-active-consumer=true}");
    let said = losses.join("\n");
    for words in [
        "nobody keeps services to their own",
        "enable the plugin `rabbitmq_consistent_hash_exchange`",
        "`bills`: its retries have no jitter",
        "`bills`: deliveries time out as the node says, not after 1m",
        "`order`: order per key is kept by one consumer at a time",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert_eq!(done.losses.iter().filter(|it| it.is_fatal).count(), 1);

    // A newer one can more; what is there keeps its type.
    let mut new = Node::assumed(Version::NEWEST);
    new.queue_types.insert(("/".to_owned(), "order".to_owned()), "classic".to_owned());
    let (done, losses) = translated(FAILING, &new);
    let vhost = done.topology.vhost("/").expect("one");
    assert!(vhost.queues["order"].arguments.get("x-queue-type").is_none());
    assert!(vhost.queues["bills"].ack_timeout.is_some());
    assert!(!losses.join("\n").contains("time out as the node says"), "{losses:?}");
    // Without a limit, it would drop what came back 20 times.
    let inbox = &vhost.queues["bills.retry.in"].arguments;
    assert_eq!(inbox.get("x-delivery-limit").and_then(|it| it.as_integer()), Some(-1));
}

#[test]
fn names_that_detours_need_are_refused_to_files() {
    let text = format!(
        "{FAILING}[queues.\"bills.retry.in\"]\n[exchanges.\"bills.wait\"]\ntype = \"fanout\"\n"
    );
    let (done, losses) = translated(&text, &Node::assumed(Version::NEWEST));
    assert_eq!(done.losses.iter().filter(|it| it.is_fatal).count(), 2, "{losses:?}");
}
