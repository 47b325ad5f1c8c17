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

/// What the examples of the rules do not show: each text with a rule, and whether it finds that.
#[test]
fn rules_find_and_leave_alone_what_their_pages_say() {
    let services = "[services.a]\n[services.b]\n[services.c]\n";
    let ignore = "[vhost]\nclient_x_death = \"ignore\"\n";
    let later = "[exchanges.e]\ntype = \"x-delayed-message\"\n";
    let cases = [
        (
            "RTE-002",
            true,
            "[exchanges.e]\ntype = \"direct\"\nmessages = [{ key = \"k\", from = \"a\" }]\n\
             [queues.q]\nauto_delete = true\nbindings = [{ exchange = \"e\", key = \"k\" }]\n",
        ),
        (
            "RTE-002",
            false,
            "[exchanges.e]\ntype = \"fanout\"\nmessages = [{ from = \"a\", mandatory = false }]\n\
             [queues.q]\nbindings = [{ exchange = \"e\" }]\n",
        ),
        (
            "RTE-002",
            false,
            "[exchanges.e]\ntype = \"fanout\"\nmessages = [{ from = \"a\" }]\n\
             [queues.q]\nconsumers = \"per-instance\"\nbindings = [{ exchange = \"e\" }]\n",
        ),
        (
            "RTE-011",
            true,
            "[exchanges.e]\ntype = \"direct\"\ninternal = true\n\
             [queues.q]\nbindings = [{ exchange = \"e\", key = \"k\" }]\n",
        ),
        (
            "RTE-011",
            false,
            "[exchanges.e]\ntype = \"direct\"\n\
             [queues.q]\nbindings = [{ exchange = \"e\", key = \"k\" }]\n[queues.r]\n",
        ),
        (
            "RTE-011",
            false,
            "[queues.p]\nmessages = [{ from = \"a\" }]\n[queues.q]\n[[tests]]\nname = \"t\"\n\
             publish = { exchange = \"\", key = \"q\" }\nleft = { q = 1 }\n",
        ),
        ("DLX-007", true, "[queues.q]\nretry = {}\narguments = { x-queue-type = \"stream\" }\n"),
        (
            "DLX-007",
            false,
            "[queues.q]\narguments = { x-queue-type = \"quorum\", x-delivery-limit = 3 }\n",
        ),
        (
            "DLX-009",
            true,
            "[queues.q]\nmessages = [{ from = \"a\", headers = { x-death = [{ count = 1 }] } }]\n",
        ),
        (
            "DLX-009",
            false,
            "[queues.q]\nservice = \"a\"\n\
             [queues.\"q.wait\"]\nttl = \"1s\"\ndead_letter = { exchange = \"\", key = \"q\" }\n\
             messages = [{ from = \"a\", headers = { attempt = 1 } }]\n",
        ),
        (
            "DLX-010",
            false,
            "[queues.q]\nservice = \"a\"\n\
             [queues.wait]\nttl = \"1s\"\ndead_letter = { exchange = \"\", key = \"q\" }\n\
             messages = [{ from = \"a\", expiration = \"5s\" }, { from = \"b\" }]\n",
        ),
        (
            "DLX-013",
            true,
            "[exchanges.e]\ntype = \"x-consistent-hash\"\n\
             [queues.q]\nservice = \"a\"\ndead_letter = { exchange = \"e\" }\n\
             [queues.dead]\nbindings = [{ exchange = \"e\", key = \"1\" }]\n",
        ),
        (
            "DLX-017",
            true,
            "[queues.q]\nservice = \"a\"\nclient_attempts = 3\n\
             arguments = { x-delivery-limit = 4 }\n",
        ),
        (
            "DLX-017",
            false,
            "[queues.q]\nservice = \"a\"\nclient_attempts = 3\nretry = { attempts = 1 }\n",
        ),
        (
            "DLX-024",
            true,
            "[exchanges.e]\ntype = \"fanout\"\nmessages = [{ from = [\"c\", \"medic\"] }]\n\
             [queues.q]\nservice = \"a\"\nbindings = [{ exchange = \"e\" }]\n\
             dead_letter = { exchange = \"\", key = \"dead\" }\n\
             [queues.r]\nservice = \"b\"\nbindings = [{ exchange = \"e\" }]\n\
             [queues.dead]\nservice = \"medic\"\n[services.medic]\n",
        ),
        (
            "DLX-024",
            false,
            "[exchanges.e]\ntype = \"fanout\"\nmessages = [{ from = \"c\" }]\n\
             [queues.q]\nservice = \"a\"\nbindings = [{ exchange = \"e\" }]\n\
             dead_letter = { exchange = \"\", key = \"wait\" }\n\
             [queues.r]\nservice = \"b\"\nbindings = [{ exchange = \"e\" }]\n\
             [queues.wait]\nttl = \"1s\"\ndead_letter = { exchange = \"\", key = \"q\" }\n",
        ),
        (
            "DLX-026",
            true,
            "[exchanges.e]\ntype = \"direct\"\n\
             messages = [{ key = \"k\", from = \"a\", headers = { CC = [\"l\"] } }]\n\
             [queues.q]\nbindings = [{ exchange = \"e\", key = \"l\" }]\n\
             dead_letter = { exchange = \"\", key = \"dead\" }\n[queues.dead]\n",
        ),
        (
            "ORD-002",
            true,
            "[queues.q]\nservice = \"a\"\nconsumers = \"single-active\"\nretry = {}\n\
             messages = [{ from = \"b\", order = \"user-id\" }]\n",
        ),
        (
            "ORD-002",
            false,
            "[queues.q]\nservice = \"a\"\nconsumers = \"single-active\"\nretry = {}\n",
        ),
        (
            "ORD-003",
            true,
            "[exchanges.e]\ntype = \"x-modulus-hash\"\n\
             messages = [{ from = \"a\", order = \"routing-key\" }]\n\
             [queues.q]\nconsumers = \"per-instance\"\nbindings = [{ exchange = \"e\" }]\n",
        ),
        ("PUB-010", false, "[queues.q]\nmessages = [{ from = \"a\", expiration = \"1s\" }]\n"),
        (
            "QUE-004",
            true,
            "[queues.q]\nservice = \"a\"\narguments = { x-delayed-retry-min = 1000 }\n",
        ),
        ("QUE-012", false, "[queues.q]\nmax_priority = 3\nttl = \"1s\"\n"),
        (
            "QUE-012",
            true,
            "[queues.q]\nmax_priority = 3\ndead_letter = { exchange = \"\", key = \"dead\" }\n\
             messages = [{ from = \"a\", expiration = \"1s\" }]\n[queues.dead]\n",
        ),
        (
            "QUE-014",
            true,
            "[queues.q]\nlimits = { messages = 5_000_001, overflow = \"reject-publish\" }\n\
             arguments = { x-queue-type = \"quorum\" }\n",
        ),
        (
            "QUE-014",
            true,
            "[queues.q]\narguments = { x-queue-type = \"quorum\" }\n[queues.r]\n\
             [[tests]]\nname = \"t\"\nleft = { r = 1 }\n\
             publish = { exchange = \"\", key = \"r\", properties = { reply_to = \"q\" } }\n",
        ),
        (
            "QUE-016",
            true,
            "[queues.q]\nretry = { attempts = 5, first = \"10s\" }\n\
             arguments = { x-message-deduplication = true, x-cache-ttl = 1000 }\n",
        ),
        (
            "QUE-016",
            true,
            "[exchanges.e]\ntype = \"fanout\"\ndurable = false\n\
             arguments = { x-message-deduplication = true }\n",
        ),
        ("QUE-016", false, "[queues.q]\narguments = { x-message-deduplication = true }\n"),
        (
            "CON-001",
            false,
            "[queues.q]\nservice = \"one\"\nprefetch = 0\n[services.one]\ninstances = 1\n",
        ),
    ];
    let delayed = [
        (true, "x-message-deduplication = true, x-cache-ttl = 5000"),
        (false, "x-message-deduplication = true"),
    ];
    let delayed = delayed.map(|(expected, arguments)| {
        let arguments = format!("arguments = {{ x-delayed-type = \"direct\", {arguments} }}\n");
        ("QUE-017", expected, format!("{later}{arguments}"))
    });
    let cases = cases.map(|(id, expected, text)| (id, expected, text.to_owned()));
    for (id, expected, text) in cases.into_iter().chain(delayed) {
        let vhost = if id == "DLX-009" { ignore } else { "" };
        let found = found(&format!("{vhost}{services}{text}"));
        assert_eq!(found.contains(&id), expected, "{id}: {found:?} in\n{text}");
        let broken = found.iter().find(|it| it.starts_with("TOP"));
        assert_eq!(broken, None, "{id}: well-formed\n{text}");
    }
}
