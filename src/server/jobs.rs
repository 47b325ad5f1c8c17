//! Jobs of the native API while they run, and reading for people who look into queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::admin::request::Problem;
use crate::admin::v1::audit::AuditEntry;
use crate::admin::v1::estate::Operations;
use crate::admin::v1::job;
use crate::admin::v1::job::Job;
use crate::admin::v1::job::Progress;
use crate::admin::v1::job::Stage;
use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::queue::effect::Fetch;
use crate::queue::expiry::Loaded;
use crate::server::estate::LiveEstate;
use crate::server::log::FetchRequest;

/// Jobs that run at a time, and those that are remembered.
const RUNNING_MAX: usize = 8;
const KEPT: usize = 100;
/// Messages between two looks at the clock.
const STEP: u64 = 100;
/// Time between two looks at a canary.
const CANARY_LOOK: Duration = Duration::from_millis(100);
/// Longest that a look into a queue waits for the disk.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// The jobs there are.
#[derive(Debug, Default)]
pub(in crate::server) struct Jobs {
    all: Mutex<BTreeMap<u64, (Job, Progress)>>,
}

impl Operations for LiveEstate {
    fn read(&self, vhost: &str, queue: QueueId, fetch: Fetch) -> Option<Loaded> {
        let vhost = self.node.vhost(vhost)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        self.node.log.fetch(FetchRequest { vhost, queue, fetch, reader: Some(sender) });
        // On a thread that is there for waiting.
        receiver.recv_timeout(READ_PATIENCE).ok()
    }

    fn start_job(&self, job: Job) -> Option<u64> {
        let mut all = self.jobs.all.lock();
        if all.values().filter(|(_, it)| it.is_running()).count() >= RUNNING_MAX {
            return None;
        }
        while all.len() >= KEPT {
            let ended = all.iter().find(|(_, (_, it))| !it.is_running()).map(|(id, _)| *id)?;
            all.remove(&ended);
        }
        let id = all.last_key_value().map_or(1, |(id, _)| id + 1);
        all.insert(id, (job.clone(), Progress::default()));
        drop(all);
        tokio::spawn(run(self.clone(), id, job));
        Some(id)
    }

    fn jobs(&self) -> Vec<(u64, Job, Progress)> {
        let all = self.jobs.all.lock();
        all.iter().map(|(id, (job, progress))| (*id, job.clone(), progress.clone())).collect()
    }

    fn audit(&self) -> Vec<AuditEntry> {
        self.audit.all()
    }

    fn live_topology(&self) -> Value {
        LiveEstate::live_topology(self)
    }

    fn plan(&self, body: &Value) -> Result<Value, Problem> {
        LiveEstate::plan(self, body)
    }

    fn roll_out(&self, body: &Value) -> Result<(Value, BatchId), Problem> {
        LiveEstate::roll_out(self, body)
    }

    fn stop_job(&self, id: u64) -> bool {
        let mut all = self.jobs.all.lock();
        let Some((_, progress)) = all.get_mut(&id) else { return false };
        if progress.is_running() {
            progress.stage = Stage::Stopped;
        }
        true
    }
}

impl Jobs {
    /// Notes how far a job is; `false` when somebody ended it meanwhile.
    fn note(&self, id: u64, progress: &Progress) -> bool {
        let mut all = self.all.lock();
        let Some((_, known)) = all.get_mut(&id) else { return false };
        let goes_on = known.is_running();
        let stage = if goes_on { progress.stage.clone() } else { Stage::Stopped };
        *known = Progress { stage, ..progress.clone() };
        goes_on
    }
}

/// Does a job in steps, each on disk before it is counted.
async fn run(estate: LiveEstate, id: u64, job: Job) {
    let node = Arc::clone(&estate.node);
    let mut progress = Progress::default();
    // Ten steps a second, or one message each when that is too much.
    let step = job.rate.map_or(STEP, |it| (it / 10).clamp(1, STEP));
    while progress.is_running() {
        let (of_step, job_of_step, so_far) = (estate.clone(), job.clone(), progress.clone());
        let done_before = progress.done;
        let stepped = tokio::task::spawn_blocking(move || {
            let mut progress = so_far;
            job::step(&of_step, &job_of_step, &mut progress, step);
            progress
        });
        progress = match stepped.await {
            Ok(progress) => progress,
            Err(error) => {
                tracing::error!(%error, id, "a job broke off");
                Progress { stage: Stage::Failed("it broke off".to_owned()), ..progress }
            }
        };
        tokio::select! {
            () = node.log.until_durable(progress.batch) => {}
            () = node.stopped() => return,
        }
        if !estate.jobs.note(id, &progress) {
            return;
        }
        let n = progress.done - done_before;
        if progress.waits_for_canary {
            tokio::time::sleep(CANARY_LOOK).await;
        }
        if let (Some(rate), true) = (job.rate, progress.is_running()) {
            tokio::time::sleep(Duration::from_micros(n.saturating_mul(1_000_000) / rate)).await;
        }
    }
}
