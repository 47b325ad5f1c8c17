//! Right: a queue per service, shared by its instances.
//!
//! The member service and the promotion service, two instances each, on their own queues of the
//! same fanout: every new user is welcomed once and gets one gift.
//!
//! Run: `cargo run --example fanout_queue_right` (with the broker on `topology/`).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::collections::BTreeMap;
use std::process::ExitCode;

use stage::DECLARED;
use stage::Error;
use stage::Tally;
use stage::Verdict;

const USERS: usize = 20;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on the declared topology: a queue per service, two instances on each");
    let (_keep, channel) = stage::publisher(DECLARED).await?;
    let tally = Tally::default();
    let mut instances = Vec::new();
    for service in ["member", "promotion"] {
        let queue = format!("newuser.{service}");
        stage::purge(&channel, &queue).await?;
        for n in 1..=2 {
            let instance = format!("{service}-{n}");
            let connection = stage::connect(DECLARED, &format!("{service}@host-{n}")).await?;
            stage::consume(&connection, &queue, &instance, &tally, 1, |_| Verdict::Ack).await?;
            instances.push(connection);
        }
    }
    stage::publish(&channel, "newuser", "", USERS, "user-").await?;
    tally.settle(2 * USERS).await;
    tally.print();
    for (service, n) in tally.by_service() {
        println!("  {service:<10} handled {n} of {USERS} users");
    }

    let once = BTreeMap::from([(1, USERS)]);
    let as_expected = tally.repeats("member") == once && tally.repeats("promotion") == once;
    Ok(stage::verdict(as_expected, "each service handled each message once"))
}
