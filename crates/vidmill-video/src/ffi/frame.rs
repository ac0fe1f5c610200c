//! An owned `AVFrame`: a reference to a picture that FFmpeg shares by counting.

use std::{ptr, slice};

use super::call::{FfmpegError, check, text};
use super::packet::timestamp;
use super::raw::{enum_field, sys};

/// A picture, or a blank to receive one.
pub struct RawFrame(*mut sys::AVFrame);

// SAFETY: a frame's fields change only through &mut; its pixels are reference-counted buffers with atomic counts that
// FFmpeg no longer writes to once a decoder has given the frame out.
unsafe impl Send for RawFrame {}
// SAFETY: as above; & gives reads only.
unsafe impl Sync for RawFrame {}

impl RawFrame {
    /// A blank.
    pub fn new() -> Result<Self, FfmpegError> {
        // SAFETY: allocates; null is checked.
        let frame = unsafe { sys::av_frame_alloc() };
        if frame.is_null() { Err(FfmpegError::OUT_OF_MEMORY) } else { Ok(Self(frame)) }
    }

    /// A picture of the given pixel format and size, its contents undefined.
    pub fn with_buffer(format: i32, width: i32, height: i32) -> Result<Self, FfmpegError> {
        let frame = Self::new()?;
        // SAFETY: ours and blank; av_frame_get_buffer checks format and size, and its buffers are ours alone and hold `size` bytes.
        unsafe {
            (*frame.0).format = format;
            (*frame.0).width = width;
            (*frame.0).height = height;
            check(sys::av_frame_get_buffer(frame.0, 0))?;
            // Planes are lent as bytes, the padding between rows included, so all of it must hold something.
            for buffer in (*frame.0).buf.iter().filter(|buffer| !buffer.is_null()) {
                ptr::write_bytes((**buffer).data, 0, (**buffer).size);
            }
        }
        Ok(frame)
    }

    pub fn format(&self) -> i32 {
        // SAFETY: ours.
        unsafe { (*self.0).format }
    }

    pub fn width(&self) -> i32 {
        // SAFETY: ours.
        unsafe { (*self.0).width }
    }

    pub fn height(&self) -> i32 {
        // SAFETY: ours.
        unsafe { (*self.0).height }
    }

    /// FFmpeg's choice between the frame's own pts and its packet's dts, in the stream's time base.
    pub fn best_timestamp(&self) -> Option<i64> {
        // SAFETY: ours.
        timestamp(unsafe { (*self.0).best_effort_timestamp })
    }

    /// The pts that came with the frame's packet.
    pub fn pts(&self) -> Option<i64> {
        // SAFETY: ours.
        timestamp(unsafe { (*self.0).pts })
    }

    pub fn set_pts(&mut self, pts: i64) {
        // SAFETY: ours.
        unsafe { (*self.0).pts = pts };
    }

    /// Asks an encoder for a key frame here, or leaves the choice to it.
    pub fn set_key(&mut self, key: bool) {
        let kind = if key {
            sys::AVPictureType::AV_PICTURE_TYPE_I
        } else {
            sys::AVPictureType::AV_PICTURE_TYPE_NONE
        };
        // SAFETY: ours.
        unsafe { (*self.0).pict_type = kind };
    }

    /// Tells an encoder which quantiser to use, if it goes by the frame's.
    pub fn set_quality(&mut self, quantiser: i32) {
        // SAFETY: ours.
        unsafe { (*self.0).quality = quantiser * sys::FF_QP2LAMBDA };
    }

    /// AVColorSpace as an integer.
    pub fn matrix(&self) -> i32 {
        // SAFETY: ours; read as an integer.
        unsafe { enum_field!(self.0, colorspace) }
    }

    /// AVColorRange as an integer.
    pub fn range(&self) -> i32 {
        // SAFETY: ours; read as an integer.
        unsafe { enum_field!(self.0, color_range) }
    }

    /// AVChromaLocation as an integer.
    pub fn chroma_location(&self) -> i32 {
        // SAFETY: ours; read as an integer.
        unsafe { enum_field!(self.0, chroma_location) }
    }

    /// The decoder hid an error in this frame, or says that it may be wrong.
    pub fn is_damaged(&self) -> bool {
        // SAFETY: ours.
        unsafe { (*self.0).decode_error_flags != 0 || (*self.0).flags & sys::AV_FRAME_FLAG_CORRUPT != 0 }
    }

    /// The display matrix that came with this very frame.
    pub fn display_matrix(&self) -> Option<[i32; 9]> {
        let kind = sys::AVFrameSideDataType::AV_FRAME_DATA_DISPLAYMATRIX;
        // SAFETY: ours; side data holds `size` bytes.
        unsafe {
            let side = sys::av_frame_get_side_data(self.0, kind);
            if side.is_null() { None } else { read_matrix((*side).data, (*side).size) }
        }
    }

