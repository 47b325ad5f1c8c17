//! The real binary, killed with -9 while topology files are applied: what was begun is finished at
//! the next start, and every confirmed message is there.

#![allow(
    clippy::disallowed_methods,
    reason = "kills a process, reads its files and looks at them until they change"
)]

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::ConfirmSelectOptions;
use tempfile::TempDir;

/// A broker process on the data directory of a folder.
struct Broker {
    process: Child,
    amqp: String,
    http: String,
}

impl Broker {
    fn start(folder: &Path) -> Broker {
        let mut process = Command::new(env!("CARGO_BIN_EXE_railpost"))
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--metrics", "off", "--data", "data"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker starts");
        let (mut amqp, mut http) = (None, None);
        let output = BufReader::new(process.stdout.take().expect("piped"));
        for line in output.lines() {
            let line = line.expect("text");
            let behind = |word: &str| {
                let (_, rest) = line.split_once(word)?;
                rest.split([' ', '/']).next().map(str::to_owned)
            };
            amqp = amqp.or(behind("listening amqp "));
            http = http.or(behind("management http://"));
            if line.starts_with("Server startup complete") {
                break;
            }
        }
        let (amqp, http) = (amqp.expect("it listens"), http.expect("it listens"));
        Broker { process, amqp, http }
    }

    fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_railpost"));
        command.args(args).current_dir(folder);
        command.env("RAILPOST_API", format!("http://guest:guest@{}", self.http));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, folder: &Path, args: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } =
            self.command(folder, args).output().expect("it runs");
        (status.code(), String::from_utf8([stdout, stderr].concat()).expect("text"))
    }

    async fn channel(&self) -> Channel {
        let uri = format!("amqp://guest:guest@{}/%2f", self.amqp);
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await;
        connection.expect("connects").create_channel().await.expect("opens")
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    fn kill(mut self) {
        self.process.kill().expect("it was alive");
        self.process.wait().expect("it ended");
    }
}

/// Many queues of this name, which come and go, and one that is a stream every other time.
fn topology(name: &str, is_stream: bool) -> String {
    let kind = if is_stream { "topic" } else { "direct" };
    let arguments = if is_stream { "arguments = { x-queue-type = \"stream\" }\n" } else { "" };
    let mut text = format!(
        "[exchanges.orders]\ntype = \"{kind}\"\n[queues.kept]\n{arguments}\
         bindings = [{{ exchange = \"orders\", key = \"created\" }}]\n"
    );
    for n in 0..150 {
        text.push_str(&format!(
            "[queues.{name}{n}]\nbindings = [{{ exchange = \"orders\", key = \"{name}.{n}\" }}]\n"
        ));
    }
    text
}

fn applied(folder: &Path) -> PathBuf {
    folder.join("data/topology.json")
}

fn is_unfinished(folder: &Path) -> bool {
    fs::read_to_string(applied(folder)).is_ok_and(|it| it.contains("\"unfinished\""))
}

/// Publishes numbers from `first` on, each routed, until the broker is gone; those confirmed, and
/// the next that was never sent.
async fn publish(channel: Channel, first: u32) -> (Vec<u32>, u32) {
    let mut confirmed = Vec::new();
    for n in first.. {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let (exchange, key, body) = ("orders".into(), "created".into(), n.to_string());
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), persistent);
        let Ok(Ok(confirm)) = async { Ok::<_, lapin::Error>(sent.await?.await) }.await else {
            return (confirmed, n + 1);
        };
        assert!(confirm.is_ack() && confirm.take_message().is_none(), "message {n}");
        confirmed.push(n);
    }
    (confirmed, u32::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_files_are_applied_loses_nothing_and_leaves_nothing_behind() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let file = folder.join("a.toml");
    let mut broker = Broker::start(folder);
    fs::write(&file, topology("a", false)).expect("written");
    let (code, text) = broker.run(folder, &["apply", "--yes", "a.toml"]);
    assert_eq!(code, Some(0), "{text}");
    let (mut confirmed, mut next, mut n_interrupted) = (Vec::new(), 0, 0);
    for round in 0..6u32 {
        let channel = broker.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let publisher = tokio::spawn(publish(channel, next));
        let name = if round % 2 == 0 { "b" } else { "a" };
        fs::write(&file, topology(name, round % 2 == 0)).expect("written");
        let mut apply = broker.command(folder, &["apply", "--yes", "a.toml"]);
        let mut apply = apply.stdout(Stdio::null()).spawn().expect("it starts");
        while !is_unfinished(folder) {
            assert!(apply.try_wait().expect("a process").is_none(), "it was not seen at work");
            std::thread::yield_now();
        }
        // Not for something to happen: to be somewhere else in it each time.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 15));
        broker.kill();
        n_interrupted += u32::from(is_unfinished(folder));
        apply.wait().expect("it ended");
        let (more, first) = publisher.await.expect("every message had a way");
        confirmed.extend(more);
        next = first;
        broker = Broker::start(folder);
        assert!(!is_unfinished(folder), "round {round}");
        let drift = broker.run(folder, &["drift", "a.toml"]);
        assert_eq!(drift, (Some(0), "no drift\n".to_owned()), "round {round}");
    }
    assert!(n_interrupted > 0, "it was never early enough");
    let channel = broker.channel().await;
    let no_ack = BasicGetOptions { no_ack: true };
    let mut all: Vec<u32> = Vec::new();
    while let Some(got) = channel.basic_get("kept".into(), no_ack).await.expect("it is there") {
        let body = String::from_utf8(got.delivery.data.clone()).expect("text");
        all.push(body.parse().expect("a number"));
    }
    assert!(all.is_sorted_by(|a, b| a < b), "each once, and in order");
    let lost: Vec<&u32> = confirmed.iter().filter(|it| all.binary_search(it).is_err()).collect();
    assert!(lost.is_empty() && !confirmed.is_empty(), "lost: {lost:?}");
    broker.kill();
}
