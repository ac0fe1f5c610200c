//! Parts of a picture, upright and in colour: what the next model of a cascade looks at.
//!
//! In: a decoder's planes, and a box or four corners in pixels of the displayed picture. Out: the part as packed RGB, lent as
//! [`Planes`]. Only the part is ever converted, with the pixels around it that its chroma is interpolated from, so it has the very
//! bytes that it would have in the whole picture.

mod quad;
#[cfg(test)]
mod tests;

use crate::preprocess::Preprocess;
use crate::{
    ChannelOrder, ColorSpec, ElementType, Layout, PixelFormat, PlanError, Planes, PreprocessError, Rect,
    ResizeMode, Rotation, Size, TensorLayout, TensorSpec,
};

pub use quad::{Quad, QuadError};

/// A part of a picture in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crop {
    /// Pixels to the left of it.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// Its own.
    pub size: Size,
}

/// A part that cannot be cut out.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum CropError {
    /// The part does not lie in the picture.
    #[error(
        "a part of {}x{} at {}, {} does not lie in a picture of {}x{}",
        .crop.size.width, .crop.size.height, .crop.left, .crop.top, .picture.width, .picture.height
    )]
    Outside {
        /// The part.
        crop: Crop,
        /// The picture as it is displayed.
        picture: Size,
    },
    /// Corners that span no picture.
    #[error(transparent)]
    Quad(#[from] QuadError),
    /// A picture that cannot be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Planes that do not hold it.
    #[error(transparent)]
    Planes(#[from] PreprocessError),
}

impl Crop {
    /// The pixels that a box touches: clipped to the picture, then rounded outwards. `None` where nothing is left of it.
    pub fn around(rect: Rect, picture: Size) -> Option<Self> {
        if !rect.is_finite() {
            return None;
        }
        let Rect { x1, y1, x2, y2 } = rect.clip(picture);
        let (left, top) = (x1.floor() as u32, y1.floor() as u32);
        let (right, bottom) = (x2.ceil() as u32, y2.ceil() as u32);
        let size = Size::new(right.saturating_sub(left), bottom.saturating_sub(top));
        (size.width > 0 && size.height > 0).then_some(Self { left, top, size })
    }

    fn is_in(self, picture: Size) -> bool {
        let inside = |from: u32, length: u32, end: u32| {
            length > 0 && from.checked_add(length).is_some_and(|reached| reached <= end)
        };
        inside(self.left, self.size.width, picture.width)
            && inside(self.top, self.size.height, picture.height)
    }

    /// The part as it lies after the picture, which had `size`, was turned.
    fn rotate(self, size: Size, rotation: Rotation) -> Self {
        let (right, bottom) = (self.left + self.size.width, self.top + self.size.height);
        let (left, top) = match rotation {
            Rotation::None => (self.left, self.top),
            Rotation::Clockwise => (size.height - bottom, self.left),
            Rotation::Half => (size.width - right, size.height - bottom),
            Rotation::CounterClockwise => (self.top, size.width - right),
        };
        Self { left, top, size: self.size.rotated(rotation) }
    }

    /// The part with what its chroma is interpolated from: one sample more on every side, in whole samples.
    fn with_chroma(self, layout: Layout, picture: Size) -> Self {
        let (across, down) = match layout {
            Layout::YuvPlanar { log2_chroma_w, log2_chroma_h }
            | Layout::YuvSemiPlanar { log2_chroma_w, log2_chroma_h, .. } => (log2_chroma_w, log2_chroma_h),
            Layout::Gray | Layout::RgbPlanar | Layout::RgbPacked { .. } => return self,
        };
        let wider = |from: u32, length: u32, log2: u8, end: u32| {
            let unit = 1_u32 << log2;
            let first = (from / unit).saturating_sub(1) * unit;
            let last = ((from + length).div_ceil(unit) + 1).saturating_mul(unit).min(end);
            (first, last - first)
        };
        let (left, width) = wider(self.left, self.size.width, across, picture.width);
        let (top, height) = wider(self.top, self.size.height, down, picture.height);
        Self { left, top, size: Size::new(width, height) }
    }
}

/// Cuts parts out of pictures. It keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct Cutter {
    /// The part with a margin, packed RGB.
    rgb: Vec<u8>,
    /// The straightened part.
    straight: Vec<u8>,
}

