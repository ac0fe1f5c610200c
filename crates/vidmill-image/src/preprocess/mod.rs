//! From a decoder's planes to a model's tensor, in one pass.
//!
//! In: [`Planes`]. Out: the bytes that a [`TensorSpec`] describes. The meaning is that of OpenCV's
//! `resize(INTER_LINEAR)` on the displayed RGB picture (pixel centres at halves, edges repeated, no antialiasing),
//! then padding, then `(v * scale - mean) / std`; but planes are resized as they are, chroma at its own positions,
//! and only the pixels of the model's input are ever converted to RGB.
//!
//! [`Preprocess::new`] checks everything and builds all tables; [`Preprocess::run`] allocates nothing.

mod axis;
mod convert;
mod source;
#[cfg(test)]
mod tests;
mod write;

use crate::geometry::{Orientation, fit};
use crate::kernel::{Level, Position, Taps};
use crate::{ColorSpec, Geometry, PixelFormat, Planes, PlanesError, Rotation, Size, TensorSpec};

use axis::{Axis, Siting, positions};
use convert::Convert;
use source::Source;
use write::{Window, Writer};

/// Longest side of a picture or of a model's input, in pixels.
pub const MAX_SIDE: u32 = 65_536;

/// Where chroma is taken to stand along x and y.
const SITING: [Siting; 2] = [Siting::Left, Siting::Center];

/// Decoded rows that are turned at a time when rows become columns: one cache line of floats.
const BAND: usize = 16;

/// Why a tensor cannot be made from such a picture.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// The picture has no pixels or too many.
    #[error("picture of {}x{} cannot be preprocessed: sides must be 1 to {MAX_SIDE} pixels", .0.width, .0.height)]
    Picture(Size),
    /// The model's input has no pixels or too many.
    #[error("model input of {}x{} cannot be filled: sides must be 1 to {MAX_SIDE} pixels", .0.width, .0.height)]
    Input(Size),
    /// The format is none that can be read.
    #[error(transparent)]
    Format(#[from] PlanesError),
    /// Normalisation that gives no numbers.
    #[error(
        "normalisation of channel {channel} gives no finite values (scale {scale}, mean {mean}, std {std})"
    )]
    Normalisation {
        /// Index of the channel in the tensor.
        channel: usize,
        /// Factor.
        scale: f32,
        /// Mean.
        mean: f32,
        /// Deviation.
        std: f32,
    },
}

/// Why a picture was not turned into a tensor.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The picture is not of the kind that was planned for; make a new plan.
    #[error(
        "picture of {}x{} ({found_format:?}) was given to a plan for {}x{} ({planned_format:?}); \
         its format, size, colour and rotation must be the planned ones",
        .found.width, .found.height, .planned.width, .planned.height
    )]
    Unplanned {
        /// Size of the picture.
        found: Size,
        /// Format of the picture.
        found_format: PixelFormat,
        /// Size planned for.
        planned: Size,
        /// Format planned for.
        planned_format: PixelFormat,
    },
    /// The planes do not hold the picture.
    #[error(transparent)]
    Planes(#[from] PlanesError),
    /// The output has the wrong length.
    #[error("output holds {found} bytes, but the tensor takes {needed}")]
    Output {
        /// Bytes given.
        found: usize,
        /// Bytes of one item.
        needed: usize,
    },
}

/// A plan for turning pictures of one kind into tensors, with the tables and scratch memory it needs.
#[derive(Clone, Debug)]
pub struct Preprocess {
    kind: Kind,
    geometry: Geometry,
    item_bytes: usize,
    orientation: Orientation,
    window: Window,
    resample: Resample,
    convert: Convert,
    writer: Writer,
    turned: [Vec<f32>; 3],
    level: Level,
}

/// What a picture must be to fit a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    format: PixelFormat,
    size: Size,
    color: ColorSpec,
    rotation: Rotation,
}

/// Everything that turns planes into lines of components at the model's resolution.
#[derive(Clone, Debug)]
struct Resample {
    source: Source,
    /// Rows to blend, per plane and output line.
    rows: Vec<Vec<Position>>,
    /// Columns to blend, per component.
    taps: Vec<Taps>,
    /// One blended row of every plane.
    blended: Vec<Vec<f32>>,
    /// Lines of up to [`BAND`] rows, per component (always three).
    lines: [Vec<f32>; 3],
    /// Values in a line.
    length: usize,
    /// Lines of the whole picture.
    count: usize,
}

