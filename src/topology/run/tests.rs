use super::*;
use crate::topology::day::Day;
use crate::topology::diagnostic::Tally;
use crate::topology::lint::check;
use crate::topology::source::Source;

fn outcome(text: &str) -> Vec<(String, Vec<String>)> {
    let sources = [Source { path: "t.toml".into(), text: text.into() }];
    let loaded = check(&sources, Day::parse("2026-06-01").expect("it is a day"));
    assert_eq!(Tally::of(&loaded.diagnostics).errors, 0, "{:#?}", loaded.diagnostics);
    let mut all = Vec::new();
    for vhost in loaded.topology.vhosts.values() {
        let mut runner = Runner::new(&loaded.topology, vhost);
        let mut whole = Whole::new(&loaded.topology, vhost).expect("can be declared");
        whole.divisible = false;
        for scenario in &vhost.scenarios {
            let failures = runner.run(scenario);
            let of_all = play(&loaded.topology, &whole.part(scenario), scenario);
            assert_eq!(failures, of_all, "a part is as good as the whole");
            let texts = failures.into_iter().map(|it| it.text).collect();
            all.push((scenario.name.value.clone(), texts));
        }
    }
    all
}

fn assert_all_pass(text: &str) {
    let all = outcome(text);
    assert!(!all.is_empty());
    for (name, failures) in all {
        assert_eq!(failures, Vec::<String>::new(), "{name}");
    }
}

/// The example that the syntax is explained with.
const EXAMPLE: &str = include_str!("example.toml");

#[test]
fn the_example_of_the_manual_passes() {
    assert_all_pass(EXAMPLE);
}

#[test]
fn every_expectation_can_fail() {
    let cases = [
        ("reaches = { \"newuser.member\" = 1 }", "it also reaches `newuser.promotion` (1)"),
        (
            "reaches = { \"newuser.member\" = 2, \"newuser.promotion\" = 1 }",
            "copies in `newuser.member`: 2 expected, 1 found",
        ),
        ("services = { member = 2 }", "deliveries to service `member`: 2 expected, 1 found"),
        (
            "deliveries_at = { \"newuser.member\" = [\"1s\"] }",
            "`newuser.member` should deliver at 1s, but did at 0s",
        ),
        ("order = { \"newuser.member\" = [\"b\"] }", "in the order b, was: a"),
        ("parked = { \"newuser.member\" = 1 }", "`newuser.member`: 1 expected, 0 found"),
        ("dead_lettered = { \"newuser.member\" = 1 }", "1 expected, 0 found"),
        ("expired = { \"newuser.member\" = 1 }", "1 expected, 0 found"),
        ("dropped = { \"newuser.member\" = 1 }", "1 expected, 0 found"),
        ("left = { \"newuser.member\" = 1 }", "1 expected, 0 found"),
        ("unroutable = true", "should be unroutable, but reaches"),
    ];
    let declared = EXAMPLE.split("[[tests]]").next().expect("there are tests");
    for (expectation, expected) in cases {
        let text = format!(
            "{declared}\n[[tests]]\nname = \"t\"\n\
             publish = {{ exchange = \"newuser\", body = \"a\" }}\n{expectation}\n"
        );
        let all = outcome(&text);
        let failures = &all[0].1;
        assert_eq!(failures.len(), 1, "{expectation}: {failures:?}");
        assert!(failures[0].contains(expected), "{expectation}: {failures:?}");
    }
}

