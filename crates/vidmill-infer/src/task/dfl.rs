//! NanoDet and PicoDet: class scores and distances to the four sides at each cell, a distance being the mean of a distribution
//! (Generalized Focal Loss, Li and others 2020).

use std::sync::Arc;

use vidmill_image::{ChannelOrder, Rect, ResizeMode, Size};

use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, Values, only_table,
};
use super::flat;
use super::found::Found;
use super::grid::{Grid, grids};
use super::item::{Expected, Table, best, place};
use crate::{Candidate, DecodeError, Labels, Outputs, TensorInfo};

/// NanoDet and NanoDet-Plus: one output `[n, cells, classes + 4 * bins]`, or scores and distances of each grid.
pub(super) struct NanoDet;

/// PicoDet without its post-processing: scores and distances of each of four grids; with it, as PP-YOLOE.
pub(super) struct PicoDet;

const STRIDES: [u32; 3] = [8, 16, 32];
const STRIDES_PLUS: [u32; 4] = [8, 16, 32, 64];

/// Bins of a distance in the authors' configurations: `reg_max + 1` of NanoDet-m and -Plus, NanoDet-g, and GFL.
const BINS: [usize; 3] = [8, 11, 17];
const COCO_CLASSES: usize = 80;

/// ImageNet's mean and deviation in 0..255, for blue, green and red, as in the authors' configurations.
const NANODET_VALUES: Values =
    Values { scale: 1.0, mean: [103.53, 116.28, 123.675], std: [57.375, 57.12, 58.395] };

impl Family for NanoDet {
    fn names(&self) -> &'static [&'static str] {
        &["nanodet", "nanodet-plus"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }
    fn usual_iou(&self) -> f32 {
        0.6
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        if let Some((name, [rows, columns])) = only_table(look.info) {
            let plus = rows == Some(cells(look.size, &STRIDES_PLUS))
                && columns.is_some_and(|columns| columns > 4 * BINS[0]);
            let bins = bins(columns?, look.labels.map(Labels::len));
            let old = rows == Some(cells(look.size, &STRIDES)) && bins.is_some();
            let strides = if plus { "8, 16, 32, 64" } else { "8, 16, 32" };
            let because = format!(
                "output '{name}' has one row for each cell of strides {strides}, wide enough for classes and four distributions"
            );
            return (plus || old).then_some(Clue { certainty: Certainty::Sure, because });
        }
        pairs(look, &STRIDES)?;
        let because = "it has scores and distributions for each of the strides 8, 16, 32";
        Clue::new(Certainty::Sure, because)
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let usual = |resize| Usual { channels: ChannelOrder::Bgr, resize, pad: 0, values: NANODET_VALUES };
        if let Some(levels) = pairs(look, &STRIDES) {
            why.push("cells: boxes are around their middles, as in NanoDet before Plus".to_owned());
            let (parts, classes) = of_pairs(levels, look.size, &STRIDES);
            let decoder = Arc::new(Distributions { parts, classes, middle: 0.5, clamp: Some(look.size) });
            return Ok(Head { decoder, classes: Some(classes), usual: usual(ResizeMode::Letterbox) });
        }
        let (name, [rows, columns]) = only_table(look.info)
            .ok_or("a model of kind nanodet has one output [n, cells, classes + 4 * bins]")?;
        let columns =
            columns.ok_or("its output has any number of columns; only a fixed number can be read")?;
        let is_plus = rows != Some(cells(look.size, &STRIDES));
        let strides: &[u32] = if is_plus { &STRIDES_PLUS } else { &STRIDES };
        let count = cells(look.size, strides);
        if rows.is_some_and(|rows| rows != count) {
            return Err(format!(
                "a model of kind nanodet has {count} rows at this input size, or without stride 64 fewer"
            ));
        }
        let bins = bins(columns, look.labels.map(Labels::len)).unwrap_or(BINS[0]);
        let classes = columns.checked_sub(4 * bins).filter(|classes| *classes > 0);
        let classes =
            classes.ok_or_else(|| format!("{columns} numbers a cell are too few for the kind nanodet"))?;
        why.push(match is_plus {
            true => {
                format!("cells: boxes are around their corners, as in NanoDet-Plus; {bins} bins a distance")
            }
            false => format!(
                "cells: boxes are around their middles, as in NanoDet before Plus; {bins} bins a distance"
            ),
        });
        let output =
            Expected { name: name.to_owned(), batched: true, dims: vec![Some(count), Some(columns)] };
        let parts = vec![Part {
            scores: output.clone(),
            distances: output,
            grids: grids(look.size, strides),
            skip: classes,
            bins,
        }];
        let (middle, resize) =
            if is_plus { (0.0, ResizeMode::Stretch) } else { (0.5, ResizeMode::Letterbox) };
        let decoder = Arc::new(Distributions { parts, classes, middle, clamp: Some(look.size) });
        Ok(Head { decoder, classes: Some(classes), usual: usual(resize) })
    }
}

