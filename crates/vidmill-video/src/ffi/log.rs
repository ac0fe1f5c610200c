//! FFmpeg's log, into `tracing` (target `ffmpeg`) instead of standard error.
//!
//! One message is more than a message: when a decoder conceals an error, no return value says so, and the frame's flags
//! say it too late (frames that refer to it may be shown, and given out, before it) or, with several threads, not at
//! all. The log says it while it happens. So that message also sets the [`Concealment`] of the decoder it comes from.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use super::raw::{self, sys};

/// FFmpeg's levels (libavutil/log.h), the ones that are told apart here.
const ERROR: c_int = 16;
const WARNING: c_int = 24;
const INFO: c_int = 32;

/// Set once a decoder has concealed an error.
#[derive(Debug, Default)]
pub struct Concealment(AtomicBool);

/// Those of all decoders that are open.
static OPEN: Mutex<Vec<Arc<Concealment>>> = Mutex::new(Vec::new());

impl Concealment {
    /// One for a decoder that is being opened, until [`Self::forget`].
    pub fn enlist() -> Arc<Self> {
        let new = Arc::new(Self::default());
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&new));
        new
    }

    /// The decoder is closed.
    pub fn forget(self: &Arc<Self>) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| !Arc::ptr_eq(open, self));
    }

    /// What stands in the decoder's context (and in its threads' copies) to tell whose message it is.
    pub fn mark(self: &Arc<Self>) -> *mut c_void {
        Arc::as_ptr(self).cast_mut().cast()
    }

    fn note(mark: *mut c_void) {
        let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(concealment) = open.iter().find(|open| open.mark() == mark) {
            concealment.0.store(true, Ordering::Release);
        }
    }

    pub fn happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

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
        // SAFETY: both come from FFmpeg's logging call.
        unsafe { note_concealment(context, format) };
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

/// # Safety
/// `context` is null or points to a struct that begins with a pointer to its AVClass; `format` is a terminated string.
unsafe fn note_concealment(context: *mut c_void, format: *const c_char) {
    // SAFETY: the caller's promise.
    if context.is_null() || !unsafe { CStr::from_ptr(format) }.to_bytes().starts_with(b"concealing ") {
        return;
    }
    // SAFETY: the context begins with its class; if that is the class of codec contexts, it is one. Its
    // `opaque` is compared, never followed: other users of the library have their own.
    unsafe {
        if context.cast::<*const sys::AVClass>().read() == sys::avcodec_get_class() {
            Concealment::note((*context.cast::<sys::AVCodecContext>()).opaque);
        }
    }
}

fn wanted(level: c_int) -> bool {
    if level <= ERROR {
        tracing::enabled!(target: "ffmpeg", tracing::Level::WARN)
    } else if level <= WARNING {
        tracing::enabled!(target: "ffmpeg", tracing::Level::DEBUG)
    } else {
        level <= INFO && tracing::enabled!(target: "ffmpeg", tracing::Level::TRACE)
    }
}

fn emit(level: c_int, text: &str) {
    if text.is_empty() {
        return;
    }
    if level <= ERROR {
        tracing::warn!(target: "ffmpeg", "{text}");
    } else if level <= WARNING {
        tracing::debug!(target: "ffmpeg", "{text}");
    } else {
        tracing::trace!(target: "ffmpeg", "{text}");
    }
}