#[test]
fn failures_end_where_the_policy_says() {
    assert_all_pass(
        r#"
        [services.a]
        [exchanges.dlx]
        type = "fanout"
        [queues.dead]
        bindings = [{ exchange = "dlx" }]
        [queues.letters]
        service = "a"
        retry = { attempts = 2, first = "1s", then = "dead-letter" }
        dead_letter = { exchange = "dlx" }
        limits = { age = "1d" }
        [queues.drops]
        service = "a"
        retry = { attempts = 2, first = "1s", then = "drop" }
        limits = { age = "1d" }
        [queues.quick]
        service = "a"
        retry = { attempts = 5, first = "1s" }
        fail_fast = true
        limits = { age = "1d" }
        [queues.lost]
        service = "a"
        retry = { attempts = 5, first = "1s", delivery_limit = 5 }
        limits = { age = "1d" }

        [[tests]]
        name = "dead-lettered after two attempts"
        publish = { exchange = "", key = "letters" }
        when = { letters = "reject" }
        deliveries_at = { letters = ["0s", "1s"] }
        dead_lettered = { letters = 1 }
        left = { dead = 1 }

        [[tests]]
        name = "dropped after two attempts"
        publish = { exchange = "", key = "drops" }
        when = { drops = "nack-requeue" }
        deliveries_at = { drops = ["0s", "1s"] }
        dropped = { drops = 1 }

        [[tests]]
        name = "a rejection without requeue parks at once"
        publish = { exchange = "", key = "quick" }
        when = { quick = "reject" }
        deliveries_at = { quick = ["0s"] }
        parked = { quick = 1 }

        [[tests]]
        name = "one that kills its consumers is parked by the delivery limit"
        publish = [
          { exchange = "", key = "lost", body = "poison" },
          { exchange = "", key = "lost", body = "fine", at = "10s" },
        ]
        when = { lost = "lost" }
        parked = { lost = 2 }
        services = { a = 10 }

        [[tests]]
        name = "what fails once is handled later, behind those that did not"
        publish = [
          { exchange = "", key = "letters", body = "1" },
          { exchange = "", key = "letters", body = "2", at = "100ms" },
        ]
        when = { letters = ["reject", "ack"] }
        order = { letters = ["1", "2"] }
        deliveries_at = { letters = ["0s", "100ms", "1s", "1100ms"] }
        "#,
    );
}

#[test]
fn keys_keep_their_order() {
    let declared = r#"
        [services.a]
        [queues.q]
        service = "a"
        consumers = "keyed"
        key = "header:user"
        on_failure = "hold"
        retry = { attempts = 3, first = "1s" }
        limits = { age = "1d" }

        [[tests]]
        name = "a failing key waits, the other goes on"
        publish = [
          { exchange = "", key = "q", headers = { user = "a" }, body = "a1" },
          { exchange = "", key = "q", headers = { user = "a" }, body = "a2", at = "1ms" },
          { exchange = "", key = "q", headers = { user = "b" }, body = "b1", at = "2ms" },
        ]
        when = { q = ["nack", "ack"] }
        order = { q = ["a1", "b1", "a2"] }
    "#;
    assert_all_pass(declared);
    let skip = declared.replace("hold", "skip");
    assert_all_pass(&skip.replace(r#""a1", "b1", "a2""#, r#""a1", "a2", "b1""#));
}

#[test]
fn tests_without_an_end_are_stopped() {
    let all = outcome(
        r#"
        [services.a]
        [queues.q]
        service = "a"
        retry = { attempts = 0, first = "1s", max = "1s", delivery_limit = 0 }
        limits = { messages = 10, overflow = "park" }
        [[tests]]
        name = "for ever"
        publish = { exchange = "", key = "q" }
        when = { q = "nack" }
        until = "1h"
        services = { a = 3601 }
        "#,
    );
    assert_eq!(all[0].1, Vec::<String>::new());
}

#[test]
fn exchanges_hold_messages_back() {
    assert_all_pass(
        "[services.a]\n\
         [exchanges.later]\ntype = \"x-delayed-message\"\n\
         arguments = { x-delayed-type = \"topic\" }\n\
         [queues.q]\nservice = \"a\"\nretry = {}\n\
         bindings = [{ exchange = \"later\", key = \"a.*\" }]\n\
         [queues.other]\nservice = \"a\"\n\
         [[tests]]\nname = \"after five seconds\"\n\
         publish = { exchange = \"later\", key = \"a.b\", headers = { x-delay = 5000 } }\n\
         deliveries_at = { q = [\"5s\"] }\n\
         [[tests]]\nname = \"at once\"\n\
         publish = { exchange = \"later\", key = \"a.b\" }\n\
         deliveries_at = { q = [\"0s\"] }\n",
    );
}
