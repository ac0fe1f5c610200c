//! An owned `AVPacket`.

use std::slice;

use super::call::FfmpegError;
use super::raw::sys;

/// One packet: a piece of compressed data and its times, in its stream's time base.
pub struct Packet(*mut sys::AVPacket);

// SAFETY: a packet is plain data and reference-counted buffers (atomic counts); nothing in it is tied to a thread.
unsafe impl Send for Packet {}

impl Packet {
    pub fn new() -> Result<Self, FfmpegError> {
        // SAFETY: allocates; null is checked.
        let packet = unsafe { sys::av_packet_alloc() };
        if packet.is_null() { Err(FfmpegError::OUT_OF_MEMORY) } else { Ok(Self(packet)) }
    }

    /// The compressed bytes.
    pub fn data(&self) -> &[u8] {
        // SAFETY: ours; data is null or holds size bytes for as long as the packet is not changed, which needs &mut.
        unsafe {
            let (data, size) = ((*self.0).data, (*self.0).size);
            if data.is_null() || size <= 0 { &[] } else { slice::from_raw_parts(data, size as usize) }
        }
    }

    pub fn stream(&self) -> i32 {
        // SAFETY: ours.
        unsafe { (*self.0).stream_index }
    }

    pub fn pts(&self) -> Option<i64> {
        // SAFETY: ours.
        timestamp(unsafe { (*self.0).pts })
    }

    pub fn dts(&self) -> Option<i64> {
        // SAFETY: ours.
        timestamp(unsafe { (*self.0).dts })
    }

    /// Where it begins in the file, in bytes; `None` where the demuxer does not say.
    pub fn position(&self) -> Option<i64> {
        // SAFETY: ours.
        Some(unsafe { (*self.0).pos }).filter(|&position| position >= 0)
    }

    /// Length in time base units, 0 if unknown.
    pub fn duration(&self) -> i64 {
        // SAFETY: ours.
        unsafe { (*self.0).duration }
    }

    pub fn set_duration(&mut self, duration: i64) {
        // SAFETY: ours.
        unsafe { (*self.0).duration = duration };
    }

    pub fn set_stream(&mut self, index: i32) {
        // SAFETY: ours.
        unsafe { (*self.0).stream_index = index };
    }

    /// Converts pts, dts and duration from one time base to another.
    pub fn rescale(&mut self, from: (i32, i32), to: (i32, i32)) {
        // SAFETY: ours; plain arithmetic on it.
        unsafe { sys::av_packet_rescale_ts(self.0, super::rational(from), super::rational(to)) };
    }

    /// The demuxer knows that something is wrong or missing in it.
    pub fn is_corrupt(&self) -> bool {
        self.flag(sys::AV_PKT_FLAG_CORRUPT)
    }

    /// Decoded for the sake of others and then thrown away by the decoder (edit lists).
    pub fn is_discarded(&self) -> bool {
        self.flag(sys::AV_PKT_FLAG_DISCARD)
    }

    /// Whether it brings new codec parameters along.
    pub fn has_new_parameters(&self) -> bool {
        // SAFETY: ours; the table holds side_data_elems entries.
        unsafe {
            let (table, count) = ((*self.0).side_data, (*self.0).side_data_elems.max(0) as usize);
            (0..count).any(|i| {
                let kind = super::raw::enum_field!(table.add(i), type_);
                kind == sys::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA as i32
                    || kind == sys::AVPacketSideDataType::AV_PKT_DATA_PARAM_CHANGE as i32
            })
        }
    }

    /// Drops the contents.
    pub fn clear(&mut self) {
        // SAFETY: ours.
        unsafe { sys::av_packet_unref(self.0) };
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut sys::AVPacket {
        self.0
    }

    pub(super) fn as_ptr(&self) -> *const sys::AVPacket {
        self.0
    }

    fn flag(&self, flag: i32) -> bool {
        // SAFETY: ours.
        unsafe { (*self.0).flags & flag != 0 }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { sys::av_packet_free(&raw mut self.0) };
    }
}

/// FFmpeg's "no timestamp" made explicit.
pub(super) fn timestamp(value: i64) -> Option<i64> {
    (value != sys::AV_NOPTS_VALUE).then_some(value)
}
