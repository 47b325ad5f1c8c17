use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn parse(line: &str) -> Result<BenchArgs, clap::Error> {
    let words = line.split_whitespace().map(OsString::from).collect();
    let matches = Line::command().try_get_matches_from(spell_out(words))?;
    Line::from_arg_matches(&matches).map(|it| it.bench)
}

#[test]
fn the_arguments_do_not_contradict_each_other() {
    Line::command().debug_assert();
}

#[test]
fn command_lines_of_perf_test_are_read() {
    let args = parse(
        "bench -x 1 -y 2 -u throughput-test-1 -a --id test -s 4000 -f persistent -f mandatory \
         -q 500 -c 100 -A 10 -r -1 -z 60 -C 5 -D 6 -e direct -t direct -k key -p -i 2 \
         -h amqp://u:p@h:1/v -qq -ad false -qa x-max-length=10 -qp perf-%d -qpf 1 -qpt 10",
    );
    assert_eq!(args.unwrap_err().kind(), clap::error::ErrorKind::ArgumentConflict);

    let args = parse("bench -x1 -y 2 -s 4kB -f PERSISTENT -c -1 -R 5 -z 1m -qpt 9 -qq -qp perf-%d");
    let args = args.unwrap();
    assert_eq!((args.workload, args.load.producers, args.load.consumers), (None, Some(1), Some(2)));
    assert_eq!((args.load.size, args.load.confirm), (Some(4000), Some(-1)));
    assert_eq!((args.load.consumer_rate, args.load.rate), (Some(Rate::PerSecond(5.0)), None));
    assert_eq!(args.load.time, Some(Duration::from_secs(60)));
    assert_eq!(
        (args.topology.queue_pattern.as_deref(), args.topology.quorum_queue),
        (Some("perf-%d"), true)
    );
    assert_eq!((args.topology.queue_pattern_from, args.topology.queue_pattern_to), (1, Some(9)));
}

#[test]
fn letters_are_spelled_out_only_for_bench() {
    let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    assert_eq!(spell_out(words("railpost check -qq")), words("railpost check -qq"));
    let line = "railpost -qq bench -qq -q 5";
    assert_eq!(spell_out(words(line)), words("railpost -qq bench --quorum-queue -q 5"));
}

#[test]
fn wrong_use_is_refused() {
    for line in [
        "bench fast",
        "bench -x many",
        "bench -r 0",
        "bench --size -5",
        "bench work --transient -f persistent",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    assert!(parse("bench work --transient -x 3 --auto-delete").unwrap().load.transient);
}
