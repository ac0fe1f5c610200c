//! YOLO heads that give boxes in pixels of the input.

use std::sync::Arc;

use vidmill_image::Rect;

use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, cells, cells_text,
    class_count, only_table, three_dims,
};
use super::found::Found;
use super::item::{Expected, Table, best, centred, place};
use crate::{Candidate, DecodeError, Outputs};

/// Strides of the usual grids, and of those of models for large pictures.
const STRIDES: [u32; 3] = [8, 16, 32];
const STRIDES_P6: [u32; 4] = [8, 16, 32, 64];

/// YOLOv5, v6, v7: one output `[n, boxes, 5 + classes]`, a row being cx, cy, w, h in pixels of the input, objectness, class scores.
pub(super) struct Yolov5;

impl Family for Yolov5 {
    fn names(&self) -> &'static [&'static str] {
        &["yolov5", "yolov6", "yolov7"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        // The maps that the rows were made of may come out as well.
        let (output, maps) = look.info.outputs.split_first()?;
        let &[_, rows, columns] = output.dims().as_slice() else { return None };
        let is_wide = columns.is_some_and(|columns| columns >= 6);
        if !is_wide || maps.iter().any(|map| map.shape.len() != 5) {
            return None;
        }
        let (name, cells3, cells4) =
            (&output.name, cells(look.size, &STRIDES), cells(look.size, &STRIDES_P6));
        match rows {
            Some(rows) if rows == 3 * cells3 || rows == 3 * cells4 => {
                let of = cells_text(look.size, rows / 3);
                Clue::new(Certainty::Sure, format!("output '{name}' has three rows for each of {of}"))
            }
            // YOLOv5's exporter writes its stride, YOLOX's does not.
            None if look.metadata.stride.is_some() => Clue::new(
                Certainty::Possible,
                format!("output '{name}' has any number of rows, and the metadata is Ultralytics'"),
            ),
            _ => None,
        }
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (output, classes) = rows(self, look, None)?;
        Ok(Head { decoder: Arc::new(Rows { output }), classes: Some(classes), usual: Usual::LETTERBOX })
    }
}

/// YOLOv8, v9, 11, 12, 26: one output `[n, 4 + classes, boxes]`, a column being cx, cy, w, h in pixels of the input, class scores.
pub(super) struct Yolov8;

impl Family for Yolov8 {
    fn names(&self) -> &'static [&'static str] {
        &["yolov8", "yolov9", "yolo11", "yolo12", "yolo26"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (name, [rows, columns]) = only_table(look.info)?;
        if rows.is_none_or(|rows| rows < 5) {
            return None;
        }
        let counts = [cells(look.size, &STRIDES), cells(look.size, &STRIDES_P6)];
        match columns {
            Some(count) if counts.contains(&count) => {
                let of = cells_text(look.size, count);
                Clue::new(Certainty::Sure, format!("output '{name}' has one column for each of {of}"))
            }
            None => Clue::new(Certainty::Possible, format!("output '{name}' has any number of columns")),
            _ => None,
        }
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (output, [rows, columns]) = three_dims(self, look.info)?;
        let classes = class_count(self, rows, 4, look.labels)?;
        let dims = vec![Some(4 + classes), columns];
        let output = Expected { name: output.name.clone(), batched: true, dims };
        Ok(Head { decoder: Arc::new(Columns { output }), classes: Some(classes), usual: Usual::LETTERBOX })
    }
}

/// `[n, boxes, 5 + classes]`, with the number of its classes. Where `cells` is given, there is a box for each.
pub(super) fn rows(
    family: &dyn Family,
    look: &Look<'_>,
    cells: Option<usize>,
) -> Result<(Expected, usize), String> {
    let (output, [rows, columns]) = three_dims(family, look.info)?;
    if let (Some(rows), Some(cells)) = (rows, cells)
        && rows != cells
    {
        let kind = family.names()[0];
        return Err(format!("a model of kind {kind} has {cells} rows at this input size, not {rows}"));
    }
    let classes = class_count(family, columns, 5, look.labels)?;
    let dims = vec![cells.or(rows), Some(5 + classes)];
    Ok((Expected { name: output.name.clone(), batched: true, dims }, classes))
}

/// Boxes as rows.
#[derive(Debug)]
struct Rows {
    output: Expected,
}

/// Boxes as columns.
#[derive(Debug)]
struct Columns {
    output: Expected,
}

impl Decode for Rows {
    fn is_batched(&self) -> bool {
        self.output.batched
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        scope.boxes(self.candidates(outputs, item, scope)?, Suppression::Needed)
    }
}

impl Decode for Columns {
    fn is_batched(&self) -> bool {
        self.output.batched
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        scope.boxes(self.candidates(outputs, item, scope)?, Suppression::Needed)
    }
}

impl Rows {
    /// Confidence is objectness times the best class's score; both it and the objectness must pass, as in Ultralytics'
    /// `non_max_suppression` of yolov5.
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let mut found = scope.candidates();
        for index in 0..table.rows {
            let row = table.row(index);
            let objectness = row[4];
            if objectness <= scope.thresholds.conf {
                continue;
            }
            let (class, score) = best(&row[5..]);
            let (class_id, confidence) = (place(class), objectness * score);
            if scope.thresholds.pass(confidence, class_id) {
                let rect = table.finite(centred(row[0], row[1], row[2], row[3]), index * table.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

impl Columns {
    /// Confidence is the best class's score.
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let mut found = scope.candidates();
        surest(&table, table.rows - 4, |index, confidence, class_id| {
            if scope.thresholds.pass(confidence, class_id) {
                found.push(Candidate { rect: Rect::default(), confidence, class_id, index: place(index) });
            }
        });
        let [cx, cy, w, h] = [0, 1, 2, 3].map(|row| table.row(row));
        for Candidate { rect, index, .. } in &mut found {
            let at = *index as usize;
            *rect = table.finite(centred(cx[at], cy[at], w[at], h[at]), at)?;
        }
        Ok(found)
    }
}

/// Of boxes as columns tells `take` the index of each, its highest score, and the class of that, the first of equals.
pub(super) fn surest(table: &Table<'_>, classes: usize, mut take: impl FnMut(usize, f32, u32)) {
    // Goes class by class, as the numbers lie in memory, over as many boxes as the processor's first cache holds with ease.
    const CHUNK: usize = 1024;
    let (mut bests, mut ids) = ([0.0f32; CHUNK], [0u32; CHUNK]);
    for begin in (0..table.columns).step_by(CHUNK) {
        let end = (begin + CHUNK).min(table.columns);
        let scores = |class: usize| &table.row(4 + class)[begin..end];
        let (bests, ids) = (&mut bests[..end - begin], &mut ids[..end - begin]);
        bests.copy_from_slice(scores(0));
        ids.fill(0);
        for class in 1..classes {
            let class_id = place(class);
            for ((best, id), &score) in bests.iter_mut().zip(&mut *ids).zip(scores(class)) {
                let higher = score > *best;
                *best = if higher { score } else { *best };
                *id = if higher { class_id } else { *id };
            }
        }
        bests.iter().zip(&*ids).enumerate().for_each(|(at, (&best, &id))| take(begin + at, best, id));
    }
}
