//! The work itself: a batch of tensors in, detections out. It is the same in a thread and in a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use vidmill_image::{Geometry, Size};
use vidmill_infer::{Batch as BatchSize, Detection, Found, Memory, TaskPlan};
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
    Found(Found),
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

/// Memory of detections on its way round: workers fill it, and the books send it back when a record is written. There is enough for
/// `window` frames under way.
pub(crate) fn empties(window: usize) -> (Sender<Vec<Detection>>, Receiver<Vec<Detection>>) {
    let (back, empties) = bounded(window);
    while back.try_send(Vec::new()).is_ok() {}
    (back, empties)
}

/// Runs the model on a batch and decodes each of its frames.
pub(crate) struct ModelWorker {
    predictor: Box<dyn FramePredictor>,
    decoder: Decoder,
    /// Of the items that the predictor expects.
    size: Size,
}

/// Makes verdicts of what the model gives.
struct Decoder {
    plan: Arc<TaskPlan>,
    memory: Memory,
    /// Memory that comes back.
    empties: Receiver<Vec<Detection>>,
}

impl Worker for ModelWorker {
    type Item = Fitted;
    type Output = Seen;

    fn run(&mut self, frames: &[Fitted], input: &Input, seen: &mut Vec<Seen>) {
        match self.predict(input, frames, seen) {
            Ok(()) => {}
            Err(error) if frames.len() == 1 => seen.push(Seen::of(Err(error))),
            // One bad frame must not take its neighbours with it: each is run again alone.
            Err(_) => {
                let bytes = input.len() / frames.len();
                for (n, frame) in frames.iter().enumerate() {
                    let part = input.part(n * bytes..(n + 1) * bytes);
                    if let Err(error) = self.predict(&part, std::slice::from_ref(frame), seen) {
                        seen.push(Seen::of(Err(error)));
                    }
                }
            }
        }
    }
}

impl ModelWorker {
    pub fn new(
        predictor: Box<dyn FramePredictor>,
        plan: Arc<TaskPlan>,
        empties: Receiver<Vec<Detection>>,
    ) -> Self {
        let size = plan.spec().size;
        Self { predictor, decoder: Decoder { plan, memory: Memory::default(), empties }, size }
    }

    /// Runs one call of the model: adds one verdict for each of `frames`, of which there is at least one, or none.
    fn predict(&mut self, input: &Input, frames: &[Fitted], seen: &mut Vec<Seen>) -> Result<(), String> {
        let Self { predictor, decoder, size } = self;
        // All items of a batch are of one size.
        if let Some(Fitted(geometry)) = frames.first().filter(|Fitted(geometry)| geometry.input != *size) {
            predictor.resize(geometry.input)?;
            *size = geometry.input;
        }
        let batch = match decoder.plan.batch() {
            BatchSize::Fixed(count) => count,
            BatchSize::Dynamic => frames.len(),
        };
        let begin = Instant::now();
        let before = seen.len();
        let mut settled = None;
        let predicted = predictor.predict(input, frames.len(), batch, &mut |predicted| {
            let (infer, begin) = (begin.elapsed(), Instant::now());
            settled = Some(decoder.settle(predicted, frames, seen));
            if let Some(first) = seen.get_mut(before) {
                (first.infer, first.task) = (infer, begin.elapsed());
            }
        });
        let done =
            predicted.and_then(|()| settled.unwrap_or_else(|| Err("the predictor gave nothing".into())));
        if done.is_err() {
            seen.truncate(before);
        }
        done
    }
}

impl Decoder {
    /// What each frame came to.
    fn settle(
        &self,
        predicted: Predicted<'_>,
        frames: &[Fitted],
        seen: &mut Vec<Seen>,
    ) -> Result<(), String> {
        match predicted {
            Predicted::Outputs(outputs) => {
                for (n, Fitted(geometry)) in frames.iter().enumerate() {
                    if let Ok(empty) = self.empties.try_recv() {
                        self.memory.reuse(empty);
                    }
                    let found = self.plan.decode_in(&self.memory, &outputs, n, geometry);
                    seen.push(Seen::of(found.map_err(|error| error.to_string())));
                }
                Ok(())
            }
            Predicted::Frames(found) if found.len() == frames.len() => {
                let displayed = |(found, Fitted(geometry)): (Result<Found, String>, &Fitted)| {
                    self.plan.finish_given(found?, geometry).map_err(|error| error.to_string())
                };
                seen.extend(found.into_iter().zip(frames).map(displayed).map(Seen::of));
                Ok(())
            }
            Predicted::Frames(found) => {
                Err(format!("the predictor gave {} results for {} frames", found.len(), frames.len()))
            }
        }
    }
}

impl Seen {
    fn of(result: Result<Found, String>) -> Self {
        Self { result, infer: Duration::ZERO, task: Duration::ZERO }
    }
}
