//! An open decoder.

use std::ptr;
use std::sync::Arc;

use super::call::{FfmpegError, check, text};
use super::frame::RawFrame;
use super::input::Input;
use super::log::Concealment;
use super::options::Options;
use super::packet::Packet;
use super::raw::{self, sys};

/// A codec's state: packets in, frames out, in display order.
pub struct RawDecoder {
    context: *mut sys::AVCodecContext,
    /// Its mark is the context's `opaque`.
    concealment: Arc<Concealment>,
    /// For the next picture.
    blank: Option<RawFrame>,
}

// SAFETY: used from one thread at a time, which &mut and ownership guarantee; FFmpeg's own threads are its own matter.
unsafe impl Send for RawDecoder {}

/// How a decoder is opened.
#[derive(Clone, Copy, Debug)]
pub struct DecoderSetup {
    /// 0 for as many as there are cores.
    pub threads: usize,
    pub max_pixels: u64,
    /// Damage is an error, reported in decoding order, instead of being concealed.
    pub strict: bool,
}

/// The name of the decoder that FFmpeg would take for a codec.
pub fn decoder_name(codec: u32) -> Option<String> {
    // SAFETY: any integer may be asked for; the answer is null or static.
    unsafe {
        let decoder = raw::avcodec_find_decoder(codec);
        if decoder.is_null() { None } else { text((*decoder).name) }
    }
}

impl RawDecoder {
    /// Opens FFmpeg's decoder for a stream.
    pub fn open(input: &Input, stream: i32, setup: DecoderSetup) -> Result<Self, FfmpegError> {
        let parameters = input.parameters(stream).ok_or(FfmpegError::INVALID_ARGUMENT)?;
        let facts = input.stream_facts(stream).ok_or(FfmpegError::INVALID_ARGUMENT)?;
        let mut options = Options::new();
        options.set("max_pixels", &setup.max_pixels.to_string())?;
        options.set("threads", &setup.threads.min(64).to_string())?;
        if setup.strict {
            options.set("err_detect", "explode")?;
        }
        // SAFETY: the decoder is static or null, which alloc3 and open2 report; the context is ours from here on.
        unsafe {
            let codec = raw::avcodec_find_decoder(facts.codec);
            if codec.is_null() {
                return Err(FfmpegError::INVALID_ARGUMENT);
            }
            let context = sys::avcodec_alloc_context3(codec);
            if context.is_null() {
                return Err(FfmpegError::OUT_OF_MEMORY);
            }
            let decoder = Self { context, concealment: Concealment::enlist(), blank: None };
            (*context).opaque = decoder.concealment.mark();
            check(sys::avcodec_parameters_to_context(context, parameters))?;
            (*context).pkt_timebase = super::rational(facts.time_base);
            check(sys::avcodec_open2(context, codec, options.as_mut_ptr()))?;
            Ok(decoder)
        }
    }

    /// Hands over a packet; `None` says that no more will come.
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<(), FfmpegError> {
        let pointer = packet.map_or(ptr::null(), Packet::as_ptr);
        // SAFETY: the context is ours; the packet is null or lives through the call, which references its data.
        check(unsafe { sys::avcodec_send_packet(self.context, pointer) })?;
        Ok(())
    }

    /// The next frame: [`FfmpegError::AGAIN`] asks for packets, [`FfmpegError::EOF`] says that all are out.
    pub fn receive(&mut self) -> Result<RawFrame, FfmpegError> {
        let mut frame = self.blank.take().map_or_else(RawFrame::new, Ok)?;
        // SAFETY: both are ours.
        match check(unsafe { sys::avcodec_receive_frame(self.context, frame.as_mut_ptr()) }) {
            Ok(_) => Ok(frame),
            Err(error) => {
                self.blank = Some(frame);
                Err(error)
            }
        }
    }

    /// Forgets what came before, as if newly opened; frames that were not received are lost.
    pub fn flush(&mut self) {
        // SAFETY: the context is ours and open.
        unsafe { sys::avcodec_flush_buffers(self.context) };
    }

    /// Whether it has concealed an error so far. Known before any frame is received that this may have touched.
    pub fn has_concealed(&self) -> bool {
        self.concealment.happened()
    }

    /// The codec's private description of the stream (SPS and the like), as it was opened with.
    pub fn extradata(&self) -> &[u8] {
        // SAFETY: ours; extradata is null or holds extradata_size bytes, and decoders replace it only in calls with &mut.
        unsafe {
            let (data, size) = ((*self.context).extradata, (*self.context).extradata_size);
            if data.is_null() || size <= 0 { &[] } else { std::slice::from_raw_parts(data, size as usize) }
        }
    }
}

impl Drop for RawDecoder {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { sys::avcodec_free_context(&raw mut self.context) };
        self.concealment.forget();
    }
}
