//! What every way of running work has in common.

use crate::FilledSlot;

/// Turns one filled slot into a result. One worker serves one job at a time.
pub trait Worker {
    /// What the caller wants to know about a job beside its bytes; it comes back with the result.
    type Job: Send;
    /// What the work yields. A job that fails in a way the caller foresees says so in here.
    type Output: Send;

    /// Does the work. A panic in here is caught, costs this worker, and fails this job alone.
    fn run(&mut self, job: &Self::Job, bytes: &[u8]) -> Self::Output;
}

/// A job that has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The worker panicked on this job.
    #[error("the worker panicked: {0}")]
    Panic(String),
    /// The worker died earlier and no other could be started.
    #[error("no worker is left: {0}")]
    NoWorker(String),
}

/// A worker that could not be started, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Called by the executor, from any of its threads, once for every job that was submitted.
pub type Deliver<W> =
    dyn Fn(<W as Worker>::Job, Result<<W as Worker>::Output, Failure>) + Send + Sync + 'static;

/// Runs jobs somewhere. Implementations differ in where; what comes out is the same. Dropping one waits until every
/// job was delivered.
pub trait Executor<W: Worker> {
    /// Hands a job over; waits while as many are queued as there are workers. The slot goes back to its pool as soon
    /// as the job has its result.
    fn submit(&self, job: W::Job, slot: FilledSlot);
}
