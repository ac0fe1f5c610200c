//! From planes to lines of the tensor's elements at the model's resolution.

mod direct;
mod yuv;

use crate::kernel::Level;
use crate::{ChannelOrder, Planes, TensorSpec};

use super::Kind;
use super::axis::{Axis, Columns, Position, positions};
use super::convert::Convert;
use super::source::Source;
use direct::Direct;
use yuv::Yuv;

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
    Direct(Box<Direct>),
    Yuv(Box<Yuv>),
}

impl Reader {
    pub(super) fn new(level: Level, kind: &Kind, x: Axis, y: Axis, spec: &TensorSpec) -> Self {
        let width = kind.size.width as usize;
        let columns = positions(&x.coordinates());
        let length = columns.len();
        let columns = Columns::new(&columns, width);
        let rows = positions(&y.coordinates());
        let gray = spec.channels == ChannelOrder::Gray;
        let way = match Source::new(kind.format) {
            Source::Rgb(components) => {
                let convert = Convert::from_rgb(kind.format, spec);
                Way::Direct(Box::new(Direct::new(level, kind, &components, convert, columns, spec.element)))
            }
            Source::Yuv { chroma, log2, .. } if !gray => {
                Way::Yuv(Box::new(Yuv::new(level, kind, chroma, log2, spec, columns)))
            }
            Source::Gray(luma) | Source::Yuv { luma, .. } => {
                let convert = Convert::from_luma(kind.format, kind.color, spec);
                Way::Direct(Box::new(Direct::new(level, kind, &[luma], convert, columns, spec.element)))
            }
        };
        Self { rows, length, way }
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
        is_same && yuv.takes_all_columns() && self.rows.iter().all(|row| row.weight == 0.0)
    }
    /// Another picture begins: nothing that is remembered of the last one counts.
    pub(super) fn begin(&mut self) {
        if let Way::Yuv(yuv) = &mut self.way {
            yuv.begin();
        }
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
    /// Line `k` as elements of R, G, B (or luma, in the first).
    pub(super) fn line(&mut self, level: Level, planes: &Planes<'_>, k: usize, out: [&mut [u8]; 3]) {
        match &mut self.way {
            Way::Direct(direct) => direct.line(level, planes, self.rows[k], out),
            Way::Yuv(yuv) => yuv.line(level, planes, self.rows[k], out),
        }
    }
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
