//! An opened container and its video stream.

use std::ffi::{CString, c_int};
use std::ptr;

use super::call::{FfmpegError, check, text};
use super::options::Options;
use super::packet::{Packet, timestamp};
use super::raw::{self, enum_field, sys};

/// An open demuxer.
pub struct Input(*mut sys::AVFormatContext);

// SAFETY: a format context is used from one thread at a time, which &mut and ownership guarantee; it is not tied to the
// thread that opened it.
unsafe impl Send for Input {}

/// What a container says of a stream; enums as FFmpeg's integers, 0 or negative sizes where unknown.
#[derive(Clone, Debug)]
pub struct StreamFacts {
    pub index: i32,
    pub codec: u32,
    pub codec_name: String,
    /// No frame refers to another.
    pub intra_only: bool,
    pub profile: Option<String>,
    pub pixel_format: i32,
    pub width: i32,
    pub height: i32,
    pub matrix: i32,
    pub range: i32,
    pub time_base: (i32, i32),
    pub start: Option<i64>,
    pub duration: Option<i64>,
    pub frames: i64,
    pub average_rate: (i32, i32),
    pub sample_aspect: (i32, i32),
    pub display_matrix: Option<[i32; 9]>,
}

/// What a container says of itself.
#[derive(Clone, Debug)]
pub struct ContainerFacts {
    /// The demuxer's short names, comma-separated.
    pub format: String,
    /// In microseconds; `None` where unknown or only guessed from a bit rate.
    pub duration_us: Option<i64>,
    pub streams: u32,
    pub seekable: bool,
}

/// Where the container's index says that a packet is.
#[derive(Clone, Copy, Debug)]
pub struct IndexEntry {
    /// In bytes from the file's beginning.
    pub position: i64,
    /// Most containers give the decoding time, some the presentation time.
    pub timestamp: i64,
}

impl Input {
    /// Opens `url` and reads the container's head.
    pub fn open(url: &str, options: &mut Options) -> Result<Self, FfmpegError> {
        let url = CString::new(url).map_err(|_| FfmpegError::INVALID_ARGUMENT)?;
        let mut context = ptr::null_mut();
        // SAFETY: a null context asks for a new one, which becomes ours on success and is freed on failure.
        check(unsafe {
            sys::avformat_open_input(&raw mut context, url.as_ptr(), ptr::null(), options.as_mut_ptr())
        })?;
        Ok(Self(context))
    }

    /// Reads ahead until the streams' parameters are known. No decoder may make pictures of more than `max_pixels`.
    pub fn find_stream_info(&mut self, max_pixels: u64) -> Result<(), FfmpegError> {
        let mut per_stream = Vec::new();
        for _ in 0..self.stream_count() {
            let mut options = Options::new();
            options.set("max_pixels", &max_pixels.to_string())?;
            per_stream.push(options);
        }
        let mut pointers: Vec<_> = per_stream.iter_mut().map(Options::take).collect();
        let table = if pointers.is_empty() { ptr::null_mut() } else { pointers.as_mut_ptr() };
        // SAFETY: the context is ours, and the table has one dictionary for each stream there is now, as the call asks.
        let code = unsafe { sys::avformat_find_stream_info(self.0, table) };
        for pointer in pointers {
            drop(Options::from_raw(pointer));
        }
        check(code)?;
        Ok(())
    }

    /// The stream that FFmpeg takes for the main video (cover art comes last).
    pub fn best_video(&self) -> Option<i32> {
        let kind = sys::AVMediaType::AVMEDIA_TYPE_VIDEO;
        // SAFETY: the context is ours; null asks for no decoder.
        let code = unsafe { sys::av_find_best_stream(self.0, kind, -1, -1, ptr::null_mut(), 0) };
        check(code).ok()
    }

    /// Reads packets of this stream only.
    pub fn only(&mut self, stream: i32) {
        for index in 0..self.stream_count() {
            if index as i32 != stream {
                // SAFETY: index is below the stream count; the field takes any of AVDiscard's values.
                unsafe { (*self.stream(index)).discard = sys::AVDiscard::AVDISCARD_ALL };
            }
        }
    }

    /// The next packet; [`FfmpegError::EOF`] at the end.
    pub fn read(&mut self, packet: &mut Packet) -> Result<(), FfmpegError> {
        packet.clear();
        // SAFETY: both are ours, and the packet is blank.
        check(unsafe { sys::av_read_frame(self.0, packet.as_mut_ptr()) })?;
        Ok(())
    }

    /// How many packets the container's index lists for a stream, as far as it is known by now.
    pub fn index_entries(&self, stream: i32) -> u64 {
        let Some(pointer) = self.checked_stream(stream) else { return 0 };
        // SAFETY: a stream of ours.
        u64::try_from(unsafe { sys::avformat_index_get_entries_count(pointer) }).unwrap_or(0)
    }

