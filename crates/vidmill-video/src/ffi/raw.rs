//! The ground floor: the generated bindings, and a few functions declared again.
//!
//! The generated bindings turn C enums into Rust enums. A value that comes from FFmpeg at run time may be one that the
//! headers of this build did not know, so no such value is ever read as a Rust enum: functions that take or return
//! one are declared here with plain integers (the same ABI), and fields are read through [`enum_field!`].

pub use ffmpeg_sys_next as sys;

use std::ffi::{c_char, c_int, c_void};

/// Reads an enum field of a C struct as the integer that it is.
macro_rules! enum_field {
    ($pointer:expr, $field:ident) => {
        (&raw const (*$pointer).$field).cast::<i32>().read()
    };
}

/// Writes an enum field of a C struct as the integer that it is.
macro_rules! set_enum_field {
    ($pointer:expr, $field:ident, $value:expr) => {
        (&raw mut (*$pointer).$field).cast::<i32>().write($value)
    };
}

pub(super) use {enum_field, set_enum_field};

/// `void (*)(void *, int, const char *, va_list)`. On every ABI that FFmpeg and Rust share, a `va_list` argument is
/// passed as one pointer or pointer-sized word; it is only handed on.
pub type LogCallback = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, *mut c_void);

unsafe extern "C" {
    pub fn avcodec_find_decoder(id: u32) -> *const sys::AVCodec;
    pub fn avcodec_descriptor_get(id: u32) -> *const sys::AVCodecDescriptor;
    pub fn avcodec_get_name(id: u32) -> *const c_char;
    pub fn avcodec_profile_name(id: u32, profile: c_int) -> *const c_char;
    pub fn av_get_pix_fmt(name: *const c_char) -> c_int;
    pub fn av_get_pix_fmt_name(format: c_int) -> *const c_char;
    pub fn av_pix_fmt_desc_get(format: c_int) -> *const sys::AVPixFmtDescriptor;
    pub fn sws_getContext(
        src_w: c_int,
        src_h: c_int,
        src_format: c_int,
        dst_w: c_int,
        dst_h: c_int,
        dst_format: c_int,
        flags: c_int,
        src_filter: *mut sys::SwsFilter,
        dst_filter: *mut sys::SwsFilter,
        param: *const f64,
    ) -> *mut sys::SwsContext;
    pub fn av_log_set_callback(callback: Option<LogCallback>);
    pub fn av_log_format_line2(
        pointer: *mut c_void,
        level: c_int,
        format: *const c_char,
        arguments: *mut c_void,
        line: *mut c_char,
        line_size: c_int,
        print_prefix: *mut c_int,
    ) -> c_int;
}
