//! A file's frames, one step at a time.

use crate::demux::Demuxer;
use crate::ffi::{self, FfmpegError, Packet, RawDecoder, RawFrame};
use crate::frame::StreamLook;
use crate::time::{Rational, Timestamp};
use crate::{Damage, Error, Frame, FrameHead, Probe, orientation};

/// Errors of the decoder in a row, without packets or frames in between, after which it is taken to be done.
const MAX_STUCK: u32 = 1024;

/// How to decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Threads of the decoder; 0 for as many as there are cores. Frames are the same for any number.
    pub threads: usize,
    /// Largest area of a picture, in pixels. (No side may be longer than 32768 pixels.)
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { threads: 0, max_pixels: 512 * 1024 * 1024 }
    }
}

/// What became of the next frame.
#[derive(Debug)]
pub enum Step {
    /// A frame that was wanted.
    Frame(Frame),
    /// A frame that was not wanted.
    Skipped(FrameHead),
    /// There are no more.
    End,
}

/// Decodes the main video stream of a file, or an image.
pub struct Decoder {
    path: String,
    probe: Probe,
    look: StreamLook,
    demuxer: Demuxer,
    decoder: RawDecoder,
    packet: Packet,
    /// Decoded while opening.
    first: Option<RawFrame>,
    next_index: u64,
    damage: Damage,
    stuck: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// All packets are in.
    Draining,
    Done,
}

impl Decoder {
    /// Opens a file, a URL, or standard input (`-`).
    ///
    /// # Errors
    /// When there is nothing there, it is not media or holds no video, no decoder is there, pictures are too large, or
    /// an image cannot be decoded.
    pub fn open(path: &str, options: &DecodeOptions) -> Result<Self, Error> {
        let demuxer = Demuxer::open(path, options.max_pixels)?;
        let is_image = demuxer.is_image;
        let threads = if is_image { 1 } else { options.threads };
        let decoder = open_decoder(path, &demuxer, threads, options.max_pixels)?;
        let internal = |cause| Error::Internal { path: path.to_owned(), what: "packet", cause };
        let look =
            StreamLook { orientation: demuxer.stream.display_matrix.map(orientation::from_matrix), is_image };
        let mut opened = Self {
            path: path.to_owned(),
            probe: Probe::new(&demuxer.container, &demuxer.stream, is_image),
            look,
            demuxer,
            decoder,
            packet: Packet::new().map_err(internal)?,
            first: None,
            next_index: 0,
            damage: Damage::default(),
            stuck: 0,
            state: State::Reading,
        };
        opened.look_at_first_frame()?;
        Ok(opened)
    }

    /// What the file is.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// What was concealed or lost so far.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// The next frame in display order. `want` is asked exactly once for each frame, in that order, and only frames
    /// that it wants are given out.
    ///
    /// # Errors
    /// When the whole file gives no frame, or a frame's pixel format cannot be used. Damage is no error.
    pub fn next(&mut self, want: &mut dyn FnMut(FrameHead) -> bool) -> Result<Step, Error> {
        let Some(raw) = self.next_raw() else {
            return if self.next_index == 0 { Err(self.nothing_decoded()) } else { Ok(Step::End) };
        };
        let head = FrameHead { index: self.next_index, timestamp: self.timestamp(&raw) };
        self.next_index += 1;
        self.damage.concealed_frames += u64::from(raw.is_damaged());
        if !want(head) {
            return Ok(Step::Skipped(head));
        }
        self.lend(raw, head).map(Step::Frame)
    }

    fn lend(&self, raw: RawFrame, head: FrameHead) -> Result<Frame, Error> {
        let format = raw.format();
        Frame::new(raw, head, self.look).map_err(|cause| Error::PixelFormat {
            path: self.path.clone(),
            format: ffi::pixel_format_name(format).unwrap_or_else(|| format.to_string()),
            frame: head.index,
            cause,
        })
    }

    fn timestamp(&self, raw: &RawFrame) -> Option<Timestamp> {
        if self.probe.is_image {
            return None;
        }
        let Rational { num, den } = self.probe.time_base;
        let pts = raw.best_timestamp().or(raw.pts())?;
        (num > 0 && den > 0).then_some(Timestamp { pts, time_base: self.probe.time_base })
    }

    /// Some things are known only from a frame: all of an image, and of a stream whose container says too little.
    fn look_at_first_frame(&mut self) -> Result<(), Error> {
        let known = self.probe.width > 0 && self.probe.height > 0 && self.probe.bit_depth > 0;
        if known && !self.probe.is_image {
            return Ok(());
        }
        let raw = self.next_raw().ok_or_else(|| self.nothing_decoded())?;
        self.probe.refine(&raw, self.look);
        self.first = Some(raw);
        if self.probe.is_image {
            self.state = State::Done;
        }
        Ok(())
    }

    /// The next frame that the decoder gives, through whatever errors.
    fn next_raw(&mut self) -> Option<RawFrame> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while self.state != State::Done {
            match self.decoder.receive() {
                Ok(frame) => {
                    self.stuck = 0;
                    return Some(frame);
                }
                Err(FfmpegError::EOF) => self.state = State::Done,
                Err(FfmpegError::AGAIN) if self.state == State::Reading => self.feed(),
                Err(error) => self.decode_error(error),
            }
        }
        None
    }

    /// Hands the decoder its next packet, or the news that there are none.
    fn feed(&mut self) {
        let sent = if self.demuxer.read(&mut self.packet, &mut self.damage) {
            self.stuck = 0;
            self.decoder.send(Some(&self.packet))
        } else {
            self.state = State::Draining;
            self.decoder.send(None)
        };
        if let Err(error) = sent {
            self.decode_error(error);
        }
    }

    fn decode_error(&mut self, error: FfmpegError) {
        tracing::debug!(source = %self.path, packet = self.demuxer.packets(), "decode error: {error}");
        self.damage.decode_errors += 1;
        self.stuck += 1;
        if self.stuck > MAX_STUCK {
            self.state = State::Done;
        }
    }

    fn nothing_decoded(&self) -> Error {
        Error::NothingDecoded {
            path: self.path.clone(),
            codec: self.probe.codec.clone(),
            packets: self.demuxer.packets(),
            errors: self.damage.decode_errors,
        }
    }
}

fn open_decoder(path: &str, demuxer: &Demuxer, threads: usize, max_pixels: u64) -> Result<RawDecoder, Error> {
    let codec = demuxer.stream.codec_name.clone();
    if ffi::decoder_name(demuxer.stream.codec).is_none() {
        return Err(Error::NoDecoder { path: path.to_owned(), codec });
    }
    RawDecoder::open(demuxer.input(), demuxer.stream.index, threads, max_pixels)
        .map_err(|cause| Error::DecoderOpen { path: path.to_owned(), codec, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoders_can_move_between_threads() {
        fn check<T: Send>() {}
        check::<Decoder>();
    }
}
