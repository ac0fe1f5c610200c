//! YUV: what is taken of the rows becomes codes of Y, U and V at the same columns, then R, G, B, then values.

use crate::kernel::{Affine, Between, BitPlace, HalfRow, Level, Picks, RGB_UNIT, YuvRow, YuvToRgb};
use crate::{ElementType, PixelFormat, Planes, TensorSpec};

use super::super::Kind;
use super::super::axis::{Columns, Position, Siting, chroma_position};
use super::super::convert::{normalisation, yuv_to_rgb};
use super::super::source::Component;
use super::{neighbours, plane_row};

/// The two luma rows that a line lies between become RGB, clamped, and are blended then; columns alike.
///
/// Sharp, saturated edges leave the range of RGB; where a picture of bytes would have clamped them, so must this.
#[derive(Clone, Debug)]
pub(super) struct Yuv {
    matrix: YuvToRgb,
    /// From steps of the lines to normalised values.
    norm: [Affine; 3],
    element: ElementType,
    chroma: [Component; 2],
    /// Chroma position of every luma row.
    chroma_rows: Vec<Position>,
    /// The columns that become RGB: these, or all.
    luma: Option<Picks>,
    widen: Widen,
    /// Samples of a luma row at these columns.
    taken: Vec<u8>,
    /// A blended row of every chroma plane, with a sample more at both ends.
    blended: [Vec<i16>; 2],
    /// Codes of two luma rows at these columns.
    rows: [Codes; 2],
    rgb: [Vec<i16>; 3],
    resample: Resample,
    /// Columns of the picture.
    width: usize,
}

/// Y, U and V of one luma row.
#[derive(Clone, Debug)]
struct Codes {
    /// Which row; none at first.
    of: Option<usize>,
    lines: [Vec<i16>; 3],
}

/// How chroma gets to the columns that become RGB.
#[derive(Clone, Debug)]
enum Widen {
    /// It is there: samples of luma and chroma stand alike.
    Not,
    /// Two columns share a sample, and all are there: eighths of the way to the sample before and after.
    Double { before: i16, after: i16 },
    /// Two columns share a sample: the sample, its neighbour and the eighths, for U and V.
    Between { picks: Box<[[Picks; 2]; 2]>, eighths: Vec<i16> },
    /// By table, for U and V: pairs of samples, and how far it is from one to the other.
    Table { picks: [Picks; 2], weights: Vec<f32>, pairs: Vec<i16> },
    /// Each column has its sample, for U and V.
    Picked([Picks; 2]),
}

/// How lines of R, G, B become values.
#[derive(Clone, Debug)]
enum Resample {
    /// One after the other.
    Not,
    /// They are pairs.
    Pairs { weights: Vec<f32> },
    /// Pairs are picked first.
    Picked { picks: Picks, pairs: Vec<i16>, weights: Option<Vec<f32>> },
}

impl Resample {
    /// Of lines of `count` columns.
    fn new(level: Level, columns: Columns, picked: bool, count: usize) -> Self {
        let is_plain = picked || columns.are_all(count);
        let Columns { mut taken, mut weights } = columns;
        if let Some(weights) = &mut weights
            && !is_plain
            && count > 1
        {
            // The last column is all of the way to it from the one before (of integers, that is exact): so all are pairs.
            for (pair, weight) in taken.as_chunks_mut::<2>().0.iter_mut().zip(weights) {
                if pair[0] == pair[1] {
                    (pair[0], *weight) = (pair[1] - 1, 1.0);
                }
            }
        }
        match weights {
            weights if !is_plain => {
                let pairs = vec![0; taken.len()];
                let index = taken.into_iter().map(|at| at as u32).collect();
                Self::Picked { picks: level.picks(index, 2, count), pairs, weights }
            }
            Some(weights) => Self::Pairs { weights },
            None => Self::Not,
        }
    }

    fn run(&mut self, level: Level, line: &[i16], norm: Affine, element: ElementType, out: &mut [u8]) {
        match self {
            Self::Not => level.store_codes(line, norm, element, out),
            Self::Pairs { weights } => level.store_pairs(line, weights, norm, element, out),
            Self::Picked { picks, weights: Some(weights), .. } if picks.are_pairs() => {
                level.store_picked_pairs(line, picks, weights, norm, element, out);
            }
            Self::Picked { picks, pairs, weights } => {
                level.pick_codes(line, picks, pairs);
                match weights {
                    Some(weights) => level.store_pairs(pairs, weights, norm, element, out),
                    None => level.store_codes(pairs, norm, element, out),
                }
            }
        }
    }
}

