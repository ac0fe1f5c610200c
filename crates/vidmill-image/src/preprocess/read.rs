//! From planes to normalised lines at the model's resolution.

use crate::kernel::{Affine, Level, Position, Taps, YuvRows, YuvToRgb};
use crate::{ChannelOrder, Planes, TensorSpec};

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
            level.resample(&self.blended[component.plane], taps, Affine::IDENTITY, out);
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
    norm: [Affine; 3],
    chroma: [Component; 2],
    /// Chroma position of every luma row.
    chroma_rows: Vec<Position>,
    widen: Widen,
    /// A blended row of every chroma plane, with a sample more at both ends.
    blended: [Vec<f32>; 2],
    /// U and V at full width, for both rows.
    wide: [[Vec<f32>; 2]; 2],
    rgb: [Vec<f32>; 3],
    taps: Taps,
}

/// How chroma gets as wide as luma.
#[derive(Clone, Debug)]
enum Widen {
    /// Two columns share a sample: weights of the sample before and after.
    Double { before: f32, after: f32 },
    /// Anything else, by table, one a component.
    Table([Taps; 2]),
}

impl Yuv {
    fn new(
        kind: &Kind,
        chroma: [Component; 2],
        log2: [u8; 2],
        spec: &TensorSpec,
        columns: &[Position],
    ) -> Self {
        let [across, down] = Siting::of(kind.siting);
        let (width, height) = (kind.size.width, kind.size.height);
        let columns_of_chroma = || -> Vec<Position> {
            (0..width as usize).map(|x| chroma_position(x, width, log2[0], across)).collect()
        };
        let widen = match (log2[0], across) {
            (1, Siting::First) => Widen::Double { before: 0.0, after: 0.5 },
            (1, Siting::Middle) => Widen::Double { before: 0.25, after: 0.25 },
            _ => {
                let columns = columns_of_chroma();
                Widen::Table(chroma.map(|c| Taps::new(&columns, c.step, c.first + c.step)))
            }
        };
        // Even, so that whole pairs can be written, and with room for the tap beyond the last column.
        let line = vec![0.0; (width as usize).next_multiple_of(2) + 2];
        let narrow = vec![0.0; (width.div_ceil(1 << log2[0]) as usize + 2) * chroma[0].step];
        Self {
            matrix: yuv_to_rgb(kind.format, kind.color),
            norm: normalisation(spec),
            chroma,
            chroma_rows: (0..height as usize).map(|y| chroma_position(y, height, log2[1], down)).collect(),
            widen,
            blended: [narrow.clone(), narrow],
            wide: std::array::from_fn(|_| [line.clone(), line.clone()]),
            rgb: std::array::from_fn(|_| line.clone()),
            taps: Taps::new(columns, 1, 0),
        }
    }

    fn line(&mut self, level: Level, planes: &Planes<'_>, row: Position, out: [&mut [f32]; 3]) {
        let last = self.chroma_rows.len() - 1;
        let luma_rows = [row.index, (row.index + 1).min(last)];
        for (i, y) in luma_rows.into_iter().enumerate() {
            self.chroma_row(level, planes, self.chroma_rows[y], i);
        }
        let [[u0, v0], [u1, v1]] = &self.wide;
        let y = luma_rows.map(|y| plane_row(planes, 0, y));
        let rows = YuvRows { y, u: [u0, u1], v: [v0, v1], weight: row.weight };
        match planes.format.sample_bytes() {
            1 => level.yuv_to_rgb_u8(&rows, &self.matrix, &mut self.rgb),
            _ => level.yuv_to_rgb_u16(&rows, planes.format.shift.into(), &self.matrix, &mut self.rgb),
        }
        for ((line, norm), out) in self.rgb.iter().zip(self.norm).zip(out) {
            level.resample(line, &self.taps, norm, out);
        }
    }

    /// U and V of one luma row, at full width.
    fn chroma_row(&mut self, level: Level, planes: &Planes<'_>, at: Position, i: usize) {
        for plane in self.chroma[0].plane..=self.chroma[1].plane.max(self.chroma[0].plane) {
            let line = &mut self.blended[plane - 1];
            let step = self.chroma[0].step;
            blend(level, planes, plane, at, &mut line[step..]);
            repeat_ends(line, step);
        }
        for (c, component) in self.chroma.iter().enumerate() {
            let (line, wide) = (&self.blended[component.plane - 1], &mut self.wide[i][c]);
            match &self.widen {
                Widen::Double { before, after } if component.step == 1 => {
                    level.double_single(line, *before, *after, wide);
                }
                Widen::Double { before, after } => {
                    level.double_paired(&line[component.first..], *before, *after, wide);
                }
                Widen::Table(taps) => level.resample(line, &taps[c], Affine::IDENTITY, wide),
            }
        }
    }
}

/// Copies the first and the last sample outwards.
fn repeat_ends(line: &mut [f32], step: usize) {
    let end = line.len();
    line.copy_within(step..2 * step, 0);
    line.copy_within(end - 2 * step..end - step, end - step);
}

fn plane_row<'a>(planes: &Planes<'a>, plane: usize, y: usize) -> &'a [u8] {
    let (_, row_bytes) = planes.format.plane_shape(plane, planes.size);
    let start = y * planes.stride[plane];
    &planes.data[plane][start..start + row_bytes]
}

/// Blends two neighbouring rows of a plane into the front of `out`.
fn blend(level: Level, planes: &Planes<'_>, plane: usize, at: Position, out: &mut [f32]) {
    let (rows, _) = planes.format.plane_shape(plane, planes.size);
    let row = |index: usize| plane_row(planes, plane, index.min(rows - 1));
    let (a, b) = (row(at.index), row(at.index + 1));
    match planes.format.sample_bytes() {
        1 => level.blend_u8(a, b, at.weight, out),
        _ => level.blend_u16(a, b, u32::from(planes.format.shift), at.weight, out),
    }
}
