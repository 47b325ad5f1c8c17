//! `railpost bench` against the real broker: what it counts, what it says, how it ends.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "starts and ends processes, and fails when that fails"
)]

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;

use serde_json::Value;

/// A broker process with a data folder of its own.
struct Broker {
    process: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Broker {
    fn start() -> Broker {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_railpost"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening amqp 127.0.0.1:") {
                port = address.split(' ').next().and_then(|it| it.parse().ok());
            }
            if line.starts_with("Server startup complete") {
                break;
            }
        }
        Broker { process, port: port.expect("it said where it listens"), _data: data }
    }

    /// Starts bench with words as typed; it does not wait long for what is missing.
    fn bench(&self, words: &str) -> Child {
        let url = format!("amqp://guest:guest@127.0.0.1:{}", self.port);
        Command::new(env!("CARGO_BIN_EXE_railpost"))
            .arg("bench")
            .args(words.split_whitespace())
            .args(["--drain-time", "1s", "--format", "json", "--url", &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs bench to its end; returns its exit code, its document, and what it said besides.
    fn run(&self, words: &str) -> (Option<i32>, Value, String) {
        let output = self.bench(words).wait_with_output().unwrap();
        let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), document, String::from_utf8(output.stderr).unwrap())
    }

    fn has_queue(&self, queue: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("amqp://guest:guest@127.0.0.1:{}", self.port);
        runtime.block_on(async {
            let properties = lapin::ConnectionProperties::default();
            let connection = lapin::Connection::connect(&url, properties).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let passive =
                lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
            channel.queue_declare(queue.into(), passive, Default::default()).await.is_ok()
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Reads what bench says until a line with `word` comes.
fn wait_for(stderr: &mut impl std::io::BufRead, word: &str) -> String {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended without `{word}`");
    }
    line
}

/// Waits for the end; returns what else was said.
fn finish(bench: &mut Child, mut stderr: impl std::io::Read) -> (ExitStatus, Value, String) {
    let (mut document, mut said) = (String::new(), String::new());
    bench.stdout.take().unwrap().read_to_string(&mut document).unwrap();
    stderr.read_to_string(&mut said).unwrap();
    (bench.wait().unwrap(), serde_json::from_str(&document).unwrap_or_default(), said)
}

#[test]
fn every_workload_counts_what_it_sent() {
    let broker = Broker::start();
    // Words, messages published, messages received.
    let cases = [
        ("work -C 500", 1000, 1000),
        ("work -C 300 --transient -c 0 -a --queues 3 -x 3 -y 3", 900, 900),
        ("work -C 20 -s 300KiB", 40, 40),
        ("work -C 100 -r 1000 -A 10", 200, 200),
        ("broadcast -C 200 --queues 3 -y 6", 200, 600),
        ("topic -C 100 --bindings 20", 100, 100),
        ("retry -C 100 --nack-share 1", 200, 400),
        ("partition -C 300 --keys 5 --queues 2", 600, 600),
        ("backlog -C 500", 500, 500),
        ("-x 1 -y 2 -u bench.q -f persistent -C 100 -c 10 -ad false", 100, 100),
        ("-x 2 -y 3 -e bench.x -t topic -k a.b -C 100 -qq", 200, 600),
    ];
    for (words, published, received) in cases {
        let (code, document, said) = broker.run(words);
        assert_eq!(code, Some(0), "{words}: {said}");
        let counts = &document["counts"];
        assert_eq!(counts["published"], published, "{words}");
        assert_eq!(counts["received"], received, "{words}");
        assert_eq!((&counts["lost"], &counts["duplicated"]), (&0.into(), &0.into()), "{words}");
        assert_eq!(document["ending"], "complete", "{words}");
    }
    assert!(!broker.has_queue("bench.q"));
    let (code, document, said) = broker.run("connections --connections 20 -z 0");
    assert_eq!((code, &document["connections"]["opened"]), (Some(0), &20.into()), "{said}");
}

#[test]
fn the_exit_code_says_what_was_wrong() {
    let broker = Broker::start();
    let lossy = "work -C 500 -y 1 -q 1 -R 100 --window 0 --queue-args x-max-length=1";
    let cases = [
        ("work --keys 5", 2, "has no meaning"),
        ("work -C 10 --csv /nonexistent/file", 2, "cannot write"),
        ("work -C 100 --min-rate 1e12", 6, "fewer than"),
        ("work -C 100 --max-p99 1ns", 6, "p99 is"),
        ("work -C 10 -p -u bench.none", 1, "404"),
        (lossy, 1, "messages are lost"),
    ];
    for (words, code, sentence) in cases {
        let (found, _, said) = broker.run(words);
        assert_eq!(found, Some(code), "{words}: {said}");
        assert!(said.contains(sentence), "{words}: {said}");
    }
    let port = broker.port;
    drop(broker);
    let nobody = Command::new(env!("CARGO_BIN_EXE_railpost"))
        .args(["bench", "work", "--url", &format!("amqp://127.0.0.1:{port}")])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(4));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("cannot connect to"));
}

#[test]
fn an_interrupted_run_tells_what_it_has_and_cleans_up() {
    let broker = Broker::start();
    let mut bench = broker.bench("work -u bench.interrupted -i 0.1");
    let mut stderr = BufReader::new(bench.stderr.take().unwrap());
    wait_for(&mut stderr, "recv");
    assert!(broker.has_queue("bench.interrupted"));
    let pid = rustix::process::Pid::from_child(&bench);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (status, document, said) = finish(&mut bench, stderr);
    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(document["ending"], "interrupted");
    assert!(document["counts"]["published"].as_u64().unwrap() > 0);
    assert!(!broker.has_queue("bench.interrupted"));
}

#[test]
fn a_broker_that_dies_is_said_to_have_died() {
    let mut broker = Broker::start();
    let mut bench = broker.bench("work -i 0.1");
    let mut stderr = BufReader::new(bench.stderr.take().unwrap());
    wait_for(&mut stderr, "recv");
    broker.process.kill().unwrap();
    let (status, document, said) = finish(&mut bench, stderr);
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("the connection to the broker was lost"), "{said}");
    assert!(said.contains("could not remove `railpost-bench-"), "{said}");
    assert_eq!(document["ending"], "broken");
    assert_eq!(document["counts"]["lost"], 0);
}

