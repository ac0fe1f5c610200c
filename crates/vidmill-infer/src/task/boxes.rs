//! YOLO heads that give more numbers beside each box: keypoints, coefficients of a mask, an angle.

use vidmill_image::Rect;

use super::Thresholds;
use super::end_to_end::{class_number, suppression};
use super::family::{Look, Suppression, cells};
use super::item::{Expected, Table, best, centred, place};
use super::yolo::surest;
use crate::{Candidate, DecodeError, Outputs, TensorInfo};

const STRIDES: [u32; 3] = [8, 16, 32];
const STRIDES_P6: [u32; 4] = [8, 16, 32, 64];

/// Boxes, each with numbers of its own behind the usual ones.
#[derive(Debug)]
pub(super) struct Boxes {
    pub output: Expected,
    pub layout: Layout,
}

/// Where the numbers of a box are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[n, 4 + classes + extra, boxes]`: cx, cy, w, h and scores, a column for each box (YOLOv8).
    Columns { classes: usize },
    /// `[n, boxes, 5 + classes + extra]`: cx, cy, w, h, objectness and scores, a row for each box (YOLOv5).
    Rows { classes: usize },
    /// `[n, boxes, 6 + extra]`: a rectangle, score and class, a row for each box that counts (YOLO26, and exports with `nms=True`).
    Final(Suppression),
}

impl Boxes {
    /// Works out the layout of `output` with `extra` numbers a box. `Err` is why it has none, as a sentence without its end.
    pub(super) fn of(
        output: &TensorInfo,
        extra: usize,
        look: &Look<'_>,
        why: &mut Vec<String>,
    ) -> Result<Self, String> {
        let (name, dims) = (&output.name, output.dims());
        let &[_, rows, columns] = dims.as_slice() else {
            return Err(format!("its output '{name}' has {} dimensions, not 3", dims.len()));
        };
        let named = look.labels.map(crate::Labels::len);
        // Of two dimensions that may be meant, the one that counts boxes is much the longer.
        let layout = match (rows, columns) {
            (_, Some(numbers)) if numbers == 6 + extra && !is_cells(look, columns) => {
                Layout::Final(suppression(look.metadata, why))
            }
            _ if look.metadata.end_to_end == Some(true) => Layout::Final(suppression(look.metadata, why)),
            (Some(numbers), boxes) if numbers > 4 + extra && boxes.is_none_or(|boxes| boxes > numbers) => {
                Layout::Columns { classes: numbers - 4 - extra }
            }
            (boxes, Some(numbers)) if numbers > 5 + extra && boxes.is_none_or(|boxes| boxes > numbers) => {
                Layout::Rows { classes: numbers - 5 - extra }
            }
            // An input so small that it has fewer boxes than a box has numbers.
            (Some(numbers), Some(_)) if numbers > 4 + extra && is_cells(look, columns) => {
                Layout::Columns { classes: numbers - 4 - extra }
            }
            (None, None) => Layout::Columns {
                classes: named.ok_or_else(|| {
                    "its number of classes is known from neither shapes nor names; give --labels".to_owned()
                })?,
            },
            _ => {
                return Err(format!(
                    "its output '{name}' is none of boxes with {extra} further numbers each: [n, 4 + classes + {extra}, boxes], \
                     [n, boxes, 5 + classes + {extra}] or [n, boxes, {}]",
                    6 + extra
                ));
            }
        };
        let dims = match layout {
            Layout::Columns { classes } => vec![Some(4 + classes + extra), columns],
            Layout::Rows { classes } => vec![rows, Some(5 + classes + extra)],
            Layout::Final(_) => vec![rows, Some(6 + extra)],
        };
        Ok(Self { output: Expected { name: name.clone(), batched: true, dims }, layout })
    }

    /// How many classes there are, where the shape says.
    pub(super) fn classes(&self, look: &Look<'_>) -> Option<usize> {
        match self.layout {
            Layout::Columns { classes } | Layout::Rows { classes } => Some(classes),
            Layout::Final(_) => look.labels.map(crate::Labels::len),
        }
    }

    /// Whether boxes of the same object are still to be thinned out.
    pub(super) fn suppression(&self) -> Suppression {
        match self.layout {
            Layout::Columns { .. } | Layout::Rows { .. } => Suppression::Needed,
            Layout::Final(suppression) => suppression,
        }
    }

    /// One item's part of the output.
    pub(super) fn table<'a>(&self, outputs: &'a Outputs<'_>, item: usize) -> Result<Table<'a>, DecodeError> {
        self.output.table(outputs, item)
    }

    /// The boxes that pass, in pixels of the input.
    pub(super) fn candidates(
        &self,
        table: &Table<'_>,
        thresholds: &Thresholds,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let candidate = |(index, confidence, class_id)| {
            let [a, b, c, d] = self.place(table, index);
            let rect = match self.layout {
                Layout::Columns { .. } | Layout::Rows { .. } => centred(a, b, c, d),
                Layout::Final(_) => Rect { x1: a, y1: b, x2: c, y2: d },
            };
            let rect = table.finite(rect, self.at(table, index, 0))?;
            Ok(Candidate { rect, confidence, class_id, index: place(index) })
        };
        self.scored(table, thresholds).into_iter().map(candidate).collect()
    }

    /// Index, confidence and class of the boxes that pass.
    pub(super) fn scored(&self, table: &Table<'_>, thresholds: &Thresholds) -> Vec<(usize, f32, u32)> {
        let pass = |index, confidence, class_id| {
            thresholds.pass(confidence, class_id).then_some((index, confidence, class_id))
        };
        match self.layout {
            Layout::Columns { classes } => {
                let mut passed = Vec::new();
                surest(table, classes, |index, confidence, class_id| {
                    passed.extend(pass(index, confidence, class_id));
                });
                passed
            }
            Layout::Rows { classes } => (0..table.rows)
                .filter_map(|index| {
                    let row = table.row(index);
                    if row[4] <= thresholds.conf {
                        return None;
                    }
                    let (class, score) = best(&row[5..5 + classes]);
                    pass(index, row[4] * score, place(class))
                })
                .collect(),
            Layout::Final(_) => (0..table.rows)
                .filter_map(|index| {
                    let row = table.row(index);
                    pass(index, row[4], class_number(row[5])?)
                })
                .collect(),
        }
    }

    /// The first four numbers of a box.
    pub(super) fn place(&self, table: &Table<'_>, index: usize) -> [f32; 4] {
        [0, 1, 2, 3].map(|number| table.data[self.at(table, index, number)])
    }

    /// Further number `number` of a box.
    pub(super) fn extra(&self, table: &Table<'_>, index: usize, number: usize) -> f32 {
        let before = match self.layout {
            Layout::Columns { classes } => 4 + classes,
            Layout::Rows { classes } => 5 + classes,
            Layout::Final(_) => 6,
        };
        table.data[self.at(table, index, before + number)]
    }

    fn at(&self, table: &Table<'_>, index: usize, number: usize) -> usize {
        match self.layout {
            Layout::Columns { .. } => number * table.columns + index,
            Layout::Rows { .. } | Layout::Final(_) => index * table.columns + number,
        }
    }
}

/// Whether `count` is that of a box for each cell of the usual grids over the input.
pub(super) fn is_cells(look: &Look<'_>, count: Option<usize>) -> bool {
    count.is_some_and(|count| {
        count == cells(look.size, &STRIDES)
            || count == cells(look.size, &STRIDES_P6)
            || count == 3 * cells(look.size, &STRIDES)
            || count == 3 * cells(look.size, &STRIDES_P6)
    })
}
