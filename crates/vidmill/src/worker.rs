//! The work itself: a batch of tensors in, detections out.

use std::sync::Arc;

use vidmill_image::Geometry;
use vidmill_infer::{Batch as BatchSize, Detection, Outputs, Predictor, TaskPlan};
use vidmill_pool::Worker;
use vidmill_video::Frame;

use crate::stage::{Clocks, Stage};

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

/// The frames of one slot, in the slot's order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Each with its place in the order of everything that is reported.
    pub items: Vec<(u64, Item, Geometry)>,
}

/// A frame's result, or why it has none.
pub(crate) type Verdict = Result<Vec<Detection>, String>;

/// Runs the model on a slot and decodes each item.
pub(crate) struct ModelWorker {
    pub predictor: Box<dyn Predictor>,
    pub plan: Arc<TaskPlan>,
    pub clocks: Arc<Clocks>,
    /// Memory for running an item of a fixed batch alone; made when first needed.
    pub alone: Vec<u32>,
}

impl Worker for ModelWorker {
    type Job = Batch;
    type Output = Vec<Verdict>;

    fn run(&mut self, batch: &Batch, bytes: &[u8]) -> Vec<Verdict> {
        let geometries: Vec<Geometry> = batch.items.iter().map(|(_, _, geometry)| *geometry).collect();
        match self.predict(bytes, &geometries) {
            Ok(verdicts) => verdicts,
            Err(error) if geometries.len() == 1 => vec![Err(error)],
            // One bad frame must not take its neighbours with it: each is run again alone.
            Err(_) => {
                let one = self.plan.spec().item_bytes();
                let items = bytes.chunks_exact(one).zip(&geometries);
                items.map(|(bytes, geometry)| self.predict_alone(bytes, *geometry)).collect()
            }
        }
    }
}

impl ModelWorker {
    fn predict(&mut self, bytes: &[u8], geometries: &[Geometry]) -> Result<Vec<Verdict>, String> {
        let count = self.items_in_call(geometries.len());
        let bytes = &bytes[..count * self.plan.spec().item_bytes()];
        let Self { predictor, plan, clocks, .. } = self;
        let outputs =
            clocks.time(Stage::Infer, || predictor.predict(bytes, count)).map_err(|e| e.to_string())?;
        Ok(clocks.time(Stage::Task, || decode(plan, &outputs, geometries)))
    }

    /// A model of fixed batch size gets that many, however many of them count.
    fn items_in_call(&self, wanted: usize) -> usize {
        match self.plan.batch() {
            BatchSize::Fixed(count) => count,
            BatchSize::Dynamic => wanted,
        }
    }

    fn predict_alone(&mut self, bytes: &[u8], geometry: Geometry) -> Verdict {
        let whole = self.items_in_call(1) * bytes.len();
        let mut memory = std::mem::take(&mut self.alone);
        memory.resize(whole.div_ceil(size_of::<u32>()), 0);
        bytemuck::cast_slice_mut(&mut memory)[..bytes.len()].copy_from_slice(bytes);
        let verdict = self.predict(bytemuck::cast_slice(&memory), &[geometry]);
        self.alone = memory;
        verdict?.pop().unwrap_or_else(|| Err("the task gave no verdict".into()))
    }
}

fn decode(plan: &TaskPlan, outputs: &Outputs<'_>, geometries: &[Geometry]) -> Vec<Verdict> {
    let item = |(number, geometry)| plan.decode(outputs, number, geometry).map_err(|e| e.to_string());
    geometries.iter().enumerate().map(item).collect()
}
