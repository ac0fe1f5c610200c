//! From a decoder's planes to a model's tensor, in one pass.
//!
//! In: [`Planes`]. Out: the bytes that a [`TensorSpec`] describes. The meaning is that of OpenCV's
//! `resize(INTER_LINEAR)` on the displayed RGB picture (pixel centres at halves, edges repeated, no antialiasing),
//! then padding, then `(v * scale - mean) / std`. No picture is ever converted as a whole: the two rows that a line of
//! the input lies between are, into lines that stay in the processor's cache.
//!
//! [`Preprocess::new`] checks everything and builds all tables; [`Preprocess::run`] allocates nothing.

mod axis;
mod convert;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod write;

use crate::geometry::{Orientation, fit};
use crate::kernel::Level;
use crate::{ColorSpec, Geometry, PixelFormat, Planes, PlanesError, Rotation, Size, TensorSpec};

use axis::Axis;
use read::Reader;
use write::{Window, Writer};

/// Longest side of a picture or of a model's input, in pixels.
pub const MAX_SIDE: u32 = 65_536;

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
    reader: Reader,
    writer: Writer,
    /// Pixels become bytes one by one: no resampling, no padding, no normalisation.
    is_plain: bool,
    /// Elements of lines of R, G, B: of one, or of a band of them.
    lines: [Vec<u8>; 3],
    /// A band with rows and columns swapped.
    turned: [Vec<u8>; 3],
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
        Self::at(Level::best(), spec, Kind { format, size, color, rotation })
    }

    /// [`Preprocess::new`] at a level.
    fn at(level: Level, spec: &TensorSpec, kind: Kind) -> Result<Self, PlanError> {
        check(spec, kind.format, kind.size)?;
        let displayed = kind.size.rotated(kind.rotation);
        let orientation = kind.rotation.orientation();
        let [across, down] = fit(displayed, spec.size, spec.resize);
        let (left, right) = across.visible(spec.size.width);
        let (top, bottom) = down.visible(spec.size.height);
        let (x, y) = if orientation.transposed {
            ((down, spec.size.height), (across, spec.size.width))
        } else {
            ((across, spec.size.width), (down, spec.size.height))
        };
        let x = Axis { length: kind.size.width, fit: x.0, input: x.1, flip: orientation.flip_x };
        let y = Axis { length: kind.size.height, fit: y.0, input: y.1, flip: orientation.flip_y };
        let reader = Reader::new(level, &kind, x, y, spec);
        let (band, turned) = if orientation.transposed { (BAND, BAND) } else { (1, 0) };
        let bytes = reader.length() * spec.element.bytes();
        let lines = |count: usize| std::array::from_fn(|_| vec![0; bytes * count]);
        let writer = Writer::new(level, spec);
        let is_whole = (left, top, right, bottom) == (0, 0, spec.size.width, spec.size.height);
        let is_plain = is_whole && !orientation.transposed && writer.takes_pixels() && reader.is_plain(spec);
        Ok(Self {
            kind,
            geometry: Geometry::new(displayed, spec.size, spec.resize),
            item_bytes: spec.item_bytes(),
            orientation,
            window: Window {
                left: left as usize,
                right: right as usize,
                top: top as usize,
                bottom: bottom as usize,
            },
            lines: lines(band),
            turned: lines(turned),
            reader,
            writer,
            is_plain,
            level,
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

    /// Name of the instruction set level in use: `scalar`, `avx2`, `avx512` or `neon`. All levels give the same bytes.
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
        self.reader.begin();
        if self.is_plain {
            self.run_plain(planes, out);
            return Ok(());
        }
        self.writer.pad(self.window, out);
        if self.orientation.transposed {
            self.run_turned(planes, out)
        } else {
            self.run_upright(planes, out)
        }
        Ok(())
    }

    /// Decoded pixels are pixels of the tensor.
    fn run_plain(&mut self, planes: &Planes<'_>, out: &mut [u8]) {
        for k in 0..self.reader.count() {
            let (order, row) = self.writer.pixels(k, out);
            self.reader.pixels(self.level, planes, k, order, row);
        }
    }

    /// Decoded rows are rows of the tensor.
    fn run_upright(&mut self, planes: &Planes<'_>, out: &mut [u8]) {
        let Window { left, top, .. } = self.window;
        for k in 0..self.reader.count() {
            match self.writer.places(top + k, left, self.reader.length(), out) {
                Some(places) => self.reader.line(self.level, planes, k, places),
                None => {
                    let lines = self.lines.each_mut().map(Vec::as_mut_slice);
                    self.reader.line(self.level, planes, k, lines);
                    let lines = self.lines.each_ref().map(Vec::as_slice);
                    self.writer.segment(self.level, lines, top + k, left, out);
                }
            }
        }
    }

    /// Decoded rows are columns of the tensor: a band of them is turned at a time.
    fn run_turned(&mut self, planes: &Planes<'_>, out: &mut [u8]) {
        let Window { left, top, .. } = self.window;
        let (length, count) = (self.reader.length(), self.reader.count());
        let bytes = self.lines[0].len() / BAND / length;
        for start in (0..count).step_by(BAND) {
            let rows = BAND.min(count - start);
            for k in 0..rows {
                let line = k * length * bytes..(k + 1) * length * bytes;
                let lines = self.lines.each_mut().map(|band| &mut band[line.clone()]);
                self.reader.line(self.level, planes, start + k, lines);
            }
            for (turned, lines) in self.turned.iter_mut().zip(&self.lines) {
                match bytes {
                    1 => transpose::<1>(lines, length, rows, turned),
                    2 => transpose::<2>(lines, length, rows, turned),
                    _ => transpose::<4>(lines, length, rows, turned),
                }
            }
            for x in 0..length {
                let at = x * BAND * bytes..(x * BAND + rows) * bytes;
                let columns = self.turned.each_ref().map(|column| &column[at.clone()]);
                self.writer.segment(self.level, columns, top + x, left + start, out);
            }
        }
    }
}

/// Turns `rows` lines of `length` elements of `BYTES` bytes into `length` lines of `rows`, [`BAND`] apart; a square at a time,
/// which stays in the cache.
fn transpose<const BYTES: usize>(lines: &[u8], length: usize, rows: usize, out: &mut [u8]) {
    let (lines, out) = (lines.as_chunks::<BYTES>().0, out.as_chunks_mut::<BYTES>().0);
    for (square, out) in out.chunks_mut(BAND * BAND).enumerate() {
        for (k, line) in lines.chunks_exact(length).take(rows).enumerate() {
            for (column, &value) in out.chunks_exact_mut(BAND).zip(&line[square * BAND..]) {
                column[k] = value;
            }
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
