//! Messages that wait: for their retry, or in a delayed exchange's queue for their time.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::access::permission::Right;
use crate::admin::caller::Caller;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
use crate::admin::v1::peek;
use crate::admin::v1::queues;
use crate::admin::v1::selector;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::broker::host::Host as _;
use crate::broker::redrive;
use crate::broker::vhost::QueueKind;
use crate::queue::entry::Mark;
use crate::queue::peek::State;

/// How many wait after how many attempts, and when the first of them is due.
pub fn retries<E: Operations>(estate: &E, caller: &Caller, vhost: &str, queue: &str) -> Outcome {
    let record = queues::find(estate, caller, (vhost, queue), Right::Read)?;
    let look = estate.in_vhost(vhost, |turn| {
        let now = turn.now();
        turn.queue(record.id, |it, _| (now, it.look(State::Delayed, None, usize::MAX)))
    });
    let (now, look) = look.flatten().ok_or(Problem::NotFound)?;
    let mut by_attempt: BTreeMap<u16, (u64, Timestamp)> = BTreeMap::new();
    for it in &look.seen {
        let due = it.due.unwrap_or(Timestamp::NEVER);
        let group = by_attempt.entry(it.mark.attempts).or_insert((0, due));
        *group = (group.0 + 1, group.1.min(due));
    }
    let next = by_attempt.values().map(|(_, due)| *due).min();
    let groups = by_attempt.into_iter().map(|(attempt, (count, due))| {
        json!({ "attempt": attempt, "count": count, "next_due_ms": due.as_millis() })
    });
    Ok(Response::ok(json!({
        "queue": queue,
        "waiting": look.seen.len(),
        "now_ms": now.as_millis(),
        "next_due_ms": next.map(Timestamp::as_millis),
        "attempts": groups.collect::<Vec<Value>>(),
    })))
}

/// Retries what waits, all of it or what the body chooses.
pub fn now<E: Operations>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    queue: &str,
) -> Outcome {
    let record = queues::find(estate, caller, (vhost, queue), Right::Read)?;
    if record.kind == QueueKind::Schedule {
        return Err(Problem::bad("what an exchange holds back can be cancelled, not retried"));
    }
    let ids = selector::ids(request.fields()?)?;
    let attempt = request.integer("attempt")?;
    let limit = request.integer("limit")?.unwrap_or(i64::MAX);
    let limit = usize::try_from(limit).map_err(|_| Problem::bad("`limit` is below 0"))?;
    let which = |seq: Seq, mark: &Mark| {
        ids.as_ref().is_none_or(|it| it.contains(&seq))
            && attempt.is_none_or(|it| it == i64::from(mark.attempts))
    };
    let n = if request.is_set("dry_run") {
        let look = estate.in_vhost(vhost, |turn| {
            turn.queue(record.id, |it, _| it.look(State::Delayed, None, usize::MAX))
        });
        let look = look.flatten().ok_or(Problem::NotFound)?;
        look.seen.iter().filter(|it| which(it.seq, &it.mark)).take(limit).count()
    } else {
        let n = estate.in_vhost(vhost, |turn| redrive::retry_now(turn, record.id, limit, which));
        n.ok_or(Problem::NotFound)?
    };
    Ok(Response::ok(json!({ "queue": queue, "retried": n, "dry_run": request.is_set("dry_run") })))
}

/// Drops a message before its time comes.
pub fn cancel<E: Operations>(
    estate: &E,
    caller: &Caller,
    vhost: &str,
    queue: &str,
    id: &str,
) -> Outcome {
    let record = queues::find(estate, caller, (vhost, queue), Right::Configure)?;
    if record.kind != QueueKind::Schedule {
        return Err(Problem::bad("only what a delayed exchange holds back can be cancelled"));
    }
    let seq = id.parse().map(Seq).map_err(|_| Problem::NotFound)?;
    let before = seq.0.checked_sub(1).map(Seq);
    let page = peek::page(estate, vhost, record.id, State::Ready, before, 1)?;
    let found = page.messages.into_iter().find(|it| it.seq == seq).and_then(|it| it.message);
    let message = found.ok_or(Problem::NotFound)?;
    let done = estate.in_vhost(vhost, |turn| redrive::cancel(turn, record.id, seq, &message));
    if done == Some(true) { Ok(Response::no_content()) } else { Err(Problem::NotFound) }
}
