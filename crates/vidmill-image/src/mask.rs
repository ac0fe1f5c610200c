//! Which pixels belong to an object: run lengths as COCO has them.

use serde::{Deserialize, Serialize};

use crate::{Rect, Size};

mod displayed;
mod encode;
#[cfg(test)]
mod tests;

/// A set of pixels, run-length encoded: the lengths of alternating runs of clear and set pixels, down the columns from left to
/// right, beginning with clear ones. It is serialised as COCO's `{"size": [height, width], "counts": "..."}`.
///
/// Runs are kept in the shortest form: none is empty but the first, and together they have all pixels. So equal sets are equal masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Coco", try_from = "Coco")]
pub struct Mask {
    size: Size,
    runs: Vec<u32>,
}

/// Set pixels below each other: those of column `x` from row `top` up to but not including `bottom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Column.
    pub x: u32,
    /// First row.
    pub top: u32,
    /// One past the last row.
    pub bottom: u32,
}

/// What a mask cannot be made of.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaskError {
    /// More pixels than a run can count.
    #[error("a mask of {}x{} has too many pixels: at most {} can be counted", .0.width, .0.height, u32::MAX)]
    Size(Size),
    /// Pixels that do not fill the size.
    #[error("{found} pixels were given for a mask, but {}x{} are {needed}", .size.width, .size.height)]
    Length {
        /// Width and height that were told.
        size: Size,
        /// Pixels of that size.
        needed: u64,
        /// Pixels that were given.
        found: u64,
    },
    /// A part that does not lie in the picture.
    #[error(
        "a part of {}x{} at {left}, {top} reaches out of the mask of {}x{}",
        .part.width, .part.height, .size.width, .size.height
    )]
    Part {
        /// Width and height of the mask.
        size: Size,
        /// Width and height of the part.
        part: Size,
        /// Its first column.
        left: u32,
        /// Its first row.
        top: u32,
    },
    /// A mask that is to be of the model's input, and is of another size.
    #[error(
        "a mask is {}x{}, and the model's input {}x{}: make masks of the size of the input",
        .found.width, .found.height, .input.width, .input.height
    )]
    NotInput {
        /// Width and height of the mask.
        found: Size,
        /// Width and height of the input.
        input: Size,
    },
    /// A character that compressed counts do not have, or a number that does not end.
    #[error(
        "compressed counts are broken at byte {0}: they are characters from '0' to 'o', at most seven a number"
    )]
    Text(usize),
    /// A span that is not after the one before it, or not in the picture.
    #[error("span {0} of a mask is empty, not after the one before it, or not inside of the picture")]
    Span(usize),
    /// A run that is negative or longer than the picture.
    #[error("run {0} of a mask is negative or longer than the picture")]
    Run(usize),
}

impl Mask {
    /// A mask in which nothing is set.
    ///
    /// # Errors
    /// When `size` has more pixels than 32 bits can count.
    pub fn empty(size: Size) -> Result<Self, MaskError> {
        Ok(Self { size, runs: vec![pixels(size)?] })
    }

    /// The pixels whose byte is not 0, of a whole picture: `rows` has one byte a pixel, row by row without gaps.
    ///
    /// # Errors
    /// When `rows` is not as long as `size` says, or that is more pixels than 32 bits can count.
    pub fn from_rows(size: Size, rows: &[u8]) -> Result<Self, MaskError> {
        Self::from_part(size, [0, 0], size, rows)
    }

