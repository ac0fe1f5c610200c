//! Workers as threads of this process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::executor::{Batch, Bytes, Cause, Deliver, Executor, Failure, Input, StartError, Worker};
use crate::slot::FilledSlot;

/// Runs batches on a fixed number of threads.
///
/// Dropping it waits until every item was delivered, then ends the workers.
pub struct Threads<T, W: Worker> {
    /// Taken when the end has come.
    queue: Option<Sender<Job<T, W::Item>>>,
    /// Memory of earlier batches.
    emptied: Receiver<Batch<T, W::Item>>,
    threads: Vec<JoinHandle<()>>,
}

struct Job<T, I> {
    batch: Batch<T, I>,
    item_bytes: usize,
    slot: FilledSlot,
}

impl<T: Send + 'static, W: Worker + 'static> Threads<T, W> {
    /// Starts `count` threads (at least one), each of which builds its own worker with `build`; returns when all are
    /// ready, or with the first error. `deliver` gets every item back, once.
    ///
    /// # Errors
    /// When a worker cannot be built.
    pub fn start<B>(count: usize, build: B, deliver: Arc<Deliver<T, W::Output>>) -> Result<Self, StartError>
    where
        B: Fn() -> Result<W, StartError> + Send + Sync + 'static,
    {
        let count = count.max(1);
        let (queue, jobs) = bounded(count);
        // As many as can be on their way: in the queue, with the workers, and with who submits one.
        let (empty, emptied) = bounded(2 * count + 1);
        let (ready, readiness) = bounded(count);
        let build = Arc::new(build);
        let mut running = Self { queue: Some(queue), emptied, threads: Vec::with_capacity(count) };
        for number in 0..count {
            let (build, deliver) = (Arc::clone(&build), Arc::clone(&deliver));
            let seat = Seat { build, deliver, jobs: jobs.clone(), empty: empty.clone() };
            let ready = ready.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || seat.serve(&ready))
                .map_err(|e| StartError::Failed(format!("cannot start worker thread {number}: {e}")))?;
            running.threads.push(thread);
        }
        for _ in 0..count {
            readiness.recv().expect("every thread reports before it takes its first job")?;
        }
        Ok(running)
    }
}

impl<T: Send, W: Worker> Executor<T, W> for Threads<T, W> {
    fn submit(&self, batch: &mut Batch<T, W::Item>, item_bytes: usize, slot: FilledSlot) {
        let queue = self.queue.as_ref().expect("the queue is there until the threads are dropped");
        let batch = std::mem::replace(batch, self.emptied.try_recv().unwrap_or_default());
        queue.send(Job { batch, item_bytes, slot }).expect("workers take jobs until the queue is closed");
    }
}

impl<T, W: Worker> Drop for Threads<T, W> {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // A worker's panics are caught within the thread; the thread itself has nothing else to say.
            let _ = thread.join();
        }
    }
}

/// One thread's place: what it needs to build its worker, and to build it again after a panic.
struct Seat<T, W: Worker, B> {
    build: Arc<B>,
    deliver: Arc<Deliver<T, W::Output>>,
    jobs: Receiver<Job<T, W::Item>>,
    /// Where the memory of batches goes.
    empty: Sender<Batch<T, W::Item>>,
}

