//! One item's part of an output, checked.

use vidmill_image::{Rect, Size};

use crate::{DecodeError, Outputs};

/// One item's part of an output of shape `[batch, rows, columns]` (or without the batch, then of a batch of one).
pub(super) struct Table<'a> {
    name: &'a str,
    pub rows: usize,
    pub columns: usize,
    pub data: &'a [f32],
}

/// The shape that an output must have, without the batch; `None` is any number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    /// The output's name.
    pub name: String,
    /// Whether the first dimension is the batch.
    pub batched: bool,
    /// The other dimensions: three (read as rows of planes), two, one (read as a single column) or none (a single number).
    pub dims: Vec<Option<usize>>,
}

impl Expected {
    /// Finds this output and takes the part of `item` out of it; its numbers are all finite.
    pub(super) fn table<'a>(&self, outputs: &'a Outputs<'_>, item: usize) -> Result<Table<'a>, DecodeError> {
        self.read(outputs, self.part(outputs, item)?)
    }

    /// An output without a batch dimension that holds what is of all items of a batch.
    pub(super) fn of_all<'a>(&self, outputs: &'a Outputs<'_>) -> Result<Table<'a>, DecodeError> {
        self.read(outputs, self.of_item(outputs, 0)?)
    }

    fn read<'a>(
        &self,
        outputs: &Outputs<'_>,
        (name, dims, data): (&'a str, &[usize], &'a [f32]),
    ) -> Result<Table<'a>, DecodeError> {
        let (rows, columns) = match *dims {
            [rows, columns] => (rows, columns),
            [rows] | [rows, 1, 1] => (rows, 1),
            [] => (1, 1),
            _ => return Err(self.mismatch(outputs.batch(), dims)),
        };
        Table { name, rows, columns, data }.checked()
    }

    /// The same of an output of planes, `[planes, height, width]` or `[height, width]`: each plane a row, with their size.
    pub(super) fn planes<'a>(
        &self,
        outputs: &'a Outputs<'_>,
        item: usize,
    ) -> Result<(Table<'a>, Size), DecodeError> {
        let (name, dims, data) = self.part(outputs, item)?;
        let (planes, height, width) = match *dims {
            // What has one plane may have it last.
            [height, width, 1] if self.dims.last() == Some(&Some(1)) => (1, height, width),
            [planes, height, width] => (planes, height, width),
            [height, width] => (1, height, width),
            _ => return Err(self.mismatch(outputs.batch(), dims)),
        };
        let side = |side: usize| u32::try_from(side).ok().filter(|side| *side > 0);
        let (Some(w), Some(h)) = (side(width), side(height)) else {
            return Err(self.mismatch(outputs.batch(), dims));
        };
        let table = Table { name, rows: planes, columns: height * width, data };
        Ok((table.checked()?, Size::new(w, h)))
    }

    /// Name, dimensions and numbers of one item's part.
    fn part<'a>(
        &self,
        outputs: &'a Outputs<'_>,
        item: usize,
    ) -> Result<(&'a str, &'a [usize], &'a [f32]), DecodeError> {
        let batch = outputs.batch();
        if item >= batch || (!self.batched && batch != 1) {
            return Err(DecodeError::Item { item, batch });
        }
        self.of_item(outputs, item)
    }

    fn of_item<'a>(
        &self,
        outputs: &'a Outputs<'_>,
        item: usize,
    ) -> Result<(&'a str, &'a [usize], &'a [f32]), DecodeError> {
        let batch = outputs.batch();
        let tensor =
            outputs.get(&self.name).ok_or_else(|| DecodeError::Missing { output: self.name.clone() })?;
        let dims = match (self.batched, tensor.shape) {
            (true, [first, rest @ ..]) if *first == batch => rest,
            (false, all) => all,
            _ => return Err(self.mismatch(batch, tensor.shape)),
        };
        let fits = dims.len() == self.dims.len()
            && dims
                .iter()
                .zip(&self.dims)
                .all(|(found, wanted)| wanted.is_none_or(|wanted| wanted == *found));
        if !fits {
            return Err(self.mismatch(batch, tensor.shape));
        }
        let size: usize = dims.iter().product();
        let place = if self.batched { item } else { 0 };
        Ok((tensor.name, dims, &tensor.data[place * size..(place + 1) * size]))
    }

    fn mismatch(&self, batch: usize, found: &[usize]) -> DecodeError {
        let batch = self.batched.then(|| batch.to_string());
        let dims = self.dims.iter().map(|dim| dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string()));
        let expected = format!("[{}]", batch.into_iter().chain(dims).collect::<Vec<_>>().join(", "));
        DecodeError::Shape { output: self.name.clone(), expected, found: found.to_vec() }
    }
}

