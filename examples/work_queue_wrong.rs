//! Wrong: every instance of a service makes a queue of its own.
//!
//! Two instances of the member service each bind an anonymous queue to `newuser`, so each gets a
//! copy: 10 new users are welcomed 20 times. On a vhost without rules it happens and is counted;
//! the declared topology refuses it.
//!
//! Run: `cargo run --example work_queue_wrong` (with the broker on `topology/`).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::process::ExitCode;

use stage::DECLARED;
use stage::Error;
use stage::PLAYGROUND;
use stage::Tally;
use stage::Verdict;

const USERS: usize = 10;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on a vhost without rules: each instance of `member` has a queue of its own");
    let (_keep, channel) = stage::publisher(PLAYGROUND).await?;
    stage::fanout(&channel, "example.newuser").await?;
    let tally = Tally::default();
    let mut instances = Vec::new();
    for instance in ["member-1", "member-2"] {
        let connection = stage::connect(PLAYGROUND, &format!("member@{instance}")).await?;
        let own = connection.create_channel().await?;
        let queue = stage::anonymous_queue(&own).await?;
        stage::bind(&own, &queue, "example.newuser").await?;
        stage::consume(&connection, &queue, instance, &tally, 1, |_| Verdict::Ack).await?;
        instances.push((connection, own));
    }
    stage::publish(&channel, "example.newuser", "", USERS, "user-").await?;
    tally.settle(2 * USERS).await;
    tally.print();
    let handled = tally.all().len();
    println!(
        "  {USERS} users, {handled} welcomes: each user was welcomed {} times",
        handled / USERS
    );
    stage::clean_up(&channel, &[], &["example.newuser"]).await?;

    println!("\non the declared topology: the same mistake");
    let connection = stage::connect(DECLARED, "member@member-1").await?;
    let own = connection.create_channel().await?;
    let queue = stage::anonymous_queue(&own).await?;
    let refused = match stage::bind(&own, &queue, "newuser").await {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    };
    println!("  {refused}");

    let as_expected = handled == 2 * USERS && refused.contains("FAN-001");
    Ok(stage::verdict(
        as_expected,
        "every message handled twice; the topology refuses it (FAN-001)",
    ))
}
