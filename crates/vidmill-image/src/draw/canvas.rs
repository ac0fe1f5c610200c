//! Shapes onto planes: full-resolution luma, half-resolution chroma by coverage.

use crate::Picture;
use crate::picture::codes;

/// Whole pixels from `left`, `top` up to but not including `right`, `bottom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) right: i64,
    pub(super) bottom: i64,
}

impl Area {
    pub(super) fn intersect(self, other: Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }
    pub(super) fn is_empty(self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }
    /// Pixels, 0 where it is empty.
    pub(super) fn pixels(self) -> i64 {
        (self.right - self.left).max(0) * (self.bottom - self.top).max(0)
    }
    /// Larger by `by` on all sides.
    pub(super) fn grown(self, by: i64) -> Self {
        Self { left: self.left - by, top: self.top - by, right: self.right + by, bottom: self.bottom + by }
    }
}

/// Something to be painted in one colour, as coverage: 0 (none of a pixel) to 255 (all).
pub(super) trait Shape {
    /// Where it may cover anything.
    fn area(&self) -> Area;
    /// Adds the coverage of row `y` to the empty `coverage`, beginning at the column that is returned. `within` is a part of the
    /// area that has the row; what is written must not reach out of its columns.
    fn row(&self, y: i64, within: Area, coverage: &mut Vec<u8>) -> i64;
}

/// How a shape lies on the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// Hides what is below as far as it covers it.
    Solid,
    /// Takes chroma more than luma, so that what is below can still be seen: of a coverage `c`, chroma gets `1 - (1 - c)^2`.
    Sheer,
}

/// A shape as coverage, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stencil<'a> {
    pub(super) area: Area,
    pub(super) coverage: &'a [u8],
}

impl Shape for Stencil<'_> {
    fn area(&self) -> Area {
        self.area
    }
    fn row(&self, y: i64, within: Area, coverage: &mut Vec<u8>) -> i64 {
        let Area { left, top, right, .. } = self.area;
        let row = ((y - top) * (right - left)) as usize;
        let columns = row + (within.left - left) as usize..row + (within.right - left) as usize;
        coverage.extend_from_slice(&self.coverage[columns]);
        within.left
    }
}

/// An area that is covered equally everywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pane {
    pub(super) area: Area,
    pub(super) coverage: u8,
}

impl Shape for Pane {
    fn area(&self) -> Area {
        self.area
    }
    fn row(&self, _: i64, within: Area, coverage: &mut Vec<u8>) -> i64 {
        coverage.resize((within.right - within.left) as usize, self.coverage);
        within.left
    }
}

