use proptest::prelude::*;

use super::*;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::PropertyList;
use crate::amqp::table::Value;
use crate::routing::explain::explain;
use crate::routing::route::Publication;
use crate::routing::route::RouteError;
use crate::routing::route::Routes;
use crate::routing::route::route;
use crate::routing::topic;

/// Declares `name:kind` exchanges and binds `exchange -key-> queue` lines; queues are numbers,
/// other destinations exchanges.
fn table(exchanges: &[(&str, Kind)], bindings: &[(&str, &str, &str)]) -> Table {
    let mut table = Table::default();
    for (name, kind) in exchanges {
        table.declare(ExchangeSpec::durable(name, *kind)).unwrap();
    }
    for (source, key, to) in bindings {
        table.bind(source, Binding::new(to_destination(to), key, &Arguments::default())).unwrap();
    }
    table
}

fn to_destination(text: &str) -> Destination {
    match text.parse() {
        Ok(number) => Destination::Queue(QueueId(number)),
        Err(_) => Destination::Exchange(ExchangeName::new(text)),
    }
}

fn reached(table: &Table, exchange: &str, key: &str, properties: &[u8]) -> Vec<u32> {
    let properties = Properties::check(properties).unwrap();
    let publication =
        Publication { exchange, routing_key: RoutingKey(key), properties, copies: true };
    let mut routes = Routes::default();
    route(table, publication, &mut routes).unwrap();
    let mut queues: Vec<u32> = routes.queues().iter().map(|it| it.0).collect();
    queues.sort_unstable();
    let explained = explain(table, publication).unwrap();
    let direct = explained.hops.iter().flat_map(|hop| &hop.bindings).filter_map(
        |(binding, verdict)| match (&binding.destination, verdict) {
            (Destination::Queue(id), crate::routing::explain::Verdict::Matched) => Some(id.0),
            _ => None,
        },
    );
    let direct: BTreeSet<u32> = direct.collect();
    if !exchange.is_empty() {
        assert_eq!(direct.into_iter().collect::<Vec<_>>(), queues, "explained otherwise");
    }
    queues
}

fn check(table: &Table, exchange: &str, cases: &[(&str, &[u32])]) {
    for (key, queues) in cases {
        assert_eq!(reached(table, exchange, key, &[0, 0]), *queues, "{exchange} `{key}`");
    }
}

#[test]
fn direct_fanout_and_default() {
    let mut table = table(
        &[("d", Kind::Direct), ("f", Kind::Fanout)],
        &[("d", "a", "1"), ("d", "b", "1"), ("d", "b", "2"), ("f", "", "1"), ("f", "x", "2")],
    );
    table.add_queue("work".into(), QueueId(7));
    check(&table, "d", &[("a", &[1]), ("b", &[1, 2]), ("c", &[])]);
    check(&table, "f", &[("anything", &[1, 2])]);
    check(&table, "", &[("work", &[7]), ("other", &[])]);
}

#[test]
fn topic_words() {
    // Each row: the binding key and the routing keys of `ALL` it matches.
    const ALL: [&str; 8] = ["", "a", "a.b", "a.b.c", ".", "a.", ".a", "a..b"];
    let rows: [(&str, &[&str]); 12] = [
        ("", &[""]),
        ("#", &ALL),
        ("#.#", &ALL),
        ("*", &["a"]),
        ("*.*", &["a.b", ".", "a.", ".a"]),
        ("*.#", &["a", "a.b", "a.b.c", ".", "a.", ".a", "a..b"]),
        ("#.*", &["a", "a.b", "a.b.c", ".", "a.", ".a", "a..b"]),
        ("a.#", &["a", "a.b", "a.b.c", "a.", "a..b"]),
        ("#.b.#", &["a.b", "a.b.c", "a..b"]),
        ("a.*", &["a.b", "a."]),
        ("a.*.b", &["a..b"]),
        ("a.#.c", &["a.b.c"]),
    ];
    for (binding, matched) in rows {
        let table = table(&[("t", Kind::Topic)], &[("t", binding, "1")]);
        for key in ALL {
            let expected: &[u32] = if matched.contains(&key) { &[1] } else { &[] };
            assert_eq!(reached(&table, "t", key, &[0, 0]), expected, "`{binding}` and `{key}`");
            assert_eq!(topic::matches(binding, key), matched.contains(&key));
        }
    }
}