impl Cutter {
    /// The part `crop` of the displayed picture as packed RGB, with the bytes that it has in an RGB picture of the whole.
    ///
    /// # Errors
    /// When the part does not lie in the picture, or the picture cannot be read.
    pub fn cut(&mut self, planes: &Planes<'_>, crop: Crop) -> Result<Planes<'_>, CropError> {
        let (offset, stride) = self.convert(planes, crop)?;
        Ok(packed(&self.rgb[offset..], stride, crop.size))
    }

    /// The part between four corners, straightened: see [`Quad`].
    ///
    /// # Errors
    /// When the picture cannot be read.
    pub fn straighten(&mut self, planes: &Planes<'_>, quad: &Quad) -> Result<Planes<'_>, CropError> {
        let crop = quad.reach(planes.displayed_size());
        let (offset, stride) = self.convert(planes, crop)?;
        quad.draw(&self.rgb[offset..], stride, crop, &mut self.straight);
        let size = quad.size();
        Ok(packed(&self.straight, size.width as usize * 3, size))
    }

    /// Converts a part, with some margin, into `rgb`; returns where it begins there, and bytes from row to row.
    fn convert(&mut self, planes: &Planes<'_>, crop: Crop) -> Result<(usize, usize), CropError> {
        let picture = planes.displayed_size();
        if !crop.is_in(picture) {
            return Err(CropError::Outside { crop, picture });
        }
        planes.validate().map_err(PreprocessError::from)?;
        let decoded = crop.rotate(picture, planes.rotation.inverse());
        let wide = decoded.with_chroma(planes.format.layout, planes.size);
        let part = part(planes, wide);
        let displayed = wide.size.rotated(planes.rotation);
        let spec = bytes_of(displayed);
        let bytes = spec.item_bytes();
        if self.rgb.len() < bytes {
            self.rgb.resize(bytes, 0);
        }
        Preprocess::for_planes(&spec, &part)?.run(&part, &mut self.rgb[..bytes])?;
        let around = wide.rotate(planes.size, planes.rotation);
        let stride = displayed.width as usize * 3;
        let (right, down) = ((crop.left - around.left) as usize, (crop.top - around.top) as usize);
        Ok((down * stride + right * 3, stride))
    }
}

fn packed(data: &[u8], stride: usize, size: Size) -> Planes<'_> {
    Planes {
        format: PixelFormat::RGB24,
        size,
        color: ColorSpec::default(),
        rotation: Rotation::None,
        data: [data, &[], &[]],
        stride: [stride, 0, 0],
    }
}

/// A part of checked planes, whose left and top are whole samples of chroma.
fn part<'a>(planes: &Planes<'a>, crop: Crop) -> Planes<'a> {
    let mut data = planes.data;
    for (plane, bytes) in data.iter_mut().enumerate().take(planes.format.plane_count()) {
        let (rows, row_bytes) = planes.format.plane_shape(plane, Size::new(crop.left, crop.top));
        *bytes = &bytes[rows * planes.stride[plane] + row_bytes..];
    }
    Planes { data, size: crop.size, ..*planes }
}

/// 0 to 255, channels last: what NumPy and cv2 call an image.
fn bytes_of(size: Size) -> TensorSpec {
    TensorSpec {
        size,
        element: ElementType::U8,
        layout: TensorLayout::Nhwc,
        channels: ChannelOrder::Rgb,
        resize: ResizeMode::Stretch,
        pad: 0,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}
