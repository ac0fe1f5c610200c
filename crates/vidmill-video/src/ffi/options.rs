//! An owned `AVDictionary`.

use std::ffi::CString;
use std::ptr;

use super::call::{FfmpegError, check};
use super::raw::sys;

/// Options by name, as FFmpeg's functions take them.
pub struct Options(*mut sys::AVDictionary);

impl Options {
    pub fn new() -> Self {
        Self(ptr::null_mut())
    }

    /// Sets `key` to `value`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), FfmpegError> {
        let key = CString::new(key).map_err(|_| FfmpegError::INVALID_ARGUMENT)?;
        let value = CString::new(value).map_err(|_| FfmpegError::INVALID_ARGUMENT)?;
        // SAFETY: the dictionary is null or ours; both strings are terminated and copied by the call.
        check(unsafe { sys::av_dict_set(&raw mut self.0, key.as_ptr(), value.as_ptr(), 0) })?;
        Ok(())
    }

    /// The first option that a call left untaken, which means it did not know it.
    pub fn first_left(&self) -> Option<String> {
        // SAFETY: the dictionary is null or ours, and an entry's key is a terminated string.
        unsafe {
            let any = c"".as_ptr();
            let entry = sys::av_dict_get(self.0, any, ptr::null(), sys::AV_DICT_IGNORE_SUFFIX);
            if entry.is_null() { None } else { super::call::text((*entry).key) }
        }
    }

    /// Gives the dictionary away, for tables of them; [`Self::from_raw`] takes it back.
    pub(super) fn take(&mut self) -> *mut sys::AVDictionary {
        std::mem::replace(&mut self.0, ptr::null_mut())
    }

    /// Owns `dictionary`, which must come from [`Self::take`] (FFmpeg may have changed it since).
    pub(super) fn from_raw(dictionary: *mut sys::AVDictionary) -> Self {
        Self(dictionary)
    }

    /// For calls that take what they know and leave the rest.
    pub(super) fn as_mut_ptr(&mut self) -> *mut *mut sys::AVDictionary {
        &raw mut self.0
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: null or ours, and never used again.
        unsafe { sys::av_dict_free(&raw mut self.0) };
    }
}