#[test]
fn a_match_leaves_nothing_behind_for_the_next_one() {
    let table = table(&[("t", Kind::Topic)], &[("t", "order.#", "1")]);
    let mut routes = Routes::default();
    let mut reached = |key: &str| {
        let routing_key = RoutingKey(key);
        let properties = Properties::NONE;
        let publication = Publication { exchange: "t", routing_key, properties, copies: true };
        route(&table, publication, &mut routes).unwrap();
        routes.queues().len()
    };
    assert_eq!(["order.created", "nowhere", "order", "x.y"].map(&mut reached), [1, 0, 1, 0]);
}

#[test]
fn words_that_only_contain_a_wildcard_are_literal() {
    let table =
        table(&[("t", Kind::Topic)], &[("t", "a#", "1"), ("t", "##", "2"), ("t", "*a", "3")]);
    check(&table, "t", &[("a#", &[1]), ("##", &[2]), ("*a", &[3]), ("ab", &[]), ("ba", &[])]);
}

#[test]
fn hostile_topic_keys_stay_cheap() {
    let binding = vec!["#.a"; 60].join(".");
    let table = table(&[("t", Kind::Topic)], &[("t", &binding, "1")]);
    let key = vec!["a"; 127].join(".");
    check(&table, "t", &[(&key, &[1])]);
}

