//! Parked messages by reason, and the jobs that send them back or drop them.

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
use crate::admin::v1::job;
use crate::admin::v1::job::Canary;
use crate::admin::v1::job::Job;
use crate::admin::v1::job::Kind;
use crate::admin::v1::peek;
use crate::admin::v1::queues;
use crate::admin::v1::selector::Selector;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::VhostName;
use crate::broker::host::Host as _;
use crate::broker::parking::PARKED_SUFFIX;
use crate::broker::redrive;
use crate::broker::redrive::parked_for;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::queue::peek::State;

/// Messages that are looked through for one answer.
const LOOKED_AT_MAX: u64 = 20_000;
const AT_A_TIME: usize = 500;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Group {
    count: u64,
    first_ms: u64,
    last_ms: u64,
}

/// Counts by reason; of a very long lot, of its oldest messages only.
pub fn groups<E: Operations>(estate: &E, caller: &Caller, vhost: &str, queue: &str) -> Outcome {
    let record = queues::find(estate, caller, (vhost, queue), Right::Read)?;
    let lot = queues::lot(estate, vhost, &record)?;
    caller.check_right(estate, vhost, Right::Read, &lot.name)?;
    lot_view(estate, vhost, &lot).map(Response::ok)
}

/// The lots that hold something, of one vhost or of all that the caller sees.
pub fn lots<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    let mut queues = Vec::new();
    for vhost in caller.vhosts(estate, request.query("vhost"))? {
        let grant = caller.grant(estate, &vhost);
        let found = estate.in_vhost(&vhost, |turn| {
            let lots = turn.vhost().queues().filter(|it| it.kind == QueueKind::ParkingLot);
            lots.filter(|it| grant.allows(Right::Read, &it.name)).cloned().collect::<Vec<_>>()
        });
        for lot in found.unwrap_or_default() {
            match lot_view(estate, &vhost, &lot) {
                Ok(view) if view["parked"] != 0 => queues.push(view),
                // It went meanwhile, or holds nothing.
                Ok(_) | Err(Problem::NotFound) => {}
                Err(problem) => return Err(problem),
            }
        }
    }
    Ok(Response::ok(json!({ "queues": queues })))
}

fn lot_view<E: Operations>(estate: &E, vhost: &str, lot: &QueueRecord) -> Result<Value, Problem> {
    let mut all: BTreeMap<String, Group> = BTreeMap::new();
    let looked_at = each(estate, vhost, lot.id, &mut |_, message| {
        let (reason, at) = parked_for(message);
        let at = at.unwrap_or_default();
        let group = all.entry(reason).or_insert(Group { count: 0, first_ms: at, last_ms: at });
        group.count += 1;
        group.first_ms = group.first_ms.min(at);
        group.last_ms = group.last_ms.max(at);
    })?;
    let depth = estate.in_vhost(vhost, |turn| turn.queue(lot.id, |it, _| it.depth()));
    let depth = depth.flatten().ok_or(Problem::NotFound)?;
    let groups = all.into_iter().map(|(reason, group)| {
        let Group { count, first_ms, last_ms } = group;
        json!({ "reason": reason, "count": count, "first_ms": first_ms, "last_ms": last_ms })
    });
    let name = lot.name.as_str();
    Ok(json!({
        "vhost": vhost,
        "queue": name.strip_suffix(PARKED_SUFFIX).unwrap_or(name),
        "lot": name,
        "parked": depth.ready,
        "looked_at": looked_at,
        "groups": groups.collect::<Vec<Value>>(),
    }))
}

