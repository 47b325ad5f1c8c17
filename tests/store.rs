//! The commands about data directories, on the real binary: backup while the broker goes on,
//! restore, verify, repair.

#![allow(clippy::disallowed_methods, reason = "starts processes and changes files")]

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use lapin::BasicProperties;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

const RAILPOST: &str = env!("CARGO_BIN_EXE_railpost");
const N: usize = 50;

fn serve(data: &Path) -> (Child, u16) {
    let mut process = Command::new(RAILPOST)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker starts");
    let mut port = None;
    for line in BufReader::new(process.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if let Some(address) = line.strip_prefix("listening amqp 127.0.0.1:") {
            port = address.split(' ').next().and_then(|it| it.parse().ok());
        }
        if line.starts_with("Server startup complete") {
            break;
        }
    }
    (process, port.expect("it said where it listens"))
}

fn kill(mut process: Child) {
    process.kill().expect("it was alive");
    process.wait().expect("it ended");
}

fn run(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(RAILPOST).args(arguments).args(paths).output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn connect(port: u16) -> Connection {
    let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    Connection::connect(&url, ConnectionProperties::default()).await.expect("connects")
}

/// Publishes `N` numbered messages and waits for each confirm.
async fn fill(port: u16) {
    let connection = connect(port).await;
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("q".into(), options, FieldTable::default()).await.expect("declared");
    for n in 0..N {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = format!("message {n}, and enough of it to be found on the disk");
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), properties);
        assert!(sent.await.expect("sent").await.expect("answered").is_ack());
    }
}

/// How many messages there are, all in order.
async fn drain(port: u16) -> usize {
    let connection = connect(port).await;
    let channel = connection.create_channel().await.expect("a channel");
    let options = BasicGetOptions { no_ack: true };
    let mut last = None;
    let mut count = 0;
    while let Some(got) = channel.basic_get("q".into(), options).await.expect("answered") {
        let body = String::from_utf8_lossy(&got.data).into_owned();
        let n = body.split([' ', ',']).nth(1).and_then(|it| it.parse::<usize>().ok());
        assert!(n > last, "{body} came after {last:?}");
        last = n;
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_broker_becomes_another_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copy, restored) =
        (folder.path().join("data"), folder.path().join("copy"), folder.path().join("restored"));
    let (broker, port) = serve(&data);
    fill(port).await;
    let output = run(&["backup", "--data"], &[&data, &copy]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let again = run(&["backup", "--data"], &[&data, &copy]);
    assert_eq!(again.status.code(), Some(1), "a folder that is not empty: {}", text(&again));
    assert_eq!(drain(port).await, N);
    let busy = run(&["store", "verify"], &[&data]);
    assert_eq!(busy.status.code(), Some(2), "a broker uses it: {}", text(&busy));
    kill(broker);

    let output = run(&["restore", "--data"], &[&restored, &copy]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let (broker, port) = serve(&restored);
    assert_eq!(drain(port).await, N);
    kill(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_given_up_only_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (broker, port) = serve(&data);
    fill(port).await;
    kill(broker);
    let output = run(&["store", "verify"], &[&data]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for command in ["stats", "dump"] {
        let output = run(&["store", command], &[&data]);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", text(&output));
    }

    // The header of the batch that a message in the middle lies in.
    let log = data.join("log/00000001.log");
    let mut bytes = fs::read(&log).expect("readable");
    let wanted = b"message 25,";
    let at = bytes.windows(wanted.len()).position(|it| it == wanted).expect("it is there");
    let batch = at / 4096 * 4096;
    bytes[batch..batch + 32].fill(0xa5);
    fs::write(&log, bytes).expect("written");

    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data"], &[&data]);
    assert_eq!(output.status.code(), Some(1));
    let place = format!("bytes {batch} to ");
    assert!(text(&output).contains(&place), "{}", text(&output));
    let output = run(&["store", "repair"], &[&data]);
    assert_eq!(output.status.code(), Some(1), "nothing is given up yet: {}", text(&output));
    let output = run(&["store", "repair", "--yes"], &[&data]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let (broker, port) = serve(&data);
    let left = drain(port).await;
    assert!((1..N).contains(&left), "{left}");
    kill(broker);
}
