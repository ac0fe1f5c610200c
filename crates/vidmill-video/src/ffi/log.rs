//! FFmpeg's log, into `tracing` (target `ffmpeg`) instead of standard error.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::sync::Once;

use super::raw;

/// FFmpeg's levels (libavutil/log.h), the ones that are told apart here.
const ERROR: c_int = 16;
const WARNING: c_int = 24;
const INFO: c_int = 32;

/// Sends the log to `tracing` from now on. What FFmpeg calls an error is here a warning: the caller learns of a real
/// error by a return value, and of damage by [`Damage`](crate::Damage).
pub fn route() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback lives as long as the program and has the type that FFmpeg calls.
    ONCE.call_once(|| unsafe { raw::av_log_set_callback(Some(forward)) });
}

unsafe extern "C" fn forward(
    context: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: *mut c_void,
) {
    // A panic (of a subscriber, say) must not cross into C.
    let _ = catch_unwind(|| {
        if !wanted(level) {
            return;
        }
        let mut line: [c_char; 1024] = [0; 1024];
        let mut print_prefix: c_int = 1;
        // SAFETY: FFmpeg's own arguments are handed to FFmpeg's own formatter, once, as a va_list demands; the line is
        // cut at its size and terminated.
        let text = unsafe {
            let (buffer, size) = (line.as_mut_ptr(), line.len() as c_int);
            raw::av_log_format_line2(context, level, format, arguments, buffer, size, &raw mut print_prefix);
            line[line.len() - 1] = 0;
            CStr::from_ptr(line.as_ptr())
        };
        emit(level, text.to_string_lossy().trim_end());
    });
}

fn wanted(level: c_int) -> bool {
    match level {
        ..=ERROR => tracing::enabled!(target: "ffmpeg", tracing::Level::WARN),
        ..=WARNING => tracing::enabled!(target: "ffmpeg", tracing::Level::DEBUG),
        ..=INFO => tracing::enabled!(target: "ffmpeg", tracing::Level::TRACE),
        _ => false,
    }
}

fn emit(level: c_int, text: &str) {
    if text.is_empty() {
        return;
    }
    match level {
        ..=ERROR => tracing::warn!(target: "ffmpeg", "{text}"),
        ..=WARNING => tracing::debug!(target: "ffmpeg", "{text}"),
        _ => tracing::trace!(target: "ffmpeg", "{text}"),
    }
}
