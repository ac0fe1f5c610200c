//! Workers as threads of this process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{Deliver, Executor, Failure, FilledSlot, StartError, Worker};

/// Runs jobs on a fixed number of threads.
///
/// Dropping it waits until every job was delivered, then ends the workers.
pub struct Threads<W: Worker> {
    /// Taken when the end has come.
    queue: Option<Sender<(W::Job, FilledSlot)>>,
    threads: Vec<JoinHandle<()>>,
}

impl<W: Worker + 'static> Threads<W> {
    /// Starts `count` threads (at least one), each of which builds its own worker with `build`; returns when all are
    /// ready, or with the first error. `deliver` gets every job back, once.
    pub fn start<B>(count: usize, build: B, deliver: Arc<Deliver<W>>) -> Result<Self, StartError>
    where
        B: Fn() -> Result<W, StartError> + Send + Sync + 'static,
    {
        let count = count.max(1);
        let (queue, jobs) = bounded(count);
        let (ready, readiness) = bounded(count);
        let build = Arc::new(build);
        let mut running = Self { queue: Some(queue), threads: Vec::with_capacity(count) };
        for number in 0..count {
            let seat = Seat { build: Arc::clone(&build), deliver: Arc::clone(&deliver), jobs: jobs.clone() };
            let ready = ready.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || seat.serve(&ready))
                .map_err(|e| StartError(format!("cannot start worker thread {number}: {e}")))?;
            running.threads.push(thread);
        }
        for _ in 0..count {
            readiness.recv().expect("every thread reports before it takes its first job")?;
        }
        Ok(running)
    }
}

impl<W: Worker> Executor<W> for Threads<W> {
    fn submit(&self, job: W::Job, slot: FilledSlot) {
        let queue = self.queue.as_ref().expect("the queue is there until the threads are dropped");
        queue.send((job, slot)).expect("workers take jobs until the queue is closed");
    }
}

impl<W: Worker> Drop for Threads<W> {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // A worker's panics are caught within the thread; the thread itself has nothing else to say.
            let _ = thread.join();
        }
    }
}

/// One thread's place: what it needs to build its worker, and to build it again after a panic.
struct Seat<W: Worker, B> {
    build: Arc<B>,
    deliver: Arc<Deliver<W>>,
    jobs: Receiver<(W::Job, FilledSlot)>,
}

impl<W: Worker, B: Fn() -> Result<W, StartError>> Seat<W, B> {
    fn serve(&self, ready: &Sender<Result<(), StartError>>) {
        let mut worker = self.build();
        let _ = ready.send(worker.as_ref().map(|_| ()).map_err(Clone::clone));
        for (job, slot) in &self.jobs {
            let result = match &mut worker {
                Ok(worker) => catch_unwind(AssertUnwindSafe(|| worker.run(&job, slot.bytes())))
                    .map_err(|panic| Failure::Panic(text_of(panic.as_ref()))),
                Err(error) => Err(Failure::NoWorker(error.to_string())),
            };
            drop(slot);
            if let Err(Failure::Panic(text)) = &result {
                tracing::warn!(%text, "a worker panicked; it is replaced");
                worker = self.build();
            }
            (self.deliver)(job, result);
        }
    }

    fn build(&self) -> Result<W, StartError> {
        catch_unwind(AssertUnwindSafe(|| (self.build)()))
            .unwrap_or_else(|panic| Err(StartError(format!("panicked: {}", text_of(panic.as_ref())))))
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Slots;

    /// Adds the bytes up; panics on a job marked as poison.
    struct Adder;
    impl Worker for Adder {
        type Job = (u64, bool);
        type Output = u64;
        fn run(&mut self, job: &Self::Job, bytes: &[u8]) -> u64 {
            assert!(!job.1, "poison {}", job.0);
            bytes.iter().map(|&b| u64::from(b)).sum()
        }
    }

    fn run(jobs: u64, workers: usize, poison: impl Fn(u64) -> bool) -> Vec<(u64, Result<u64, Failure>)> {
        let slots = Slots::new(workers + 1, 16).unwrap();
        let results = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&results);
        let deliver: Arc<Deliver<Adder>> =
            Arc::new(move |job, result| sink.lock().unwrap().push((job.0, result)));
        let threads = Threads::start(workers, || Ok(Adder), deliver).unwrap();
        for job in 0..jobs {
            let mut slot = slots.acquire();
            slot.bytes_mut().fill((job % 200) as u8);
            threads.submit((job, poison(job)), slot.filled());
        }
        drop(threads);
        assert_eq!(slots.free_count(), workers + 1);
        let mut results = std::mem::take(&mut *results.lock().unwrap());
        results.sort_by_key(|r| r.0);
        results
    }

    #[test]
    fn every_job_comes_back_once_with_its_own_result() {
        let results = run(500, 3, |_| false);
        assert_eq!(results.len(), 500);
        for (job, result) in results {
            assert_eq!(result, Ok(16 * (job % 200)));
        }
    }

    #[test]
    fn a_panic_fails_its_own_job_alone() {
        let results = run(100, 2, |job| job % 10 == 3);
        assert_eq!(results.len(), 100);
        for (job, result) in results {
            if job % 10 == 3 {
                assert_eq!(result, Err(Failure::Panic(format!("poison {job}"))));
            } else {
                assert_eq!(result, Ok(16 * (job % 200)));
            }
        }
    }

    #[test]
    fn a_worker_that_cannot_start_says_why() {
        let error = Threads::<Adder>::start(2, || Err(StartError("no model".into())), Arc::new(|_, _| {}));
        assert_eq!(error.err(), Some(StartError("no model".into())));
    }
}
