//! What is reported; docs/BENCH.md tells every field.

use std::path::PathBuf;

use serde::Serialize;
use vidmill_infer::RuntimeInfo;

use super::limit::{Limit, Stages};
use super::tally::Timing;
use crate::latency::Percentiles;
use crate::manifest::{Parallelism, Versions};
use crate::stage::StageSeconds;

/// Where the time goes. All times are of one sampled frame, in milliseconds, unless a field says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Versions of vidmill and of the libraries that ran.
    pub versions: Versions,
    /// The model's file.
    pub model: PathBuf,
    /// How its outputs are read.
    pub task: String,
    /// What was measured on.
    pub source: SourcePart,
    /// What runs the model.
    pub runtime: RuntimeInfo,
    /// Workers, batch and threads, as a run chooses them.
    pub parallelism: Parallelism,
    /// Cores that this process may use.
    pub cores: usize,
    /// How often each part was measured.
    pub rounds: usize,
    /// For how long each part was measured, all rounds together.
    pub seconds: f64,
    /// The share of a core that a thread had which never waits: where it is not nearly 1, other programs were running, and what is
    /// measured is theirs too.
    pub core_share: f64,
    /// The decoder alone, on one thread.
    pub decode_one_thread: DecodePart,
    /// The decoder alone, on as many threads as a run gives it.
    pub decode: DecodePart,
    /// Planes to tensor, on one thread.
    pub preprocess: PreprocessPart,
    /// The model alone, in one session, one call at a time.
    pub infer: InferPart,
    /// The model in all workers at once.
    pub infer_all_workers: WorkersPart,
    /// Outputs to results; `ms` is a frame's.
    pub task_decode: Timing,
    /// All of it: [`crate::run()`].
    pub end_to_end: EndToEnd,
    /// What the stages and the machine allow, and how near to it the whole comes.
    pub limit: Limit,
    /// CPU time by stage, alone on the machine; and what the whole takes beyond them.
    pub cpu_ms: Stages,
    /// What sets the pace, and what would help.
    pub advice: String,
}

/// What was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct SourcePart {
    /// As it was named; of a generated clip, what it is.
    pub name: String,
    /// Whether it was generated.
    pub generated: bool,
    /// Size of its first frame as displayed.
    pub width: u32,
    /// The same.
    pub height: u32,
    /// Codec of the first video; null for images.
    pub codec: Option<String>,
    /// Pixel format of the first video; null for images.
    pub pixel_format: Option<String>,
}

/// The decoder alone. `ms` is the time from one sampled frame to the next.
#[derive(Clone, Debug, Serialize)]
pub struct DecodePart {
    /// Threads of the decoder.
    pub threads: usize,
    /// What it takes.
    #[serde(flatten)]
    pub timing: Timing,
}

/// Preprocessing alone. `ms` is a pass.
#[derive(Clone, Debug, Serialize)]
pub struct PreprocessPart {
    /// What it takes.
    #[serde(flatten)]
    pub timing: Timing,
    /// Width of the model's input.
    pub width: u32,
    /// Height of the model's input.
    pub height: u32,
    /// Bytes of a frame's pixels, all of which count as read.
    pub frame_bytes: usize,
    /// Bytes of its tensor.
    pub tensor_bytes: usize,
    /// 10^9 bytes of both in a second, at the median.
    pub gb_per_second: f64,
    /// 10^9 bytes read and written in a second by a plain copy of the same frames.
    pub memcpy_gb_per_second: f64,
    /// Instruction set of the pass.
    pub simd: &'static str,
}

/// The model alone. `ms` is a call.
#[derive(Clone, Debug, Serialize)]
pub struct InferPart {
    /// Frames in a call.
    pub batch: usize,
    /// Threads of the session.
    pub threads: usize,
    /// What it takes.
    #[serde(flatten)]
    pub timing: Timing,
}

/// All workers at once.
#[derive(Clone, Debug, Serialize)]
pub struct WorkersPart {
    /// Workers.
    pub workers: usize,
    /// What they take, with the reading of outputs.
    #[serde(flatten)]
    pub timing: Timing,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct EndToEnd {
    /// Frames that were measured, in all rounds.
    pub frames: u64,
    /// Of the runs' frames, those that failed.
    pub failed: u64,
    /// Median of the rounds.
    pub frames_per_second: f64,
    /// Median of the rounds.
    pub cpu_ms: f64,
    /// From decoded to written.
    pub latency_ms: Option<Percentiles>,
    /// Heap allocations of a frame, without those of FFmpeg and of the runtime; null where the program does not count.
    pub allocations_per_frame: Option<f64>,
    /// Their bytes.
    pub allocated_bytes_per_frame: Option<f64>,
    /// Page faults of a frame.
    pub page_faults_per_frame: f64,
    /// Most physical memory that a run held, in bytes; null where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// The same of its largest worker process; 0 where workers are threads.
    pub worker_peak_memory_bytes: u64,
    /// Wall time of a frame in each stage, and waiting.
    pub stage_ms: StageMs,
    /// Of its time, what the reader waits for a free slot.
    pub reader_waits: f64,
    /// Of their time, what the workers wait for frames.
    pub workers_wait: f64,
}

/// Milliseconds of a frame in the stages of a run, summed over threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StageMs {
    /// Demuxing and decoding, as far as the reader waits for it.
    pub decode: f64,
    /// Planes to tensor.
    pub preprocess: f64,
    /// The reader waiting for a free slot.
    pub wait_for_slot: f64,
    /// The model.
    pub infer: f64,
    /// Outputs to results.
    pub task: f64,
    /// Writing records.
    pub write: f64,
}

impl StageMs {
    /// Adds a run's stages.
    pub(super) fn add(&mut self, seconds: &StageSeconds) {
        self.decode += seconds.decode * 1e3;
        self.preprocess += seconds.preprocess * 1e3;
        self.wait_for_slot += seconds.wait_for_slot * 1e3;
        self.infer += seconds.infer * 1e3;
        self.task += seconds.task * 1e3;
        self.write += seconds.write * 1e3;
    }

    /// The same of one of `frames`.
    pub(super) fn per_frame(&self, frames: u64) -> Self {
        let of = |sum: f64| sum / frames.max(1) as f64;
        Self {
            decode: of(self.decode),
            preprocess: of(self.preprocess),
            wait_for_slot: of(self.wait_for_slot),
            infer: of(self.infer),
            task: of(self.task),
            write: of(self.write),
        }
    }

    /// The share of the reader's time in which it waits for a slot.
    pub(super) fn reader_waits(&self) -> f64 {
        let whole = self.decode + self.preprocess + self.wait_for_slot;
        if whole > 0.0 { self.wait_for_slot / whole } else { 0.0 }
    }

    /// The share of the time in which a worker has nothing to do, at so many frames a second.
    pub(super) fn workers_wait(&self, workers: usize, frames_per_second: f64) -> f64 {
        let busy = (self.infer + self.task) / 1e3 * frames_per_second / workers.max(1) as f64;
        (1.0 - busy).clamp(0.0, 1.0)
    }
}