/// Shows `look` the messages of a lot, oldest first; returns how many these were.
fn each<E: Operations>(
    estate: &E,
    vhost: &str,
    lot: QueueId,
    look: &mut dyn FnMut(Seq, &Message),
) -> Result<u64, Problem> {
    let (mut after, mut n) = (None, 0);
    while n < LOOKED_AT_MAX {
        let page = peek::page(estate, vhost, lot, State::Ready, after, AT_A_TIME)?;
        n += page.messages.len() as u64;
        for it in &page.messages {
            it.message.iter().for_each(|message| look(it.seq, message));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(n)
}

/// The queue that discarded messages go to and come back from.
fn discarded<E: Operations>(estate: &E, vhost: &str) -> Result<QueueId, Problem> {
    let declared = estate.in_vhost(vhost, |turn| redrive::declare_discarded(turn));
    declared.ok_or(Problem::NotFound)?.map_err(|error| {
        Problem::bad(format!("`{}` is something else: {error:?}", redrive::DISCARDED))
    })
}

/// Begins a job and answers with it; with `dry_run`, only how many messages it would take.
pub fn begin<E: Operations>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    (vhost, queue): (&str, &str),
    kind: Kind,
) -> Outcome {
    let record = queues::find(estate, caller, (vhost, queue), Right::Read)?;
    let lot = queues::lot(estate, vhost, &record)?;
    caller.check_right(estate, vhost, Right::Read, &lot.name)?;
    if kind == Kind::Redrive {
        caller.check_right(estate, vhost, Right::Write, queue)?;
    }
    let selector = Selector::parse(request.fields()?)?;
    let number = |key: &str| match request.integer(key)?.map(u64::try_from) {
        None => Ok(None),
        Some(Ok(number)) if number > 0 => Ok(Some(number)),
        Some(_) => Err(Problem::bad(format!("`{key}` must be above 0"))),
    };
    let (limit, rate) = (number("limit")?.unwrap_or(u64::MAX), number("rate")?);
    let stop_at = number("stop_at")?;
    let canary = number("canary")?;
    if canary.is_some() && kind != Kind::Redrive {
        return Err(Problem::bad("`canary` is for a redrive"));
    }
    if stop_at.is_some() && (rate.is_none() || kind != Kind::Redrive) {
        return Err(Problem::bad("`stop_at` is for a redrive with a `rate`: consumers take time"));
    }
    let discarded = match kind {
        Kind::Redrive => None,
        Kind::Discard | Kind::Restore => Some(discarded(estate, vhost)?),
    };
    let source = discarded.filter(|_| kind == Kind::Restore).unwrap_or(lot.id);
    if request.is_set("dry_run") {
        let now = estate.in_vhost(vhost, |turn| turn.now()).ok_or(Problem::NotFound)?;
        let mut n = 0;
        each(estate, vhost, source, &mut |seq, message| {
            let from = redrive::discarded_from(message);
            let is_its = kind != Kind::Restore || from.as_deref() == Some(&*lot.name);
            n += u64::from(is_its && selector.matches(seq, message, now));
        })?;
        return Ok(Response::ok(json!({ "dry_run": true, "matching": n.min(limit) })));
    }
    let end = estate.in_vhost(vhost, |turn| turn.queue(source, |it, _| it.next_seq()));
    let acked_before = job::acked(estate, vhost, queue).unwrap_or_default();
    let job = Job {
        kind,
        vhost: VhostName::new(vhost),
        queue: record.name,
        source,
        lot: lot.id,
        lot_name: lot.name,
        discarded,
        selector,
        limit,
        rate,
        stop_at,
        canary: canary.map(|n| Canary { n, acked_before }),
        end: end.flatten().ok_or(Problem::NotFound)?,
        user: caller.user.name.clone(),
    };
    let view = |id| job::view(id, &job, &job::Progress::default());
    let id = estate.start_job(job.clone());
    let id = id.ok_or_else(|| Problem::bad("too many jobs run; wait for one to end"))?;
    Ok(Response { status: 202, ..Response::ok(view(id)) })
}

pub fn jobs<E: Operations>(estate: &E, caller: &Caller) -> Outcome {
    let all = estate.jobs();
    let seen = all.iter().filter(|(_, job, _)| caller.vhost(estate, &job.vhost).is_ok());
    let views = seen.map(|(id, job, progress)| job::view(*id, job, progress));
    Ok(Response::ok(Value::Array(views.collect())))
}

pub fn job<E: Operations>(estate: &E, caller: &Caller, id: &str) -> Outcome {
    let (id, job, progress) = find(estate, caller, id)?;
    Ok(Response::ok(job::view(id, &job, &progress)))
}

/// For who began it, and administrators.
pub fn stop<E: Operations>(estate: &E, caller: &Caller, id: &str) -> Outcome {
    let (id, job, _) = find(estate, caller, id)?;
    if job.user != caller.user.name {
        caller.check_administrator()?;
    }
    if estate.stop_job(id) { Ok(Response::no_content()) } else { Err(Problem::NotFound) }
}

fn find<E: Operations>(
    estate: &E,
    caller: &Caller,
    id: &str,
) -> Result<(u64, Job, job::Progress), Problem> {
    let id: u64 = id.parse().map_err(|_| Problem::NotFound)?;
    let found = estate.jobs().into_iter().find(|(it, _, _)| *it == id);
    let found = found.ok_or(Problem::NotFound)?;
    caller.vhost(estate, &found.1.vhost)?;
    Ok(found)
}
