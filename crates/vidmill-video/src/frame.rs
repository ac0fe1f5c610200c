//! A decoded frame: it borrows the decoder's picture and lends its planes.

use vidmill_image::{ColorSpec, Layout, Picture, PixelFormat, Planes, Rotation, Size};

use crate::color::{self, Tags};
use crate::ffi::{self, FfmpegError, RawFrame};
use crate::format::{self, Lending};
use crate::orientation::{self, Orientation};
use crate::time::Timestamp;

/// Which frame it is, before anything is known of its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Index among the frames that decoding the whole file gives, from 0 (as `cv2.VideoCapture` counts them).
    pub index: u64,
    /// When it is shown; `None` for images and where the container does not say.
    pub timestamp: Option<Timestamp>,
}

/// A decoded frame.
///
/// It holds a reference to the decoder's own picture: nothing was copied, unless the pixel format is one that
/// [`PixelFormat`] cannot describe (palettes, big-endian samples, packed YUV and the like are converted once to the
/// nearest that can be), rows are stored bottom-up, or an image is to be shown mirrored.
pub struct Frame {
    raw: RawFrame,
    head: FrameHead,
    lending: Lending,
    size: Size,
    color: ColorSpec,
    rotation: Rotation,
    concealed: bool,
}

/// What a stream says of all its frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamLook {
    /// From the container; a frame's own matrix comes first.
    pub orientation: Option<Orientation>,
    pub is_image: bool,
}

impl Frame {
    /// Makes a decoder's frame ready to be lent.
    pub(crate) fn new(mut raw: RawFrame, head: FrameHead, look: StreamLook) -> Result<Self, FfmpegError> {
        let color = resolve_color(&raw, look.is_image).ok_or(FfmpegError::INVALID_DATA)?.spec;
        let orientation = frame_orientation(&raw, look);
        let concealed = raw.is_damaged();
        if (0..4).any(|plane| raw.stride(plane) < 0) {
            raw = top_down(&raw)?;
        }
        let (mut raw, lending) = describable(raw, color)?;
        let size = Size::new(raw.width() as u32, raw.height() as u32);
        if orientation.mirrored {
            raw = mirrored(&raw, lending, size)?;
        }
        let frame = Self { raw, head, lending, size, color, rotation: orientation.rotation, concealed };
        // Once checked here, lending cannot fail.
        frame.try_planes().ok_or(FfmpegError::INVALID_DATA)?;
        Ok(frame)
    }

    /// Index and timestamp.
    pub fn head(&self) -> FrameHead {
        self.head
    }

    /// Index among the decoded frames, from 0.
    pub fn index(&self) -> u64 {
        self.head.index
    }

    /// When the frame is shown.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.head.timestamp
    }

    /// Whether the decoder hid errors in this frame, or says that it may be wrong.
    pub fn is_concealed(&self) -> bool {
        self.concealed
    }

    /// The pixels, as decoded, with what is needed to show them: colour description and rotation.
    pub fn planes(&self) -> Planes<'_> {
        self.try_planes().expect("checked when the frame was made, and unchanged since")
    }

    /// Copies the frame into `picture`: 8-bit 4:2:0, rotated as it is displayed. YUV keeps its matrix and range, RGB
    /// becomes BT.601 limited.
    pub fn to_picture(&self, picture: &mut Picture) {
        let planes = self.planes();
        let checked = "lent planes hold what they say";
        if self.rotation == Rotation::None {
            picture.copy_from(&planes).expect(checked);
        } else {
            let mut decoded = Picture::new(Size::new(1, 1), self.color);
            decoded.copy_from(&planes).expect(checked);
            picture.rotate_from(&decoded, self.rotation);
        }
    }

    fn try_planes(&self) -> Option<Planes<'_>> {
        let mut data: [&[u8]; 3] = [&[]; 3];
        let mut stride = [0; 3];
        for plane in 0..self.lending.format.plane_count() {
            let (rows, row_bytes) = self.lending.format.plane_shape(plane, self.size);
            let source = self.lending.planes[plane];
            data[plane] = self.raw.plane(source, rows, row_bytes)?;
            stride[plane] = usize::try_from(self.raw.stride(source)).ok()?;
        }
        let Self { lending, size, color, rotation, .. } = *self;
        Some(Planes { format: lending.format, size, color, rotation, data, stride })
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("head", &self.head)
            .field("format", &self.lending.format)
            .field("size", &self.size)
            .field("color", &self.color)
            .field("rotation", &self.rotation)
            .field("concealed", &self.concealed)
            .finish_non_exhaustive()
    }
}

