//! What the native API needs of whoever runs the broker, beyond the management API's wishes.

use serde_json::Value;

use crate::admin::estate::Estate;
use crate::admin::request::Problem;
use crate::admin::v1::audit::AuditEntry;
use crate::admin::v1::job::Job;
use crate::admin::v1::job::Progress;
use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::queue::effect::Fetch;
use crate::queue::expiry::Loaded;

/// A running broker that can be operated on.
pub trait Operations: Estate {
    /// Reads messages that only the log has, without their queue noticing. `None` when the vhost is
    /// gone or the disk does not answer.
    fn read(&self, vhost: &str, queue: QueueId, fetch: Fetch) -> Option<Loaded>;

    /// Begins a job; returns its number, `None` when too many run.
    fn start_job(&self, job: Job) -> Option<u64>;

    /// The jobs that run and the last ones that ended, by number.
    fn jobs(&self) -> Vec<(u64, Job, Progress)>;

    /// The last requests to change something, the oldest first.
    fn audit(&self) -> Vec<AuditEntry>;

    /// What is there, and the files that count, as a document.
    fn live_topology(&self) -> Value;

    /// What has to be done so that the broker is what the files in `body` declare.
    ///
    /// # Errors
    /// When the files have errors.
    fn plan(&self, body: &Value) -> Result<Value, Problem>;

    /// Does it; what was done, and the batch that has it.
    ///
    /// # Errors
    /// As [`Operations::plan`], and when the plan is stale, or something is at stake that nobody
    /// gave up.
    fn roll_out(&self, body: &Value) -> Result<(Value, BatchId), Problem>;

    /// Ends a job before its next message; `false` when there is none of that number.
    fn stop_job(&self, id: u64) -> bool;
}
