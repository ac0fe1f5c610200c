//! A file's frames, one step at a time.
//!
//! Three ways to the same frames: usually every packet is decoded; where frames can be told apart in advance, those
//! that nobody wants and no other frame needs are left out ([`Selector`]); and when a stream turns out to be damaged
//! (or its times to be wrong), decoding starts over, without leaving anything out and on one thread, since what several
//! threads make of damage depends on their timing. What was given out before stays as it was.
//!
//! For that to be right, damage must be known before any frame is given out that it touches, also by way of
//! references. So the first two ways decode strictly: damage is an error, which the decoder returns in decoding order,
//! ahead of whatever was decoded after it; and where it conceals all the same, it says so at once
//! ([`Pump::has_concealed`]). Only the third way goes on after that.

use std::collections::VecDeque;

use crate::demux::Demuxer;
use crate::ffi::{self, DecoderSetup, Packet, RawFrame};
use crate::frame::StreamLook;
use crate::pump::{Pump, Received};
use crate::select::{Outcome, Selector};
use crate::time::{Rational, Timestamp};
use crate::{Damage, Error, Frame, FrameHead, Probe, orientation};

/// Whether frames that are not wanted may be left undecoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skipping {
    /// Where it makes no difference to the frames that are wanted: H.264 and HEVC in MP4, MOV and Matroska files,
    /// frames that no other refers to, and where few are wanted, whatever no wanted frame depends on. Frames are asked about up to
    /// 2048 frames before they are decoded.
    ///
    /// One thing may differ in damaged files: damage to a frame that was left out is not noticed.
    #[default]
    Disposable,
    /// Every frame is decoded.
    Nothing,
}

/// Who else needs the cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// Nobody: decoding takes all its threads from the start.
    #[default]
    Free,
    /// Whoever uses the frames. Where it can, decoding begins on one thread, which costs the least, and takes more when the others
    /// wait for it while cores are idle.
    Shared,
}

/// How to decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Threads of the decoder at most; 0 for as many as there are cores. Frames are the same for any number.
    pub threads: usize,
    /// Who else needs the cores.
    pub cores: Cores,
    /// Largest area of a picture, in pixels. (No side may be longer than 32768 pixels.)
    pub max_pixels: u64,
    /// What may be left undecoded.
    pub skipping: Skipping,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            cores: Cores::default(),
            max_pixels: 512 * 1024 * 1024,
            skipping: Skipping::default(),
        }
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
    options: DecodeOptions,
    probe: Probe,
    look: StreamLook,
    pump: Pump,
    mode: Mode,
    /// Decoded while opening.
    first: Option<RawFrame>,
    next_index: u64,
    /// Answers for the frames from `next_index` on that were asked about ahead of time.
    answers: VecDeque<bool>,
    /// Frames that were given out before starting over, and come by again.
    repeated: u64,
    setup: DecoderSetup,
    can_start_over: bool,
    /// The last timestamp that was given out.
    last_pts: Option<i64>,
    /// Whether every frame so far had a timestamp, later than the one before.
    rising: bool,
    started_over: bool,
    /// The decoder has not seen all that was before: decoding began at a key frame within the file.
    sought: bool,
}

enum Mode {
    All,
    Selected(Box<Selector>),
}

impl Mode {
    /// For a file whose first packet is still to be read.
    fn selected(pump: &Pump, cores: Cores) -> Self {
        Selector::new(pump, cores).map_or(Self::All, |selector| Self::Selected(Box::new(selector)))
    }
}

