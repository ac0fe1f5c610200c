//! From normalised lines to bytes of the tensor: layout, element type, padding.

use crate::kernel::Level;
use crate::{ChannelOrder, ElementType, ResizeMode, TensorLayout, TensorSpec};

use super::convert::normalisation;

/// Writes segments of rows into a tensor of one item.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    width: usize,
    height: usize,
    element: ElementType,
    arrangement: Arrangement,
    /// One row of padding for each of the tensor's planes.
    padding: Vec<Vec<u8>>,
}

/// How channels become planes of the tensor, in terms of the lines R, G, B.
#[derive(Clone, Debug)]
enum Arrangement {
    /// One plane a channel, in this order.
    Planar(Vec<usize>),
    /// One plane of pixels, in this order.
    Interleaved([usize; 3]),
}

/// The part of the tensor that shows the picture: columns and rows, from and one past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) top: usize,
    pub(super) bottom: usize,
}

impl Writer {
    pub(super) fn new(level: Level, spec: &TensorSpec) -> Self {
        let order = match spec.channels {
            ChannelOrder::Rgb => vec![0, 1, 2],
            ChannelOrder::Bgr => vec![2, 1, 0],
            ChannelOrder::Gray => vec![0],
        };
        let arrangement = match (spec.layout, order.as_slice()) {
            (TensorLayout::Nhwc, &[a, b, c]) => Arrangement::Interleaved([a, b, c]),
            _ => Arrangement::Planar(order),
        };
        let (width, height) = (spec.size.width as usize, spec.size.height as usize);
        let mut writer = Self { width, height, element: spec.element, arrangement, padding: Vec::new() };
        writer.padding = writer.padding_rows(level, spec);
        writer
    }

    fn padding_rows(&self, level: Level, spec: &TensorSpec) -> Vec<Vec<u8>> {
        let norm = normalisation(spec);
        let value = |line: usize| match spec.resize {
            ResizeMode::FitHeight => 0.0,
            _ => norm[line].apply(f32::from(spec.pad)),
        };
        let row = |values: Vec<f32>| {
            let mut bytes = vec![0; values.len() * self.element.bytes()];
            level.store(&values, self.element, &mut bytes);
            bytes
        };
        match &self.arrangement {
            Arrangement::Planar(order) => {
                order.iter().map(|&line| row(vec![value(line); self.width])).collect()
            }
            Arrangement::Interleaved(order) => {
                vec![row(order.map(value).repeat(self.width))]
            }
        }
    }

    /// Bytes from one column to the next.
    fn pixel_bytes(&self) -> usize {
        match self.arrangement {
            Arrangement::Planar(_) => self.element.bytes(),
            Arrangement::Interleaved(_) => 3 * self.element.bytes(),
        }
    }

    /// Whether it writes pixels of bytes: then there is [`Self::pixels`].
    pub(super) fn takes_pixels(&self) -> bool {
        self.element == ElementType::U8 && matches!(self.arrangement, Arrangement::Interleaved(_))
    }

    /// The bytes of a whole row of pixels, and the order of R, G, B in each. (Of any other tensor, nothing.)
    pub(super) fn pixels<'a>(&self, row: usize, out: &'a mut [u8]) -> ([usize; 3], &'a mut [u8]) {
        let bytes = self.width * 3;
        match self.arrangement {
            Arrangement::Interleaved(order) => (order, &mut out[row * bytes..(row + 1) * bytes]),
            Arrangement::Planar(_) => ([0; 3], &mut []),
        }
    }

    /// Where `length` elements of R, G, B (only the first for grey) from (`row`, `column`) on belong, when each channel has a plane
    /// of its own.
    pub(super) fn places<'a>(
        &self,
        row: usize,
        column: usize,
        length: usize,
        out: &'a mut [u8],
    ) -> Option<[&'a mut [u8]; 3]> {
        let Arrangement::Planar(order) = &self.arrangement else { return None };
        let bytes = self.element.bytes();
        let start = (row * self.width + column) * bytes;
        let mut places: [&mut [u8]; 3] = std::array::from_fn(|_| Default::default());
        for (plane, &line) in out.chunks_exact_mut(self.width * self.height * bytes).zip(order) {
            places[line] = &mut plane[start..start + length * bytes];
        }
        Some(places)
    }

    /// Writes `lines` (elements of R, G, B in equal number; only the first for grey) from (`row`, `column`) on.
    pub(super) fn segment(&self, level: Level, lines: [&[u8]; 3], row: usize, column: usize, out: &mut [u8]) {
        let length = lines[0].len() / self.element.bytes();
        match &self.arrangement {
            Arrangement::Planar(_) => {
                for (place, line) in self.places(row, column, length, out).into_iter().flatten().zip(lines) {
                    let count = place.len();
                    place.copy_from_slice(&line[..count]);
                }
            }
            Arrangement::Interleaved(order) => {
                let start = (row * self.width + column) * self.pixel_bytes();
                let out = &mut out[start..start + length * self.pixel_bytes()];
                level.interleave(order.map(|line| lines[line]), self.element.bytes(), out);
            }
        }
    }

    /// Fills everything outside `window` with padding.
    pub(super) fn pad(&self, window: Window, out: &mut [u8]) {
        let bytes = self.pixel_bytes();
        let row_bytes = self.width * bytes;
        let (left, right) = (window.left * bytes, window.right * bytes);
        for (plane, padding) in out.chunks_exact_mut(row_bytes * self.height).zip(&self.padding) {
            for (y, row) in plane.chunks_exact_mut(row_bytes).enumerate() {
                if (window.top..window.bottom).contains(&y) {
                    row[..left].copy_from_slice(&padding[..left]);
                    row[right..].copy_from_slice(&padding[right..]);
                } else {
                    row.copy_from_slice(padding);
                }
            }
        }
    }
}