impl<'a> Table<'a> {
    /// The table itself, or the error that a number of it is not finite.
    fn checked(self) -> Result<Self, DecodeError> {
        match first_not_finite(self.data) {
            Some(index) => Err(self.not_finite(index, self.data[index])),
            None => Ok(self),
        }
    }

    /// The row at `index`.
    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.columns..(index + 1) * self.columns]
    }

    /// That it has as many rows as another output of the same boxes.
    pub(super) fn has_rows(&self, wanted: usize) -> Result<(), DecodeError> {
        if self.rows == wanted {
            return Ok(());
        }
        let expected = format!("as many rows as there are boxes ({wanted})");
        Err(DecodeError::Shape { output: self.name.to_owned(), expected, found: vec![self.rows] })
    }

    /// The box itself, or the error that a box computed from the element at `index` is not finite.
    pub(super) fn finite(&self, rect: Rect, index: usize) -> Result<Rect, DecodeError> {
        let sides = [rect.x1, rect.y1, rect.x2, rect.y2];
        match sides.iter().find(|side| !side.is_finite()) {
            Some(&value) => Err(self.not_finite(index, value)),
            None => Ok(rect),
        }
    }

    pub(super) fn not_finite(&self, index: usize, value: f32) -> DecodeError {
        DecodeError::NonFinite { output: self.name.to_owned(), index, value }
    }
}

/// The place of the first NaN or infinity. Goes by chunks without a way out of each, which the compiler turns into vector
/// instructions: an output holds up to millions of numbers.
fn first_not_finite(data: &[f32]) -> Option<usize> {
    const CHUNK: usize = 1024;
    let all_finite = |chunk: &[f32]| chunk.iter().fold(true, |all, value| all & value.is_finite());
    let start = data.chunks(CHUNK).position(|chunk| !all_finite(chunk))? * CHUNK;
    data[start..].iter().position(|value| !value.is_finite()).map(|index| start + index)
}

/// A box from its centre and size.
pub(super) fn centred(cx: f32, cy: f32, w: f32, h: f32) -> Rect {
    Rect { x1: cx - w / 2.0, y1: cy - h / 2.0, x2: cx + w / 2.0, y2: cy + h / 2.0 }
}

/// The highest score and its place; the first of equals. `scores` is not empty.
pub(super) fn best(scores: &[f32]) -> (usize, f32) {
    let mut best = (0, scores[0]);
    for (class, &score) in scores.iter().enumerate().skip(1) {
        if score > best.1 {
            best = (class, score);
        }
    }
    best
}

/// The logistic function.
pub(super) fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

/// A place in an output as a number that orders candidates.
pub(super) fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_numbers_that_are_not_finite_is_found() {
        for length in [0, 1, 1023, 1024, 1025, 3000] {
            let mut data = vec![1.0f32; length];
            assert_eq!(first_not_finite(&data), None);
            for bad in [0, 1023, 1024, 2047, 2048, 2999].into_iter().filter(|&bad| bad < length).rev() {
                data[bad] = if bad % 2 == 0 { f32::NEG_INFINITY } else { f32::NAN };
                assert_eq!(first_not_finite(&data), Some(bad));
            }
        }
    }

    #[test]
    fn the_first_of_equal_scores_is_best() {
        assert_eq!(best(&[0.1, 0.7, 0.7]), (1, 0.7));
        assert_eq!(best(&[0.3]), (0, 0.3));
    }
}
