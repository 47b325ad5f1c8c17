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
    Discard,
}

/// What is to be done, for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    pub kind: Kind,
    pub vhost: VhostName,
    pub queue: QueueName,
    pub lot: QueueId,
    pub selector: Selector,
    /// Messages that are taken at most.
    pub limit: u64,
    /// Messages a second; `None` is as fast as it goes.
    pub rate: Option<u64>,
    /// The first number that is none of its business: what is parked later stays.
    pub end: Seq,
    pub user: UserName,
}

/// How far a job is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    pub stage: Stage,
    /// Messages that were redriven or discarded.
    pub done: u64,
    /// Messages whose queue is not known or no more; they stay parked.
    pub skipped: u64,
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
        "user": job.user.as_str(),
        "state": stage,
        "reason": reason,
        "done": progress.done,
        "skipped": progress.skipped,
    })
}

/// Does some of a job, to no more than `max` messages. The job ends when there is nothing left for
/// it, or the queue takes no more.
pub fn step<E: Operations>(estate: &E, job: &Job, progress: &mut Progress, max: u64) {
    let most = max.min(job.limit.saturating_sub(progress.done));
    let page = peek::page(estate, &job.vhost, job.lot, State::Ready, progress.after, AT_A_TIME);
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

fn one<E: Operations>(estate: &E, job: &Job, progress: &mut Progress, seq: Seq, message: &Message) {
    let done = estate.in_vhost(&job.vhost, |turn| {
        if !job.selector.matches(seq, message, turn.now()) {
            return Redriven::Gone;
        }
        match job.kind {
            Kind::Redrive => redrive::redrive(turn, job.lot, seq, message),
            Kind::Discard if redrive::discard(turn, job.lot, seq, message) => {
                Redriven::Moved(BatchId(0))
            }
            Kind::Discard => Redriven::Gone,
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
