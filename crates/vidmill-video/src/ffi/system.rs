//! What FFmpeg is here.

use std::ffi::CString;

use super::raw::sys;

/// The versions of the libraries that run, as (name, packed version).
pub fn library_versions() -> [(&'static str, u32); 4] {
    // SAFETY: these calls take nothing and return constants.
    unsafe {
        [
            ("libavcodec", sys::avcodec_version()),
            ("libavformat", sys::avformat_version()),
            ("libavutil", sys::avutil_version()),
            ("libswscale", sys::swscale_version()),
        ]
    }
}

/// FFmpeg's own version string.
pub fn release() -> String {
    // SAFETY: a static string.
    unsafe { super::call::text(sys::av_version_info()) }.unwrap_or_default()
}

/// The name of FFmpeg's default decoder for the codec called `codec`.
pub fn decoder_for(codec: &str) -> Option<String> {
    let name = CString::new(codec).ok()?;
    // SAFETY: a terminated string; the descriptor is null or static.
    let id = unsafe {
        let descriptor = sys::avcodec_descriptor_get_by_name(name.as_ptr());
        if descriptor.is_null() {
            return None;
        }
        super::raw::enum_field!(descriptor, id) as u32
    };
    super::decoder::decoder_name(id)
}

/// Whether there is an encoder of that name.
pub fn has_encoder(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: a terminated string.
    !unsafe { sys::avcodec_find_encoder_by_name(name.as_ptr()) }.is_null()
}
