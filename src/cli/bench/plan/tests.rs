use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;

use super::*;
use crate::cli::bench::args::spell_out;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

pub(in crate::cli::bench) fn plan(line: &str) -> Result<Plan, PlanError> {
    let words = format!("bench {line}").split_whitespace().map(Into::into).collect();
    let matches = Line::command().get_matches_from(spell_out(words));
    let args = Line::from_arg_matches(&matches).unwrap().bench;
    Plan::new(&args, RunName::new([1, 2, 3, 4]))
}

fn queue_names(plan: &Plan) -> Vec<&str> {
    plan.queues.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn a_workload_has_careful_defaults() {
    let plan = plan("work").unwrap();
    assert_eq!((plan.exchange, plan.bindings), (None, Vec::new()));
    assert_eq!(plan.queues[0].name, "railpost-bench-01020304-1");
    assert!(plan.queues[0].durable && plan.load.persistent);
    assert_eq!((plan.producers, plan.consumers), (vec![vec![0], vec![0]], vec![vec![0], vec![0]]));
    assert_eq!((plan.load.confirm_window, plan.load.window), (Some(200), Some(1000)));
    assert_eq!((plan.load.prefetch, plan.load.ack), (100, Ack::Every(1)));
    assert_eq!((plan.load.time, plan.load.warm_up), (Some(TIME), WARM_UP));
}

#[test]
fn without_a_workload_it_is_perf_test() {
    let plan = plan("-u q -a").unwrap();
    assert_eq!(queue_names(&plan), ["q"]);
    assert!(!plan.queues[0].durable && !plan.load.persistent);
    assert_eq!((plan.load.confirm_window, plan.load.window), (None, None));
    assert_eq!((plan.load.prefetch, plan.load.ack), (0, Ack::Automatic));
    assert_eq!((plan.load.time, plan.load.warm_up), (None, Duration::ZERO));
}

#[test]
fn consumers_without_a_queue_name_get_a_copy_each() {
    let plan = plan("-x 2 -y 3").unwrap();
    assert_eq!((plan.queues.len(), plan.bindings.len()), (3, 3));
    assert_eq!(plan.slots, [Destination::EveryQueue]);
    assert_eq!(plan.exchange.as_ref().map(|it| &*it.kind), Some("direct"));
    assert!(plan.bindings.iter().all(|it| it.key == plan.routes[0].routing_key));
    assert_eq!((plan.n_copies(0), plan.producer_of(1)), (3, Some((1, 0))));
}

#[test]
fn producers_and_consumers_spread_over_queues() {
    let cases: [(usize, usize, &[&[usize]]); 4] = [
        (2, 4, &[&[0, 2], &[1, 3]]),
        (4, 2, &[&[0], &[1], &[0], &[1]]),
        (2, 3, &[&[0, 2], &[1]]),
        (0, 3, &[]),
    ];
    for (n_takers, n_things, expected) in cases {
        assert_eq!(spread(n_takers, n_things), expected, "{n_takers} {n_things}");
    }
    let plan = plan("work -x 2 -y 8 --queues 4").unwrap();
    assert_eq!(plan.producers, [[0, 2], [1, 3]]);
    assert_eq!((plan.stream(1, 3), plan.producer_of(7)), (7, Some((1, 3))));
    assert_eq!(plan.producer_of(8), None);
}

#[test]
fn a_topic_message_matches_one_binding() {
    let plan = plan("topic -x 2 --bindings 10 --queues 3").unwrap();
    assert_eq!((plan.bindings.len(), plan.routes.len(), plan.slots.len()), (10, 10, 3));
    assert_eq!((&*plan.bindings[4].key, &*plan.routes[4].routing_key), ("bench.4.*", "bench.4.m"));
    assert_eq!((plan.bindings[4].queue, plan.routes[4].slot), (1, 1));
    assert_eq!(plan.producers[1], [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]);
}

#[test]
fn a_partition_has_a_stream_per_key() {
    let plan = plan("partition --keys 5 --queues 2").unwrap();
    assert_eq!(
        plan.queues[0].arguments.get("x-railpost-key"),
        Some(&Value::text("header:user_id"))
    );
    assert_eq!(plan.slots[3], Destination::Queue(1));
    assert_eq!(plan.routes[3].user_id.as_deref(), Some("user-3"));
    assert_eq!(plan.routes[3].routing_key, plan.queues[1].name);
    assert!(plan.is_keyed());
}

#[test]
fn broadcast_and_backlog() {
    let broadcast = plan("broadcast --queues 3").unwrap();
    assert_eq!((broadcast.consumers.len(), broadcast.n_copies(0)), (3, 3));
    assert_eq!(broadcast.exchange.unwrap().kind, "fanout");
    let backlog = plan("backlog -C 1000").unwrap();
    assert_eq!(backlog.load.messages_per_producer, Some(1000));
    assert_eq!((backlog.load.window, backlog.load.time), (None, None));
}

#[test]
fn patterns_number_queues() {
    let names = plan("--queue-pattern perf-%03d --queue-pattern-from 9 --queue-pattern-to 10");
    assert_eq!(queue_names(&names.unwrap()), ["perf-009", "perf-010"]);
    for line in ["-qp perf -qpt 3", "-qp %x -qpt 3", "-qp %d-%d -qpt 3", "-qp %d -qpf 3 -qpt 2"] {
        assert!(matches!(plan(line), Err(PlanError::Pattern(_))), "{line}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases = [
        ("work --keys 3", "`--keys` has no meaning in the workload `work`"),
        ("--bindings 3", "`--bindings` has no meaning in the workload `PerfTest's`"),
        ("broadcast -t topic", "`-t` has no meaning in the workload `broadcast`"),
        ("backlog -z 5", "`-z` has no meaning in the workload `backlog`"),
        ("work -A 200", "`-A` is too large: 200"),
        ("work --queues 0", "`--queues` must be at least 1 for this workload"),
        (
            "work -t headers",
            "exchanges of type `headers` are not used by bench: direct, fanout or topic",
        ),
        ("work -s 1GiB", "`--size` is too large: 1073741824"),
    ];
    for (line, expected) in cases {
        assert_eq!(plan(line).unwrap_err().to_string(), expected, "{line}");
    }
}
