//! The model alone: batches that lie ready go to the workers of a run, one at a time or all that there is room for.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, never, unbounded};
use vidmill_image::Geometry;
use vidmill_pool::Slots;

use super::BenchError;
use super::preprocess;
use super::tally::{Round, Tally, Watch};
use crate::engine::BoxedExecutor;
use crate::error::RunError;
use crate::loaded::Loaded;
use crate::manifest::Parallelism;
use crate::progress::Stop;
use crate::stage::{Clocks, ModelClocks};
use crate::worker::{Fitted, Verdict};

/// How often a wait looks up.
const POLL: Duration = Duration::from_millis(50);

/// Why a frame of a batch failed.
struct Failed(String);

/// Workers, and slots that hold real frames' tensors.
pub struct Workers {
    executor: BoxedExecutor<()>,
    slots: Slots,
    verdicts: Receiver<Verdict>,
    clocks: Arc<Clocks>,
    pub choice: Parallelism,
    item_bytes: usize,
    geometry: Geometry,
}

impl Workers {
    /// Starts the workers of a loaded model, as a run would.
    pub fn start(loaded: Loaded<()>, tensors: &preprocess::Bench) -> Result<Self, BenchError> {
        let Loaded { engine, plan, choice } = loaded;
        let clocks = Arc::new(Clocks::default());
        let slots = engine.slots(&choice)?;
        let item_bytes = tensors.spec.item_bytes();
        fill(&slots, tensors, choice.batch, item_bytes);
        let (send, verdicts) = unbounded();
        let take = move |(), verdict| {
            // Nobody listens any more only where measuring ended early.
            let _ = send.send(verdict);
        };
        let model_clocks = ModelClocks::first(&clocks);
        let executor =
            engine.start(&choice, &plan, &slots, model_clocks, never(), take).map_err(RunError::from)?;
        let geometry = tensors.geometry();
        let workers = Self { executor, slots, verdicts, clocks, choice, item_bytes, geometry };
        Ok(workers)
    }

    fn submit(&self) {
        let mut batch = (0..self.choice.batch).map(|_| ((), Fitted(self.geometry))).collect();
        self.executor.submit(&mut batch, self.item_bytes, self.slots.acquire().filled());
    }

    /// Waits until a batch is done. A frame that fails has taken its time all the same.
    fn settle(&self, stop: &Stop) -> Result<Option<Failed>, BenchError> {
        let mut failed = None;
        for _ in 0..self.choice.batch {
            let verdict = loop {
                match self.verdicts.recv_timeout(POLL) {
                    Ok(verdict) => break verdict,
                    Err(RecvTimeoutError::Timeout) if !stop.is_asked() => {}
                    Err(RecvTimeoutError::Timeout) => return Err(BenchError::Interrupted),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(RunError::Workers("the workers are gone".into()).into());
                    }
                }
            };
            match verdict {
                Verdict::Found(_) => {}
                Verdict::Failed { error, .. } => failed = Some(Failed(error)),
                Verdict::Lost(reason) => return Err(RunError::Workers(reason).into()),
            }
        }
        if stop.is_asked() { Err(BenchError::Interrupted) } else { Ok(failed) }
    }

    /// Batches that nobody times: memory is taken, code is loaded.
    ///
    /// # Errors
    /// [`BenchError::Frames`] where each of them fails.
    pub fn warm_up(&self, time: Duration, stop: &Stop) -> Result<(), BenchError> {
        let (watch, mut failure) = (Watch::begin(), None);
        let mut is_well = false;
        loop {
            for _ in 0..self.choice.workers {
                self.submit();
            }
            for _ in 0..self.choice.workers {
                let failed = self.settle(stop)?;
                is_well |= failed.is_none();
                failure = failed.or(failure);
            }
            match failure {
                _ if watch.elapsed() < time => {}
                Some(Failed(error)) if !is_well => return Err(BenchError::Frames(error)),
                _ => return Ok(()),
            }
        }
    }

    /// One batch at a time, for `time`. What is timed singly is a call of the model in `infer`, and the reading of its outputs, a frame, in
    /// `task`.
    pub fn one_at_a_time(
        &self,
        time: Duration,
        infer: &mut Tally,
        task: &mut Tally,
        stop: &Stop,
    ) -> Result<(), BenchError> {
        let batch = self.choice.batch as u64;
        let (watch, first) = (Watch::begin(), self.clocks.seconds());
        let (mut before, mut calls) = (first, 0);
        while calls == 0 || watch.elapsed() < time {
            self.submit();
            self.settle(stop)?;
            let now = self.clocks.seconds();
            infer.sample(Duration::from_secs_f64((now.infer - before.infer).max(0.0)));
            task.sample(Duration::from_secs_f64((now.task - before.task).max(0.0) / batch as f64));
            (before, calls) = (now, calls + 1);
        }
        let whole = watch.round_of_others(calls * batch);
        let (infer_wall, task_wall) = (before.infer - first.infer, before.task - first.task);
        let cpu = match self.choice.isolated {
            false => whole.cpu - task_wall,
            // What worker processes use is told when they end: alone on the machine, a session's threads are busy all the while.
            true => infer_wall * self.choice.threads.max(1) as f64,
        };
        infer.add(Round { frames: whole.frames, wall: infer_wall, cpu: cpu.max(0.0) });
        task.add(Round { frames: whole.frames, wall: task_wall, cpu: task_wall });
        Ok(())
    }

    /// All workers at once, for `time`: from a moment when all are busy to another.
    pub fn all_at_once(&self, time: Duration, tally: &mut Tally, stop: &Stop) -> Result<(), BenchError> {
        let under_way = self.slots.count();
        for _ in 0..under_way {
            self.submit();
        }
        for _ in 0..self.choice.workers {
            self.settle(stop)?;
            self.submit();
        }
        let (watch, first) = (Watch::begin(), self.clocks.seconds());
        let mut calls = 0_u64;
        while calls == 0 || watch.elapsed() < time {
            self.settle(stop)?;
            calls += 1;
            self.submit();
        }
        let mut round = watch.round_of_others(calls * self.choice.batch as u64);
        if self.choice.isolated {
            let now = self.clocks.seconds();
            let infer = (now.infer - first.infer) * self.choice.threads.max(1) as f64;
            round.cpu = infer + now.task - first.task;
        }
        tally.add(round);
        for _ in 0..under_way {
            self.settle(stop)?;
        }
        Ok(())
    }
}

/// Writes tensors into all slots, so that whichever comes next holds some.
fn fill(slots: &Slots, tensors: &preprocess::Bench, batch: usize, item_bytes: usize) {
    let mut held: Vec<_> = (0..slots.count()).map(|_| slots.acquire()).collect();
    let all: Vec<&[u8]> = tensors.tensors().collect();
    let items =
        held.iter_mut().flat_map(|slot| slot.bytes_mut().chunks_exact_mut(item_bytes.max(1)).take(batch));
    for (item, tensor) in items.zip(all.iter().cycle()) {
        item.copy_from_slice(tensor);
    }
}