impl Preprocess {
    /// Plans for pictures of `format`, decoded `size`, `color` and `rotation`.
    ///
    /// # Errors
    /// When the format cannot be read, a side is out of range, or the normalisation is not finite.
    pub fn new(
        spec: &TensorSpec,
        format: PixelFormat,
        size: Size,
        color: ColorSpec,
        rotation: Rotation,
    ) -> Result<Self, PlanError> {
        check(spec, format, size)?;
        let displayed = size.rotated(rotation);
        let orientation = rotation.orientation();
        let [across, down] = fit(displayed, spec.size, spec.resize);
        let (left, right) = across.visible(spec.size.width);
        let (top, bottom) = down.visible(spec.size.height);
        let (x, y) = if orientation.transposed {
            ((down, spec.size.height), (across, spec.size.width))
        } else {
            ((across, spec.size.width), (down, spec.size.height))
        };
        let x = Axis { length: size.width, fit: x.0, input: x.1, flip: orientation.flip_x };
        let y = Axis { length: size.height, fit: y.0, input: y.1, flip: orientation.flip_y };
        let mut source = Source::new(format);
        if spec.channels.count() == 1 && source.model == source::Model::Yuv {
            source = source.luma_only();
        }
        let convert = Convert::new(source.model, format, color, spec);
        let resample = Resample::new(source, x, y, orientation);
        let turned = if orientation.transposed { resample.length * BAND } else { 0 };
        Ok(Self {
            kind: Kind { format, size, color, rotation },
            geometry: Geometry::new(displayed, spec.size, spec.resize),
            item_bytes: spec.item_bytes(),
            orientation,
            window: Window {
                left: left as usize,
                right: right as usize,
                top: top as usize,
                bottom: bottom as usize,
            },
            resample,
            convert,
            writer: Writer::new(spec),
            turned: std::array::from_fn(|_| vec![0.0; turned]),
            level: Level::best(),
        })
    }

    /// Plans for pictures like `planes`.
    ///
    /// # Errors
    /// As [`Preprocess::new`].
    pub fn for_planes(spec: &TensorSpec, planes: &Planes<'_>) -> Result<Self, PlanError> {
        Self::new(spec, planes.format, planes.size, planes.color, planes.rotation)
    }

    /// Where the displayed frame lies in the model's input.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether `planes` are of the format, size, colour and rotation that this plan is for.
    pub fn fits(&self, planes: &Planes<'_>) -> bool {
        let Planes { format, size, color, rotation, .. } = *planes;
        self.kind == Kind { format, size, color, rotation }
    }

    /// Name of the instruction set level in use: `scalar` or `avx2`. All levels give the same bytes.
    pub fn simd_level(&self) -> &'static str {
        self.level.name()
    }

    /// Writes the tensor of one picture into `out`: [`TensorSpec::item_bytes`] bytes in native byte order, at any alignment.
    ///
    /// # Errors
    /// When the picture [does not fit](Preprocess::fits) the plan or its planes are too short, or `out` is of another
    /// length. Nothing is written then.
    pub fn run(&mut self, planes: &Planes<'_>, out: &mut [u8]) -> Result<(), PreprocessError> {
        if !self.fits(planes) {
            return Err(PreprocessError::Unplanned {
                found: planes.size,
                found_format: planes.format,
                planned: self.kind.size,
                planned_format: self.kind.format,
            });
        }
        planes.validate()?;
        if out.len() != self.item_bytes {
            return Err(PreprocessError::Output { found: out.len(), needed: self.item_bytes });
        }
        self.writer.pad(self.window, out);
        if self.orientation.transposed {
            self.run_turned(planes, out)
        } else {
            self.run_upright(planes, out)
        }
        Ok(())
    }

    /// Decoded rows are rows of the tensor.
    fn run_upright(&mut self, planes: &Planes<'_>, out: &mut [u8]) {
        let Window { left, top, .. } = self.window;
        for k in 0..self.resample.count {
            self.resample.line(self.level, planes, k, 0);
            let lines = self.resample.slot(0);
            let [a, b, c] = lines;
            self.convert.run(self.level, [&mut *a, &mut *b, &mut *c]);
            self.writer.segment(self.level, [a, b, c], top + k, left, out);
        }
    }

    /// Decoded rows are columns of the tensor: a band of them is turned at a time.
    fn run_turned(&mut self, planes: &Planes<'_>, out: &mut [u8]) {
        let Window { left, top, .. } = self.window;
        let length = self.resample.length;
        for start in (0..self.resample.count).step_by(BAND) {
            let rows = BAND.min(self.resample.count - start);
            for k in 0..rows {
                self.resample.line(self.level, planes, start + k, k);
                self.convert.run(self.level, self.resample.slot(k));
            }
            for (turned, lines) in self.turned.iter_mut().zip(&self.resample.lines) {
                transpose(lines, length, rows, turned);
            }
            for x in 0..length {
                let at = x * BAND..x * BAND + rows;
                let columns = [0, 1, 2].map(|c: usize| &self.turned[c][at.clone()]);
                self.writer.segment(self.level, columns, top + x, left + start, out);
            }
        }
    }
}

