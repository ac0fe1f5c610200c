//! The work itself: a batch of tensors in, detections out. It is the same in a thread and in a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vidmill_image::{Geometry, Size};
use vidmill_infer::{Batch as BatchSize, Found, TaskPlan};
use vidmill_pool::{Input, Wire, WireError, Worker};
use vidmill_video::Frame;

use crate::predictor::{FramePredictor, Predicted};

/// One sampled frame on its way through the pipeline.
#[derive(Debug)]
pub(crate) struct Item {
    pub head: Head,
    /// Kept only when it will be drawn on, or cut up for the next model.
    pub frame: Option<Frame>,
}

/// What a record says of a frame before its outcome is known.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The source's place among all.
    pub number: usize,
    /// What the record calls it.
    pub source: Arc<str>,
    pub frame: u64,
    pub pts: Option<i64>,
    pub time: Option<f64>,
    /// When it had been decoded.
    pub decoded: Instant,
}

/// A frame with its place in the order of everything that is reported.
pub(crate) type Ticket = (u64, Item);

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Verdict {
    Found(Box<Found>),
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
    pub result: Result<Found, String>,
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
    predictor: Box<dyn FramePredictor>,
    plan: Arc<TaskPlan>,
    /// Of the items that the predictor expects.
    size: Size,
}

impl Worker for ModelWorker {
    type Item = Fitted;
    type Output = Seen;

    fn run(&mut self, frames: &[Fitted], input: &Input) -> Vec<Seen> {
        match self.predict(input, frames) {
            Ok(seen) => seen,
            Err(error) if frames.len() == 1 => vec![Seen::of(Err(error))],
            // One bad frame must not take its neighbours with it: each is run again alone.
            Err(_) => {
                let bytes = input.len() / frames.len();
                let items = frames.iter().enumerate();
                items
                    .map(|(n, frame)| self.predict_alone(&input.part(n * bytes..(n + 1) * bytes), *frame))
                    .collect()
            }
        }
    }
}

impl ModelWorker {
    pub fn new(predictor: Box<dyn FramePredictor>, plan: Arc<TaskPlan>) -> Self {
        let size = plan.spec().size;
        Self { predictor, plan, size }
    }

    fn predict_alone(&mut self, input: &Input, frame: Fitted) -> Seen {
        let seen = self.predict(input, &[frame]);
        seen.map_or_else(|error| Seen::of(Err(error)), |mut seen| seen.swap_remove(0))
    }

    /// Runs one call of the model: one verdict for each of `frames`, of which there is at least one.
    fn predict(&mut self, input: &Input, frames: &[Fitted]) -> Result<Vec<Seen>, String> {
        let Self { predictor, plan, size } = self;
        // All items of a batch are of one size.
        if let Some(Fitted(geometry)) = frames.first().filter(|Fitted(geometry)| geometry.input != *size) {
            predictor.resize(geometry.input)?;
            *size = geometry.input;
        }
        let batch = match plan.batch() {
            BatchSize::Fixed(count) => count,
            BatchSize::Dynamic => frames.len(),
        };
        let begin = Instant::now();
        let mut taken = None;
        predictor.predict(input, frames.len(), batch, &mut |predicted| {
            let (infer, begin) = (begin.elapsed(), Instant::now());
            taken = Some((settle(plan, predicted, frames), infer, begin.elapsed()));
        })?;
        let (results, infer, task) = taken.ok_or("the predictor gave nothing")?;
        let mut seen: Vec<Seen> = results?.into_iter().map(Seen::of).collect();
        if let Some(first) = seen.first_mut() {
            (first.infer, first.task) = (infer, task);
        }
        Ok(seen)
    }
}

/// What each frame came to.
fn settle(
    plan: &TaskPlan,
    predicted: Predicted<'_>,
    frames: &[Fitted],
) -> Result<Vec<Result<Found, String>>, String> {
    match predicted {
        Predicted::Outputs(outputs) => {
            let decode = |(n, Fitted(geometry)): (usize, &Fitted)| {
                plan.decode(&outputs, n, geometry).map_err(|e| e.to_string())
            };
            Ok(frames.iter().enumerate().map(decode).collect())
        }
        Predicted::Frames(found) if found.len() == frames.len() => {
            let displayed = |(found, Fitted(geometry)): (Result<Found, String>, &Fitted)| {
                plan.finish_given(found?, geometry).map_err(|error| error.to_string())
            };
            Ok(found.into_iter().zip(frames).map(displayed).collect())
        }
        Predicted::Frames(found) => {
            Err(format!("the predictor gave {} results for {} frames", found.len(), frames.len()))
        }
    }
}

impl Seen {
    fn of(result: Result<Found, String>) -> Self {
        Self { result, infer: Duration::ZERO, task: Duration::ZERO }
    }
}