#[test]
fn a_queue_that_was_there_before_stays() {
    let broker = Broker::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("amqp://guest:guest@127.0.0.1:{}", broker.port);
    runtime.block_on(async {
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&url, properties).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = lapin::options::QueueDeclareOptions::default();
        channel.queue_declare("shop".into(), options, Default::default()).await.unwrap();
        connection.close(200, "".into()).await.unwrap();
    });
    let (code, document, said) = broker.run("work -C 50 -u shop");
    assert_eq!((code, &document["counts"]["lost"]), (Some(0), &0.into()), "{said}");
    assert!(broker.has_queue("shop"));
}

#[test]
fn two_brokers_are_compared() {
    let (one, other) = (Broker::start(), Broker::start());
    let url = format!("amqp://127.0.0.1:{}", other.port);
    let (code, document, said) =
        one.run(&format!("work -C 200 --rounds 2 --no-progress --compare {url}"));
    assert_eq!(code, Some(0), "{said}");
    let runs = document["runs"].as_array().unwrap();
    let targets: Vec<&str> = runs.iter().map(|it| it["target"].as_str().unwrap()).collect();
    let names = [one.port, other.port].map(|it| format!("guest@127.0.0.1:{it}"));
    assert_eq!(targets, [&*names[0], &*names[1], &*names[0], &*names[1]]);
    let received = document["compare"].as_array().unwrap();
    let received = received.iter().find(|it| it["figure"] == "received /s").unwrap();
    assert!(received["a"]["median"].as_f64().unwrap() > 0.0);
    assert!(received["ratio"].as_f64().unwrap() > 0.0);
}
