//! Work on many parked messages, a few at a time.

use serde_json::Value;
use serde_json::json;

use crate::admin::v1::estate::Operations;
use crate::admin::v1::peek;
use crate::admin::v1::selector::Selector;
use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::QueueName;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::broker::host::Host as _;
use crate::broker::redrive;
use crate::broker::redrive::Redriven;
use crate::queue::peek::State;

/// Messages that are looked at in one go.
const AT_A_TIME: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Redrive,
    /// To where it can be restored from for a day.
    Discard,
    Restore,
}

/// What is to be done, for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    pub kind: Kind,
    pub vhost: VhostName,
    pub queue: QueueName,
    pub lot: QueueId,
    pub lot_name: QueueName,
    /// Where its messages are: the parking lot, or what was discarded.
    pub source: QueueId,
    /// Where discarded messages are; a redrive has nothing to do with it.
    pub discarded: Option<QueueId>,
    pub selector: Selector,
    /// Messages that are taken at most.
    pub limit: u64,
    /// Messages a second; `None` is as fast as it goes.
    pub rate: Option<u64>,
    /// Ends the job when of a hundred redriven messages so many were parked again.
    pub stop_at: Option<u64>,
    /// So many are redriven first; the others when the queue has had as many acknowledged.
    pub canary: Option<Canary>,
    /// The first number that is none of its business: what is parked later stays.
    pub end: Seq,
    pub user: UserName,
}

/// Messages that go ahead of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canary {
    pub n: u64,
    /// What the queue had acknowledged when the job began.
    pub acked_before: u64,
}

/// How far a job is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    pub stage: Stage,
    /// Messages that were redriven or discarded.
    pub done: u64,
    /// Messages whose queue is not known or no more; they stay parked.
    pub skipped: u64,
    /// Messages that came into the lot since the job began, this job's or not.
    pub parked_again: u64,
    /// The canary is on its way, and the rest waits.
    pub waits_for_canary: bool,
    pub after: Option<Seq>,
    /// What was done is on disk with this batch.
    pub batch: BatchId,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    #[default]
    Running,
    Done,
    /// Somebody ended it.
    Stopped,
    Failed(String),
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Redrive => "redrive",
            Kind::Discard => "discard",
            Kind::Restore => "restore",
        }
    }
}

impl Progress {
    pub fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }
}

/// A job for people.
pub fn view(id: u64, job: &Job, progress: &Progress) -> Value {
    let (stage, reason) = match &progress.stage {
        Stage::Running => ("running", None),
        Stage::Done => ("done", None),
        Stage::Stopped => ("stopped", None),
        Stage::Failed(reason) => ("failed", Some(reason)),
    };
    json!({
        "id": id.to_string(),
        "kind": job.kind.as_str(),
        "vhost": job.vhost.as_str(),
        "queue": job.queue.as_str(),
        "selector": job.selector.to_json(),
        "rate": job.rate,
        "stop_at": job.stop_at,
        "canary": job.canary.map(|it| it.n),
        "waits_for_canary": progress.waits_for_canary,
        "user": job.user.as_str(),
        "state": stage,
        "reason": reason,
        "done": progress.done,
        "skipped": progress.skipped,
        "parked_again": progress.parked_again,
    })
}

/// Does some of a job, to no more than `max` messages. The job ends when there is nothing left for
/// it, or the queue takes no more.
pub fn step<E: Operations>(estate: &E, job: &Job, progress: &mut Progress, max: u64) {
    if job.kind == Kind::Redrive {
        let next = estate.in_vhost(&job.vhost, |turn| turn.queue(job.lot, |it, _| it.next_seq()));
        if let Some(next) = next.flatten() {
            progress.parked_again = next.0.saturating_sub(job.end.0);
        }
    }
    if fails_too_often(job.stop_at, progress) {
        progress.stage = Stage::Failed("too many were parked again".to_owned());
        return;
    }
    let mut most = max.min(job.limit.saturating_sub(progress.done));
    if let Some(canary) = job.canary {
        match canary_state(estate, job, canary, progress) {
            CanaryState::GoesAhead => most = most.min(canary.n - progress.done),
            CanaryState::UnderWay => return progress.waits_for_canary = true,
            CanaryState::Lived => progress.waits_for_canary = false,
            CanaryState::Died => {
                progress.stage =
                    Stage::Failed("a message of the canary was parked again".to_owned());
                return;
            }
        }
    }
    let page = peek::page(estate, &job.vhost, job.source, State::Ready, progress.after, AT_A_TIME);
    let page = match page {
        Ok(page) => page,
        Err(_) => {
            progress.stage = Stage::Failed("the parking lot cannot be read".to_owned());
            return;
        }
    };
    let before = progress.done;
    for it in page.messages.iter().filter(|it| it.seq < job.end) {
        if progress.done - before >= most {
            break;
        }
        progress.after = Some(it.seq);
        if let Some(message) = &it.message {
            one(estate, job, progress, it.seq, message);
        }
        if !progress.is_running() {
            return;
        }
    }
    let is_through = progress.after.is_none_or(|after| {
        let last = page.messages.iter().rfind(|it| it.seq < job.end);
        page.next.is_none_or(|it| it >= job.end) && last.is_none_or(|it| it.seq <= after)
    });
    if is_through || progress.done >= job.limit {
        progress.stage = Stage::Done;
    }
}