    /// A value of the frame's metadata (Exif entries of images, for one).
    pub fn metadata(&self, key: &std::ffi::CStr) -> Option<String> {
        // SAFETY: ours; a null dictionary is an empty one; values are terminated strings.
        unsafe {
            let entry = sys::av_dict_get((*self.0).metadata, key.as_ptr(), ptr::null(), 0);
            if entry.is_null() { None } else { text((*entry).value) }
        }
    }

    /// Bytes from one row to the next; negative where rows are stored bottom-up.
    pub fn stride(&self, plane: usize) -> i32 {
        // SAFETY: ours; the index is checked by the array.
        unsafe { (*self.0).linesize[plane] }
    }

    /// The bytes of a plane: `rows` rows of `row_bytes`, a stride apart, in top-down order.
    ///
    /// `None` where the stride is negative or smaller than a row, or where the plane is not all inside one of the
    /// frame's buffers.
    pub fn plane(&self, plane: usize, rows: usize, row_bytes: usize) -> Option<&[u8]> {
        let (data, length) = self.span(plane, rows, row_bytes)?;
        // SAFETY: the bytes lie in a buffer that the frame keeps alive, and nobody writes to it while the frame is lent.
        Some(unsafe { slice::from_raw_parts(data, length) })
    }

    /// Where a plane's bytes lie, checked to be inside of one of the frame's buffers.
    fn span(&self, plane: usize, rows: usize, row_bytes: usize) -> Option<(*mut u8, usize)> {
        let stride = usize::try_from(self.stride(plane)).ok().filter(|&stride| stride >= row_bytes)?;
        let length = stride.checked_mul(rows.checked_sub(1)?)?.checked_add(row_bytes)?;
        // SAFETY: ours; the index is checked by the array.
        let data = unsafe { (*self.0).data[plane] };
        (!data.is_null() && self.owns(plane, data, length)).then_some((data, length))
    }

    /// As [`Self::plane`], to write to. The frame must be the only owner of its buffers.
    pub fn plane_mut(&mut self, plane: usize, rows: usize, row_bytes: usize) -> Option<&mut [u8]> {
        // SAFETY: ours.
        if unsafe { sys::av_frame_is_writable(self.0) } == 0 {
            return None;
        }
        let (data, length) = self.span(plane, rows, row_bytes)?;
        // SAFETY: as in plane(), and av_frame_is_writable says that nobody else holds the buffer.
        Some(unsafe { slice::from_raw_parts_mut(data, length) })
    }

    /// Gives the frame buffers of its own where it shares them.
    pub fn make_writable(&mut self) -> Result<(), FfmpegError> {
        // SAFETY: ours.
        check(unsafe { sys::av_frame_make_writable(self.0) })?;
        Ok(())
    }

    /// Copies the pixels of `source`, which has the same format and size, whatever the signs of its strides.
    pub fn copy_from(&mut self, source: &Self) -> Result<(), FfmpegError> {
        // SAFETY: both are ours; the call checks formats and sizes and works row by row.
        check(unsafe { sys::av_frame_copy(self.0, source.0) })?;
        Ok(())
    }

    /// Copies timestamps, colour tags, side data and metadata.
    pub fn copy_properties(&mut self, source: &Self) -> Result<(), FfmpegError> {
        // SAFETY: both are ours.
        check(unsafe { sys::av_frame_copy_props(self.0, source.0) })?;
        Ok(())
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut sys::AVFrame {
        self.0
    }

    pub(super) fn as_ptr(&self) -> *const sys::AVFrame {
        self.0
    }

    /// Whether `length` bytes from `data` lie inside the buffer behind `plane`.
    fn owns(&self, plane: usize, data: *const u8, length: usize) -> bool {
        // SAFETY: ours; the call returns null or the buffer that holds the plane's start.
        let buffer = unsafe { sys::av_frame_get_plane_buffer(self.0, plane as i32) };
        if buffer.is_null() {
            return false;
        }
        // SAFETY: a buffer reference of ours.
        let (start, size) = unsafe { ((*buffer).data as usize, (*buffer).size) };
        let from = data as usize;
        from >= start && from - start <= size && length <= size - (from - start)
    }
}

impl Drop for RawFrame {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { sys::av_frame_free(&raw mut self.0) };
    }
}

/// Nine integers of a display matrix.
///
/// # Safety
/// `data` is null or points to `size` readable bytes.
pub(super) unsafe fn read_matrix(data: *const u8, size: usize) -> Option<[i32; 9]> {
    if data.is_null() || size < 9 * size_of::<i32>() {
        return None;
    }
    // SAFETY: at least 36 bytes; no alignment is assumed.
    Some(unsafe { data.cast::<[i32; 9]>().read_unaligned() })
}
