//! An open encoder, and the file it is written to.

use std::ffi::CString;
use std::ptr;

use super::call::{FfmpegError, check};
use super::frame::RawFrame;
use super::options::Options;
use super::packet::Packet;
use super::raw::{set_enum_field, sys};
use super::scale::RawColor;

/// What an encoder is opened for.
#[derive(Clone, Copy, Debug)]
pub struct EncoderSetup {
    pub width: i32,
    pub height: i32,
    /// AVPixelFormat.
    pub pixel_format: i32,
    pub time_base: (i32, i32),
    /// 0/1 where unknown.
    pub frame_rate: (i32, i32),
    pub color: RawColor,
    /// Largest distance between key frames, in frames.
    pub key_interval: i32,
    /// Whether the container wants codec parameters beside the stream rather than in it.
    pub global_header: bool,
    /// Constant quantiser for codecs that know one (1 is best); 0 for none.
    pub quantiser: i32,
}

/// A codec's state: frames in, packets out, in decoding order.
pub struct RawEncoder(*mut sys::AVCodecContext);

// SAFETY: used from one thread at a time, which &mut and ownership guarantee; FFmpeg's own threads are its own matter.
unsafe impl Send for RawEncoder {}

impl RawEncoder {
    /// Opens the encoder called `name`; options that it does not know are an error.
    pub fn open(name: &str, setup: &EncoderSetup, mut options: Options) -> Result<Self, FfmpegError> {
        let name = CString::new(name).map_err(|_| FfmpegError::INVALID_ARGUMENT)?;
        // SAFETY: the encoder is static or null; the context is ours from its allocation on, and its fields are plain
        // values that avcodec_open2 checks.
        unsafe {
            let codec = sys::avcodec_find_encoder_by_name(name.as_ptr());
            if codec.is_null() {
                return Err(FfmpegError::INVALID_ARGUMENT);
            }
            let context = sys::avcodec_alloc_context3(codec);
            if context.is_null() {
                return Err(FfmpegError::OUT_OF_MEMORY);
            }
            let encoder = Self(context);
            (*context).width = setup.width;
            (*context).height = setup.height;
            (*context).time_base = super::rational(setup.time_base);
            (*context).framerate = super::rational(setup.frame_rate);
            (*context).gop_size = setup.key_interval;
            set_enum_field!(context, pix_fmt, setup.pixel_format);
            set_enum_field!(context, colorspace, setup.color.matrix);
            set_enum_field!(context, color_range, setup.color.range());
            if setup.global_header {
                (*context).flags |= sys::AV_CODEC_FLAG_GLOBAL_HEADER as i32;
            }
            if setup.quantiser > 0 {
                (*context).flags |= sys::AV_CODEC_FLAG_QSCALE as i32;
                (*context).global_quality = setup.quantiser * sys::FF_QP2LAMBDA;
            }
            check(sys::avcodec_open2(context, codec, options.as_mut_ptr()))?;
            if options.first_left().is_some() {
                return Err(FfmpegError::INVALID_ARGUMENT);
            }
            Ok(encoder)
        }
    }

    /// Hands over a frame; `None` says that no more will come.
    pub fn send(&mut self, frame: Option<&RawFrame>) -> Result<(), FfmpegError> {
        let pointer = frame.map_or(ptr::null(), RawFrame::as_ptr);
        // SAFETY: the context is ours; the frame is null or lives through the call, which references or copies it.
        check(unsafe { sys::avcodec_send_frame(self.0, pointer) })?;
        Ok(())
    }

    /// The next packet: [`FfmpegError::AGAIN`] asks for frames, [`FfmpegError::EOF`] says that all are out.
    pub fn receive(&mut self, packet: &mut Packet) -> Result<(), FfmpegError> {
        // SAFETY: both are ours; the call blanks the packet first.
        check(unsafe { sys::avcodec_receive_packet(self.0, packet.as_mut_ptr()) })?;
        Ok(())
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { sys::avcodec_free_context(&raw mut self.0) };
    }
}

/// A file being written, with one stream.
pub struct Output(*mut sys::AVFormatContext);

// SAFETY: used from one thread at a time, which &mut and ownership guarantee.
unsafe impl Send for Output {}

impl Output {
    /// Creates the file at `url` in the container format called `format`.
    pub fn create(url: &str, format: &str) -> Result<Self, FfmpegError> {
        let url = CString::new(url).map_err(|_| FfmpegError::INVALID_ARGUMENT)?;
        let format = CString::new(format).map_err(|_| FfmpegError::INVALID_ARGUMENT)?;
        let mut context = ptr::null_mut();
        // SAFETY: the new context is ours on success; its pb is ours too once opened, and closed in drop.
        unsafe {
            let (name, address) = (format.as_ptr(), url.as_ptr());
            check(sys::avformat_alloc_output_context2(&raw mut context, ptr::null(), name, address))?;
            let output = Self(context);
            check(sys::avio_open(&raw mut (*context).pb, address, sys::AVIO_FLAG_WRITE))?;
            (*context).flush_packets = 1;
            Ok(output)
        }
    }

    /// Adds the encoder's stream and writes the container's head. Returns the stream's time base, which the container
    /// may have changed.
    pub fn start(
        &mut self,
        encoder: &RawEncoder,
        frame_rate: (i32, i32),
        mut options: Options,
    ) -> Result<(i32, i32), FfmpegError> {
        // SAFETY: both contexts are ours; the new stream belongs to the output.
        unsafe {
            let stream = sys::avformat_new_stream(self.0, ptr::null());
            if stream.is_null() {
                return Err(FfmpegError::OUT_OF_MEMORY);
            }
            check(sys::avcodec_parameters_from_context((*stream).codecpar, encoder.0))?;
            (*stream).time_base = (*encoder.0).time_base;
            (*stream).avg_frame_rate = super::rational(frame_rate);
            check(sys::avformat_write_header(self.0, options.as_mut_ptr()))?;
            if options.first_left().is_some() {
                return Err(FfmpegError::INVALID_ARGUMENT);
            }
            Ok(super::pair((*stream).time_base))
        }
    }

    /// Writes a packet of the only stream, in the container's time base.
    pub fn write(&mut self, packet: &mut Packet) -> Result<(), FfmpegError> {
        packet.set_stream(0);
        // SAFETY: both are ours; the head has been written.
        check(unsafe { sys::av_write_frame(self.0, packet.as_mut_ptr()) })?;
        self.io_error()
    }

    /// Writes the container's end and closes the file.
    pub fn finish(mut self) -> Result<(), FfmpegError> {
        // SAFETY: ours; the head has been written.
        check(unsafe { sys::av_write_trailer(self.0) })?;
        self.io_error()?;
        self.close()
    }

    /// Errors stay with the file even where the call that met them did not pass them on.
    fn io_error(&self) -> Result<(), FfmpegError> {
        // SAFETY: ours; pb is open until close.
        check(unsafe { (*(*self.0).pb).error }).map(|_| ())
    }

    fn close(&mut self) -> Result<(), FfmpegError> {
        // SAFETY: ours; pb is open or null, and null afterwards.
        check(unsafe { sys::avio_closep(&raw mut (*self.0).pb) }).map(|_| ())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // What a drop without finish() leaves open; its errors have no one to go to.
        let _ = self.close();
        // SAFETY: ours, and never used again.
        unsafe { sys::avformat_free_context(self.0) };
    }
}