#[test]
fn headers_all_any_and_void() {
    let mut table = table(&[("h", Kind::Headers)], &[]);
    let mut bind = |queue: u32, arguments: &[(&str, Value)]| {
        let arguments =
            Arguments(arguments.iter().map(|(key, it)| ((*key).into(), it.clone())).collect());
        table.bind("h", Binding::new(Destination::Queue(QueueId(queue)), "", &arguments)).unwrap();
    };
    bind(1, &[("tenant", Value::text("eu")), ("tier", Value::I32(1))]);
    bind(
        2,
        &[("x-match", Value::text("any")), ("tenant", Value::text("eu")), ("tier", Value::I64(2))],
    );
    bind(3, &[("tenant", Value::Void)]);
    bind(4, &[]);
    bind(5, &[("x-match", Value::text("any"))]);
    bind(6, &[("x-shard", Value::I32(1))]);
    bind(7, &[("x-match", Value::text("all-with-x")), ("x-shard", Value::I32(1))]);
    let with = |headers: &[(&str, Value)]| {
        let mut list = PropertyList::default();
        headers.iter().for_each(|(key, value)| list.headers_mut().set(key, value.clone()));
        list.to_bytes()
    };
    type Case<'a> = (&'a [(&'a str, Value)], &'a [u32]);
    let cases: [Case<'_>; 5] = [
        (&[], &[4, 6]),
        (&[("tenant", Value::text("eu"))], &[2, 3, 4, 6]),
        (&[("tenant", Value::text("eu")), ("tier", Value::I64(1))], &[1, 2, 3, 4, 6]),
        (&[("tenant", Value::text("us")), ("tier", Value::U8(2))], &[2, 3, 4, 6]),
        (&[("x-shard", Value::I32(1))], &[4, 6, 7]),
    ];
    for (headers, queues) in cases {
        assert_eq!(reached(&table, "h", "", &with(headers)), queues, "{headers:?}");
    }
}

#[test]
fn exchange_to_exchange_visits_each_once_and_copies_once() {
    let table = table(
        &[("a", Kind::Fanout), ("b", Kind::Topic), ("c", Kind::Fanout)],
        &[("a", "", "b"), ("a", "", "c"), ("b", "#", "1"), ("c", "", "1"), ("c", "", "a")],
    );
    check(&table, "a", &[("k", &[1])]);
}

#[test]
fn alternate_exchanges_chain_and_end() {
    let mut table = table(&[("last", Kind::Fanout)], &[("last", "", "9")]);
    for (name, alternate) in [("first", "second"), ("second", "last"), ("loop", "loop")] {
        let mut spec = ExchangeSpec::durable(name, Kind::Direct);
        spec.alternate = Some(alternate.into());
        table.declare(spec).unwrap();
    }
    table.bind("first", Binding::new(to_destination("1"), "k", &Arguments::default())).unwrap();
    check(&table, "first", &[("k", &[1]), ("other", &[9])]);
    check(&table, "loop", &[("k", &[])]);
}

#[test]
fn carbon_copies_add_keys() {
    let mut table =
        table(&[("d", Kind::Direct)], &[("d", "a", "1"), ("d", "b", "2"), ("d", "c", "3")]);
    table.add_queue("c".into(), QueueId(4));
    let mut list = PropertyList::default();
    list.headers_mut().set("CC", Value::Array(vec![Value::text("b"), Value::I32(1)]));
    list.headers_mut().set("BCC", Value::Array(vec![Value::text("c"), Value::text("a")]));
    assert_eq!(reached(&table, "d", "a", &list.to_bytes()), [1, 2, 3]);
    assert_eq!(reached(&table, "", "x", &list.to_bytes()), [4]);

    list.headers_mut().set("CC", Value::text("b"));
    let bytes = list.to_bytes();
    let publication = Publication {
        exchange: "d",
        routing_key: RoutingKey("a"),
        properties: Properties::check(&bytes).unwrap(),
        copies: true,
    };
    assert_eq!(
        route(&table, publication, &mut Routes::default()),
        Err(RouteError::CopiesNotArray { header: "CC", got: "longstr" })
    );
}

#[test]
fn hash_exchanges_choose_one() {
    let mut table = table(&[("m", Kind::ModulusHash), ("c", Kind::ConsistentHash)], &[]);
    for queue in ["1", "2", "3"] {
        for exchange in ["m", "c"] {
            let binding = Binding::new(to_destination(queue), "10", &Arguments::default());
            assert!(table.bind(exchange, binding).unwrap());
        }
    }
    for exchange in ["m", "c"] {
        let mut n_by_queue = [0; 4];
        for n in 0..3000 {
            let queues = reached(&table, exchange, &format!("user-{n}"), &[0, 0]);
            assert_eq!(queues.len(), 1);
            n_by_queue[queues[0] as usize] += 1;
        }
        assert!(n_by_queue[1..].iter().all(|n| (850..1150).contains(n)), "{n_by_queue:?}");
    }
    let bad = |key| Binding::new(to_destination("1"), key, &Arguments::default());
    assert_eq!(table.bind("c", bad("a")), Err(BindError::WeightNotInteger("a".into())));
    assert_eq!(table.bind("c", bad("0")), Err(BindError::WeightNotPositive));
    assert_eq!(table.bind("c", bad("1000000")), Err(BindError::WeightTooLarge));
}

#[test]
fn the_same_binding_exists_once_and_arguments_make_another() {
    let mut table = table(&[("d", Kind::Direct)], &[]);
    let with = |value: i32| {
        let arguments = Arguments(vec![("n".into(), Value::I32(value))]);
        Binding::new(to_destination("1"), "k", &arguments)
    };
    assert_eq!(table.bind("d", with(1)), Ok(true));
    assert_eq!(table.bind("d", with(1)), Ok(false));
    assert_eq!(table.bind("d", with(2)), Ok(true));
    assert_eq!(table.n_bindings(), 2);
    assert_eq!(table.unbind("d", &with(1)), Some(vec![]));
    check(&table, "d", &[("k", &[1])]);
    assert_eq!(table.unbind("d", &with(1)), None);
    assert_eq!(table.unbind("d", &with(2)), Some(vec![]));
    check(&table, "d", &[("k", &[])]);
    assert_eq!(table.n_bindings(), 0);
}

#[test]
fn auto_delete_exchanges_go_with_their_last_binding_and_cascade() {
    let mut table = table(&[("keep", Kind::Fanout)], &[]);
    for name in ["outer", "inner"] {
        let spec = ExchangeSpec { auto_delete: true, ..ExchangeSpec::durable(name, Kind::Fanout) };
        table.declare(spec).unwrap();
    }
    let bind = |table: &mut Table, source: &str, to: &str| {
        table.bind(source, Binding::new(to_destination(to), "", &Arguments::default())).unwrap()
    };
    bind(&mut table, "keep", "outer");
    bind(&mut table, "outer", "inner");
    bind(&mut table, "inner", "1");
    let gone: Vec<String> =
        table.remove_queue(QueueId(1)).iter().map(ToString::to_string).collect();
    assert_eq!(gone, ["inner", "outer"]);
    assert!(table.exchange("outer").is_none() && table.exchange("keep").is_some());
    assert_eq!(table.n_bindings(), 0);
}

#[test]
fn deleting_an_exchange_removes_bindings_at_both_ends() {
    let mut table =
        table(&[("a", Kind::Fanout), ("b", Kind::Fanout)], &[("a", "", "b"), ("b", "", "1")]);
    table.delete("b");
    check(&table, "a", &[("", &[])]);
    assert_eq!(table.n_bindings(), 0);
    assert!(table.bindings_to(&to_destination("1")).is_empty());
}

fn key(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(words), 0..5).prop_map(|words| words.join("."))
}

