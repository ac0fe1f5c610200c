//! Random access: any frame by its index or time, always the one that reading from the beginning would give.
//!
//! A decoder only goes forward, so what lies between is decoded (not converted). Timestamps of the frames that came by are kept,
//! 8 bytes each; with them, a frame that was passed before is reached from the key frame before it, where the decoder says that this is
//! certain; else from the beginning.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use vidmill::video::{DecodeOptions, Decoder, Frame, FrameHead, Rational, Step, Timestamp};

use crate::error::Failure;

/// From so many frames ahead on, it pays to open the file anew at a key frame.
const FAR: u64 = 64;
/// The frame looked for, and the one after it, by which its time is known.
const KEPT: usize = 2;

/// Which frame is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    Index(u64),
    /// The last frame that is not after so many seconds.
    Time(f64),
}

/// What a search came to.
pub enum Found {
    Frame(Arc<Frame>),
    /// Time was up: search again to go on.
    NotYet,
    /// There is none; so many frames are there.
    Nothing(u64),
}

/// A position in a file that can be moved at will.
pub struct Cursor {
    path: String,
    options: DecodeOptions,
    decoder: Option<Decoder>,
    /// The frame that the decoder gives next.
    next: u64,
    /// Timestamps of the frames up to the furthest one that came by.
    pts: Vec<Option<i64>>,
    /// How many of these are in order, with no damage before them.
    sound: usize,
    time_base: Rational,
    length: Option<u64>,
    /// Whether the file can be gone on with from within.
    can_jump: bool,
    recent: VecDeque<Arc<Frame>>,
}

impl Cursor {
    pub fn new(path: &str, options: &DecodeOptions, time_base: Rational) -> Self {
        Self {
            path: path.to_owned(),
            options: options.clone(),
            decoder: None,
            next: 0,
            pts: Vec::new(),
            sound: 0,
            time_base,
            length: None,
            can_jump: true,
            recent: VecDeque::new(),
        }
    }

    /// Looks for a frame until `until`.
    pub fn find(&mut self, goal: Goal, until: Instant) -> Result<Found, Failure> {
        let index = match goal {
            Goal::Index(index) => Some(index),
            Goal::Time(seconds) => self.index_at(seconds, until)?,
        };
        let Some(index) = index else { return Ok(Found::NotYet) };
        if let Some(length) = self.length.filter(|&length| index >= length) {
            return Ok(Found::Nothing(length));
        }
        if !self.reach(index, until)? {
            return Ok(Found::NotYet);
        }
        Ok(match self.recent.iter().find(|frame| frame.index() == index) {
            Some(frame) => Found::Frame(Arc::clone(frame)),
            None => Found::Nothing(self.length.unwrap_or(index)),
        })
    }

    /// The last frame not after `seconds`; `None` if that is not known in time.
    fn index_at(&mut self, seconds: f64, until: Instant) -> Result<Option<u64>, Failure> {
        loop {
            let in_order = &self.pts[..self.sound];
            let later =
                in_order.partition_point(|&pts| self.seconds(pts).is_some_and(|time| time <= seconds));
            let after = match (later < self.sound).then_some(later) {
                Some(after) => Some(after),
                None => self.first_after(seconds)?,
            };
            match after {
                Some(0) => {
                    let first = self.seconds(self.pts.first().copied().flatten()).unwrap_or(0.0);
                    let message =
                        format!("no frame is shown at {seconds} s: the first is shown at {first} s");
                    return Err(Failure::Value(message));
                }
                Some(after) => return Ok(Some(after as u64 - 1)),
                None if self.length.is_some() => return Ok(Some(self.pts.len().saturating_sub(1) as u64)),
                // Nothing is known of later frames yet.
                None => {
                    let unknown = self.pts.len() as u64;
                    if !self.reach(unknown, until)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The first frame after `seconds` among those that are in no known order.
    fn first_after(&self, seconds: f64) -> Result<Option<usize>, Failure> {
        for (index, &pts) in self.pts.iter().enumerate().skip(self.sound) {
            let time = self.seconds(pts).ok_or_else(|| {
                Failure::Value(format!("frame {index} has no timestamp: frames can only be had by index"))
            })?;
            if time > seconds {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn seconds(&self, pts: Option<i64>) -> Option<f64> {
        Some(Timestamp { pts: pts?, time_base: self.time_base }.seconds())
    }

    /// Decodes up to the frame `index` or the end, as far as it comes until `until`.
    fn reach(&mut self, index: u64, until: Instant) -> Result<bool, Failure> {
        while !self.recent.iter().any(|frame| frame.index() == index) {
            if self.length.is_some_and(|length| index >= length) {
                return Ok(true);
            }
            self.approach(index)?;
            let Some(decoder) = &mut self.decoder else { return Ok(true) };
            // Frames are asked about ahead of time, and may be looked for later.
            match decoder.next(&mut |head| head.index >= index)? {
                Step::Frame(frame) => {
                    self.pass(frame.head());
                    if self.recent.len() == KEPT {
                        self.recent.pop_front();
                    }
                    self.recent.push_back(Arc::new(frame));
                }
                Step::Skipped(head) => self.pass(head),
                Step::End => {
                    self.length = Some(self.next);
                    self.decoder = None;
                }
            }
            if Instant::now() >= until {
                return Ok(self.recent.iter().any(|frame| frame.index() == index));
            }
        }
        Ok(true)
    }

    /// Sees to it that the decoder stands before `index`, and not needlessly far.
    fn approach(&mut self, index: u64) -> Result<(), Failure> {
        let before = index.checked_sub(1).and_then(|before| self.known(before)).filter(|_| self.can_jump);
        let is_ahead = self.decoder.is_some() && self.next <= index;
        let is_far = before.is_some() && index - self.next.min(index) >= FAR;
        if is_ahead && !is_far {
            return Ok(());
        }
        let mut decoder = Decoder::open(&self.path, &self.options)?;
        self.next = 0;
        if let Some(before) = before {
            self.can_jump = decoder.go_on_after(before, &mut |head| head.index >= index)?;
            self.next = if self.can_jump { index } else { 0 };
        }
        self.decoder = Some(decoder);
        self.recent.clear();
        Ok(())
    }

    /// A frame that came by, if it can be gone on from.
    fn known(&self, index: u64) -> Option<FrameHead> {
        let at = usize::try_from(index).ok().filter(|&at| at < self.sound)?;
        let timestamp = Timestamp { pts: self.pts[at]?, time_base: self.time_base };
        Some(FrameHead { index, timestamp: Some(timestamp) })
    }

    fn pass(&mut self, head: FrameHead) {
        self.next = head.index + 1;
        if head.index == self.pts.len() as u64 {
            let is_sound = self.decoder.as_ref().is_some_and(Decoder::is_sound);
            if is_sound && self.sound == self.pts.len() {
                self.sound += 1;
            }
            self.pts.push(head.timestamp.map(|timestamp| timestamp.pts));
        }
    }
}
