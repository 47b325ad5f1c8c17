//! Finding the queue that is asked about, and stopping or restarting its deliveries.

use serde_json::json;

use crate::access::permission::Right;
use crate::admin::caller::Caller;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
use crate::amqp::time::Timestamp;
use crate::broker::host::Host as _;
use crate::broker::redrive;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;

/// A queue that the caller has this right to.
pub fn find<E: Operations>(
    estate: &E,
    caller: &Caller,
    (vhost, name): (&str, &str),
    right: Right,
) -> Result<QueueRecord, Problem> {
    caller.vhost(estate, vhost)?;
    caller.check_right(estate, vhost, right, name)?;
    let found = estate.in_vhost(vhost, |turn| turn.vhost().queue(name).cloned());
    found.flatten().ok_or(Problem::NotFound)
}

/// The parking lot of a queue: its own, or the queue itself when it is one.
pub fn lot<E: Operations>(
    estate: &E,
    vhost: &str,
    record: &QueueRecord,
) -> Result<QueueRecord, Problem> {
    if record.kind == QueueKind::ParkingLot {
        return Ok(record.clone());
    }
    let parked = record.parked.ok_or(Problem::Missing("the queue has no parking lot"))?;
    let found = estate.in_vhost(vhost, |turn| turn.vhost().record(parked).cloned());
    found.flatten().ok_or(Problem::NotFound)
}

/// How many messages are where, and since when the oldest wait.
pub fn figures<E: Operations>(estate: &E, caller: &Caller, vhost: &str, queue: &str) -> Outcome {
    let record = find(estate, caller, (vhost, queue), Right::Read)?;
    let found = estate.in_vhost(vhost, |turn| {
        let now = turn.now();
        turn.queue(record.id, |it, _| (now, it.depth(), it.oldest(), it.is_paused()))
    });
    let (now, depth, oldest, paused) = found.flatten().ok_or(Problem::NotFound)?;
    let age_ms = |at: Timestamp| now.as_millis().saturating_sub(at.as_millis());
    Ok(Response::ok(json!({
        "vhost": vhost,
        "queue": queue,
        "ready": depth.ready,
        "unacked": depth.unacked,
        "delayed": depth.delayed,
        "consumers": depth.consumers,
        "paused": paused,
        "oldest_ready_age_ms": oldest.ready.map(age_ms),
        "oldest_unacked_age_ms": oldest.unacked.map(age_ms),
    })))
}

/// Answers whether the queue is paused now.
pub fn pause<E: Operations>(
    estate: &E,
    caller: &Caller,
    vhost: &str,
    queue: &str,
    paused: bool,
) -> Outcome {
    let record = find(estate, caller, (vhost, queue), Right::Configure)?;
    let done = estate.in_vhost(vhost, |turn| redrive::set_paused(turn, record.id, paused));
    if done != Some(true) {
        return Err(Problem::bad("a stream cannot be paused"));
    }
    Ok(Response::ok(json!({ "vhost": vhost, "queue": queue, "paused": paused })))
}
