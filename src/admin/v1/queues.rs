//! Finding the queue that is asked about, and stopping or restarting its deliveries.

use serde_json::json;

use crate::access::permission::Right;
use crate::admin::caller::Caller;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
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
