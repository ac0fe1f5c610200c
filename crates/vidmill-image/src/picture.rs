//! An owned picture to draw on: 8-bit 4:2:0, as video encoders take it.

use crate::{ColorRange, ColorSpec, PixelFormat, Planes, Rotation, Size};

mod copy;
mod rotate;
#[cfg(test)]
mod tests;

/// An 8-bit planar 4:2:0 picture that owns its planes: Y of `w` by `h`, then U and V of `ceil(w / 2)` by `ceil(h / 2)`,
/// rows without gaps. Buffers are kept when it is resized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    color: ColorSpec,
    planes: [Vec<u8>; 3],
}

impl Picture {
    /// A black picture. A side of 0 is taken as 1.
    pub fn new(size: Size, color: ColorSpec) -> Self {
        let mut picture = Self { size: Size::new(1, 1), color, planes: Default::default() };
        picture.resize(size, color);
        picture.fill([0; 3]);
        picture
    }

    /// Gives the picture another size and colour description; what it shows is undefined until it is written.
    /// Allocates only when it grows beyond what it ever held. A side of 0 is taken as 1.
    pub fn resize(&mut self, size: Size, color: ColorSpec) {
        self.size = Size::new(size.width.max(1), size.height.max(1));
        self.color = color;
        for plane in 0..3 {
            let (width, height) = self.plane_size(plane);
            self.planes[plane].resize(width * height, 0);
        }
    }

    /// Luma size in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// What the values mean.
    pub fn color(&self) -> ColorSpec {
        self.color
    }

    /// The picture, lent.
    pub fn planes(&self) -> Planes<'_> {
        let [y, u, v] = &self.planes;
        Planes {
            format: PixelFormat::YUV420P,
            size: self.size,
            color: self.color,
            rotation: Rotation::None,
            data: [y, u, v],
            stride: [0, 1, 2].map(|plane| self.stride(plane)),
        }
    }

    /// Width and height of plane 0 (Y), 1 (U) or 2 (V) in samples.
    pub fn plane_size(&self, plane: usize) -> (usize, usize) {
        let (rows, width) = PixelFormat::YUV420P.plane_shape(plane, self.size);
        (width, rows)
    }

    /// Bytes from one row of a plane to the next.
    pub fn stride(&self, plane: usize) -> usize {
        self.plane_size(plane).0
    }

    /// The bytes of Y, U and V, to write to.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        self.planes.each_mut().map(Vec::as_mut_slice)
    }

    /// Fills the picture with one colour, given as red, green, blue.
    pub fn fill(&mut self, rgb: [u8; 3]) {
        for (plane, value) in self.planes.iter_mut().zip(codes(rgb, self.color)) {
            plane.fill(value);
        }
    }
}

/// The Y, U and V codes of a colour given as red, green, blue in 0..=255 (ITU-T H.273, equations 38 to 40).
pub(crate) fn codes(rgb: [u8; 3], color: ColorSpec) -> [u8; 3] {
    let (kr, kb) = color.matrix.weights();
    let [r, g, b] = rgb.map(|value| f64::from(value) / 255.0);
    let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (u, v) = ((b - luma) / (2.0 * (1.0 - kb)), (r - luma) / (2.0 * (1.0 - kr)));
    let (black, white, chroma) = match color.range {
        ColorRange::Limited => (16.0, 219.0, 224.0),
        ColorRange::Full => (0.0, 255.0, 255.0),
    };
    [black + luma * white, 128.0 + u * chroma, 128.0 + v * chroma]
        .map(|code| code.round().clamp(0.0, 255.0) as u8)
}
