//! Looking at messages without touching them, wherever they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

use crate::access::permission::Right;
use crate::admin::caller::Caller;
use crate::admin::messages::from_properties;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
use crate::admin::v1::queues;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::broker::host::Host as _;
use crate::broker::redrive::parked_for;
use crate::broker::vhost::QueueKind;
use crate::queue::effect::Fetch;
use crate::queue::expiry::Loaded;
use crate::queue::expiry::LoadedMessage;
use crate::queue::peek::Peeked;
use crate::queue::peek::State;
use crate::queue::peek::Unread;

/// Messages of a page, when nothing is said, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;
/// Bytes of a body that are shown when nothing is said.
const BODY_BYTES: usize = 65_536;

/// Some messages, and whether more may be behind them.
#[derive(Debug)]
pub struct Page {
    pub messages: Vec<Peeked>,
    /// Where to go on; `None` at the end.
    pub next: Option<Seq>,
}

pub fn messages<E: Operations>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    queue: &str,
) -> Outcome {
    let mut record = queues::find(estate, caller, (vhost, queue), Right::Read)?;
    let named = request.query("state").unwrap_or("ready");
    let state = match named {
        "ready" => State::Ready,
        "unacked" => State::Unacked,
        // What an exchange holds back stands in line for its time.
        "delayed" if record.kind == QueueKind::Schedule => State::Ready,
        "delayed" => State::Delayed,
        "parked" => {
            record = queues::lot(estate, vhost, &record)?;
            caller.check_right(estate, vhost, Right::Read, &record.name)?;
            State::Ready
        }
        other => return Err(Problem::bad(format!("no state is called `{other}`"))),
    };
    let after = number(request, "after")?.map(Seq);
    let limit = number(request, "limit")?.map_or(Ok(PAGE), usize::try_from);
    let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let shown = number(request, "truncate")?.map_or(Ok(BODY_BYTES), usize::try_from);
    let shown = shown.unwrap_or(usize::MAX);
    let page = page(estate, vhost, record.id, state, after, limit)?;
    let views: Vec<Value> = page.messages.iter().map(|it| view(it, named, shown)).collect();
    let next = page.next.map(|it| it.to_string());
    Ok(Response::ok(json!({ "queue": record.name.as_str(), "messages": views, "next": next })))
}

fn number(request: &Request, key: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = request.query(key) else { return Ok(None) };
    let wrong = |_| Problem::bad(format!("`{key}` is no number"));
    text.parse().map(Some).map_err(wrong)
}

/// The first messages behind `after`, by number; those that are on disk only are read.
pub fn page<E: Operations>(
    estate: &E,
    vhost: &str,
    queue: QueueId,
    state: State,
    mut after: Option<Seq>,
    limit: usize,
) -> Result<Page, Problem> {
    loop {
        let look = estate
            .in_vhost(vhost, |turn| turn.queue(queue, |it, _| it.look(state, after, limit)))
            .flatten()
            .ok_or(Problem::NotFound)?;
        let mut found = look.seen;
        let mut is_full = found.len() == limit;
        // Beyond this number not everything is known.
        let mut horizon: Option<Seq> = None;
        for unread in &look.unread {
            let (read, next) = read_run(estate, vhost, queue, unread, limit)?;
            found.extend(read);
            if next < unread.end {
                horizon = Some(horizon.map_or(next, |it| it.min(next)));
            }
        }
        found.sort_by_key(|it| it.seq);
        found.dedup_by_key(|it| it.seq);
        found.retain(|it| horizon.is_none_or(|end| it.seq < end));
        is_full |= found.len() > limit;
        found.truncate(limit);
        match (found.last().map(|it| it.seq), horizon) {
            // All that was read is somewhere else in the queue.
            (None, Some(Seq(end))) => after = Some(Seq(end.saturating_sub(1))),
            (last, horizon) => {
                load_missing(estate, vhost, queue, &mut found);
                let next = last.filter(|_| is_full || horizon.is_some());
                return Ok(Page { messages: found, next });
            }
        }
    }
}

