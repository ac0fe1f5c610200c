//! From planes to normalised lines at the model's resolution.

use crate::kernel::{Affine, Between, BitPlace, HalfRow, Level, Position, RGB_UNIT, Taps, YuvRow, YuvToRgb};
use crate::{ChannelOrder, PixelFormat, Planes, TensorSpec};

use super::Kind;
use super::axis::{Axis, Siting, chroma_position, positions};
use super::convert::{Convert, normalisation, yuv_to_rgb};
use super::source::{Component, Source};

/// The line that the model sees, from the rows of the picture.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Luma rows to blend, one entry an output line.
    rows: Vec<Position>,
    /// Values in a line.
    length: usize,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Direct(Direct),
    Yuv(Box<Yuv>),
}

impl Reader {
    pub(super) fn new(kind: &Kind, x: Axis, y: Axis, spec: &TensorSpec) -> Self {
        let columns = positions(&x.coordinates());
        let rows = positions(&y.coordinates());
        let gray = spec.channels == ChannelOrder::Gray;
        let width = kind.size.width as usize;
        let way = match Source::new(kind.format) {
            Source::Rgb(components) => {
                let convert = Convert::from_rgb(kind.format, spec);
                Way::Direct(Direct::new(&components, convert, width, &columns))
            }
            Source::Yuv { chroma, log2, .. } if !gray => {
                Way::Yuv(Box::new(Yuv::new(kind, chroma, log2, spec, &columns)))
            }
            Source::Gray(luma) | Source::Yuv { luma, .. } => {
                let convert = Convert::from_luma(kind.format, kind.color, spec);
                Way::Direct(Direct::new(&[luma], convert, width, &columns))
            }
        };
        Self { rows, length: columns.len(), way }
    }
    /// Values in a line.
    pub(super) fn length(&self) -> usize {
        self.length
    }
    /// Lines of the whole picture.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }
    /// Whether every value of a line is one of the picture's, and nothing but the matrix lies between: then there is [`Self::pixels`].
    pub(super) fn is_plain(&self, spec: &TensorSpec) -> bool {
        let Way::Yuv(yuv) = &self.way else { return false };
        let is_same = spec.scale == 1.0 && spec.mean == [0.0; 3] && spec.std == [1.0; 3];
        is_same && yuv.taps.are_all(yuv.width) && self.rows.iter().all(|row| row.weight == 0.0)
    }
    /// Line `k` of a plain picture as pixels of bytes, R, G, B in this order. (Of any other, nothing.)
    pub(super) fn pixels(
        &mut self,
        level: Level,
        planes: &Planes<'_>,
        k: usize,
        order: [usize; 3],
        out: &mut [u8],
    ) {
        if let Way::Yuv(yuv) = &mut self.way {
            yuv.pixels(level, planes, self.rows[k], order, out);
        }
    }
    /// Line `k` as normalised R, G, B (or luma, in the first).
    pub(super) fn line(&mut self, level: Level, planes: &Planes<'_>, k: usize, out: [&mut [f32]; 3]) {
        match &mut self.way {
            Way::Direct(direct) => direct.line(level, planes, self.rows[k], out),
            Way::Yuv(yuv) => yuv.line(level, planes, self.rows[k], out),
        }
    }
}

/// Components without a matrix: rows are blended as they are, and converted when few values are left.
#[derive(Clone, Debug)]
struct Direct {
    components: Vec<(Component, Taps)>,
    convert: Convert,
    /// One blended row of every plane.
    blended: Vec<Vec<f32>>,
}

impl Direct {
    fn new(components: &[Component], convert: Convert, width: usize, columns: &[Position]) -> Self {
        let planes = components.iter().map(|component| component.plane).max().map_or(0, |last| last + 1);
        let with_taps =
            |&component: &Component| (component, Taps::new(columns, component.step, component.first));
        // One pixel more than a row has: the last tap looks there, with weight 0.
        let row = vec![0.0; (width + 1) * components[0].step];
        Self { components: components.iter().map(with_taps).collect(), convert, blended: vec![row; planes] }
    }

    fn line(&mut self, level: Level, planes: &Planes<'_>, row: Position, mut out: [&mut [f32]; 3]) {
        for (plane, blended) in self.blended.iter_mut().enumerate() {
            blend(level, planes, plane, row, blended);
        }
        for ((component, taps), out) in self.components.iter().zip(&mut out) {
            level.resample(&self.blended[component.plane], taps, out);
        }
        self.convert.run(level, out);
    }
}

/// YUV: the two luma rows that a line lies between become RGB at full width, clamped, and are blended then.
///
/// Sharp, saturated edges leave the range of RGB; where a picture of bytes would have clamped them, so must this.
#[derive(Clone, Debug)]
struct Yuv {
    matrix: YuvToRgb,
    /// From steps of the lines to normalised values.
    norm: [Affine; 3],
    chroma: [Component; 2],
    /// Chroma position of every luma row.
    chroma_rows: Vec<Position>,
    widen: Widen,
    /// A blended row of every chroma plane, with a sample more at both ends.
    blended: [Vec<i16>; 2],
    /// Y, U and V at full width, for both rows.
    wide: [[Vec<i16>; 3]; 2],
    rgb: [Vec<i16>; 3],
    /// Columns of the picture.
    width: usize,
    taps: Taps,
}

/// How chroma gets as wide as luma.
#[derive(Clone, Debug)]
enum Widen {
    /// It is.
    Not,
    /// Two columns share a sample: eighths of the way to the sample before and after.
    Double { before: i16, after: i16 },
    /// Anything else, by table, one a component.
    Table([Taps; 2]),
}

