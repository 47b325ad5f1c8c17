use super::*;
use crate::topology::declared::Topology;
use crate::topology::diagnostic::Tally;
use crate::topology::lint::subject::Live;
use crate::topology::observed;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;

fn sources(text: &str) -> Vec<Source> {
    let files = text.split("#--- another file\n").filter(|it| !it.is_empty()).enumerate();
    files.map(|(at, text)| Source { path: format!("{at}.toml"), text: text.to_owned() }).collect()
}

/// What an example amounts to: topology files, then definitions, then the configuration.
fn checked(text: &str) -> Loaded {
    let (text, live) = text.split_once(subject::LIVE).unwrap_or((text, ""));
    let live = (!live.is_empty()).then(|| live_of(live, text));
    let node = text.contains(subject::RABBITMQ).then(|| Node::assumed(Version::NEWEST));
    let (text, configuration) = text.split_once(subject::CONFIGURATION).unwrap_or((text, ""));
    let (text, definitions) = text.split_once(subject::DEFINITIONS).unwrap_or((text, ""));
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let definitions = source("definitions.json", definitions);
    let configuration = source("railpost.toml", configuration);
    let inputs = Inputs {
        topology: &sources(text),
        definitions: if definitions.text.is_empty() { &[] } else { &[definitions] },
        configuration: Some(&configuration).filter(|it| !it.text.is_empty()),
        live: live.as_ref(),
        node: node.as_ref(),
    };
    check_all(&inputs, day()).expect("the definitions can be read")
}

/// A broker to which these files were applied. A comment says what has come of a queue:
/// `# NAME: 12 messages, 0 consumers, 3 days` without use, or that a client has made it.
fn live_of(text: &str, new: &str) -> Live {
    let mut observed = observed::tests::as_declared(text);
    let mut made = Vec::new();
    let queues = observed.vhosts.values_mut().flat_map(|it| &mut it.queues);
    for (name, queue) in queues {
        let start = format!("# {name}: ");
        for part in text.lines().find_map(|it| it.strip_prefix(&start)).unwrap_or("").split(", ") {
            match part.split_once(' ') {
                Some((n, "messages")) => queue.n_messages = n.parse().expect("a number"),
                Some((n, "consumers")) => queue.n_consumers = n.parse().expect("a number"),
                Some((n, "days")) => {
                    queue.unused_ms = n.parse().ok().map(|it: u64| it * 24 * 60 * 60 * 1000);
                }
                Some(_) => made.push(format!("[queues.{name}]\n")),
                None => {}
            }
        }
    }
    for it in made {
        observed.sources[0].text = observed.sources[0].text.replace(&it, "");
    }
    let applied = load(&observed.sources).topology;
    let new = sources(new);
    let options = Options::default();
    let rollout = Rollout::new(&observed, &applied, &load(&new).topology, &new, &options);
    Live { observed, rollout }
}

fn found(text: &str) -> Vec<&'static str> {
    checked(text).diagnostics.iter().map(|it| it.rule.id).collect()
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

