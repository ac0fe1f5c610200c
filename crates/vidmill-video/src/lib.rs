//! From containers to frames, and from frames to containers, through FFmpeg.
//!
//! In: a path or URL. Out: a [`Probe`] of what it is, and from a [`Decoder`] one [`Step`] for every frame that FFmpeg
//! decodes, in display order, with its index and the container's own [`Timestamp`]. A [`Frame`] lends the decoder's
//! planes without a copy. What a damaged file lost stands in [`Damage`].
//!
//! Timestamps are integers in the stream's time base, wherever they come from; seconds are for printing only.
//!
//! FFmpeg's log goes to `tracing`, target `ffmpeg`; nothing is printed.

mod color;
mod damage;
mod decode;
mod demux;
mod encode;
mod error;
#[expect(unsafe_code, reason = "FFmpeg is a C library")]
mod ffi;
mod format;
mod frame;
mod orientation;
mod probe;
mod pump;
mod select;
mod still;
mod system;
mod time;

pub use damage::Damage;
pub use decode::{Cores, DecodeOptions, Decoder, Skipping, Step};
pub use encode::{EncodeOptions, Encoder};
pub use error::Error;
pub use ffi::FfmpegError;
pub use frame::{Frame, FrameHead};
pub use probe::{Probe, Provenance, probe};
pub use still::write_image;
pub use system::{CodecSupport, Codecs, Versions, codecs, versions};
pub use time::{Rational, Timestamp};
