//! FFmpeg's descriptions of its pixel formats, as plain data.

use std::ffi::{CStr, CString};

use super::call::text;
use super::raw::{self, sys};

/// How one component (Y, U, V or R, G, B or alpha) lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Component {
    pub plane: i32,
    /// Bytes from one sample to the next.
    pub step: i32,
    /// Bytes before the first sample.
    pub offset: i32,
    pub shift: i32,
    /// Significant bits.
    pub depth: i32,
}

/// A pixel format as `av_pix_fmt_desc_get` describes it.
#[derive(Clone, Copy, Debug)]
pub struct PixelDescription {
    pub name: &'static str,
    pub log2_chroma_w: u8,
    pub log2_chroma_h: u8,
    pub rgb: bool,
    pub palette: bool,
    pub bitstream: bool,
    pub hardware: bool,
    pub bayer: bool,
    pub float: bool,
    pub big_endian: bool,
    components: [Component; 4],
    count: usize,
}

impl PixelDescription {
    /// Three colour components first, then alpha; one (and alpha) for grey.
    pub fn components(&self) -> &[Component] {
        &self.components[..self.count]
    }
}

/// Describes a format; `None` for numbers that FFmpeg does not know (also "none").
pub fn describe(format: i32) -> Option<PixelDescription> {
    // SAFETY: any integer may be asked for; the answer is null or static.
    let descriptor = unsafe { raw::av_pix_fmt_desc_get(format) };
    if descriptor.is_null() {
        return None;
    }
    // SAFETY: static and not null; its name is a static string.
    unsafe {
        let flags = (*descriptor).flags;
        let has = |flag: i32| flags & flag as u64 != 0;
        let name = CStr::from_ptr::<'static>((*descriptor).name);
        let component = |c: sys::AVComponentDescriptor| Component {
            plane: c.plane,
            step: c.step,
            offset: c.offset,
            shift: c.shift,
            depth: c.depth,
        };
        Some(PixelDescription {
            name: name.to_str().unwrap_or_default(),
            log2_chroma_w: (*descriptor).log2_chroma_w,
            log2_chroma_h: (*descriptor).log2_chroma_h,
            rgb: has(sys::AV_PIX_FMT_FLAG_RGB),
            palette: has(sys::AV_PIX_FMT_FLAG_PAL),
            bitstream: has(sys::AV_PIX_FMT_FLAG_BITSTREAM),
            hardware: has(sys::AV_PIX_FMT_FLAG_HWACCEL),
            bayer: has(sys::AV_PIX_FMT_FLAG_BAYER),
            float: has(sys::AV_PIX_FMT_FLAG_FLOAT),
            big_endian: has(sys::AV_PIX_FMT_FLAG_BE),
            components: (*descriptor).comp.map(component),
            count: usize::from((*descriptor).nb_components).min(4),
        })
    }
}

/// The format's name, as `ffmpeg -pix_fmts` lists it.
pub fn name(format: i32) -> Option<String> {
    // SAFETY: any integer may be asked for; the answer is null or a static string.
    unsafe { text(raw::av_get_pix_fmt_name(format)) }
}

/// The format of that name.
pub fn by_name(name: &str) -> Option<i32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a terminated string.
    let format = unsafe { raw::av_get_pix_fmt(name.as_ptr()) };
    (format >= 0).then_some(format)
}