    /// One entry of the container's index, in the index's order.
    pub fn index_entry(&self, stream: i32, number: u64) -> Option<IndexEntry> {
        let pointer = self.checked_stream(stream)?;
        let number = c_int::try_from(number).ok()?;
        // SAFETY: a stream of ours; the entry is null or valid until the input is used again, and is copied at once.
        unsafe {
            let entry = sys::avformat_index_get_entry(pointer, number);
            (!entry.is_null()).then(|| IndexEntry { position: (*entry).pos, timestamp: (*entry).timestamp })
        }
    }

    /// Goes to the key frame at or before `timestamp`, as far as the container knows; the next packet is read from there.
    pub fn seek(&mut self, stream: i32, timestamp: i64) -> Result<(), FfmpegError> {
        // SAFETY: the context is ours; the call checks the stream's number.
        check(unsafe { sys::av_seek_frame(self.0, stream, timestamp, sys::AVSEEK_FLAG_BACKWARD) })?;
        Ok(())
    }

    pub fn container(&self) -> ContainerFacts {
        // SAFETY: the context is ours; an opened input has an iformat with a static name.
        unsafe {
            let guessed = enum_field!(self.0, duration_estimation_method)
                == sys::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE as i32;
            let io = (*self.0).pb;
            ContainerFacts {
                format: text((*(*self.0).iformat).name).unwrap_or_default(),
                duration_us: timestamp((*self.0).duration).filter(|&us| us > 0 && !guessed),
                streams: (*self.0).nb_streams,
                seekable: !io.is_null() && (*io).seekable & sys::AVIO_SEEKABLE_NORMAL != 0,
            }
        }
    }

    pub fn stream_facts(&self, stream: i32) -> Option<StreamFacts> {
        let pointer = self.checked_stream(stream)?;
        // SAFETY: a stream of ours; its parameters live as long as it does; enums are read as integers.
        unsafe {
            let parameters = (*pointer).codecpar;
            let codec = enum_field!(parameters, codec_id) as u32;
            let descriptor = raw::avcodec_descriptor_get(codec);
            let intra_only =
                !descriptor.is_null() && (*descriptor).props & sys::AV_CODEC_PROP_INTRA_ONLY != 0;
            Some(StreamFacts {
                index: stream,
                codec,
                codec_name: text(raw::avcodec_get_name(codec)).unwrap_or_default(),
                intra_only,
                profile: text(raw::avcodec_profile_name(codec, (*parameters).profile)),
                pixel_format: (*parameters).format,
                width: (*parameters).width,
                height: (*parameters).height,
                matrix: enum_field!(parameters, color_space),
                range: enum_field!(parameters, color_range),
                time_base: super::pair((*pointer).time_base),
                start: timestamp((*pointer).start_time),
                duration: timestamp((*pointer).duration).filter(|&ticks| ticks > 0),
                frames: (*pointer).nb_frames,
                average_rate: super::pair((*pointer).avg_frame_rate),
                sample_aspect: super::pair((*parameters).sample_aspect_ratio),
                display_matrix: stream_display_matrix(pointer),
            })
        }
    }

    /// The parameters of a stream, for opening its decoder.
    pub(super) fn parameters(&self, stream: i32) -> Option<*const sys::AVCodecParameters> {
        // SAFETY: a stream of ours.
        self.checked_stream(stream).map(|pointer| unsafe { (*pointer).codecpar.cast_const() })
    }

    fn stream_count(&self) -> u32 {
        // SAFETY: the context is ours.
        unsafe { (*self.0).nb_streams }
    }

    fn checked_stream(&self, stream: i32) -> Option<*mut sys::AVStream> {
        let index = u32::try_from(stream).ok().filter(|&index| index < self.stream_count())?;
        Some(self.stream(index))
    }

    /// `index` must be below the stream count.
    fn stream(&self, index: u32) -> *mut sys::AVStream {
        assert!(index < self.stream_count(), "stream {index} of {}", self.stream_count());
        // SAFETY: the table holds nb_streams pointers, and the index was checked.
        unsafe { *(*self.0).streams.add(index as usize) }
    }
}

/// # Safety
/// `stream` belongs to an open input.
unsafe fn stream_display_matrix(stream: *mut sys::AVStream) -> Option<[i32; 9]> {
    let kind = sys::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
    let mut size = 0_usize;
    // SAFETY: the stream is open (the caller's promise); the call returns null or a pointer to `size` bytes.
    unsafe {
        let data = sys::av_stream_get_side_data(stream, kind, &raw mut size);
        super::frame::read_matrix(data, size)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { sys::avformat_close_input(&raw mut self.0) };
    }
}
