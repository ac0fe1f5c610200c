//! Taking over a decoder's planes, whatever their format.

use super::{Picture, codes};
use crate::{ColorSpec, Layout, PixelFormat, Planes, PlanesError, Size};

impl Picture {
    /// Becomes a copy of `planes`, reduced to 8-bit 4:2:0; not rotated.
    ///
    /// YUV and grey keep their matrix and range. RGB becomes BT.601 limited. Chroma of finer sampling is averaged, of
    /// coarser repeated; more than 8 bits are rounded.
    ///
    /// # Errors
    /// When the planes do not hold what their format says; the picture is unchanged then.
    pub fn copy_from(&mut self, planes: &Planes<'_>) -> Result<(), PlanesError> {
        planes.validate()?;
        let Planes { format, size, .. } = *planes;
        match format.layout {
            Layout::RgbPlanar | Layout::RgbPacked { .. } => {
                self.resize(size, ColorSpec::default());
                self.copy_rgb(&Reader { planes, format });
            }
            _ => {
                self.resize(size, planes.color);
                self.copy_yuv(&Reader { planes, format });
            }
        }
        Ok(())
    }

    fn copy_yuv(&mut self, reader: &Reader<'_>) {
        let width = self.size.width as usize;
        for (y, row) in self.planes[0].chunks_exact_mut(width).enumerate() {
            reader.row(0, y, row);
        }
        let places = match reader.format.layout {
            Layout::YuvPlanar { log2_chroma_w: w, log2_chroma_h: h } => [(1, 1, 0, w, h), (2, 1, 0, w, h)],
            Layout::YuvSemiPlanar { log2_chroma_w: w, log2_chroma_h: h, swap_uv } => {
                let v = usize::from(!swap_uv);
                [(1, 2, 1 - v, w, h), (1, 2, v, w, h)]
            }
            _ => {
                self.planes[1].fill(128);
                self.planes[2].fill(128);
                return;
            }
        };
        let (width, _) = self.plane_size(1);
        for (out, (plane, step, first, log2_w, log2_h)) in self.planes[1..].iter_mut().zip(places) {
            let across = Axis::new(self.size.width, log2_w);
            let down = Axis::new(self.size.height, log2_h);
            for (y, row) in out.chunks_exact_mut(width).enumerate() {
                if step == 1 && log2_w == 1 && log2_h == 1 {
                    reader.row(plane, y, row);
                    continue;
                }
                let (y0, y1) = down.pair(y);
                for (x, out) in row.iter_mut().enumerate() {
                    let (x0, x1) = across.pair(x);
                    let at = |x: usize, y| u32::from(reader.sample(plane, y, x * step + first));
                    *out = ((at(x0, y0) + at(x1, y0) + at(x0, y1) + at(x1, y1) + 2) / 4) as u8;
                }
            }
        }
    }

    fn copy_rgb(&mut self, reader: &Reader<'_>) {
        let Size { width, height } = self.size;
        let (chroma_width, _) = self.plane_size(1);
        let (across, down) = (Axis::new(width, 0), Axis::new(height, 0));
        let color = self.color;
        let [luma, u, v] = &mut self.planes;
        let table = LumaTable::new(color);
        for (y, row) in luma.chunks_exact_mut(width as usize).enumerate() {
            for (x, out) in row.iter_mut().enumerate() {
                *out = table.luma(reader.rgb(x, y));
            }
        }
        let rows = u.chunks_exact_mut(chroma_width).zip(v.chunks_exact_mut(chroma_width));
        for (y, (u, v)) in rows.enumerate() {
            let (y0, y1) = down.pair(y);
            for (x, (u, v)) in u.iter_mut().zip(v).enumerate() {
                let (x0, x1) = across.pair(x);
                let corners =
                    [reader.rgb(x0, y0), reader.rgb(x1, y0), reader.rgb(x0, y1), reader.rgb(x1, y1)];
                let mean = [0, 1, 2].map(|c: usize| {
                    (corners.iter().map(|rgb| u32::from(rgb[c])).sum::<u32>().div_ceil(4)).min(255) as u8
                });
                [_, *u, *v] = codes(mean, color);
            }
        }
    }
}

/// Which one or two source samples a 4:2:0 chroma sample stands for, along one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    log2: u8,
    last: usize,
}

impl Axis {
    fn new(luma: u32, log2: u8) -> Self {
        Self { log2, last: (luma as usize).div_ceil(1 << log2) - 1 }
    }
    fn pair(self, at: usize) -> (usize, usize) {
        match self.log2 {
            0 => (2 * at, (2 * at + 1).min(self.last)),
            log2 => {
                let one = (at >> (log2 - 1)).min(self.last);
                (one, one)
            }
        }
    }
}

/// Samples of a validated picture as 8-bit values.
struct Reader<'a> {
    planes: &'a Planes<'a>,
    format: PixelFormat,
}

impl Reader<'_> {
    /// The `index`th sample of row `y`.
    fn sample(&self, plane: usize, y: usize, index: usize) -> u8 {
        let row = &self.planes.data[plane][y * self.planes.stride[plane]..];
        if self.format.bits == 8 {
            return row[index];
        }
        self.reduce([row[2 * index], row[2 * index + 1]])
    }
    /// A row whose samples stand side by side.
    fn row(&self, plane: usize, y: usize, out: &mut [u8]) {
        let row = &self.planes.data[plane][y * self.planes.stride[plane]..];
        if self.format.bits == 8 {
            return out.copy_from_slice(&row[..out.len()]);
        }
        for (out, &sample) in out.iter_mut().zip(row.as_chunks::<2>().0) {
            *out = self.reduce(sample);
        }
    }
    fn reduce(&self, sample: [u8; 2]) -> u8 {
        let value = u32::from(u16::from_le_bytes(sample) >> self.format.shift);
        let drop = self.format.bits - 8;
        ((value + (1 << drop >> 1)) >> drop).min(255) as u8
    }
    fn rgb(&self, x: usize, y: usize) -> [u8; 3] {
        match self.format.layout {
            Layout::RgbPacked { channels, r, g, b } => {
                [r, g, b].map(|at| self.sample(0, y, x * usize::from(channels) + usize::from(at)))
            }
            _ => [0, 1, 2].map(|plane| self.sample(plane, y, x)),
        }
    }
}

/// Luma of RGB in fixed point, 16 bits.
struct LumaTable {
    weights: [u32; 3],
    black: u32,
}

impl LumaTable {
    fn new(color: ColorSpec) -> Self {
        let (kr, kb) = color.matrix.weights();
        let black = codes([0; 3], color)[0];
        let span = f64::from(codes([255; 3], color)[0] - black) / 255.0 * 65536.0;
        let weights = [kr, 1.0 - kr - kb, kb].map(|weight| (weight * span).round() as u32);
        Self { weights, black: (u32::from(black) << 16) + (1 << 15) }
    }
    fn luma(&self, rgb: [u8; 3]) -> u8 {
        let sum: u32 = rgb.iter().zip(self.weights).map(|(&value, weight)| u32::from(value) * weight).sum();
        ((sum + self.black) >> 16).min(255) as u8
    }
}
