//! FastestDet: one map `[n, 5 + classes, rows, columns]` of cells of 16 pixels.

use std::sync::Arc;

use vidmill_image::ChannelOrder;

use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, class_count,
};
use super::found::Found;
use super::grid::Grid;
use super::item::{Expected, centred, place, sigmoid};
use crate::{Candidate, DecodeError, Labels, Outputs, TensorInfo};

pub(super) struct FastestDet;

const STRIDE: u32 = 16;

/// Of COCO's 80 classes.
const COCO_CHANNELS: usize = 85;

/// BGR in 0..1, stretched (FastestDet's `test.py`).
const USUAL: Usual = Usual { channels: ChannelOrder::Bgr, ..Usual::STRETCH };

impl Family for FastestDet {
    fn names(&self) -> &'static [&'static str] {
        &["fastestdet"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }
    fn usual_iou(&self) -> f32 {
        0.45
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (output, channels) = map(look)?;
        // A model that gives each pixel a class may have such a map as well.
        let named = look.labels.map(Labels::len);
        let has = |operator: &str| look.info.operators.contains_key(operator);
        let is_named = named.map_or(channels == COCO_CHANNELS, |named| channels == 5 + named);
        if !(is_named || has("Sigmoid") && has("Softmax")) {
            return None;
        }
        let because = format!(
            "output '{}' has {channels} channels for each cell of 16 pixels, as FastestDet has; name --task if it is another kind",
            output.name
        );
        Clue::new(Certainty::Likely, because)
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let grid = Grid::over(look.size, STRIDE);
        let (output, channels) = map(look).ok_or_else(|| {
            format!(
                "a model of kind fastestdet has one output [n, 5 + classes, {}, {}]",
                grid.rows, grid.columns
            )
        })?;
        let classes = class_count(self, Some(channels), 5, look.labels)?;
        let dims = vec![Some(channels), Some(grid.rows), Some(grid.columns)];
        let output = Expected { name: output.name.clone(), batched: true, dims };
        Ok(Head { decoder: Arc::new(Map { output, grid }), classes: Some(classes), usual: USUAL })
    }
}

/// The only output, where it has a cell for each 16 pixels, and how many channels.
fn map<'a>(look: &Look<'a>) -> Option<(&'a TensorInfo, usize)> {
    let [output] = look.info.outputs.as_slice() else { return None };
    let grid = Grid::over(look.size, STRIDE);
    match *output.dims() {
        [_, Some(channels), Some(rows), Some(columns)] if [rows, columns] == [grid.rows, grid.columns] => {
            (channels > 5).then_some((output, channels))
        }
        _ => None,
    }
}

/// Channels: objectness, x and y (to be taken by tanh), width and height (by the logistic function), classes (already a softmax).
#[derive(Debug)]
struct Map {
    output: Expected,
    grid: Grid,
}

impl Decode for Map {
    fn is_batched(&self) -> bool {
        true
    }

    /// As `handle_preds` of FastestDet's utils/tool.py: confidence is objectness^0.6 * class^0.4.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.output.planes(outputs, item)?.0;
        let Grid { columns, rows, stride } = self.grid;
        let (width, height) = (columns as f32 * stride, rows as f32 * stride);
        let mut found = scope.candidates();
        for cell in 0..self.grid.len() {
            let at = |channel: usize| table.row(channel)[cell];
            let mut class = 5;
            for channel in 6..table.rows {
                if at(channel) > at(class) {
                    class = channel;
                }
            }
            let confidence = at(0).max(0.0).powf(0.6) * at(class).max(0.0).powf(0.4);
            let class_id = place(class - 5);
            if scope.thresholds.pass(confidence, class_id) {
                let [x, y] = self.grid.cell(cell);
                let (cx, cy) = ((at(1).tanh() + x) * stride, (at(2).tanh() + y) * stride);
                let rect = centred(cx, cy, sigmoid(at(3)) * width, sigmoid(at(4)) * height);
                found.push(Candidate { rect, confidence, class_id, index: place(cell) });
            }
        }
        scope.boxes(found, Suppression::Needed)
    }
}