impl<T, W: Worker, B: Fn() -> Result<W, StartError>> Seat<T, W, B> {
    fn serve(&self, ready: &Sender<Result<(), StartError>>) {
        let mut worker = self.build();
        let _ = ready.send(worker.as_ref().map(|_| ()).map_err(Clone::clone));
        let (mut tickets, mut items, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        let mut lent = Arc::default();
        for Job { mut batch, item_bytes, slot } in &self.jobs {
            for (ticket, item) in batch.drain(..) {
                tickets.push(ticket);
                items.push(item);
            }
            let _ = self.empty.try_send(batch);
            let input = lend(&mut lent, slot, items.len() * item_bytes);
            let done = self.try_run(&mut worker, &items, &input, &mut outputs);
            let failures = done.err().map(|cause| self.run_alone(&mut worker, &items, &input, &cause));
            drop(input);
            take_back(&mut lent);
            let results = outputs.drain(..).map(Ok).chain(failures.into_iter().flatten());
            tickets.drain(..).zip(results).for_each(|(ticket, result)| (self.deliver)(ticket, result));
            items.clear();
        }
    }

    /// Runs each item of a batch that failed alone, unless that is of no use.
    fn run_alone(
        &self,
        worker: &mut Result<W, StartError>,
        items: &[W::Item],
        input: &Input,
        cause: &Cause,
    ) -> Vec<Result<W::Output, Failure>> {
        if items.len() == 1 || !matches!(cause, Cause::Raised(_)) {
            return items.iter().map(|_| Err(Failure { cause: cause.clone(), attempts: 1 })).collect();
        }
        let bytes = input.len() / items.len();
        let alone = |(number, item)| {
            let input = input.part(number * bytes..(number + 1) * bytes);
            let mut outputs = Vec::new();
            let result = self.try_run(worker, std::slice::from_ref(item), &input, &mut outputs);
            result.map_err(|cause| Failure { cause, attempts: 2 }).and_then(|()| {
                let nothing = || Cause::Raised("the worker gave no output".into());
                outputs.pop().ok_or_else(|| Failure { cause: nothing(), attempts: 2 })
            })
        };
        items.iter().enumerate().map(alone).collect()
    }

    /// Runs a batch, for all of its outputs or none.
    fn try_run(
        &self,
        worker: &mut Result<W, StartError>,
        items: &[W::Item],
        input: &Input,
        outputs: &mut Vec<W::Output>,
    ) -> Result<(), Cause> {
        let cause = match worker {
            Ok(worker) => match catch_unwind(AssertUnwindSafe(|| worker.run(items, input, outputs))) {
                Ok(()) if outputs.len() == items.len() => return Ok(()),
                Ok(()) => {
                    let (given, wanted) = (outputs.len(), items.len());
                    Cause::Raised(format!("the worker gave {given} outputs for {wanted} items"))
                }
                Err(panic) => Cause::Raised(format!("the worker panicked: {}", text_of(panic.as_ref()))),
            },
            Err(error) => Cause::PoolFailed(error.to_string()),
        };
        outputs.clear();
        if matches!(cause, Cause::Raised(_)) {
            tracing::warn!(%cause, "the worker is replaced");
            *worker = self.build();
        }
        Err(cause)
    }

    fn build(&self) -> Result<W, StartError> {
        catch_unwind(AssertUnwindSafe(|| (self.build)()))
            .unwrap_or_else(|panic| Err(StartError::Failed(format!("panicked: {}", text_of(panic.as_ref())))))
    }
}

/// Lends a slot to the worker; `lent` is where it lies until [`take_back`].
fn lend(lent: &mut Arc<Option<FilledSlot>>, slot: FilledSlot, bytes: usize) -> Input {
    *Arc::get_mut(lent).expect("nobody looks there") = Some(slot);
    Input::new(Arc::clone(lent) as Arc<dyn Bytes>, 0..bytes)
}

/// The slot goes back, unless the worker keeps it: then with the last who looks at it.
fn take_back(lent: &mut Arc<Option<FilledSlot>>) {
    match Arc::get_mut(lent) {
        Some(place) => *place = None,
        None => *lent = Arc::default(),
    }
}

/// What a panic says.
pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
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

    /// Adds the bytes up; panics on an item marked as poison.
    struct Adder;
    impl Worker for Adder {
        type Item = (u64, bool);
        type Output = u64;
        fn run(&mut self, items: &[Self::Item], input: &Input, outputs: &mut Vec<u64>) {
            let poison = items.iter().find(|(_, poison)| *poison);
            assert!(poison.is_none(), "poison {}", poison.unwrap().0);
            let one = input.len() / items.len();
            outputs.extend(
                input.chunks_exact(one).map(|bytes| bytes.iter().map(|&b| u64::from(b)).sum::<u64>()),
            );
        }
    }

    fn run(jobs: u64, workers: usize, poison: impl Fn(u64) -> bool) -> Vec<(u64, Result<u64, Failure>)> {
        let slots = Slots::new(workers + 1, 32).unwrap();
        let results = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&results);
        let deliver: Arc<Deliver<u64, u64>> =
            Arc::new(move |job, result| sink.lock().unwrap().push((job, result)));
        let threads = Threads::start(workers, || Ok(Adder), deliver).unwrap();
        for job in (0..jobs).step_by(2) {
            let mut slot = slots.acquire();
            slot.bytes_mut()[..16].fill((job % 200) as u8);
            slot.bytes_mut()[16..].fill((job % 200 + 1) as u8);
            let mut batch = vec![(job, (job, poison(job))), (job + 1, (job + 1, poison(job + 1)))];
            threads.submit(&mut batch, 16, slot.filled());
        }
        drop(threads);
        assert_eq!(slots.free_count(), workers + 1);
        let mut results = std::mem::take(&mut *results.lock().unwrap());
        results.sort_by_key(|r| r.0);
        results
    }

    #[test]
    fn every_item_comes_back_once_with_its_own_result() {
        let results = run(500, 3, |_| false);
        assert_eq!(results.len(), 500);
        for (job, result) in results {
            assert_eq!(result, Ok(16 * (job % 200)));
        }
    }

    #[test]
    fn a_panic_fails_its_own_item_alone() {
        let results = run(100, 2, |job| job % 10 == 3);
        assert_eq!(results.len(), 100);
        for (job, result) in results {
            if job % 10 == 3 {
                let cause = Cause::Raised(format!("the worker panicked: poison {job}"));
                assert_eq!(result, Err(Failure { cause, attempts: 2 }));
            } else {
                assert_eq!(result, Ok(16 * (job % 200)));
            }
        }
    }

    #[test]
    fn a_worker_that_cannot_start_says_why() {
        let error = Threads::<u64, Adder>::start(
            2,
            || Err(StartError::Refused("no model".into())),
            Arc::new(|_, _| {}),
        );
        assert_eq!(error.err(), Some(StartError::Refused("no model".into())));
    }
}
