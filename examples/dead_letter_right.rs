//! Right: retry with backoff, then the parking lot.
//!
//! A message that always fails is tried five times, 1, 2, 4 and 8 seconds apart, while everything
//! behind it flows; then it is parked, with the history of its attempts.
//!
//! Run: `cargo run --example dead_letter_right` (with the broker on `topology/`; takes 16 s).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::process::ExitCode;
use std::time::Duration;

use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use stage::DECLARED;
use stage::Error;
use stage::Tally;
use stage::Verdict;

const BEHIND: usize = 5;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on the declared topology: a message that always fails, and {BEHIND} behind it");
    let (_keep, channel) = stage::publisher(DECLARED).await?;
    for queue in ["mail.send", "mail.send.parked"] {
        stage::purge(&channel, queue).await?;
    }
    let tally = Tally::default();
    let connection = stage::connect(DECLARED, "mailer@host-1").await?;
    stage::publish(&channel, "mail", "welcome", 1, "poison-").await?;
    stage::publish(&channel, "mail", "welcome", BEHIND, "mail-").await?;
    let handle = |message: &str| match message.starts_with("poison") {
        true => Verdict::Requeue,
        false => Verdict::Ack,
    };
    stage::consume(&connection, "mail.send", "mailer-1", &tally, 1, handle).await?;
    tokio::time::sleep(Duration::from_secs(16)).await;

    let all = tally.all();
    let poison: Vec<_> = all.iter().filter(|it| it.message.starts_with("poison")).collect();
    let first = poison.first().ok_or("the poison message never came")?.at;
    let times: Vec<u64> = poison.iter().map(|it| (it.at - first).as_secs()).collect();
    println!("  attempts at the poison message after {times:?} s");
    let others = all.iter().filter(|it| !it.message.starts_with("poison"));
    let slowest = others.clone().map(|it| it.at - first).max().unwrap_or_default();
    println!("  the {} others were handled within {} ms", others.count(), slowest.as_millis());

    let options = BasicGetOptions { no_ack: true };
    let parked = channel.basic_get("mail.send.parked".into(), options).await?;
    let parked = parked.ok_or("nothing was parked")?;
    let headers = parked.properties.headers().clone().unwrap_or_default();
    let attempts = match headers.inner().get("x-railpost-attempts") {
        Some(AMQPValue::FieldArray(attempts)) => attempts.as_slice().len(),
        _ => 0,
    };
    println!("  parked: {}, with {attempts} attempts", String::from_utf8_lossy(&parked.data));

    let as_expected =
        times == [0, 1, 3, 7, 15] && attempts == 5 && slowest < Duration::from_secs(1);
    Ok(stage::verdict(as_expected, "five attempts, 1 2 4 8 s apart, then parked; nobody waited"))
}