impl Widen {
    /// `columns` are some of the picture's, or all.
    fn new(
        level: Level,
        width: u32,
        log2: u8,
        siting: Siting,
        chroma: [Component; 2],
        columns: Option<&[usize]>,
    ) -> Self {
        // Eighths of the way to the sample before and after.
        let (before, after) = match siting {
            Siting::First => (0, 4),
            Siting::Middle => (2, 2),
        };
        let all: Vec<usize> = (0..width as usize).collect();
        // Samples of a line with one more at both ends.
        let samples = width.div_ceil(1 << log2) as usize + 2;
        let pick = |c: Component, index: &mut dyn Iterator<Item = usize>| {
            level.picks(index.map(|at| (at * c.step + c.first) as u32).collect(), 2, samples * c.step)
        };
        match (log2, columns) {
            (0, None) if chroma[0].step == 1 => Self::Not,
            (1, None) => Self::Double { before, after },
            (0, columns) => {
                let columns = columns.unwrap_or(&all);
                Self::Picked(chroma.map(|c| pick(c, &mut columns.iter().map(|x| x + 1))))
            }
            (1, Some(columns)) => {
                let own = |x: &usize| x / 2 + 1;
                let other = |x: &usize| if x.is_multiple_of(2) { x / 2 } else { x / 2 + 2 };
                let eighths =
                    columns.iter().map(|x| if x.is_multiple_of(2) { before } else { after }).collect();
                let picks =
                    |c| [pick(c, &mut columns.iter().map(own)), pick(c, &mut columns.iter().map(other))];
                Self::Between { picks: Box::new(chroma.map(picks)), eighths }
            }
            (_, columns) => {
                let at: Vec<Position> = columns
                    .unwrap_or(&all)
                    .iter()
                    .map(|&x| chroma_position(x, width, log2, siting))
                    .collect();
                let pairs = |c| pick(c, &mut at.iter().flat_map(|at| [at.index + 1, at.index + 2]));
                Self::Table {
                    picks: chroma.map(pairs),
                    weights: at.iter().map(|at| at.weight).collect(),
                    pairs: vec![0; 2 * at.len()],
                }
            }
        }
    }
}

impl Yuv {
    pub(super) fn new(
        level: Level,
        kind: &Kind,
        chroma: [Component; 2],
        log2: [u8; 2],
        spec: &TensorSpec,
        columns: Columns,
    ) -> Self {
        let [across, down] = Siting::of(kind.color.siting);
        let Kind { format, size, color, .. } = *kind;
        let (width, bytes) = (size.width as usize, format.sample_bytes());
        // When lines lie far apart, fewer columns become RGB than the picture has.
        let few = level
            .picks_before_converting(columns.taken.len(), columns.weights.is_some(), width)
            .then_some(&columns.taken[..]);
        let count = few.map_or(width, <[usize]>::len);
        // Even, so that whole pairs can be written.
        let line = vec![0; count.next_multiple_of(2)];
        let narrow = vec![0; (size.width.div_ceil(1 << log2[0]) as usize + 2) * chroma[0].step];
        let codes = Codes { of: None, lines: std::array::from_fn(|_| line.clone()) };
        let index = |columns: &[usize]| columns.iter().map(|&at| at as u32).collect();
        let luma = few.map(|columns| level.picks(index(columns), bytes, width));
        Self {
            matrix: yuv_to_rgb(format, color),
            norm: normalisation(spec).map(|norm| Affine { gain: norm.gain / f32::from(RGB_UNIT), ..norm }),
            element: spec.element,
            chroma,
            chroma_rows: (0..size.height as usize)
                .map(|y| chroma_position(y, size.height, log2[1], down))
                .collect(),
            widen: Widen::new(level, size.width, log2[0], across, chroma, few),
            taken: vec![0; luma.as_ref().map_or(0, |_| count * bytes)],
            blended: [narrow.clone(), narrow],
            rows: [codes.clone(), codes],
            rgb: std::array::from_fn(|_| vec![0; count]),
            resample: Resample::new(level, columns, luma.is_some(), count),
            luma,
            width,
        }
    }

    /// Whether every value of a line is that of one column, from the first to the last.
    pub(super) fn takes_all_columns(&self) -> bool {
        self.luma.is_none() && matches!(self.resample, Resample::Not)
    }

    pub(super) fn begin(&mut self) {
        self.rows.iter_mut().for_each(|row| row.of = None);
    }

    pub(super) fn line(&mut self, level: Level, planes: &Planes<'_>, row: Position, out: [&mut [u8]; 3]) {
        self.rgb(level, planes, row);
        for ((line, norm), out) in self.rgb.iter().zip(self.norm).zip(out) {
            self.resample.run(level, line, norm, self.element, out);
        }
    }