enum CanaryState {
    GoesAhead,
    UnderWay,
    Lived,
    Died,
}

fn canary_state<E: Operations>(
    estate: &E,
    job: &Job,
    canary: Canary,
    progress: &Progress,
) -> CanaryState {
    if progress.done < canary.n {
        return CanaryState::GoesAhead;
    }
    // Later it is `stop_at` that counts.
    if progress.done > canary.n {
        return CanaryState::Lived;
    }
    if progress.parked_again > 0 {
        return CanaryState::Died;
    }
    let acked = acked(estate, &job.vhost, &job.queue).unwrap_or_default();
    match acked.saturating_sub(canary.acked_before) >= canary.n {
        true => CanaryState::Lived,
        false => CanaryState::UnderWay,
    }
}

/// How many messages of a queue were acknowledged so far.
pub fn acked<E: Operations>(estate: &E, vhost: &str, queue: &str) -> Option<u64> {
    let of = estate.in_vhost(vhost, |turn| {
        let id = turn.vhost().table.queue(queue)?;
        turn.queue(id, |queue, _| queue.totals().acked)
    });
    of.flatten()
}

fn fails_too_often(stop_at: Option<u64>, progress: &Progress) -> bool {
    stop_at.is_some_and(|percent| {
        let allowed = progress.done.saturating_mul(percent);
        progress.parked_again > 0 && progress.parked_again.saturating_mul(100) >= allowed
    })
}

fn one<E: Operations>(estate: &E, job: &Job, progress: &mut Progress, seq: Seq, message: &Message) {
    let done = estate.in_vhost(&job.vhost, |turn| {
        let is_others = || redrive::discarded_from(message).as_deref() != Some(&*job.lot_name);
        if !job.selector.matches(seq, message, turn.now())
            || (job.kind == Kind::Restore && is_others())
        {
            return Redriven::Gone;
        }
        match (job.kind, job.discarded) {
            (Kind::Redrive, _) => redrive::redrive(turn, job.lot, seq, message),
            (Kind::Discard, Some(to)) => {
                redrive::discard(turn, (job.lot, &*job.lot_name), seq, message, to)
            }
            (Kind::Restore, Some(from)) => redrive::restore(turn, from, seq, message, job.lot),
            (Kind::Discard | Kind::Restore, None) => Redriven::NoQueue,
        }
    });
    match done {
        Some(Redriven::Moved(batch)) => {
            progress.done += 1;
            progress.batch = progress.batch.max(batch);
        }
        Some(Redriven::Gone) => {}
        Some(Redriven::NoQueue) => progress.skipped += 1,
        Some(Redriven::Full) => {
            progress.stage = Stage::Failed("the queue is full".to_owned());
        }
        None => progress.stage = Stage::Failed("the vhost was deleted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gives_up_when_what_it_sends_back_is_parked_again() {
        let cases = [
            (None, 9, 9, false),
            (Some(20), 10, 0, false),
            (Some(20), 10, 1, false),
            (Some(20), 10, 2, true),
            (Some(20), 1, 1, true),
            (Some(20), 0, 0, false),
        ];
        for (stop_at, done, parked_again, expected) in cases {
            let progress = Progress { done, parked_again, ..Progress::default() };
            let found = fails_too_often(stop_at, &progress);
            assert_eq!(found, expected, "{stop_at:?} {done} {parked_again}");
        }
    }
}
