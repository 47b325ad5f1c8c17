//! Right: the instances of a service share one queue.
//!
//! Two instances of the member service consume from `newuser.member`: 10 new users are welcomed
//! 10 times, and the work is shared.
//!
//! Run: `cargo run --example work_queue_right` (with the broker on `topology/`).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::collections::BTreeMap;
use std::process::ExitCode;

use stage::DECLARED;
use stage::Error;
use stage::Tally;
use stage::Verdict;

const USERS: usize = 10;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on the declared topology: two instances of `member` on the queue newuser.member");
    let (_keep, channel) = stage::publisher(DECLARED).await?;
    for queue in ["newuser.member", "newuser.promotion"] {
        stage::purge(&channel, queue).await?;
    }
    let tally = Tally::default();
    let mut instances = Vec::new();
    for instance in ["member-1", "member-2"] {
        let connection = stage::connect(DECLARED, &format!("member@{instance}")).await?;
        stage::consume(&connection, "newuser.member", instance, &tally, 1, |_| Verdict::Ack)
            .await?;
        instances.push(connection);
    }
    stage::publish(&channel, "newuser", "", USERS, "user-").await?;
    tally.settle(USERS).await;
    tally.print();
    println!("  {USERS} users, {} welcomes", tally.all().len());
    stage::purge(&channel, "newuser.promotion").await?;

    let shared = tally.by_instance().values().all(|n| *n > 0) && tally.by_instance().len() == 2;
    let once = tally.repeats("member") == BTreeMap::from([(1, USERS)]);
    Ok(stage::verdict(shared && once, "every message handled once, by one of two instances"))
}