    /// A line as pixels of bytes, nothing of it resampled.
    pub(super) fn pixels(
        &mut self,
        level: Level,
        planes: &Planes<'_>,
        row: Position,
        order: [usize; 3],
        out: &mut [u8],
    ) {
        match self.widen {
            Widen::Double { before, after }
                if level.converts_at_once()
                    && self.chroma[0].step == 1
                    && planes.format.sample_bytes() == 1 =>
            {
                self.blend_chroma(level, planes, row.index);
                let [u, v] = self.chroma.map(|component| self.blended[component.plane - 1].as_slice());
                let half = HalfRow { y: plane_row(planes, 0, row.index), u, v, before, after };
                match order {
                    [2, ..] => {
                        level.convert_pixels(HalfRow { u: v, v: u, ..half }, &self.matrix.reversed(), out);
                    }
                    _ => level.convert_pixels(half, &self.matrix, out),
                }
            }
            _ => {
                self.rgb(level, planes, row);
                level.store_pixels(order.map(|line| &self.rgb[line][..self.width]), out);
            }
        }
    }

    /// R, G, B of a line.
    fn rgb(&mut self, level: Level, planes: &Planes<'_>, row: Position) {
        let last = self.chroma_rows.len() - 1;
        let wanted = Between::new(row.index, (row.index + 1).min(last), row.weight);
        // What was the farther row may be the nearer one now, and the other way round.
        if self.rows[1].of == Some(wanted.near) || self.rows[0].of == Some(wanted.far) {
            self.rows.swap(0, 1);
        }
        self.row(level, planes, wanted.near, 0);
        // Where the line lies on a row, as all do at a scale of 3, the other is not needed.
        if wanted.share != 0 {
            self.row(level, planes, wanted.far, 1);
        }
        let [near, far] = self.rows.each_ref().map(|codes| {
            let [y, u, v] = &codes.lines;
            YuvRow { y, u, v }
        });
        level.yuv_to_rgb(Between { near, far, share: wanted.share }, &self.matrix, &mut self.rgb);
    }

    /// Chroma codes of luma row `y`, as wide as chroma is.
    fn blend_chroma(&mut self, level: Level, planes: &Planes<'_>, y: usize) {
        let step = self.chroma[0].step;
        for plane in 1..planes.format.plane_count() {
            let blended = &mut self.blended[plane - 1];
            codes(level, planes, chroma_rows(planes, plane, self.chroma_rows[y]), &mut blended[step..]);
            repeat_ends(blended, step);
        }
    }

    /// Codes of luma row `y`, if they are not there yet.
    fn row(&mut self, level: Level, planes: &Planes<'_>, y: usize, i: usize) {
        if self.rows[i].of.replace(y) == Some(y) {
            return;
        }
        self.luma_codes(level, plane_row(planes, 0, y), planes, i);
        if matches!(self.widen, Widen::Not) {
            for plane in 1..planes.format.plane_count() {
                let rows = chroma_rows(planes, plane, self.chroma_rows[y]);
                codes(level, planes, rows, &mut self.rows[i].lines[plane]);
            }
            return;
        }
        self.blend_chroma(level, planes, y);
        let [_, chroma @ ..] = &mut self.rows[i].lines;
        for (c, (component, out)) in self.chroma.iter().zip(chroma).enumerate() {
            let line = &self.blended[component.plane - 1];
            match &mut self.widen {
                Widen::Not => {}
                Widen::Double { before, after } if component.step == 1 => {
                    level.double_single(line, *before, *after, out);
                }
                Widen::Double { before, after } => {
                    level.double_paired(&line[component.first..], *before, *after, out);
                }
                Widen::Between { picks, eighths } => {
                    level.pick_between(line, picks[c].each_ref(), eighths, out);
                }
                Widen::Table { picks, weights, pairs } => {
                    level.pick_codes(line, &picks[c], pairs);
                    level.lerp_pairs(pairs, weights, out);
                }
                Widen::Picked(picks) => level.pick_codes(line, &picks[c], out),
            }
        }
    }

    fn luma_codes(&mut self, level: Level, row: &[u8], planes: &Planes<'_>, i: usize) {
        let row = match &self.luma {
            None => row,
            Some(picks) => {
                level.pick(row, picks, &mut self.taken);
                &self.taken
            }
        };
        codes(level, planes, Between::new(row, row, 0.0), &mut self.rows[i].lines[0]);
    }
}

/// The two rows of a chroma plane that a position lies between, the nearer one told.
fn chroma_rows<'a>(planes: &Planes<'a>, plane: usize, at: Position) -> Between<&'a [u8]> {
    let [a, b] = neighbours(planes, plane, at);
    Between::new(a, b, at.weight)
}

/// 12-bit codes between two rows of samples.
fn codes(level: Level, planes: &Planes<'_>, rows: Between<&[u8]>, out: &mut [i16]) {
    let PixelFormat { bits, shift, .. } = planes.format;
    match planes.format.sample_bytes() {
        1 => level.codes_u8(rows, out),
        _ => level.codes_u16(rows, BitPlace { shift, unused: 16 - bits }, out),
    }
}

/// Copies the first and the last sample outwards.
fn repeat_ends(line: &mut [i16], step: usize) {
    let end = line.len();
    line.copy_within(step..2 * step, 0);
    line.copy_within(end - 2 * step..end - step, end - step);
}
