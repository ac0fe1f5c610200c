//! A borrowed picture, exactly as a decoder left it.

use crate::{ColorSpec, Rotation, Size};

/// How samples are laid out in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One plane: luma only.
    Gray,
    /// Three planes Y, U, V; chroma shifted right by `log2_chroma_w`, `log2_chroma_h` (4:2:0 is 1, 1).
    YuvPlanar {
        /// Chroma columns are luma columns shifted right by this, rounded up.
        log2_chroma_w: u8,
        /// Chroma rows are luma rows shifted right by this, rounded up.
        log2_chroma_h: u8,
    },
    /// Two planes: Y, then U and V interleaved (NV12, NV16, P010).
    YuvSemiPlanar {
        /// Chroma columns are luma columns shifted right by this, rounded up.
        log2_chroma_w: u8,
        /// Chroma rows are luma rows shifted right by this, rounded up.
        log2_chroma_h: u8,
        /// V comes first (NV21).
        swap_uv: bool,
    },
    /// Three planes R, G, B in this order in [`Planes::data`] (FFmpeg's gbrp is reordered by the one who lends).
    RgbPlanar,
    /// One plane of interleaved samples, `channels` (3 or 4) of them a pixel; red, green and blue stand at these offsets.
    RgbPacked {
        /// Samples of a pixel, 3 or 4.
        channels: u8,
        /// Position of red, below `channels`.
        r: u8,
        /// Position of green, below `channels`.
        g: u8,
        /// Position of blue, below `channels`.
        b: u8,
    },
}

/// A pixel format: layout, significant bits, and how they sit in their container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PixelFormat {
    /// Planes and subsampling.
    pub layout: Layout,
    /// Significant bits of a sample, 8 to 16. Samples of 8 bits take one byte, all others two, little-endian.
    pub bits: u8,
    /// Bits to shift a two-byte sample right by to get its value (P010 keeps its 10 bits on top: 6).
    pub shift: u8,
}

/// A picture lent by its owner: up to three planes, each with its bytes and stride.
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// What the bytes are.
    pub format: PixelFormat,
    /// Luma size in pixels, before rotation.
    pub size: Size,
    /// What the values mean.
    pub color: ColorSpec,
    /// What must be done to show it upright.
    pub rotation: Rotation,
    /// One slice a plane, unused ones empty. Each holds at least `stride * (rows - 1) + row_bytes`.
    pub data: [&'a [u8]; 3],
    /// Bytes from one row to the next, per plane (never negative: whoever lends flips first).
    pub stride: [usize; 3],
}

/// A picture whose planes do not hold what its format and size say.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanesError {
    /// No pixels, or more than `i32::MAX` along a side.
    #[error("picture size {}x{} is out of range", .0.width, .0.height)]
    Size(Size),
    /// A plane is too short.
    #[error("plane {plane} holds {found} bytes, but {rows} rows of stride {stride} need {needed}")]
    Short {
        /// Index of the plane.
        plane: usize,
        /// Bytes it holds.
        found: usize,
        /// Bytes it must hold.
        needed: usize,
        /// Rows of the plane.
        rows: usize,
        /// Bytes from row to row.
        stride: usize,
    },
    /// A row does not fit its stride.
    #[error("plane {plane} has stride {stride}, but a row takes {row} bytes")]
    Stride {
        /// Index of the plane.
        plane: usize,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes of one row.
        row: usize,
    },
    /// Bits outside 8 to 16, or a shift that leaves none.
    #[error("{bits} bits shifted by {shift} is not a sample format")]
    Bits {
        /// Significant bits.
        bits: u8,
        /// Bits below them.
        shift: u8,
    },
    /// Subsampling beyond 1:4, or packed positions outside the pixel.
    #[error(
        "{0:?} is not a layout that can be read: chroma is subsampled by at most 4, packed RGB has 3 or 4 samples"
    )]
    Layout(Layout),
}

impl Layout {
    fn is_readable(self) -> bool {
        match self {
            Self::Gray | Self::RgbPlanar => true,
            Self::YuvPlanar { log2_chroma_w: cw, log2_chroma_h: ch }
            | Self::YuvSemiPlanar { log2_chroma_w: cw, log2_chroma_h: ch, .. } => cw <= 2 && ch <= 2,
            Self::RgbPacked { channels, r, g, b } => {
                (3..=4).contains(&channels) && r.max(g).max(b) < channels
            }
        }
    }
}

