//! What a file is, before it is decoded.

use serde::{Deserialize, Serialize};
use vidmill_image::{ColorMatrix, ColorRange, Rotation, Size};

use crate::color::{self, Resolved, Tags};
use crate::ffi::{self, ContainerFacts, RawFrame, StreamFacts};
use crate::format;
use crate::frame::{self, StreamLook};
use crate::orientation;
use crate::time::Rational;
use crate::{DecodeOptions, Decoder, Error};

/// Whether the file says so, or vidmill assumes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The stream's tags, or the pixel format itself, say so.
    Tagged,
    /// Untagged (or tagged with something that cannot be used): the default.
    Assumed,
}

/// What a file is and how vidmill will treat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Probe {
    /// FFmpeg's short names of the container format, comma-separated.
    pub format: String,
    /// FFmpeg's name of the video codec.
    pub codec: String,
    /// The codec's profile, where known.
    pub profile: Option<String>,
    /// FFmpeg's name of the decoder that is used.
    pub decoder: String,
    /// FFmpeg's name of the decoded pixel format.
    pub pixel_format: String,
    /// Most significant bits of a component; 0 if the format is unknown.
    pub bit_depth: u8,
    /// Width in pixels, as decoded.
    pub width: u32,
    /// Height in pixels, as decoded.
    pub height: u32,
    /// Width in pixels, as displayed: rotated, sample aspect ratio not applied.
    pub displayed_width: u32,
    /// Height in pixels, as displayed.
    pub displayed_height: u32,
    /// What must be done to show frames upright. Frames carry their own, which may differ.
    pub rotation: Rotation,
    /// Whether frames are mirrored (before the rotation); that is undone where a frame is made.
    pub mirrored: bool,
    /// The YUV to RGB matrix that is used.
    pub matrix: ColorMatrix,
    /// Whether the matrix was tagged.
    pub matrix_from: Provenance,
    /// The range of codes that is used.
    pub range: ColorRange,
    /// Whether the range was tagged.
    pub range_from: Provenance,
    /// Width to height of a pixel, where the file says.
    pub sample_aspect_ratio: Option<Rational>,
    /// Seconds per unit of a timestamp.
    pub time_base: Rational,
    /// The first timestamp as the container declares it, in units of `time_base`; `None` for images and where unknown.
    pub start_pts: Option<i64>,
    /// Declared length in seconds; damaged files may hold less. `None` for images and where unknown.
    pub duration: Option<f64>,
    /// Average frame rate as the container declares it; not used for timing. `None` for images and where unknown.
    pub average_frame_rate: Option<Rational>,
    /// Frames as the container declares them; damaged files may hold fewer. `None` where unknown.
    pub frame_count: Option<u64>,
    /// A still image: one frame, no timestamp.
    pub is_image: bool,
}

/// Opens the file at `path` (or URL, or `-` for standard input) just to see what it is. An image is decoded for that.
///
/// # Errors
/// As [`Decoder::open`].
pub fn probe(path: &str) -> Result<Probe, Error> {
    let options = DecodeOptions { threads: 1, ..DecodeOptions::default() };
    Decoder::open(path, &options).map(|decoder| decoder.probe().clone())
}

impl Probe {
    /// From what the container says.
    pub(crate) fn new(container: &ContainerFacts, stream: &StreamFacts, is_image: bool) -> Self {
        let size = Size::new(side(stream.width), side(stream.height));
        let oriented = stream.display_matrix.map(orientation::from_matrix).unwrap_or_default();
        let time_base = Rational { num: stream.time_base.0, den: stream.time_base.1 };
        let mut probe = Self {
            format: container.format.clone(),
            codec: stream.codec_name.clone(),
            profile: stream.profile.clone(),
            decoder: ffi::decoder_name(stream.codec).unwrap_or_default(),
            pixel_format: "unknown".to_owned(),
            bit_depth: 0,
            width: 0,
            height: 0,
            displayed_width: 0,
            displayed_height: 0,
            rotation: Rotation::None,
            mirrored: false,
            matrix: ColorMatrix::Bt601,
            matrix_from: Provenance::Assumed,
            range: ColorRange::Limited,
            range_from: Provenance::Assumed,
            sample_aspect_ratio: Rational::positive(stream.sample_aspect),
            time_base,
            start_pts: stream.start.filter(|_| !is_image),
            duration: duration(container, stream).filter(|_| !is_image),
            average_frame_rate: Rational::positive(stream.average_rate).filter(|_| !is_image),
            frame_count: u64::try_from(stream.frames).ok().filter(|&frames| frames > 0),
            is_image,
        };
        if is_image {
            probe.frame_count = Some(1);
        }
        probe.set_picture(stream.pixel_format, size, oriented);
        probe.set_color(stream_color(stream, is_image));
        probe
    }

    /// From the first frame, which knows better than the container.
    pub(crate) fn refine(&mut self, raw: &RawFrame, look: StreamLook) {
        let size = Size::new(side(raw.width()), side(raw.height()));
        self.set_picture(raw.format(), size, frame::frame_orientation(raw, look));
        self.set_color(frame::resolve_color(raw, look.is_image));
    }

    fn set_picture(&mut self, pixel_format: i32, size: Size, oriented: orientation::Orientation) {
        if let Some(description) = ffi::describe(pixel_format) {
            let depth = description.components().iter().map(|c| c.depth).max().unwrap_or(0);
            self.bit_depth = u8::try_from(depth).unwrap_or(0);
            self.pixel_format = description.name.to_owned();
        }
        let displayed = size.rotated(oriented.rotation);
        (self.width, self.height) = (size.width, size.height);
        (self.displayed_width, self.displayed_height) = (displayed.width, displayed.height);
        (self.rotation, self.mirrored) = (oriented.rotation, oriented.mirrored);
    }

    fn set_color(&mut self, resolved: Option<Resolved>) {
        let Some(resolved) = resolved else { return };
        let from = |assumed| if assumed { Provenance::Assumed } else { Provenance::Tagged };
        (self.matrix, self.range) = (resolved.spec.matrix, resolved.spec.range);
        (self.matrix_from, self.range_from) = (from(resolved.matrix_assumed), from(resolved.range_assumed));
    }
}

fn stream_color(stream: &StreamFacts, is_image: bool) -> Option<Resolved> {
    let description = ffi::describe(stream.pixel_format)?;
    Some(color::resolve(Tags {
        matrix: stream.matrix,
        range: stream.range,
        chroma_location: 0, // Frames have their own; a probe does not tell it.
        content: format::content(&description),
        lines: side(stream.height),
        is_image,
    }))
}

/// The stream's own duration, or the container's.
fn duration(container: &ContainerFacts, stream: &StreamFacts) -> Option<f64> {
    let (num, den) = stream.time_base;
    match stream.duration {
        Some(ticks) if den != 0 => Some(ticks as f64 * f64::from(num) / f64::from(den)),
        _ => container.duration_us.map(|us| us as f64 / 1e6),
    }
}

fn side(pixels: i32) -> u32 {
    u32::try_from(pixels).unwrap_or(0)
}