impl Decoder {
    /// Opens a file, a URL, or standard input (`-`).
    ///
    /// # Errors
    /// When there is nothing there, it is not media or holds no video, no decoder is there, pictures are too large, or
    /// an image cannot be decoded.
    pub fn open(path: &str, options: &DecodeOptions) -> Result<Self, Error> {
        let demuxer = Demuxer::open(path, options.max_pixels)?;
        let selecting = options.skipping == Skipping::Disposable && Selector::suits(&demuxer);
        let can_start_over = demuxer.can_start_over() && !demuxer.is_image && !demuxer.stream.intra_only;
        let strict = can_start_over && can_be_strict(&demuxer) && (selecting || options.threads != 1);
        let setup = DecoderSetup { threads: options.threads, max_pixels: options.max_pixels, strict };
        let pump = Pump::new(path, demuxer, setup)?;
        let demuxer = &pump.demuxer;
        let orientation = demuxer.stream.display_matrix.map(orientation::from_matrix);
        let mut opened = Self {
            path: path.to_owned(),
            options: options.clone(),
            probe: Probe::new(&demuxer.container, &demuxer.stream, demuxer.is_image),
            look: StreamLook { orientation, is_image: demuxer.is_image },
            pump,
            mode: Mode::All,
            first: None,
            next_index: 0,
            answers: VecDeque::new(),
            repeated: 0,
            setup,
            can_start_over,
            last_pts: None,
            rising: true,
            started_over: false,
            sought: false,
        };
        opened.look_at_first_frame()?;
        if selecting && opened.first.is_none() {
            opened.mode = Mode::selected(&opened.pump, options.cores);
        }
        Ok(opened)
    }

    /// Goes on after the frame `last`, which an earlier decoder of the same file gave out or skipped: the next step is
    /// about the frame after it. To be called before the first [`Self::next`]; `want` is the one that goes to that.
    ///
    /// Decoding begins at the key frame before `last`, where it is certain that this gives the same as decoding from the beginning:
    /// H.264 and HEVC in MP4, MOV and Matroska files, at pictures that nothing shown after them looks back beyond. `false` where it
    /// is not; the decoder then stands at the beginning of the file. `last` must come from a decoder that
    /// [`Self::is_sound`] up to there.
    ///
    /// # Errors
    /// When the file cannot be opened again.
    pub fn go_on_after(
        &mut self,
        last: FrameHead,
        want: &mut dyn FnMut(FrameHead) -> bool,
    ) -> Result<bool, Error> {
        let Some(Timestamp { pts, .. }) = last.timestamp else { return Ok(false) };
        let Mode::Selected(selector) = &mut self.mode else { return Ok(false) };
        if self.next_index > 0 {
            return Ok(false);
        }
        if !selector.seek(&mut self.pump, pts) {
            self.open_again()?;
            return Ok(false);
        }
        (self.next_index, self.last_pts, self.sought) = (last.index + 1, Some(pts), true);
        if self.pass_through(pts, want) {
            tracing::debug!(source = %self.path, frame = self.next_index, "going on from a key frame");
            return Ok(true);
        }
        if self.answers.is_empty() {
            self.open_again()?;
            return Ok(false);
        }
        // Frames after it were asked about already; they come by again.
        self.start_over()?;
        Ok(true)
    }

    /// Decodes through the frame at `pts`, and gives nothing out; `false` if that frame does not come by as it should.
    fn pass_through(&mut self, pts: i64, want: &mut dyn FnMut(FrameHead) -> bool) -> bool {
        let (next_index, time_base) = (self.next_index, self.probe.time_base);
        let (mut met, mut missed) = (false, false);
        loop {
            let Mode::Selected(selector) = &mut self.mode else { return false };
            let answers = &mut self.answers;
            let outcome = selector.step(&mut self.pump, &mut |at| {
                met |= at == pts;
                missed |= at > pts && !met;
                if at <= pts || missed {
                    return false;
                }
                let index = next_index + answers.len() as u64;
                let answer = want(FrameHead { index, timestamp: Some(Timestamp { pts: at, time_base }) });
                answers.push_back(answer);
                answer
            });
            let at = match outcome {
                Outcome::Frame(raw, _) => raw.pts(),
                Outcome::Skipped(at) => Some(at),
                Outcome::DecodeAll | Outcome::StartOver | Outcome::End => None,
            };
            match at {
                Some(at) if at < pts && !missed => {}
                at => return at == Some(pts) && !missed,
            }
        }
    }

    /// As it was when it was opened.
    fn open_again(&mut self) -> Result<(), Error> {
        let demuxer = Demuxer::open(&self.path, self.options.max_pixels)?;
        self.pump = Pump::new(&self.path, demuxer, self.setup)?;
        self.mode = Mode::selected(&self.pump, self.options.cores);
        (self.next_index, self.last_pts, self.sought) = (0, None, false);
        Ok(())
    }

