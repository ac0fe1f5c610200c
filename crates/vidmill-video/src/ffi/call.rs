//! The first floor: return codes to `Result`, with FFmpeg's own words.

use std::ffi::{CStr, c_char, c_int};
use std::fmt;

use super::raw::sys;

/// An error code of FFmpeg; prints as FFmpeg's own message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FfmpegError {
    code: i32,
}

impl FfmpegError {
    pub(crate) const EOF: Self = Self { code: sys::AVERROR_EOF };
    pub(crate) const INVALID_DATA: Self = Self { code: sys::AVERROR_INVALIDDATA };
    pub(crate) const OUT_OF_MEMORY: Self = Self { code: sys::AVERROR(sys::ENOMEM) };
    pub(crate) const INVALID_ARGUMENT: Self = Self { code: sys::AVERROR(sys::EINVAL) };
    pub(crate) const AGAIN: Self = Self { code: sys::AVERROR(sys::EAGAIN) };
    pub(crate) const NOT_FOUND: Self = Self { code: sys::AVERROR(sys::ENOENT) };

    /// The number as FFmpeg gave it (negative).
    pub fn code(self) -> i32 {
        self.code
    }
}

impl fmt::Display for FfmpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text: [c_char; 128] = [0; 128];
        // SAFETY: the buffer is writable for its length, and av_strerror terminates it even for unknown codes.
        unsafe { sys::av_strerror(self.code, text.as_mut_ptr(), text.len()) };
        // SAFETY: terminated by av_strerror, and zeroed before.
        let text = unsafe { CStr::from_ptr(text.as_ptr()) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for FfmpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfmpegError({}: {self})", self.code)
    }
}

impl std::error::Error for FfmpegError {}

/// Negative codes are errors, the rest are values.
pub(super) fn check(code: c_int) -> Result<c_int, FfmpegError> {
    if code < 0 { Err(FfmpegError { code }) } else { Ok(code) }
}

/// A C string of FFmpeg's, copied; `None` for null.
///
/// # Safety
/// `text` is null or points to a terminated string.
pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
