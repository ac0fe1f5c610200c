//! swscale: between pixel formats of one size.

use std::ptr;

use super::call::{FfmpegError, check};
use super::frame::RawFrame;
use super::raw::{self, sys};

/// swscale's accurate paths: chroma is interpolated, rounding is exact.
const FLAGS: i32 =
    sys::SWS_BICUBIC | sys::SWS_ACCURATE_RND | sys::SWS_FULL_CHR_H_INT | sys::SWS_FULL_CHR_H_INP;

/// A colour description in FFmpeg's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawColor {
    /// AVColorSpace.
    pub matrix: i32,
    pub full_range: bool,
}

impl RawColor {
    /// AVColorRange.
    pub fn range(self) -> i32 {
        if self.full_range { 2 } else { 1 }
    }
}

/// Converts pixels from `source` to `target`, which has its buffers and the same size.
pub fn convert(
    source: &RawFrame,
    source_color: RawColor,
    target: &mut RawFrame,
    target_color: RawColor,
) -> Result<(), FfmpegError> {
    let (width, height) = (source.width(), source.height());
    if (width, height) != (target.width(), target.height()) {
        return Err(FfmpegError::INVALID_ARGUMENT);
    }
    let (from, to) = (source.format(), target.format());
    // SAFETY: formats are integers that swscale checks; null filters and parameters are the defaults.
    let context = unsafe {
        let none = ptr::null_mut();
        raw::sws_getContext(width, height, from, width, height, to, FLAGS, none, none, ptr::null())
    };
    if context.is_null() {
        return Err(FfmpegError::INVALID_ARGUMENT);
    }
    let context = Context(context);
    // SAFETY: the context is ours; coefficient tables are static; both frames are ours, of the size and format that the
    // context was made for.
    unsafe {
        let source_table = sys::sws_getCoefficients(source_color.matrix);
        let target_table = sys::sws_getCoefficients(target_color.matrix);
        let (source_range, target_range) = (source_color.full_range.into(), target_color.full_range.into());
        // An error here only says that neither side has a matrix or range to set.
        let one = 1 << 16;
        sys::sws_setColorspaceDetails(
            context.0,
            source_table,
            source_range,
            target_table,
            target_range,
            0,
            one,
            one,
        );
        check(sys::sws_scale_frame(context.0, target.as_mut_ptr(), source.as_ptr()))?;
    }
    Ok(())
}

struct Context(*mut sys::SwsContext);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { sys::sws_freeContext(self.0) };
    }
}