impl Family for PicoDet {
    fn names(&self) -> &'static [&'static str] {
        &["picodet", "pp-picodet"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }
    fn usual_iou(&self) -> f32 {
        0.6
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        if flat::of_paddle(look.info).is_some() {
            let because = "its outputs are PaddleDetection's, rows of 6 and how many there are of each frame, and the graph has PicoDet's activation; name --task pp-yoloe if it is one";
            return flat::is_pico(look.info).then(|| Clue::new(Certainty::Sure, because))?;
        }
        pairs(look, &STRIDES_PLUS)?;
        Clue::new(Certainty::Sure, "it has scores and distributions for each of the strides 8, 16, 32, 64")
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let usual = Usual { values: Values::IMAGENET, ..Usual::STRETCH };
        if let Some((rows, counts)) = flat::of_paddle(look.info) {
            return Ok(flat::paddle_head(rows, counts, usual, look, why));
        }
        let levels = pairs(look, &STRIDES_PLUS).ok_or(
            "a model of kind picodet has scores and distributions for each of the strides 8, 16, 32, 64, or rows of 6 with their counts",
        )?;
        let (parts, classes) = of_pairs(levels, look.size, &STRIDES_PLUS);
        let decoder = Arc::new(Distributions { parts, classes, middle: 0.5, clamp: None });
        Ok(Head { decoder, classes: Some(classes), usual })
    }
}

fn cells(size: Size, strides: &[u32]) -> usize {
    grids(size, strides).into_iter().map(Grid::len).sum()
}

/// The number of bins that leaves as many columns as there are classes, or COCO's where nobody names any.
fn bins(columns: usize, classes: Option<usize>) -> Option<usize> {
    let classes = classes.unwrap_or(COCO_CLASSES);
    BINS.into_iter().find(|bins| columns == classes + 4 * bins)
}

/// For each stride the outputs with its scores and its distributions; nothing if any are missing or there are others.
fn pairs<'a>(look: &Look<'a>, strides: &[u32]) -> Option<Vec<[&'a TensorInfo; 2]>> {
    let outputs = &look.info.outputs;
    if outputs.len() != 2 * strides.len() {
        return None;
    }
    let is_distances = |output: &TensorInfo| {
        let name = output.name.to_lowercase();
        ["dis", "reg", "box"].iter().any(|part| name.contains(part))
    };
    let of_stride = |&stride: &u32| {
        let count = Grid::over(look.size, stride).len();
        let fits = |output: &&TensorInfo| matches!(*output.dims().as_slice(), [_, Some(rows), Some(_)] if rows == count);
        let mut both = outputs.iter().filter(fits);
        let (a, b) = (both.next()?, both.next()?);
        let pair = if is_distances(a) && !is_distances(b) { [b, a] } else { [a, b] };
        let columns = pair[1].dims()[2]?;
        (columns % 4 == 0 && BINS.contains(&(columns / 4))).then_some(pair)
    };
    let levels: Vec<_> = strides.iter().map(of_stride).collect::<Option<_>>()?;
    let same = |at: usize| levels.iter().all(|level| level[at].dims()[2] == levels[0][at].dims()[2]);
    (same(0) && same(1)).then_some(levels)
}