impl Widen {
    fn new(width: u32, log2: u8, siting: Siting, chroma: [Component; 2]) -> Self {
        match (log2, siting) {
            (0, _) if chroma[0].step == 1 => Self::Not,
            (1, Siting::First) => Self::Double { before: 0, after: 4 },
            (1, Siting::Middle) => Self::Double { before: 2, after: 2 },
            _ => {
                let columns: Vec<Position> =
                    (0..width as usize).map(|x| chroma_position(x, width, log2, siting)).collect();
                Self::Table(chroma.map(|c| Taps::new(&columns, c.step, c.first + c.step)))
            }
        }
    }
}

impl Yuv {
    fn new(
        kind: &Kind,
        chroma: [Component; 2],
        log2: [u8; 2],
        spec: &TensorSpec,
        columns: &[Position],
    ) -> Self {
        let [across, down] = Siting::of(kind.color.siting);
        let (width, height) = (kind.size.width, kind.size.height);
        let widen = Widen::new(width, log2[0], across, chroma);
        // Even, so that whole pairs can be written, and with room for the tap beyond the last column.
        let line = vec![0; (width as usize).next_multiple_of(2) + 2];
        let narrow = vec![0; (width.div_ceil(1 << log2[0]) as usize + 2) * chroma[0].step];
        Self {
            matrix: yuv_to_rgb(kind.format, kind.color),
            norm: normalisation(spec).map(|norm| Affine { gain: norm.gain / f32::from(RGB_UNIT), ..norm }),
            chroma,
            chroma_rows: (0..height as usize).map(|y| chroma_position(y, height, log2[1], down)).collect(),
            widen,
            blended: [narrow.clone(), narrow],
            wide: std::array::from_fn(|_| std::array::from_fn(|_| line.clone())),
            rgb: std::array::from_fn(|_| line.clone()),
            width: width as usize,
            taps: Taps::new(columns, 1, 0),
        }
    }

    fn line(&mut self, level: Level, planes: &Planes<'_>, row: Position, out: [&mut [f32]; 3]) {
        self.rgb(level, planes, row);
        for ((line, norm), out) in self.rgb.iter().zip(self.norm).zip(out) {
            level.resample_i16(line, &self.taps, norm, out);
        }
    }

    /// A line as pixels of bytes, nothing of it resampled.
    fn pixels(
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

    /// R, G, B of a line, at full width.
    fn rgb(&mut self, level: Level, planes: &Planes<'_>, row: Position) {
        let last = self.chroma_rows.len() - 1;
        let luma_rows = Between::new(row.index, (row.index + 1).min(last), row.weight);
        self.row(level, planes, luma_rows.near, 0);
        // Where the line lies on a row, as all do at a scale of 3, the other is not needed.
        if luma_rows.share != 0 {
            self.row(level, planes, luma_rows.far, 1);
        }
        let [near, far] = self.wide.each_ref().map(|[y, u, v]| YuvRow { y, u, v });
        let rows = Between { near, far, share: luma_rows.share };
        level.yuv_to_rgb(rows, &self.matrix, &mut self.rgb);
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

    /// Y, U and V codes of luma row `y`, at full width.
    fn row(&mut self, level: Level, planes: &Planes<'_>, y: usize, i: usize) {
        let row = plane_row(planes, 0, y);
        codes(level, planes, Between::new(row, row, 0.0), &mut self.wide[i][0]);
        if matches!(self.widen, Widen::Not) {
            for plane in 1..planes.format.plane_count() {
                codes(
                    level,
                    planes,
                    chroma_rows(planes, plane, self.chroma_rows[y]),
                    &mut self.wide[i][plane],
                );
            }
            return;
        }
        self.blend_chroma(level, planes, y);
        let [_, chroma @ ..] = &mut self.wide[i];
        let step = self.chroma[0].step;
        for (c, (component, wide)) in self.chroma.iter().zip(chroma).enumerate() {
            let line = &self.blended[component.plane - 1];
            match &self.widen {
                Widen::Not => {}
                Widen::Double { before, after } if step == 1 => {
                    level.double_single(line, *before, *after, wide);
                }
                Widen::Double { before, after } => {
                    level.double_paired(&line[component.first..], *before, *after, wide);
                }
                Widen::Table(taps) => level.widen(line, &taps[c], wide),
            }
        }
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

fn plane_row<'a>(planes: &Planes<'a>, plane: usize, y: usize) -> &'a [u8] {
    let (_, row_bytes) = planes.format.plane_shape(plane, planes.size);
    let start = y * planes.stride[plane];
    &planes.data[plane][start..start + row_bytes]
}

/// The two rows of a plane that a position lies between.
fn neighbours<'a>(planes: &Planes<'a>, plane: usize, at: Position) -> [&'a [u8]; 2] {
    let (rows, _) = planes.format.plane_shape(plane, planes.size);
    [at.index, at.index + 1].map(|y| plane_row(planes, plane, y.min(rows - 1)))
}

/// Blends two neighbouring rows of a plane into the front of `out`.
fn blend(level: Level, planes: &Planes<'_>, plane: usize, at: Position, out: &mut [f32]) {
    let [a, b] = neighbours(planes, plane, at);
    match planes.format.sample_bytes() {
        1 => level.blend_u8(a, b, at.weight, out),
        _ => level.blend_u16(a, b, u32::from(planes.format.shift), at.weight, out),
    }
}