proptest! {
    #[test]
    fn the_trie_agrees_with_the_rules_through_binds_and_unbinds(
        keys in prop::collection::vec(key(&["a", "b", "", "*", "#"]), 1..20),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        routing_key in key(&["a", "b", "c", ""]),
    ) {
        let mut table = table(&[("t", Kind::Topic)], &[]);
        let mut bound: BTreeSet<(u32, String)> = BTreeSet::new();
        for (at, key) in keys.iter().enumerate() {
            let queue = at as u32 % 7;
            bound.insert((queue, key.clone()));
            let binding = Binding::new(Destination::Queue(QueueId(queue)), key, &Arguments::default());
            table.bind("t", binding).unwrap();
        }
        for at in removed {
            let (queue, key) = bound.iter().nth(at.index(bound.len())).unwrap().clone();
            let binding = Binding::new(Destination::Queue(QueueId(queue)), &key, &Arguments::default());
            prop_assert!(table.unbind("t", &binding).is_some());
            bound.remove(&(queue, key));
            if bound.is_empty() {
                break;
            }
        }
        let expected: BTreeSet<u32> = bound
            .iter()
            .filter(|(_, key)| topic::matches(key, &routing_key))
            .map(|(queue, _)| *queue)
            .collect();
        let expected: Vec<u32> = expected.into_iter().collect();
        prop_assert_eq!(reached(&table, "t", &routing_key, &[0, 0]), expected);
    }
}

#[test]
fn binding_keys_that_share_a_routing_key_are_found() {
    let cases = [
        ("a.b", "a.b", true),
        ("a.b", "a.c", false),
        ("a.*", "*.b", true),
        ("a.*", "*.*.b", false),
        ("#", "x.y", true),
        ("a.#", "#.z", true),
        ("a.#", "b.#", false),
        ("", "#", true),
        ("*", "", false),
        ("#.a.#", "b.#.c", true),
    ];
    for (a, b, expected) in cases {
        assert_eq!(topic::intersect(a, b), expected, "`{a}` and `{b}`");
        assert_eq!(topic::intersect(b, a), expected, "`{b}` and `{a}`");
    }
}

proptest! {
    #[test]
    fn keys_that_intersect_do_so_in_some_routing_key(
        a in key(&["a", "b", "*", "#"]),
        b in key(&["a", "b", "*", "#"]),
        routing_key in key(&["a", "b", "c"]),
    ) {
        if topic::matches(&a, &routing_key) && topic::matches(&b, &routing_key) {
            prop_assert!(topic::intersect(&a, &b));
        }
    }
}