    /// Whether nothing unusual was met so far: no damage, every timestamp later than the one before.
    pub fn is_sound(&self) -> bool {
        self.rising && !self.started_over && self.pump.damage.is_none()
    }

    /// What the file is.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// What was concealed or lost so far.
    pub fn damage(&self) -> &Damage {
        &self.pump.damage
    }

    /// The next frame in display order. `want` is asked exactly once for each frame, in that order (though maybe some
    /// frames ahead), and only frames that it wants are given out.
    ///
    /// # Errors
    /// When the whole file gives no frame, a frame's pixel format cannot be used, or the file is gone when decoding has
    /// to start over. Damage is no error.
    pub fn next(&mut self, want: &mut dyn FnMut(FrameHead) -> bool) -> Result<Step, Error> {
        loop {
            let step = match self.mode {
                Mode::All => self.next_of_all(want)?,
                Mode::Selected(_) => self.next_selected(want)?,
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// One step of decoding everything; `None` if it takes another.
    fn next_of_all(&mut self, want: &mut dyn FnMut(FrameHead) -> bool) -> Result<Option<Step>, Error> {
        let received = self.first.take().map_or_else(|| self.pump.next(), Received::Frame);
        match received {
            Received::Frame(raw) if self.may_differ() && (raw.is_damaged() || self.pump.has_concealed()) => {
                self.start_over()
            }
            Received::Frame(_) if self.repeated > 0 => {
                self.repeated -= 1;
                Ok(None)
            }
            Received::Frame(raw) => {
                let timestamp = self.timestamp(raw.best_timestamp().or(raw.pts()));
                if self.sought && !self.rises(timestamp) {
                    // What FFmpeg makes of doubtful timestamps depends on those before.
                    return self.start_over();
                }
                let head = FrameHead { index: self.next_index, timestamp };
                let wanted = self.answers.pop_front().unwrap_or_else(|| want(head));
                self.give(raw, head, wanted).map(Some)
            }
            // Streams often begin in the middle; their first packets give nothing, on any number of threads.
            Received::Failed if self.setup.strict || (self.next_index > 0 && self.may_differ()) => {
                self.start_over()
            }
            Received::Failed | Received::Hungry => Ok(None),
            Received::End if self.next_index == 0 => Err(self.nothing_decoded()),
            Received::End => self.end().map(Some),
        }
    }

    /// One step of decoding what is wanted or needed; `None` if it takes another.
    fn next_selected(&mut self, want: &mut dyn FnMut(FrameHead) -> bool) -> Result<Option<Step>, Error> {
        let Mode::Selected(selector) = &mut self.mode else { return Ok(None) };
        let (next_index, answers, time_base) = (self.next_index, &mut self.answers, self.probe.time_base);
        let outcome = selector.step(&mut self.pump, &mut |pts| {
            let index = next_index + answers.len() as u64;
            let answer = want(FrameHead { index, timestamp: Some(Timestamp { pts, time_base }) });
            answers.push_back(answer);
            answer
        });
        match outcome {
            Outcome::Frame(raw, wanted) => {
                self.answers.pop_front();
                let head = FrameHead { index: self.next_index, timestamp: self.timestamp(raw.pts()) };
                self.give(raw, head, wanted).map(Some)
            }
            Outcome::Skipped(pts) => {
                self.answers.pop_front();
                let head = FrameHead { index: self.next_index, timestamp: self.timestamp(Some(pts)) };
                self.count(head);
                Ok(Some(Step::Skipped(head)))
            }
            Outcome::DecodeAll => {
                if let Mode::Selected(selector) = std::mem::replace(&mut self.mode, Mode::All) {
                    self.sought |= selector.has_left_out();
                    self.pump.queue(selector.into_unsent());
                }
                Ok(None)
            }
            Outcome::StartOver => self.start_over(),
            Outcome::End if self.next_index == 0 => Err(self.nothing_decoded()),
            Outcome::End => self.end().map(Some),
        }
    }

    /// The end of the file; what of it was not read on the way is looked at where that may matter for what is told of damage.
    fn end(&mut self) -> Result<Step, Error> {
        if self.sought && self.pump.damage.truncated.is_some() {
            self.sought = false;
            self.pump.damage = packet_damage(&self.path, self.options.max_pixels)?;
        }
        Ok(Step::End)
    }

    /// The frame has been given out or skipped.
    fn count(&mut self, head: FrameHead) {
        self.rising &= self.rises(head.timestamp);
        self.last_pts = head.timestamp.map(|t| t.pts).or(self.last_pts);
        self.next_index += 1;
    }

    fn rises(&self, timestamp: Option<Timestamp>) -> bool {
        timestamp.is_some_and(|t| self.last_pts.is_none_or(|last| last < t.pts))
    }

    fn give(&mut self, raw: RawFrame, head: FrameHead, wanted: bool) -> Result<Step, Error> {
        self.count(head);
        if !wanted {
            return Ok(Step::Skipped(head));
        }
        let format = raw.format();
        Frame::new(raw, head, self.look).map(Step::Frame).map_err(|cause| Error::PixelFormat {
            path: self.path.clone(),
            format: ffi::pixel_format_name(format).unwrap_or_else(|| format.to_string()),
            frame: head.index,
            cause,
        })
    }

    /// Whether damage that is met now might come out differently another time.
    fn may_differ(&self) -> bool {
        self.can_start_over && (self.setup.strict || self.setup.threads != 1)
    }

    fn start_over(&mut self) -> Result<Option<Step>, Error> {
        tracing::debug!(source = %self.path, frame = self.next_index, "starting over, to decode every packet");
        // Trouble at the very beginning is not worth giving up threads for; if there is more, this comes by again.
        let first_time = self.setup.strict && self.next_index == 0;
        self.setup.threads = if first_time { self.setup.threads } else { 1 };
        self.setup.strict = false;
        let demuxer = Demuxer::open(&self.path, self.options.max_pixels)?;
        self.pump = Pump::new(&self.path, demuxer, self.setup)?;
        self.mode = Mode::All;
        self.repeated = self.next_index;
        (self.started_over, self.sought) = (true, false);
        Ok(None)
    }

    fn timestamp(&self, pts: Option<i64>) -> Option<Timestamp> {
        let Rational { num, den } = self.probe.time_base;
        let known = !self.probe.is_image && num > 0 && den > 0;
        pts.filter(|_| known).map(|pts| Timestamp { pts, time_base: self.probe.time_base })
    }

    /// Some things are known only from a frame: all of an image, and of a stream whose container says too little.
    fn look_at_first_frame(&mut self) -> Result<(), Error> {
        let known = self.probe.width > 0 && self.probe.height > 0 && self.probe.bit_depth > 0;
        if known && !self.probe.is_image {
            return Ok(());
        }
        let raw = loop {
            match self.pump.next() {
                Received::Frame(raw) => break raw,
                Received::Failed if self.setup.strict => {
                    self.start_over()?;
                }
                Received::Failed | Received::Hungry => {}
                Received::End => return Err(self.nothing_decoded()),
            }
        };
        self.probe.refine(&raw, self.look);
        self.first = Some(raw);
        if self.probe.is_image {
            self.pump.finish();
        }
        Ok(())
    }

    fn nothing_decoded(&self) -> Error {
        Error::NothingDecoded {
            path: self.path.clone(),
            codec: self.probe.codec.clone(),
            packets: self.pump.demuxer.packets(),
            errors: self.pump.damage.decode_errors,
        }
    }
}

/// What reading all of a file's packets tells.
fn packet_damage(path: &str, max_pixels: u64) -> Result<Damage, Error> {
    let mut demuxer = Demuxer::open(path, max_pixels)?;
    let internal = |cause| Error::Internal { path: path.to_owned(), what: "packet", cause };
    let mut packet = Packet::new().map_err(internal)?;
    let mut damage = Damage::default();
    while demuxer.read(&mut packet, &mut damage) {}
    Ok(damage)
}

/// Decoders whose strictness is known to be sound. (FFmpeg 5.1's for MPEG-4 aborts the process on damage then, if it has
/// several threads; those for VP8, VP9 and AV1 return an error anyway.)
fn can_be_strict(demuxer: &Demuxer) -> bool {
    matches!(demuxer.stream.codec_name.as_str(), "h264" | "hevc")
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
