//! Wrong: two services on one queue.
//!
//! The member service and the promotion service both consume from `newuser`, so they steal from
//! each other: of 20 new users, some are welcomed and get no gift, the others get a gift and no
//! welcome. On a vhost without rules it happens and is counted; the declared topology refuses it.
//!
//! Run: `cargo run --example fanout_queue_wrong` (with the broker on `topology/`).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod stage;

use std::process::ExitCode;

use stage::DECLARED;
use stage::Error;
use stage::PLAYGROUND;
use stage::Tally;
use stage::Verdict;

const USERS: usize = 20;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    println!("on a vhost without rules: `member` and `promotion` consume from the same queue");
    let (_keep, channel) = stage::publisher(PLAYGROUND).await?;
    stage::fanout(&channel, "example.newuser").await?;
    stage::bound_queue(&channel, "example.newuser", "example.newuser").await?;
    let tally = Tally::default();
    let mut instances = Vec::new();
    for service in ["member-1", "member-2", "promotion-1", "promotion-2"] {
        let connection = stage::connect(PLAYGROUND, service).await?;
        stage::consume(&connection, "example.newuser", service, &tally, 1, |_| Verdict::Ack)
            .await?;
        instances.push(connection);
    }
    stage::publish(&channel, "example.newuser", "", USERS, "user-").await?;
    tally.settle(USERS).await;
    tally.print();
    let by_service = tally.by_service();
    let of = |service: &str| by_service.get(service).copied().unwrap_or_default();
    let (welcomed, given) = (of("member"), of("promotion"));
    println!("  {USERS} users: {welcomed} welcomed, {given} got a gift, none got both");
    stage::clean_up(&channel, &["example.newuser"], &["example.newuser"]).await?;

    println!("\non the declared topology: `promotion` tries the queue of `member`");
    let connection = stage::connect(DECLARED, "promotion@example").await?;
    let attempt =
        stage::consume(&connection, "newuser.member", "promotion-1", &tally, 1, |_| Verdict::Ack);
    let refused = attempt.await.err().map(|it| it.to_string()).unwrap_or_default();
    println!("  {refused}");

    let stolen = welcomed + given == USERS && welcomed < USERS && given < USERS;
    let as_expected = stolen && refused.contains("FAN-002");
    let text = "the services stole from each other; the topology refuses it (FAN-002)";
    Ok(stage::verdict(as_expected, text))
}