fn of_pairs(levels: Vec<[&TensorInfo; 2]>, size: Size, strides: &[u32]) -> (Vec<Part>, usize) {
    let columns = |at: usize| levels.first().and_then(|level| level[at].dims()[2]).unwrap_or_default();
    let (classes, bins) = (columns(0), columns(1) / 4);
    let expected = |output: &TensorInfo, grid: Grid| Expected {
        name: output.name.clone(),
        batched: true,
        dims: vec![Some(grid.len()), output.dims()[2]],
    };
    let parts = levels.iter().zip(grids(size, strides)).map(|([scores, distances], grid)| Part {
        scores: expected(scores, grid),
        distances: expected(distances, grid),
        grids: vec![grid],
        skip: 0,
        bins,
    });
    (parts.collect(), classes)
}

/// Boxes by their distances from cells.
#[derive(Debug)]
struct Distributions {
    parts: Vec<Part>,
    classes: usize,
    /// Where in a cell the distances are from: 0.5 is its middle.
    middle: f32,
    /// The input, where boxes are cut off at its edges before they are thinned out.
    clamp: Option<Size>,
}

/// Some grids' scores and distributions, which may be one output.
#[derive(Debug)]
struct Part {
    scores: Expected,
    distances: Expected,
    grids: Vec<Grid>,
    /// Columns before the distributions.
    skip: usize,
    bins: usize,
}

impl Decode for Distributions {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let mut found = scope.candidates();
        let mut before = 0;
        for part in &self.parts {
            let scores = part.scores.table(outputs, item)?;
            let distances = part.distances.table(outputs, item)?;
            self.candidates(part, [&scores, &distances], before, scope, &mut found)?;
            before += scores.rows;
        }
        scope.boxes(found, Suppression::Needed)
    }
}

impl Distributions {
    /// Each class that passes makes a box of its own (`multiclass_nms` of NanoDet, `PicoDetPostProcess` of PaddleDetection).
    fn candidates(
        &self,
        part: &Part,
        [scores, distances]: [&Table<'_>; 2],
        before: usize,
        scope: &Scope<'_>,
        found: &mut Vec<Candidate>,
    ) -> Result<(), DecodeError> {
        let mut row = 0;
        for grid in &part.grids {
            for cell in 0..grid.len() {
                let of_classes = scores.row(row)[..self.classes].iter().enumerate();
                for (class, &confidence) in of_classes {
                    let class_id = place(class);
                    if scope.thresholds.pass(confidence, class_id) {
                        let rect = self.rect(*grid, cell, &distances.row(row)[part.skip..], part.bins);
                        let rect = distances.finite(rect, row * distances.columns)?;
                        let index = place((before + row) * self.classes + class);
                        found.push(Candidate { rect, confidence, class_id, index });
                    }
                }
                row += 1;
            }
        }
        Ok(())
    }

    fn rect(&self, grid: Grid, cell: usize, distributions: &[f32], bins: usize) -> Rect {
        let [x, y] = grid.cell(cell).map(|at| (at + self.middle) * grid.stride);
        let [left, top, right, bottom] =
            [0, 1, 2, 3].map(|side| mean(&distributions[side * bins..(side + 1) * bins]) * grid.stride);
        let rect = Rect { x1: x - left, y1: y - top, x2: x + right, y2: y + bottom };
        self.clamp.map_or(rect, |size| rect.clip(size))
    }
}

/// The mean of a distribution over 0, 1, 2 and so on, given as logits.
fn mean(logits: &[f32]) -> f32 {
    let (_, highest) = best(logits);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (value, logit) in logits.iter().enumerate() {
        let weight = (logit - highest).exp();
        sum += weight;
        weighted += weight * value as f32;
    }
    weighted / sum
}