/// What is alive of a part of the line that is on disk, and from which number on nobody looked.
fn read_run<E: Operations>(
    estate: &E,
    vhost: &str,
    queue: QueueId,
    unread: &Unread,
    limit: usize,
) -> Result<(Vec<Peeked>, Seq), Problem> {
    let Unread { level, from, end, except } = unread;
    let bytes = limit::FETCH_BYTES;
    let fetch = Fetch::Run { level: *level, from: *from, end: *end, count: limit, bytes };
    match estate.read(vhost, queue, fetch) {
        Some(Loaded::Run { messages, next, .. }) => {
            let alive = messages.into_iter().filter(|it| !except.contains(&it.seq));
            // One that is larger than a whole reading still is one step forward.
            Ok((alive.map(peeked).collect(), next.max(from.next())))
        }
        Some(_) | None => Err(Problem::bad("the disk does not answer; try again")),
    }
}

fn peeked(loaded: LoadedMessage) -> Peeked {
    Peeked {
        seq: loaded.seq,
        message: Some(loaded.message),
        mark: loaded.mark.unwrap_or_default(),
        due: None,
        expires_at: loaded.expires_at,
        delivered_at: None,
        consumer: None,
    }
}

fn load_missing<E: Operations>(estate: &E, vhost: &str, queue: QueueId, found: &mut [Peeked]) {
    for missing in found.iter_mut().filter(|it| it.message.is_none()) {
        let read = estate.read(vhost, queue, Fetch::One { seq: missing.seq });
        if let Some(Loaded::One { message: Some(loaded), .. }) = read {
            missing.message = Some(loaded.message);
        }
    }
}

/// A message for people; `payload` is null when its body could not be read.
fn view(peeked: &Peeked, state: &str, shown: usize) -> Value {
    let Peeked { seq, message, mark, due, expires_at, delivered_at, consumer } = peeked;
    let attempts = mark.attempts_made().iter().map(|it| {
        json!({
            "at_ms": it.at.as_millis(),
            "failure": it.failure.as_str(),
            "consumer_tag": &*it.consumer_tag,
            "connection_name": &*it.connection_name,
        })
    });
    let mut view = json!({
        "id": seq.to_string(),
        "state": state,
        "redelivered": mark.redelivered,
        "attempts": mark.attempts,
        "failures": mark.failures,
        "history": attempts.collect::<Vec<_>>(),
        "payload": null,
    });
    let expires = Some(*expires_at).filter(|it| *it != Timestamp::NEVER);
    if let Some(at) = expires.filter(|_| state != "delayed") {
        view["expires_ms"] = Value::from(at.as_millis());
    }
    if let Some(due) = due.or(expires.filter(|_| state == "delayed")) {
        view["due_ms"] = Value::from(due.as_millis());
    }
    if let Some(at) = delivered_at {
        view["delivered_ms"] = Value::from(at.as_millis());
        view["connection"] = json!(consumer.map(|it| it.connection.0));
        view["channel"] = json!(consumer.map(|it| it.channel.0));
    }
    if let Some(message) = message {
        describe(&mut view, message, shown);
        if state == "parked" {
            let (reason, at) = parked_for(message);
            view["parked"] = json!({ "reason": reason, "at_ms": at });
        }
    }
    view
}

fn describe(view: &mut Value, message: &Message, shown: usize) {
    let mut body = message.body_to_vec();
    body.truncate(shown);
    let (payload, encoding) = match String::from_utf8(body) {
        Ok(text) => (text, "string"),
        Err(error) => (STANDARD.encode(error.into_bytes()), "base64"),
    };
    view["payload"] = Value::from(payload);
    view["payload_encoding"] = Value::from(encoding);
    view["payload_bytes"] = Value::from(message.body_bytes());
    view["exchange"] = Value::from(message.exchange());
    view["routing_key"] = Value::from(message.routing_key().0);
    view["properties"] = from_properties(message.properties());
    view["published_ms"] = Value::from(message.published_at().as_millis());
}