/// The colour description of a frame; `None` for a pixel format that FFmpeg does not know.
pub(crate) fn resolve_color(raw: &RawFrame, is_image: bool) -> Option<color::Resolved> {
    let description = ffi::describe(raw.format())?;
    Some(color::resolve(Tags {
        matrix: raw.matrix(),
        range: raw.range(),
        chroma_location: raw.chroma_location(),
        content: format::content(&description),
        lines: u32::try_from(raw.height()).ok()?,
        is_image,
    }))
}

/// The frame's own display matrix or Exif tag, or else the stream's.
pub(crate) fn frame_orientation(raw: &RawFrame, look: StreamLook) -> Orientation {
    let exif = || {
        let tag = look.is_image.then(|| raw.metadata(c"Orientation")).flatten()?;
        Some(orientation::from_exif(tag.trim().parse().ok()?))
    };
    raw.display_matrix().map(orientation::from_matrix).or_else(exif).or(look.orientation).unwrap_or_default()
}

/// The same picture with rows stored from top to bottom.
fn top_down(raw: &RawFrame) -> Result<RawFrame, FfmpegError> {
    let mut copy = RawFrame::with_buffer(raw.format(), raw.width(), raw.height())?;
    copy.copy_from(raw)?;
    copy.copy_properties(raw)?;
    Ok(copy)
}

/// The frame itself where its format can be described, or its conversion.
fn describable(raw: RawFrame, color: ColorSpec) -> Result<(RawFrame, Lending), FfmpegError> {
    let description = ffi::describe(raw.format()).ok_or(FfmpegError::INVALID_DATA)?;
    if let Some(lending) = format::lend(&description) {
        return Ok((raw, lending));
    }
    let target = ffi::by_name(&format::nearest(&description)).ok_or(FfmpegError::INVALID_ARGUMENT)?;
    let lending =
        ffi::describe(target).as_ref().and_then(format::lend).ok_or(FfmpegError::INVALID_ARGUMENT)?;
    let mut converted = RawFrame::with_buffer(target, raw.width(), raw.height())?;
    ffi::convert(&raw, color::raw(color), &mut converted, color::raw(color))?;
    Ok((converted, lending))
}

/// The same picture, left and right exchanged.
fn mirrored(raw: &RawFrame, lending: Lending, size: Size) -> Result<RawFrame, FfmpegError> {
    let mut copy = top_down(raw)?;
    for plane in 0..lending.format.plane_count() {
        let (rows, row_bytes) = lending.format.plane_shape(plane, size);
        let source = lending.planes[plane];
        let unit = unit_bytes(lending.format, plane);
        let stride = usize::try_from(copy.stride(source)).map_err(|_| FfmpegError::INVALID_DATA)?;
        let bytes = copy.plane_mut(source, rows, row_bytes).ok_or(FfmpegError::INVALID_DATA)?;
        for row in bytes.chunks_mut(stride.max(1)) {
            mirror_row(&mut row[..row_bytes], unit);
        }
    }
    Ok(copy)
}

/// Bytes that stay together when a row of a plane is mirrored.
fn unit_bytes(format: PixelFormat, plane: usize) -> usize {
    let samples = match format.layout {
        Layout::RgbPacked { channels, .. } => usize::from(channels),
        Layout::YuvSemiPlanar { .. } if plane == 1 => 2,
        _ => 1,
    };
    samples * format.sample_bytes()
}

/// Reverses the order of units of `unit` bytes.
fn mirror_row(row: &mut [u8], unit: usize) {
    row.reverse();
    row.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_keeps_units_whole() {
        let mut row = [1, 2, 3, 4, 5, 6];
        mirror_row(&mut row, 3);
        assert_eq!(row, [4, 5, 6, 1, 2, 3]);
        mirror_row(&mut row, 1);
        assert_eq!(row, [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn frames_cross_threads() {
        fn check<T: Send + Sync>() {}
        check::<Frame>();
    }
}