    /// The pixels whose byte is not 0, of a `part` of the picture that begins at column and row `at`; none is set around it. `rows`
    /// has one byte a pixel of the part, row by row without gaps. Time and memory follow the part, not the picture.
    ///
    /// # Errors
    /// When `rows` is not as long as `part` says, the part is not all inside, or `size` is more pixels than 32 bits can count.
    pub fn from_part(size: Size, at: [u32; 2], part: Size, rows: &[u8]) -> Result<Self, MaskError> {
        let pixels = pixels(size)?;
        let [left, top] = at;
        let is_inside = |start: u32, length: u32, end: u32| {
            start.checked_add(length).is_some_and(|reached| reached <= end)
        };
        if !is_inside(left, part.width, size.width) || !is_inside(top, part.height, size.height) {
            return Err(MaskError::Part { size, part, left, top });
        }
        let (found, needed) = (rows.len() as u64, u64::from(part.width) * u64::from(part.height));
        if found != needed {
            return Err(MaskError::Length { size: part, needed, found });
        }
        let spans = encode::spans(part, rows).into_iter();
        let spans = spans.map(|s| Span { x: s.x + left, top: s.top + top, bottom: s.bottom + top });
        Ok(Self { size, runs: encode::runs(pixels, size.height, spans) })
    }

    /// The parts of a picture that is classified pixel by pixel: each class that has any pixel, in rising order, with its mask. `rows`
    /// has one class a pixel, row by row without gaps.
    ///
    /// # Errors
    /// When `rows` is not as long as `size` says, or that is more pixels than 32 bits can count.
    pub fn of_classes<T: Copy + Ord>(size: Size, rows: &[T]) -> Result<Vec<(T, Self)>, MaskError> {
        let pixels = pixels(size)?;
        let (found, needed) = (rows.len() as u64, u64::from(pixels));
        if found != needed {
            return Err(MaskError::Length { size, needed, found });
        }
        let spans = encode::spans_of_classes(size, rows);
        let classes = spans.chunk_by(|(a, _), (b, _)| a == b).map(|spans| {
            let runs = encode::runs(pixels, size.height, spans.iter().map(|(_, span)| *span));
            (spans[0].0, Self { size, runs })
        });
        Ok(classes.collect())
    }

    /// The pixels of `spans`, which come column by column from left to right, each column's from top to bottom; those of a column may
    /// touch, but not overlap.
    ///
    /// # Errors
    /// When the spans are in another order or reach out of the picture, or `size` is more pixels than 32 bits can count.
    pub fn from_spans(size: Size, spans: &[Span]) -> Result<Self, MaskError> {
        let pixels = pixels(size)?;
        let mut before = Span { x: 0, top: 0, bottom: 0 };
        for (index, span) in spans.iter().enumerate() {
            let is_after = span.x > before.x || (span.x == before.x && span.top >= before.bottom);
            if !is_after || span.x >= size.width || span.top >= span.bottom || span.bottom > size.height {
                return Err(MaskError::Span(index));
            }
            before = *span;
        }
        Ok(Self { size, runs: encode::runs(pixels, size.height, spans.iter().copied()) })
    }

    /// Reads runs: alternating lengths of clear and set pixels, clear ones first, that have all pixels together. Empty runs are
    /// allowed.
    ///
    /// # Errors
    /// When the runs do not have as many pixels as `size`.
    pub fn from_runs(size: Size, runs: &[u32]) -> Result<Self, MaskError> {
        let pixels = pixels(size)?;
        let found = runs.iter().map(|&run| u64::from(run)).sum();
        if found != u64::from(pixels) {
            return Err(MaskError::Length { size, needed: pixels.into(), found });
        }
        Ok(Self { size, runs: encode::shortest(runs) })
    }

    /// Reads COCO's compressed `counts`, as pycocotools writes them.
    ///
    /// # Errors
    /// When the text is not such counts, or they do not have as many pixels as `size`.
    pub fn from_counts(size: Size, counts: &str) -> Result<Self, MaskError> {
        Self::from_runs(size, &encode::read(counts)?)
    }

    /// COCO's compressed `counts`, as pycocotools writes them.
    pub fn to_counts(&self) -> String {
        encode::write(&self.runs)
    }

    /// Width and height of the picture.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Alternating lengths of clear and set pixels, down the columns from left to right, clear ones first.
    pub fn runs(&self) -> &[u32] {
        &self.runs
    }