impl Resample {
    fn new(source: Source, x: Axis, y: Axis, orientation: Orientation) -> Self {
        let (across, down) = (x.coordinates(), y.coordinates());
        let (length, count) = (across.len(), down.len());
        let band = if orientation.transposed { BAND } else { 1 };
        let column = |component: &source::Component| {
            let plane = source.planes[component.plane];
            let positions = positions(&across, x.length, plane.log2_w, SITING[0]);
            Taps::new(&positions, component.step, component.first)
        };
        let row = |plane: &source::PlaneShape| positions(&down, y.length, plane.log2_h, SITING[1]);
        let blended = |plane: &source::PlaneShape| {
            // One pixel more than a row has: the last tap looks there, with weight 0.
            vec![0.0; (x.length.div_ceil(1 << plane.log2_w) as usize + 1) * plane.step]
        };
        Self {
            rows: source.planes.iter().map(row).collect(),
            taps: source.components.iter().map(column).collect(),
            blended: source.planes.iter().map(blended).collect(),
            lines: std::array::from_fn(|_| vec![0.0; length * band]),
            length,
            count,
            source,
        }
    }

    /// Line `k` of the output, as components, into `slot` of the band.
    fn line(&mut self, level: Level, planes: &Planes<'_>, k: usize, slot: usize) {
        for (plane, rows) in self.rows.iter().enumerate() {
            blend(level, planes, plane, rows[k], &mut self.blended[plane]);
        }
        let at = slot * self.length..(slot + 1) * self.length;
        for ((component, taps), line) in self.source.components.iter().zip(&self.taps).zip(&mut self.lines) {
            level.resample(&self.blended[component.plane], taps, &mut line[at.clone()]);
        }
    }

    fn slot(&mut self, slot: usize) -> [&mut [f32]; 3] {
        let at = slot * self.length..(slot + 1) * self.length;
        self.lines.each_mut().map(|line| &mut line[at.clone()])
    }
}

/// Blends two neighbouring rows of a plane into `out`, whose last pixel stays 0.
fn blend(level: Level, planes: &Planes<'_>, plane: usize, at: Position, out: &mut [f32]) {
    let (rows, row_bytes) = planes.format.plane_shape(plane, planes.size);
    let row = |index: usize| {
        let start = index.min(rows - 1) * planes.stride[plane];
        &planes.data[plane][start..start + row_bytes]
    };
    let (a, b) = (row(at.index), row(at.index + 1));
    let out = &mut out[..row_bytes / planes.format.sample_bytes()];
    match planes.format.sample_bytes() {
        1 => level.blend_u8(a, b, at.weight, out),
        _ => level.blend_u16(a, b, u32::from(planes.format.shift), at.weight, out),
    }
}

/// Turns `rows` lines of `length` into `length` lines of `rows`, [`BAND`] apart.
fn transpose(lines: &[f32], length: usize, rows: usize, out: &mut [f32]) {
    for (k, line) in lines.chunks_exact(length).take(rows).enumerate() {
        for (column, &value) in out.chunks_exact_mut(BAND).zip(line) {
            column[k] = value;
        }
    }
}

fn check(spec: &TensorSpec, format: PixelFormat, size: Size) -> Result<(), PlanError> {
    let is_usable = |size: Size| [size.width, size.height].iter().all(|side| (1..=MAX_SIDE).contains(side));
    if !is_usable(size) {
        return Err(PlanError::Picture(size));
    }
    if !is_usable(spec.size) {
        return Err(PlanError::Input(spec.size));
    }
    format.validate()?;
    for channel in 0..spec.channels.count() {
        let (mean, std) = (spec.mean[channel], spec.std[channel]);
        let ends = [0.0, 255.0].map(|v: f32| (v * spec.scale - mean) / std);
        if !ends.iter().all(|value| value.is_finite()) || std == 0.0 {
            return Err(PlanError::Normalisation { channel, scale: spec.scale, mean, std });
        }
    }
    Ok(())
}
