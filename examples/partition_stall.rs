//! A message that kills its worker, in a stream of messages kept in order per user.
//!
//! Payments are ordered per user. One of user a's payments kills every worker that gets it. On a
//! queue with a single active consumer, which is the usual way to keep order, all users stall
//! behind it. On the declared topology the queue is keyed: user b's payments flow, and after a few
//! lost workers the killer is parked and user a goes on.
//!
//! Run: `cargo run --example partition_stall` (with the broker on `topology/`).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::process::ExitCode;

use lapin::options::QueueDeclareOptions;
use lapin::types::AMQPValue;
use lapin::types::FieldTable;
use stage::DECLARED;
use stage::Error;
use stage::PLAYGROUND;
use stage::Tally;
use stage::Verdict;

const PAYMENTS: [(&str, &str); 7] = [
    ("a", "a-1"),
    ("a", "a-2 kills"),
    ("a", "a-3"),
    ("b", "b-1"),
    ("b", "b-2"),
    ("b", "b-3"),
    ("b", "b-4"),
];
/// Workers that are started one after the other; each may die.
const WORKERS: usize = 6;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on a vhost without rules: a single active consumer keeps the order");
    let (_keep, channel) = stage::publisher(PLAYGROUND).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("example.payments".into(), options, arguments).await?;
    stage::purge(&channel, "example.payments").await?;
    for (_, payment) in PAYMENTS {
        let headers = FieldTable::default();
        stage::publish_one(&channel, "", "example.payments", payment, headers).await?;
    }
    let stalled = run(PLAYGROUND, "example.payments").await?;
    println!("  handled in the end: {stalled:?}");
    stage::clean_up(&channel, &["example.payments"], &[]).await?;

    println!("\non the declared topology: a keyed queue");
    let (_keep, channel) = stage::publisher(DECLARED).await?;
    for queue in ["payments.book", "payments.book.parked"] {
        stage::purge(&channel, queue).await?;
    }
    for (user, payment) in PAYMENTS {
        let headers = stage::header("user_id", user);
        stage::publish_one(&channel, "payments", "payment.made", payment, headers).await?;
    }
    let flowed = run(DECLARED, "payments.book").await?;
    println!("  handled in the end: {flowed:?}");

    let of = |user: &str, all: &[String]| {
        let all = all.iter().filter(|it| it.starts_with(user));
        all.map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let as_expected = of("b", &stalled).is_empty()
        && of("b", &flowed) == "b-1 b-2 b-3 b-4"
        && of("a", &flowed) == "a-1 a-3";
    let text = "one user's poison stalls everybody; keyed, the others flow and it is parked";
    Ok(stage::verdict(as_expected, text))
}

/// Starts worker after worker; returns what was handled to the end.
async fn run(vhost: &str, queue: &str) -> Result<Vec<String>, Error> {
    let tally = Tally::default();
    for worker in 1..=WORKERS {
        let connection = stage::connect(vhost, &format!("bookkeeping@worker-{worker}")).await?;
        let handle = |payment: &str| match payment.contains("kills") {
            true => Verdict::Die,
            false => Verdict::Ack,
        };
        let before = tally.all().len();
        let name = format!("bookkeeping-{worker}");
        stage::consume(&connection, queue, &name, &tally, 2, handle).await?;
        tally.settle(before + PAYMENTS.len()).await;
        let died = tally.all()[before..].iter().any(|it| it.message.contains("kills"));
        println!("  worker {worker} {}", if died { "died of a-2" } else { "is alive" });
        // A worker that dies takes its connection with it; one that lives is stopped politely.
        connection.close(200, "gone".into()).await?;
    }
    let all = tally.all();
    Ok(all.into_iter().map(|it| it.message).filter(|it| !it.contains("kills")).collect())
}
