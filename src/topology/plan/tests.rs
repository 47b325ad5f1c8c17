use super::*;
use crate::topology::Source;
use crate::topology::load;

const OLD: &str = "[services.shop]\n[services.billing]\n[services.audit]\n\
    [exchanges.orders]\ntype = \"topic\"\n\
    messages = [{ key = \"order.created\", from = \"shop\" }]\n\
    [exchanges.jobs]\ntype = \"direct\"\n\
    [queues.billing]\nservice = \"billing\"\nretry = { attempts = 3, first = \"1s\" }\n\
    bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
    [queues.report]\nservice = \"audit\"\nlimits = { messages = 10 }\n\
    bindings = [{ exchange = \"jobs\", key = \"report\" }]\n";

fn plan(old: &str, new: &str) -> Plan {
    let topology = |text: &str| {
        let loaded = load(&[Source { path: "t.toml".into(), text: text.into() }]);
        assert!(!loaded.diagnostics.iter().any(|it| it.is_error()), "{:?}", loaded.diagnostics);
        loaded.topology
    };
    Plan::between(&topology(old), &topology(new))
}

#[test]
fn nothing_lies_between_a_topology_and_itself() {
    let plan = plan(OLD, &format!("# another comment\n{OLD}"));
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.text(), "no differences\n");
    // The declared message, and a key for the binding that none is declared for.
    let messages: Vec<&str> = plan.flows.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(messages, ["jobs/report", "orders/order.created"]);
}

#[test]
fn identity_means_another_object_and_the_rest_changes_in_place() {
    let cases = [
        ("type = \"direct\"", "type = \"fanout\"", Action::Replace, "type direct → fanout"),
        ("attempts = 3", "attempts = 4", Action::Change, "retry 1s 2s 4s → parked"),
        ("messages = 10 ", "messages = 5 ", Action::Change, "limits.messages 10 → 5; in place"),
        ("messages = 10 ", "bytes = 5 ", Action::Change, "limits.messages 10 → none"),
        ("limits = ", "durable = false\nlimits = ", Action::Replace, "durable true → false"),
        ("service = \"audit\"", "", Action::Change, "service audit → none"),
    ];
    for (from, to, action, text) in cases {
        let plan = plan(OLD, &OLD.replace(from, to));
        let changes: Vec<Action> = plan.changes.iter().map(|it| it.action).collect();
        assert!(changes.contains(&action), "{to}: {changes:?}");
        assert!(plan.text().contains(text), "{to}: {}", plan.text());
    }
}

#[test]
fn flows_say_who_gains_and_who_loses_a_copy() {
    let more = "[queues.audit]\nservice = \"audit\"\n\
                bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n";
    let gained = plan(OLD, &format!("{OLD}{more}"));
    let flow = gained.changed_flows().next().expect("one changes");
    let audit = Copy { queue: "audit".into(), service: Some("audit".into()) };
    assert_eq!(flow.gained().collect::<Vec<_>>(), [&audit]);
    assert!(
        gained.text().contains("orders/order.created from shop: 2 copies, was 1\n      + audit")
    );
    assert_eq!(gained.irreversible, Vec::<String>::new());

    let lost = plan(OLD, &OLD.replace("key = \"order.#\"", "key = \"invoice.#\""));
    assert!(lost.text().contains("- billing (billing): billing gets no copy any more"));
    let markdown = lost.markdown();
    assert!(markdown.contains("`orders/order.created` reaches nobody any more"), "{markdown}");
    assert!(markdown.contains("| ~~billing (billing)~~ | nobody |"), "{markdown}");
}

#[test]
fn what_cannot_be_undone_is_said() {
    let without = OLD.split("[queues.report]").next().expect("the first part");
    let cases = [
        (without.to_owned(), "deleting the queue `report` loses the messages waiting in it"),
        (OLD.replace("messages = 10", "messages = 3"), "beyond 3 may be dropped"),
        (OLD.replace("limits =", "ttl = \"5s\"\nlimits ="), "for over 5s expire at once"),
    ];
    for (new, expected) in cases {
        let plan = plan(OLD, &new);
        assert!(plan.irreversible.iter().any(|it| it.contains(expected)), "{plan:?}");
    }
    assert_eq!(plan(OLD, &OLD.replace("messages = 10", "messages = 30")).irreversible, [""; 0]);
}

#[test]
fn json_has_every_flow() {
    let json: serde_json::Value =
        serde_json::from_str(&plan(OLD, &OLD.replace("report", "r2")).json()).expect("it is JSON");
    assert_eq!(json["schema"], "railpost.plan/1");
    assert_eq!(json["delete"], 2);
    assert_eq!(json["flows"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["flows"][1]["representative"], true);
}
