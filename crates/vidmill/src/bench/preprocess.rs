//! Preprocessing alone: the plan's pass over real frames, and a plain copy of the same frames to compare it with.

use std::time::{Duration, Instant};

use vidmill_image::{Geometry, Planes, Preprocess, TensorSpec};
use vidmill_infer::TaskPlan;
use vidmill_video::Frame;

use super::BenchError;
use super::tally::{Tally, Watch};
use crate::progress::Stop;

/// Of the time for a round, what the copy gets.
const COPY_SHARE: f64 = 0.1;

/// Frames of one kind, and the tensors that they become.
pub struct Bench {
    frames: Vec<Frame>,
    plan: Preprocess,
    pub spec: TensorSpec,
    /// One for each frame, so that they are no warmer in the caches than a run's slots.
    tensors: Vec<Vec<u64>>,
    copy: Vec<u8>,
    copied: Vec<f64>,
}

impl Bench {
    /// Takes those of `frames` that are of the first one's kind.
    pub fn new(frames: Vec<Frame>, plan: &TaskPlan) -> Result<Self, BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::Frames(error.to_string());
        let Some(first) = frames.first() else { return Err(BenchError::Frames("there are none".into())) };
        let spec = plan.spec_for(first.planes().displayed_size());
        let plan = Preprocess::for_planes(&spec, &first.planes()).map_err(|error| failed(&error))?;
        let frames: Vec<Frame> = frames.into_iter().filter(|frame| plan.fits(&frame.planes())).collect();
        let words = spec.item_bytes().div_ceil(size_of::<u64>());
        let mut bench = Self {
            copy: vec![0; frames.first().map_or(0, |frame| bytes(&frame.planes()))],
            tensors: vec![vec![0; words]; frames.len()],
            copied: Vec::new(),
            frames,
            plan,
            spec,
        };
        for number in 0..bench.frames.len() {
            bench.run(number)?;
        }
        Ok(bench)
    }

    /// The tensors of all frames.
    pub fn tensors(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = self.spec.item_bytes();
        self.tensors.iter().map(move |tensor| &bytemuck::cast_slice(tensor)[..bytes])
    }

    pub fn geometry(&self) -> Geometry {
        *self.plan.geometry()
    }

    pub fn simd(&self) -> &'static str {
        self.plan.simd_level()
    }

    /// Bytes of a frame and of its tensor.
    pub fn bytes(&self) -> (usize, usize) {
        (self.copy.len(), self.spec.item_bytes())
    }

    /// Bytes read and bytes written by the copy, in a second: the median.
    pub fn copied_per_second(&self) -> f64 {
        let seconds = super::tally::median(self.copied.clone());
        if seconds > 0.0 { 2.0 * self.copy.len() as f64 / seconds } else { 0.0 }
    }

    fn run(&mut self, number: usize) -> Result<(), BenchError> {
        let tensor: &mut [u8] = bytemuck::cast_slice_mut(&mut self.tensors[number]);
        let result = self.plan.run(&self.frames[number].planes(), &mut tensor[..self.spec.item_bytes()]);
        result.map_err(|error| BenchError::Frames(error.to_string()))
    }

    /// What is timed singly is a pass.
    pub fn round(&mut self, time: Duration, tally: &mut Tally, stop: &Stop) -> Result<(), BenchError> {
        let watch = Watch::begin();
        let mut count = 0_usize;
        while count == 0 || watch.elapsed() < time.mul_f64(1.0 - COPY_SHARE) {
            let begin = Instant::now();
            self.run(count % self.frames.len())?;
            tally.sample(begin.elapsed());
            count += 1;
            if stop.is_asked() {
                return Err(BenchError::Interrupted);
            }
        }
        tally.add(watch.round(count as u64));
        let begin = Instant::now();
        let mut number = 0;
        while number < self.frames.len() || begin.elapsed() < time.mul_f64(COPY_SHARE) {
            let begin = Instant::now();
            copy(&self.frames[number % self.frames.len()].planes(), &mut self.copy);
            self.copied.push(begin.elapsed().as_secs_f64());
            number += 1;
        }
        std::hint::black_box(&self.copy);
        Ok(())
    }
}

/// The bytes of a frame's pixels.
fn bytes(planes: &Planes<'_>) -> usize {
    (0..planes.format.plane_count())
        .map(|plane| {
            let (rows, row) = planes.format.plane_shape(plane, planes.size);
            rows * row
        })
        .sum()
}

/// All planes, end to end; rows that lie without gaps are copied as one.
fn copy(planes: &Planes<'_>, to: &mut [u8]) {
    let mut rest = to;
    for plane in 0..planes.format.plane_count() {
        let (rows, row) = planes.format.plane_shape(plane, planes.size);
        let stride = planes.stride[plane];
        let (here, after) = std::mem::take(&mut rest).split_at_mut(rows * row);
        rest = after;
        if stride == row {
            here.copy_from_slice(&planes.data[plane][..rows * row]);
            continue;
        }
        for (y, line) in here.chunks_exact_mut(row.max(1)).enumerate() {
            line.copy_from_slice(&planes.data[plane][y * stride..][..row]);
        }
    }
}
