use super::*;
use crate::topology::declared::Topology;
use crate::topology::diagnostic::Tally;

fn sources(text: &str) -> Vec<Source> {
    let files = text.split("#--- another file\n").enumerate();
    files.map(|(at, text)| Source { path: format!("{at}.toml"), text: text.to_owned() }).collect()
}

fn found(text: &str) -> Vec<&'static str> {
    let loaded = check(&sources(text), day());
    loaded.diagnostics.iter().map(|it| it.rule.id).collect()
}

fn day() -> Day {
    Day::parse("2026-06-01").expect("it is a day")
}

#[test]
fn every_rule_finds_its_wrong_example_and_nothing_in_its_right_one() {
    for rule in &RULES {
        let (id, wrong, right) = (rule.code.id, found(rule.wrong), found(rule.right));
        assert!(wrong.contains(&id), "{id} finds nothing in its wrong example, only {wrong:?}");
        assert!(!right.contains(&id), "{id} finds something in its right example");
        let broken = right.iter().chain(&wrong).find(|it| it.starts_with("TOP"));
        assert_eq!(broken, None, "the examples of {id} are well-formed");
    }
}

#[test]
fn rules_have_ids_and_names_of_their_own_in_order() {
    let ids: Vec<&str> = RULES.iter().map(|it| it.code.id).collect();
    let names: BTreeSet<&str> = RULES.iter().map(|it| it.code.name).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable_by_key(|it| (it.split('-').next(), *it));
    sorted.dedup();
    assert_eq!(names.len(), RULES.len());
    assert_eq!(sorted.len(), RULES.len());
}

const UNBOUNDED: &str = "[services.a]\n[queues.q]\nservice = \"a\"\nretry = {}\n";

#[test]
fn what_is_allowed_is_not_reported_until_its_day() {
    let cases = [
        ("", vec!["QUE-001"]),
        ("allow = [{ rule = \"QUE-001\", reason = \"small\" }]", vec![]),
        ("allow = [{ rule = \"unbounded-queue\", reason = \"small\" }]", vec![]),
        ("allow = [{ rule = \"QUE-001\", reason = \"small\", until = \"2026-06-01\" }]", vec![]),
        (
            "allow = [{ rule = \"QUE-001\", reason = \"small\", until = \"2026-05-31\" }]",
            vec!["QUE-001", "TOP-011"],
        ),
        ("allow = [{ rule = \"FAN-003\", reason = \"x\" }]", vec!["QUE-001", "TOP-011"]),
        ("allow = [{ rule = \"QUE-001\" }]", vec!["QUE-001", "TOP-009"]),
        ("allow = [{ rule = \"QUE-01\", reason = \"x\" }]", vec!["QUE-001", "TOP-007"]),
        ("allow = [{ rule = \"FAN-002\", reason = \"x\" }]", vec!["QUE-001", "TOP-004"]),
    ];
    for (allow, expected) in cases {
        let mut of_object = found(&format!("{UNBOUNDED}{allow}\n"));
        of_object.sort_unstable();
        assert_eq!(of_object, expected, "on the queue: {allow}");
        let mut of_file = found(&format!("{allow}\n{UNBOUNDED}"));
        of_file.sort_unstable();
        assert_eq!(of_file, expected, "in the file: {allow}");
    }
}

#[test]
fn patterns_of_keys_reach_what_some_key_could() {
    let text = "[services.a]\n[services.b]\n\
                [exchanges.e]\ntype = \"topic\"\n\
                messages = [{ key = \"order.*.created\", from = \"a\" }]\n\
                [queues.q]\nservice = \"b\"\nretry = {}\nlimits = { age = \"1d\" }\n\
                bindings = [{ exchange = \"e\", key = \"order.eu.#\" }]\n";
    assert_eq!(found(text), Vec::<&str>::new());
    assert_eq!(found(&text.replace("order.eu.#", "order.eu")), vec!["RTE-001", "RTE-003"]);
}

#[test]
fn messages_may_go_by_way_of_other_exchanges() {
    let text = "[services.a]\n\
                [exchanges.in]\ntype = \"topic\"\nmessages = [{ key = \"x\", from = \"a\" }]\n\
                [exchanges.out]\ntype = \"direct\"\n\
                bindings = [{ exchange = \"in\", key = \"#\" }]\n\
                [queues.q]\nservice = \"a\"\nretry = {}\nlimits = { age = \"1d\" }\n\
                bindings = [{ exchange = \"out\", key = \"x\" }]\n";
    assert_eq!(found(text), Vec::<&str>::new());
    let wrong = text.replace("exchange = \"out\", key = \"x\"", "exchange = \"out\", key = \"y\"");
    assert_eq!(found(&wrong), vec!["RTE-001"]);
}

/// 5,000 queues and bindings, one of them wrong.
#[test]
fn large_topologies_are_read_as_small_ones_are() {
    let mut text = "[services.a]\n[exchanges.e]\ntype = \"direct\"\n".to_owned();
    for at in 0..5000 {
        text.push_str(&format!(
            "[queues.q{at}]\nservice = \"a\"\nretry = {{}}\nlimits = {{ age = \"1d\" }}\n\
             bindings = [{{ exchange = \"e\", key = \"k{at}\" }}]\n"
        ));
    }
    text.push_str("[queues.last]\nbindings = [{ exchange = \"f\" }]\n");
    let loaded = check(&sources(&text), day());
    assert_eq!(Tally::of(&loaded.diagnostics).errors, 1);
    let vhost = loaded.topology.vhost("/").map(|it| it.queues.len());
    assert_eq!(vhost, Some(5001));
    let _: &Topology = &loaded.topology;
}

/// Findings that short examples may have: they leave out what they are not about.
const LEFT_OUT: [&str; 5] = ["DLX-003", "DLX-012", "DLX-015", "FAN-003", "QUE-001"];

#[test]
fn right_examples_and_the_files_that_come_with_it_have_no_other_mistake() {
    let folder = [
        include_str!("../../../topology/mail.toml"),
        include_str!("../../../topology/new-user.toml"),
        include_str!("../../../topology/payments.toml"),
        include_str!("../../../topology/playground.toml"),
    ];
    let folder = folder.join("#--- another file\n");
    let files = [
        ("topology/", folder.as_str()),
        ("the example of the manual", include_str!("../run/example.toml")),
        ("init", include_str!("../../cli/init/orders.toml")),
    ];
    let examples = RULES.iter().map(|it| (it.code.id, it.right));
    let mut wrong = Vec::new();
    for (name, text) in files.into_iter().chain(examples) {
        let mut others = found(text);
        others.retain(|it| !LEFT_OUT.contains(it));
        if !others.is_empty() {
            wrong.push((name, others));
        }
    }
    assert_eq!(wrong, []);
}
