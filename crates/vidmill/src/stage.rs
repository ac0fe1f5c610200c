//! Where the time goes: seconds spent in each stage, summed over all threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

/// One stage of the data flow.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Demuxing and decoding.
    Decode,
    /// Planes to tensor.
    Preprocess,
    /// Waiting for a free slot: the model is slower than the decoder.
    WaitForSlot,
    /// The model.
    Infer,
    /// Outputs to detections.
    Task,
    /// Detections to tracks.
    Track,
    /// Drawing and encoding.
    Annotate,
    /// Writing records.
    Write,
    /// Detections cut out, and made tensors for the next model.
    Crop,
    /// Waiting for a free slot for one.
    WaitForCropSlot,
    /// The next model.
    ThenInfer,
    /// Its outputs to results.
    ThenTask,
}

/// A clock a stage.
#[derive(Debug, Default)]
pub struct Clocks([AtomicU64; 12]);

/// Wall seconds per stage, summed over threads; they overlap, so they add up to more than the run took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StageSeconds {
    /// Demuxing and decoding.
    pub decode: f64,
    /// Planes to tensor.
    pub preprocess: f64,
    /// The reader waiting for a free slot.
    pub wait_for_slot: f64,
    /// The model.
    pub infer: f64,
    /// Outputs to detections.
    pub task: f64,
    /// Detections to tracks.
    pub track: f64,
    /// Drawing and encoding.
    pub annotate: f64,
    /// Writing records.
    pub write: f64,
    /// Detections cut out, and made tensors for the next model.
    pub crop: f64,
    /// Waiting for a free slot for one.
    pub wait_for_crop_slot: f64,
    /// The next model.
    pub then_infer: f64,
    /// Its outputs to results.
    pub then_task: f64,
}

/// The clocks of one of a run's models.
#[derive(Clone, Debug)]
pub(crate) struct ModelClocks {
    all: Arc<Clocks>,
    /// That runs while there is no free slot.
    waiting: Stage,
    infer: Stage,
    task: Stage,
}

impl ModelClocks {
    /// Of the first model.
    pub fn first(all: &Arc<Clocks>) -> Self {
        Self { all: Arc::clone(all), waiting: Stage::WaitForSlot, infer: Stage::Infer, task: Stage::Task }
    }

    /// Of the second.
    pub fn second(all: &Arc<Clocks>) -> Self {
        let (waiting, infer, task) = (Stage::WaitForCropSlot, Stage::ThenInfer, Stage::ThenTask);
        Self { all: Arc::clone(all), waiting, infer, task }
    }

    /// Runs `work`, which may have to wait for a slot.
    pub fn wait<T>(&self, work: impl FnOnce() -> T) -> T {
        self.all.time(self.waiting, work)
    }

    /// Adds what a worker took for a batch.
    pub fn ran(&self, infer: Duration, task: Duration) {
        self.all.add(self.infer, infer);
        self.all.add(self.task, task);
    }
}

impl Clocks {
    /// Runs `work` on `stage`'s clock.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = work();
        self.add(stage, begin.elapsed());
        result
    }

    /// Adds time that was measured elsewhere.
    pub fn add(&self, stage: Stage, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0[stage as usize].fetch_add(nanoseconds, Relaxed);
    }

    /// The sums so far.
    pub fn seconds(&self) -> StageSeconds {
        let of = |stage: Stage| self.0[stage as usize].load(Relaxed) as f64 / 1e9;
        StageSeconds {
            decode: of(Stage::Decode),
            preprocess: of(Stage::Preprocess),
            wait_for_slot: of(Stage::WaitForSlot),
            infer: of(Stage::Infer),
            task: of(Stage::Task),
            track: of(Stage::Track),
            annotate: of(Stage::Annotate),
            write: of(Stage::Write),
            crop: of(Stage::Crop),
            wait_for_crop_slot: of(Stage::WaitForCropSlot),
            then_infer: of(Stage::ThenInfer),
            then_task: of(Stage::ThenTask),
        }
    }
}