/// Rules about operation and safety say nothing about what others call right, but how far behind
/// its receivers may fall.
#[test]
fn what_is_right_is_right_for_the_whole_set() {
    for rule in &RULES {
        let loud = checked(rule.right).diagnostics.into_iter();
        let loud = loud.filter(|it| it.severity != Severity::Info);
        let of_set =
            |it: &&'static str| ["POL", "SEC", "OPS"].iter().any(|set| it.starts_with(set));
        let wrong: Vec<_> = loud.map(|it| it.rule.id).filter(|it| of_set(it)).collect();
        assert_eq!(wrong, [""; 0], "in the right example of {}", rule.code.id);
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
const LEFT_OUT: [&str; 6] = ["DLX-003", "DLX-012", "DLX-015", "FAN-003", "OPS-006", "QUE-001"];

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
/// Rules and places of what is found in definitions; the text has one of each list.
#[test]
fn definitions_are_judged_where_they_stand() {
    let text = "#--- definitions of RabbitMQ\n{\"queues\": [\n\
        {\"name\": \"a\", \"vhost\": \"v\", \"arguments\": {\"x-dead-letter-exchange\": \"no\"}},\n\
        {\"name\": \"b\", \"vhost\": \"v\"}],\n\
        \"bindings\": [\n\
        {\"source\": \"amq.direct\", \"vhost\": \"v\", \"destination_type\": \"queue\",\n\
        \"destination\": \"b\", \"routing_key\": \"x.*\"}],\n\
        \"policies\": [\n\
        {\"name\": \"p\", \"vhost\": \"v\", \"pattern\": \"^b$\", \"definition\": {\"max-length\": 5}}]}\n";
    let places = |text: &str| -> Vec<String> {
        let loaded = checked(text);
        let sources = &loaded.topology.sources;
        let found = loaded.diagnostics.iter();
        found.map(|it| format!("{} {}", it.rule, sources.place(it.primary.origin))).collect()
    };
    let expected = [
        "DLX-001 definitions.json:2:10",
        "QUE-002 definitions.json:3:10",
        "RTE-005 definitions.json:5:12",
    ];
    assert_eq!(places(text), expected);
    let alternate = text.replace(
        "}],\n\"bindings\"",
        "}],\n\"exchanges\": [{\"name\": \"e\", \
        \"vhost\": \"v\", \"type\": \"fanout\", \"arguments\": {\"alternate-exchange\": \"f\"}}], \
        \"bindings\"",
    );
    assert!(places(&alternate).contains(&"RTE-004 definitions.json:4:24".to_owned()));
    // What a plugin's exchange routes is not known, but it is there.
    let plugin = text.replace(
        "}],\n\"bindings\"",
        "}],\n\"exchanges\": [{\"name\": \"no\", \
        \"vhost\": \"v\", \"type\": \"x-recent-history\"}], \"bindings\"",
    );
    assert!(!places(&plugin).concat().contains("DLX-001"), "{:?}", places(&plugin));
    let allowed = format!("allow = [{{ rule = \"DLX-001\", reason = \"r\" }}]\n{text}");
    assert_eq!(places(&allowed), expected[1..]);
}

#[test]
fn what_is_allowed_beside_the_files_waits_for_its_input() {
    let allow = "allow = [{ rule = \"SEC-006\", reason = \"a proxy does it\" }]\n";
    assert_eq!(found(allow), Vec::<&str>::new());
    let open = "#--- configuration of the daemon\nlisten = \"0.0.0.0:5672\"\n";
    assert_eq!(found(&format!("{allow}{open}")), Vec::<&str>::new());
    assert_eq!(found(&format!("{allow}{}", open.replace("0.0.0.0", "127.0.0.1"))), ["TOP-011"]);
}

#[test]
fn what_rabbitmq_exports_can_be_checked() {
    for (sample, expected) in [
        (include_str!("../../../tests/definitions/3.10.8-definitions.json"), 6),
        (include_str!("../../../tests/definitions/3.10.8-definitions-vhost.json"), 6),
        (include_str!("../../../tests/definitions/4.3.6-definitions.json"), 0),
        (include_str!("../../../tests/definitions/4.3.6-definitions-vhost.json"), 0),
    ] {
        let rules = found(&format!("{}{sample}", subject::DEFINITIONS));
        assert_eq!(rules.len(), expected, "{rules:?}");
        assert!(rules.iter().all(|it| !it.starts_with("POL")), "{rules:?}");
    }
}

#[test]
fn users_of_the_configuration_are_told_from_services_and_operators() {
    let text = "[vhost]\nname = \"v\"\nenforce = \"warn\"\nundeclared = \"deny\"\n[services.a]\n\
        #--- configuration of the daemon\nconnections_max = 1\n\
        [[users]]\nname = \"a\"\npassword = \"kiU3-vi9-Wd7\"\n";
    assert_eq!(found(text), ["SEC-002"]);
    for harmless in [
        text.replace("\"warn\"", "\"deny\""),
        text.replace("name = \"a\"", "name = \"b\""),
        format!("{text}tags = [\"administrator\"]\n"),
        format!("{text}vhosts = [\"w\"]\n"),
    ] {
        assert_eq!(found(&harmless), [""; 0], "{harmless}");
    }
    assert_eq!(found(&text.replace("kiU3-vi9-Wd7", "a")), ["SEC-001", "SEC-002"]);
    let guest = text
        .replace("name = \"a\"\npassword = \"kiU3-vi9-Wd7", "name = \"guest\"\npassword = \"guest");
    let loaded = checked(&guest);
    assert_eq!(Tally::of(&loaded.diagnostics).infos, 1, "{:?}", loaded.diagnostics);
    let copied = format!(
        "{text}tags = [\"administrator\"]\n[[users]]\nname = \"b\"\npassword = \"kiU3-vi9-Wd7\"\n"
    );
    assert_eq!(found(&copied), ["SEC-003"]);
    let few = text.replace("connections_max = 1", "connections_max = 0");
    assert_eq!(found(&few), ["OPS-005", "SEC-002"]);
}

/// What policies and arguments come to: queues and policies of one vhost, and the titles found.
#[test]
fn policies_say_what_counts() {
    let queue = |arguments: &str| format!("{{\"name\": \"q\", \"arguments\": {{{arguments}}}}}");
    let policy = |name: &str, priority: u8, definition: &str| {
        format!(
            "{{\"name\": \"{name}\", \"pattern\": \"^q\", \"priority\": {priority}, \
             \"definition\": {{{definition}}}}}"
        )
    };
    let quorum = "\"x-queue-type\": \"quorum\", \"x-overflow\": \"drop-head\"";
    let cases = [
        ("", vec![("a", 0, "\"expires\": 5")], ""),
        ("\"x-expires\": 5", vec![("a", 0, "\"expires\": 5")], ""),
        (
            "\"x-expires\": 5",
            vec![("a", 0, "\"expires\": 3")],
            "`expires` of queue `q` is 3: its argument says 5, and policy `a` 3",
        ),
        (
            "\"x-dead-letter-exchange\": \"\"",
            vec![("a", 0, "\"dead-letter-exchange\": \"d\"")],
            "`dead-letter-exchange` of queue `q` is \"\": its argument says \"\", and policy `a` \"d\"",
        ),
        (
            quorum,
            vec![("a", 0, "\"overflow\": \"reject-publish\"")],
            "`overflow` of queue `q` is \"reject-publish\": its argument says \"drop-head\", and \
             policy `a` \"reject-publish\"",
        ),
        (
            "",
            vec![("a", 1, "\"expires\": 5"), ("b", 1, "\"expires\": 6")],
            "either policy `a` or `b` holds for queue `q` of vhost `/`: both have the priority 1",
        ),
        ("", vec![("a", 1, "\"expires\": 5"), ("b", 1, "\"expires\": 5")], ""),
        ("", vec![("a", 2, "\"expires\": 5"), ("b", 1, "\"expires\": 6")], ""),
        (
            "",
            vec![("a", 2, "\"expires\": 5"), ("b", 1, "\"max-length\": 6, \"expires\": 5")],
            "policy `b` sets `max-length`, and is off for queue `q`, because `a` holds alone",
        ),
    ];
    for (arguments, policies, expected) in cases {
        let policies: Vec<String> = policies.iter().map(|it| policy(it.0, it.1, it.2)).collect();
        let text = format!(
            "{}{{\"queues\": [{}], \"policies\": [{}]}}",
            subject::DEFINITIONS,
            queue(arguments),
            policies.join(", ")
        );
        let all = checked(&text).diagnostics;
        let own = all.iter().filter(|it| it.rule.id.starts_with("POL"));
        let titles: Vec<&str> = own.map(|it| it.title.as_str()).collect();
        assert_eq!(titles.join("; "), expected, "{text}");
    }
}

#[test]
fn operators_may_bound_and_are_reported_where_they_do() {
    let text = |most: u32| {
        format!(
            "{}{{\"queues\": [{{\"name\": \"q\", \"arguments\": {{\"x-max-length\": 10, \
             \"x-overflow\": \"drop-head\"}}}}], \"parameters\": [{{\"component\": \
             \"operator_policy\", \"name\": \"o\", \"value\": {{\"pattern\": \".*\", \
             \"definition\": {{\"max-length\": {most}}}}}}}]}}",
            subject::DEFINITIONS
        )
    };
    assert_eq!(found(&text(20)), [""; 0]);
    assert_eq!(found(&text(5)), ["POL-003"]);
}