/// A picture being drawn on.
pub(super) struct Canvas<'a> {
    picture: &'a mut Picture,
    area: Area,
    /// Coverage of the two rows that share a row of chroma.
    rows: [Vec<u8>; 2],
    /// Coverage of chroma samples: that of their pixels together.
    sums: Vec<u16>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(picture: &'a mut Picture) -> Self {
        let size = picture.size();
        let area = Area { left: 0, top: 0, right: i64::from(size.width), bottom: i64::from(size.height) };
        Self { picture, area, rows: Default::default(), sums: Vec::new() }
    }

    /// The whole picture.
    pub(super) fn area(&self) -> Area {
        self.area
    }

    /// Fills the part of `area` that is inside the picture.
    pub(super) fn fill(&mut self, area: Area, rgb: [u8; 3]) {
        let area = area.intersect(self.area);
        if area.is_empty() {
            return;
        }
        let [luma, u, v] = codes(rgb, self.picture.color());
        let stride = self.picture.stride(0);
        let columns = area.left as usize..area.right as usize;
        for y in area.top as usize..area.bottom as usize {
            self.picture.planes_mut()[0][y * stride..][columns.clone()].fill(luma);
        }
        for y in area.top / 2..(area.bottom + 1) / 2 {
            let rows = (2 * y + 2).min(area.bottom) - (2 * y).max(area.top);
            self.begin_chroma(area);
            // Whole samples, but for those at the sides that share only one column with it.
            let (row, last) = (255 * rows as u16, self.sums.len() - 1);
            self.sums.fill(2 * row);
            self.sums[0] -= row * (area.left % 2) as u16;
            self.sums[last] -= row * (area.right % 2) as u16;
            self.blend_chroma(y, area.left / 2, [u, v], Paint::Solid);
        }
    }

    /// Paints a shape in one colour.
    pub(super) fn paint(&mut self, shape: &impl Shape, rgb: [u8; 3], paint: Paint) {
        let area = shape.area().intersect(self.area);
        if area.is_empty() {
            return;
        }
        let [luma, u, v] = codes(rgb, self.picture.color());
        let stride = self.picture.stride(0);
        for y in area.top / 2..(area.bottom + 1) / 2 {
            let mut lefts = [area.left; 2];
            let [mut first, mut end] = [area.right, area.left];
            for (half, (row, left)) in (0..).zip(self.rows.iter_mut().zip(&mut lefts)) {
                row.clear();
                let y = 2 * y + half;
                if y < area.top || y >= area.bottom {
                    continue;
                }
                *left = shape.row(y, area, row);
                if !row.is_empty() {
                    (first, end) = (first.min(*left), end.max(*left + row.len() as i64));
                    let start = y as usize * stride + *left as usize;
                    blend_row(&mut self.picture.planes_mut()[0][start..start + row.len()], row, luma);
                }
            }
            if first < end {
                let touched = Area { left: first, right: end, ..area };
                self.begin_chroma(touched);
                for (row, left) in self.rows.iter().zip(lefts).filter(|(row, _)| !row.is_empty()) {
                    let sums = &mut self.sums[(left / 2 - first / 2) as usize..];
                    add_pairs(sums, left % 2 != 0, row);
                }
                self.blend_chroma(y, first / 2, [u, v], paint);
            }
        }
    }

    /// Makes room for the sums of the chroma samples under the columns of `area`.
    fn begin_chroma(&mut self, area: Area) {
        self.sums.clear();
        self.sums.resize(((area.right + 1) / 2 - area.left / 2) as usize, 0);
    }

    /// Blends the chroma samples of row `y` from column `left` on by the sums of their pixels' coverage.
    fn blend_chroma(&mut self, y: i64, left: i64, uv: [u8; 2], paint: Paint) {
        let stride = self.picture.stride(1);
        let picture = self.area;
        let start = y as usize * stride + left as usize;
        // At an odd edge a chroma sample stands for fewer than four pixels; only the last of a row, or all of the last row, may.
        let rows = (picture.bottom - 2 * y).min(2) as u32;
        let columns = |x: usize| (picture.right - 2 * (left + x as i64)).min(2) as u32;
        let count = self.sums.len();
        let whole_count = match (rows, columns(count - 1)) {
            (2, 2) => count,
            (2, _) => count - 1,
            _ => 0,
        };
        let (sums, edge) = self.sums.split_at_mut(whole_count);
        if paint == Paint::Sheer {
            sums.iter_mut().for_each(|sum| *sum = sheer((*sum + 2) / 4));
        }
        let [_, u, v] = self.picture.planes_mut();
        for (plane, code) in [u, v].into_iter().zip(uv) {
            let (samples, edge_samples) = plane[start..start + count].split_at_mut(whole_count);
            for (x, (sample, sum)) in (whole_count..).zip(edge_samples.iter_mut().zip(&*edge)) {
                let whole = columns(x) * rows * 255;
                match paint {
                    Paint::Solid => *sample = mix(*sample, code, u32::from(*sum), whole),
                    Paint::Sheer => {
                        let share = u32::from(*sum) * 255 / whole;
                        *sample = mix(*sample, code, sheer(share as u16).into(), 255);
                    }
                }
            }
            let pairs = samples.iter_mut().zip(&*sums);
            match paint {
                Paint::Solid => {
                    pairs.for_each(|(sample, sum)| *sample = mix(*sample, code, u32::from(*sum), 4 * 255));
                }
                Paint::Sheer => pairs.for_each(|(sample, share)| *sample = blend(*sample, code, *share)),
            }
        }
    }
}

/// What chroma gets of a coverage of 0 to 255 that is sheer.
fn sheer(coverage: u16) -> u16 {
    255 - by_255((255 - coverage) * (255 - coverage))
}

/// Adds a row's coverage to the sums of the samples that its pixels share by twos; the first one stands alone if it `is_odd`.
fn add_pairs(sums: &mut [u16], is_odd: bool, row: &[u8]) {
    let (row, sums) = if is_odd {
        sums[0] += u16::from(row[0]);
        (&row[1..], &mut sums[1..])
    } else {
        (row, sums)
    };
    let (pairs, rest) = row.as_chunks::<2>();
    for (sum, pair) in sums.iter_mut().zip(pairs) {
        let pair = u16::from_le_bytes(*pair);
        *sum += (pair & 0xff) + (pair >> 8);
    }
    if let [last] = rest {
        sums[pairs.len()] += u16::from(*last);
    }
}

/// Blends a row of pixels.
fn blend_row(pixels: &mut [u8], coverage: &[u8], code: u8) {
    pixels
        .iter_mut()
        .zip(coverage)
        .for_each(|(pixel, cover)| *pixel = blend(*pixel, code, u16::from(*cover)));
}

/// `share` of 255 of the way from `old` to `new`.
fn blend(old: u8, new: u8, share: u16) -> u8 {
    by_255(u16::from(old) * (255 - share) + u16::from(new) * share) as u8
}

/// A product of two bytes divided by 255 and rounded, exactly.
fn by_255(product: u16) -> u16 {
    let more = product + 128;
    (more + (more >> 8)) >> 8
}

/// `part` of `whole` of the way from `old` to `new`.
fn mix(old: u8, new: u8, part: u32, whole: u32) -> u8 {
    let part = part.min(whole);
    ((u32::from(old) * (whole - part) + u32::from(new) * part + whole / 2) / whole) as u8
}
