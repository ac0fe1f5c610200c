//! Reads the frames of one source, whatever it is, one step a frame.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vidmill_video::{Damage, DecodeOptions, Decoder, Error, Frame, FrameHead, Probe, Step, Timestamp};

use super::{Source, SourceKind};
use crate::checkpoint::{Checkpoint, Mark};

/// What became of the next frame of a source.
pub(crate) enum Read {
    /// A frame that was wanted.
    Frame(FrameHead, Frame),
    /// A frame that was not wanted.
    Skipped(FrameHead),
    /// An image that was wanted, but cannot be decoded.
    Broken(FrameHead, String),
    /// There are no more.
    End,
}

/// A source being read.
pub(crate) enum Reader {
    Video { decoder: Box<Decoder>, name: Arc<str> },
    Images { paths: std::vec::IntoIter<PathBuf>, current: Arc<str>, next: u64, count: u64 },
}

impl Reader {
    pub fn open(source: &Source, options: &DecodeOptions) -> Result<Self, Error> {
        Ok(match &source.kind {
            SourceKind::Video(url) => Self::Video {
                decoder: Box::new(Decoder::open(url, options)?),
                name: Arc::clone(&source.name),
            },
            SourceKind::Images(paths) => Self::Images {
                count: paths.len() as u64,
                paths: paths.clone().into_iter(),
                current: Arc::clone(&source.name),
                next: 0,
            },
        })
    }

    /// What the container says of itself; images differ from one to the next, so they have no common probe.
    pub fn probe(&self) -> Option<&Probe> {
        match self {
            Self::Video { decoder, .. } => Some(decoder.probe()),
            Self::Images { .. } => None,
        }
    }

    /// Frames to expect, when that is known.
    pub fn expected(&self) -> Option<u64> {
        match self {
            Self::Video { decoder, .. } => decoder.probe().frame_count,
            Self::Images { count, .. } => Some(*count),
        }
    }

    /// Goes on after the frame of `checkpoint`, where that is the same as reading from the beginning; else `false`, and all
    /// frames come by. `want` is the one that goes to [`Self::next`].
    pub fn go_on_after(
        &mut self,
        checkpoint: &Checkpoint,
        mark: Mark,
        want: &mut dyn FnMut(FrameHead) -> bool,
    ) -> Result<bool, Error> {
        match self {
            Self::Video { .. } if !checkpoint.sound => Ok(false),
            Self::Video { decoder, .. } => {
                let timestamp = mark.pts.zip(checkpoint.time_base);
                let timestamp = timestamp.map(|(pts, time_base)| Timestamp { pts, time_base });
                decoder.go_on_after(FrameHead { index: mark.frame, timestamp }, want)
            }
            Self::Images { paths, next, .. } => {
                let done = usize::try_from(mark.frame).unwrap_or(usize::MAX);
                *next = mark.frame + 1;
                Ok(paths.nth(done).is_some())
            }
        }
    }

    /// Whether nothing unusual was met so far.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Video { decoder, .. } => decoder.is_sound(),
            Self::Images { .. } => true,
        }
    }

    pub fn damage(&self) -> Damage {
        match self {
            Self::Video { decoder, .. } => decoder.damage().clone(),
            Self::Images { .. } => Damage::default(),
        }
    }

    /// The name that the record of the last frame carries.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Video { name, .. } => name,
            Self::Images { current, .. } => current,
        }
    }

    /// The next frame. `want` is asked once for each frame, in order.
    pub fn next(&mut self, want: &mut dyn FnMut(FrameHead) -> bool) -> Result<Read, Error> {
        match self {
            Self::Video { decoder, .. } => Ok(match decoder.next(want)? {
                Step::Frame(frame) => Read::Frame(frame.head(), frame),
                Step::Skipped(head) => Read::Skipped(head),
                Step::End => Read::End,
            }),
            Self::Images { paths, current, next, .. } => {
                let Some(path) = paths.next() else { return Ok(Read::End) };
                *current = path.to_string_lossy().as_ref().into();
                let head = FrameHead { index: *next, timestamp: None };
                *next += 1;
                if !want(head) {
                    return Ok(Read::Skipped(head));
                }
                Ok(match read_image(&path) {
                    Ok(frame) => Read::Frame(head, frame),
                    Err(error) => Read::Broken(head, error),
                })
            }
        }
    }
}

fn read_image(path: &Path) -> Result<Frame, String> {
    let options = DecodeOptions { threads: 1, ..DecodeOptions::default() };
    let mut decoder = Decoder::open(&path.to_string_lossy(), &options).map_err(|e| e.to_string())?;
    match decoder.next(&mut |_| true).map_err(|e| e.to_string())? {
        Step::Frame(frame) => Ok(frame),
        Step::Skipped(_) | Step::End => Err(format!("`{}` holds no picture", path.display())),
    }
}