impl PixelFormat {
    /// 8-bit planar 4:2:0, the commonest of all.
    pub const YUV420P: Self = Self::yuv_planar(8, 1, 1);
    /// 8-bit 4:2:0 with interleaved chroma, U first.
    pub const NV12: Self = Self {
        layout: Layout::YuvSemiPlanar { log2_chroma_w: 1, log2_chroma_h: 1, swap_uv: false },
        bits: 8,
        shift: 0,
    };
    /// 10-bit 4:2:0 with interleaved chroma, samples in the upper bits of two bytes.
    pub const P010: Self = Self { bits: 10, shift: 6, ..Self::NV12 };
    /// 8-bit grey.
    pub const GRAY8: Self = Self { layout: Layout::Gray, bits: 8, shift: 0 };
    /// Packed 8-bit red, green, blue.
    pub const RGB24: Self =
        Self { layout: Layout::RgbPacked { channels: 3, r: 0, g: 1, b: 2 }, bits: 8, shift: 0 };

    /// Planar YUV of `bits` bits.
    pub const fn yuv_planar(bits: u8, log2_chroma_w: u8, log2_chroma_h: u8) -> Self {
        Self { layout: Layout::YuvPlanar { log2_chroma_w, log2_chroma_h }, bits, shift: 0 }
    }
    /// Checks that samples of this format can be read.
    pub fn validate(self) -> Result<(), PlanesError> {
        let Self { layout, bits, shift } = self;
        if !(8..=16).contains(&bits) || shift > 16 - bits || (bits == 8 && shift != 0) {
            return Err(PlanesError::Bits { bits, shift });
        }
        if !layout.is_readable() {
            return Err(PlanesError::Layout(layout));
        }
        Ok(())
    }
    /// Bytes of one sample: 1 or 2.
    pub const fn sample_bytes(self) -> usize {
        if self.bits == 8 { 1 } else { 2 }
    }
    /// How many planes hold data.
    pub const fn plane_count(self) -> usize {
        match self.layout {
            Layout::Gray | Layout::RgbPacked { .. } => 1,
            Layout::YuvSemiPlanar { .. } => 2,
            Layout::YuvPlanar { .. } | Layout::RgbPlanar => 3,
        }
    }
    /// Rows, and bytes in a row, of plane `plane` of a picture of `size`.
    pub fn plane_shape(self, plane: usize, size: Size) -> (usize, usize) {
        let (w, h) = (size.width as usize, size.height as usize);
        let bytes = self.sample_bytes();
        match (self.layout, plane) {
            (Layout::YuvPlanar { log2_chroma_w: cw, log2_chroma_h: ch }, 1 | 2) => {
                (h.div_ceil(1 << ch), w.div_ceil(1 << cw) * bytes)
            }
            (Layout::YuvSemiPlanar { log2_chroma_w: cw, log2_chroma_h: ch, .. }, 1) => {
                (h.div_ceil(1 << ch), w.div_ceil(1 << cw) * 2 * bytes)
            }
            (Layout::RgbPacked { channels, .. }, _) => (h, w * channels as usize * bytes),
            _ => (h, w * bytes),
        }
    }
}

impl Planes<'_> {
    /// Size as displayed, rotation applied.
    pub fn displayed_size(&self) -> Size {
        self.size.rotated(self.rotation)
    }

    /// Checks once that every row of every plane is there, so that later access cannot fail.
    pub fn validate(&self) -> Result<(), PlanesError> {
        let Size { width, height } = self.size;
        if width == 0 || height == 0 || width > i32::MAX as u32 || height > i32::MAX as u32 {
            return Err(PlanesError::Size(self.size));
        }
        self.format.validate()?;
        for plane in 0..self.format.plane_count() {
            let (rows, row) = self.format.plane_shape(plane, self.size);
            let (stride, found) = (self.stride[plane], self.data[plane].len());
            if stride < row {
                return Err(PlanesError::Stride { plane, stride, row });
            }
            let needed = stride.saturating_mul(rows - 1).saturating_add(row);
            if found < needed {
                return Err(PlanesError::Short { plane, found, needed, rows, stride });
            }
        }
        Ok(())
    }
}