    /// How many pixels are set.
    pub fn area(&self) -> u32 {
        self.runs.iter().skip(1).step_by(2).sum()
    }

    /// The smallest box around all that is set, if anything is.
    pub fn bounds(&self) -> Option<Rect> {
        let height = self.size.height;
        let mut bounds: Option<[u32; 4]> = None;
        for (start, end) in self.set_runs() {
            let (first, last) = (start / height, (end - 1) / height);
            // A run that goes on in the next column has the foot of one and the head of the other.
            let (top, bottom) =
                if first == last { (start % height, (end - 1) % height + 1) } else { (0, height) };
            let [left, highest, _, lowest] = bounds.unwrap_or([first, top, 0, bottom]);
            bounds = Some([left, highest.min(top), last + 1, lowest.max(bottom)]);
        }
        let [left, top, right, bottom] = bounds?.map(|side| side as f32);
        Some(Rect::new(left, top, right, bottom))
    }

    /// The first and one past the last pixel of each set run, counted down the columns.
    fn set_runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut end = 0;
        self.runs.chunks_exact(2).map(move |pair| {
            let start = end + pair[0];
            end = start + pair[1];
            (start, end)
        })
    }

    /// What is set, column by column from left to right, each from top to bottom.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        let height = self.size.height;
        self.set_runs().flat_map(move |(start, end)| {
            // A run goes on at the top of the next column.
            (start / height..end.div_ceil(height)).map(move |x| Span {
                x,
                top: start.saturating_sub(x * height),
                bottom: (end - x * height).min(height),
            })
        })
    }

    /// The whole picture, one byte a pixel, row by row: 1 where it is set, else 0. A few bytes of counts may tell of a huge picture: look
    /// at the size of a mask from elsewhere first.
    pub fn to_rows(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        self.fill_part([0, 0], self.size, &mut rows);
        rows
    }

    /// Writes the pixels of a `part` of the picture that begins at column and row `at`, as [`Self::to_rows`] does.
    /// Only what the mask and the part share is written; what the part has besides is 0.
    pub(crate) fn fill_part(&self, at: [u32; 2], part: Size, rows: &mut Vec<u8>) {
        let [left, top] = at;
        let (width, height) = (part.width as usize, part.height as usize);
        rows.clear();
        rows.resize(width * height, 0);
        // Marks where a column changes; then each row is the one above it, changed at its marks.
        for span in self.spans().skip_while(|span| span.x < left) {
            let x = (span.x - left) as usize;
            if x >= width {
                break;
            }
            let first = span.top.saturating_sub(top) as usize;
            let end = span.bottom.saturating_sub(top) as usize;
            if first < end.min(height) {
                rows[first * width + x] ^= 1;
                if end < height {
                    rows[end * width + x] ^= 1;
                }
            }
        }
        for y in 1..height {
            let (above, row) = rows[(y - 1) * width..(y + 1) * width].split_at_mut(width);
            row.iter_mut().zip(above).for_each(|(value, above)| *value ^= *above);
        }
    }
}

/// Pixels of a size that can be counted.
fn pixels(size: Size) -> Result<u32, MaskError> {
    size.width.checked_mul(size.height).ok_or(MaskError::Size(size))
}

/// A mask as COCO's files have it.
#[derive(Serialize, Deserialize)]
struct Coco {
    /// Height, then width.
    size: [u32; 2],
    counts: String,
}

impl From<Mask> for Coco {
    fn from(mask: Mask) -> Self {
        Self { size: [mask.size.height, mask.size.width], counts: mask.to_counts() }
    }
}

impl TryFrom<Coco> for Mask {
    type Error = MaskError;
    fn try_from(coco: Coco) -> Result<Self, MaskError> {
        let [height, width] = coco.size;
        Self::from_counts(Size::new(width, height), &coco.counts)
    }
}
