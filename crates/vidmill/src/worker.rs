//! The work itself: a batch of tensors in, detections out. It is the same in a thread and in a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vidmill_image::Geometry;
use vidmill_infer::{Batch as BatchSize, Detection, Outputs, Predictor, TaskPlan};
use vidmill_pool::{Input, Wire, WireError, Worker};
use vidmill_video::Frame;

/// One sampled frame on its way through the pipeline.
#[derive(Debug)]
pub(crate) struct Item {
    pub head: Head,
    /// Kept only when it will be drawn on.
    pub frame: Option<Frame>,
}

/// What a record says of a frame before its outcome is known.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub source: Arc<str>,
    pub frame: u64,
    pub pts: Option<i64>,
    pub time: Option<f64>,
}

/// A frame with its place in the order of everything that is reported.
pub(crate) type Ticket = (u64, Item);

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Verdict {
    Found(Vec<Detection>),
    Failed {
        error: String,
        attempts: u32,
    },
    /// Nobody is left who could process it: the run ends without a record of it.
    Lost(String),
}

/// What a worker is told of a frame beside its tensor.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Fitted(pub Geometry);

/// What a worker makes of a frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub result: Result<Vec<Detection>, String>,
    /// How long the model took for the whole batch; told with its first frame.
    pub infer: Duration,
    /// The same of turning outputs into detections.
    pub task: Duration,
}

macro_rules! travels {
    ($type:ty) => {
        impl Wire for $type {
            fn write(&self, out: &mut Vec<u8>) {
                // Into memory nothing fails; should it ever, the reader gets too few bytes, and says so.
                let _ = postcard::to_io(self, out);
            }
            fn read(bytes: &[u8]) -> Result<Self, WireError> {
                postcard::from_bytes(bytes).map_err(|error| WireError::Value(error.to_string()))
            }
        }
    };
}
travels!(Fitted);
travels!(Seen);

/// Runs the model on a batch and decodes each of its frames.
pub(crate) struct ModelWorker {
    predictor: Box<dyn Predictor>,
    plan: Arc<TaskPlan>,
    /// Memory for batches that do not fill a call of fixed size; made when first needed.
    padded: Vec<u64>,
}

impl Worker for ModelWorker {
    type Item = Fitted;
    type Output = Seen;

    fn run(&mut self, frames: &[Fitted], input: &Input) -> Vec<Seen> {
        match self.predict(input, frames) {
            Ok(seen) => seen,
            Err(error) if frames.len() == 1 => vec![Seen::failed(error)],
            // One bad frame must not take its neighbours with it: each is run again alone.
            Err(_) => {
                let items = input.chunks_exact(self.plan.spec().item_bytes()).zip(frames);
                items.map(|(bytes, frame)| self.predict_alone(bytes, *frame)).collect()
            }
        }
    }
}

impl ModelWorker {
    pub fn new(predictor: Box<dyn Predictor>, plan: Arc<TaskPlan>) -> Self {
        Self { predictor, plan, padded: Vec::new() }
    }

    fn predict_alone(&mut self, bytes: &[u8], frame: Fitted) -> Seen {
        let seen = self.predict(bytes, &[frame]);
        let nothing = || Err("the task gave no verdict".to_owned());
        seen.and_then(|mut seen| seen.pop().map_or_else(nothing, Ok)).unwrap_or_else(Seen::failed)
    }

    /// Runs one call of the model. One of fixed batch size gets that many, however many of them count.
    fn predict(&mut self, bytes: &[u8], frames: &[Fitted]) -> Result<Vec<Seen>, String> {
        let count = match self.plan.batch() {
            BatchSize::Fixed(count) => count,
            BatchSize::Dynamic => frames.len(),
        };
        let Self { predictor, plan, padded } = self;
        let whole = count * plan.spec().item_bytes();
        let bytes = if bytes.len() == whole { bytes } else { pad(padded, bytes, whole) };
        let begin = Instant::now();
        let outputs = predictor.predict(bytes, count).map_err(|error| error.to_string())?;
        let infer = begin.elapsed();
        let begin = Instant::now();
        let mut seen = decode(plan, &outputs, frames);
        if let Some(first) = seen.first_mut() {
            (first.infer, first.task) = (infer, begin.elapsed());
        }
        Ok(seen)
    }
}

/// `bytes` at the beginning of `whole` bytes.
fn pad<'p>(padded: &'p mut Vec<u64>, bytes: &[u8], whole: usize) -> &'p [u8] {
    padded.resize(whole.div_ceil(size_of::<u64>()), 0);
    let memory: &mut [u8] = bytemuck::cast_slice_mut(padded);
    memory[..bytes.len()].copy_from_slice(bytes);
    &memory[..whole]
}

fn decode(plan: &TaskPlan, outputs: &Outputs<'_>, frames: &[Fitted]) -> Vec<Seen> {
    let item = |(number, Fitted(geometry)): (usize, &Fitted)| {
        let result = plan.decode(outputs, number, geometry).map_err(|error| error.to_string());
        Seen { result, infer: Duration::ZERO, task: Duration::ZERO }
    };
    frames.iter().enumerate().map(item).collect()
}

impl Seen {
    fn failed(error: String) -> Self {
        Self { result: Err(error), infer: Duration::ZERO, task: Duration::ZERO }
    }
}
