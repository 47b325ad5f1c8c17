//! Wrong: a handler that always fails, requeued for ever.
//!
//! The handler of one message throws, the library requeues it, and the broker delivers it again at
//! once: hundreds of times a second, in front of everything behind it. With an ordered consumer
//! nothing else is handled. On a vhost without rules it happens and is counted; on the declared
//! topology the same consumer's requeue waits, and what is behind flows.
//!
//! Run: `cargo run --example dead_letter_wrong` (with the broker on `topology/`).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::process::ExitCode;
use std::time::Duration;

use stage::DECLARED;
use stage::Error;
use stage::PLAYGROUND;
use stage::Tally;
use stage::Verdict;

const BEHIND: usize = 5;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on a vhost without rules: one message always fails and is requeued");
    let (_keep, channel) = stage::publisher(PLAYGROUND).await?;
    stage::bound_queue(&channel, "example.mail", "").await?;
    stage::publish(&channel, "", "example.mail", 1, "poison-").await?;
    stage::publish(&channel, "", "example.mail", BEHIND, "mail-").await?;
    let (failures, behind) = run(PLAYGROUND, "example.mail", "mailer").await?;
    println!("  in 2 s: {failures} attempts at the poison message, {behind} of {BEHIND} others");
    let stuck = failures > 50 && behind == 0;
    stage::clean_up(&channel, &["example.mail"], &[]).await?;

    println!("\non the declared topology: the same consumer");
    let (_keep, channel) = stage::publisher(DECLARED).await?;
    for queue in ["mail.send", "mail.send.parked"] {
        stage::purge(&channel, queue).await?;
    }
    stage::publish(&channel, "mail", "welcome", 1, "poison-").await?;
    stage::publish(&channel, "mail", "welcome", BEHIND, "mail-").await?;
    let (retries, flowed) = run(DECLARED, "mail.send", "mailer").await?;
    println!("  in 2 s: {retries} attempts at the poison message, {flowed} of {BEHIND} others");
    stage::purge(&channel, "mail.send").await?;

    let as_expected = stuck && retries <= 3 && flowed == BEHIND;
    let text = "a hot loop that blocks everything; with a retry policy the others flow";
    Ok(stage::verdict(as_expected, text))
}

/// Consumes for two seconds, one at a time and in order; returns how often the poison message came
/// and how many others.
async fn run(vhost: &str, queue: &str, service: &str) -> Result<(usize, usize), Error> {
    let tally = Tally::default();
    let connection = stage::connect(vhost, &format!("{service}@host-1")).await?;
    let handle = |message: &str| match message.starts_with("poison") {
        true => Verdict::Requeue,
        false => Verdict::Ack,
    };
    stage::consume(&connection, queue, "mailer-1", &tally, 1, handle).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    connection.close(200, "done".into()).await?;
    let all = tally.all();
    let poison = all.iter().filter(|it| it.message.starts_with("poison")).count();
    Ok((poison, all.len() - poison))
}
