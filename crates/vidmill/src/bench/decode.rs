//! Decoding alone: what a run reads of its sources, with nobody to take the frames.

use std::time::{Duration, Instant};

use vidmill_video::{DecodeOptions, Frame, FrameHead};

use super::BenchError;
use super::tally::{Tally, Watch};
use crate::progress::Stop;
use crate::sample::{Choice, NoTimestamp, Sampler, Sampling};
use crate::source::Source;
use crate::source::reader::{Read, Reader};

/// The sampled frames of all sources, once.
pub struct Frames<'s> {
    sources: std::slice::Iter<'s, Source>,
    sampling: Sampling,
    options: DecodeOptions,
    open: Option<(Reader, Choices)>,
}

/// The sampler, and the frame from which on it takes nothing.
struct Choices {
    sampler: Sampler,
    over: Option<(u64, Option<NoTimestamp>)>,
}

impl Choices {
    fn want(&mut self, head: FrameHead) -> bool {
        // A decoder that looks ahead may ask beyond the end.
        if self.over.is_some() {
            return false;
        }
        match self.sampler.choose(head) {
            Ok(Choice::Take) => return true,
            Ok(Choice::Skip) => {}
            Ok(Choice::Stop) => self.over = Some((head.index, None)),
            Err(error) => self.over = Some((head.index, Some(error))),
        }
        false
    }
}

impl<'s> Frames<'s> {
    pub fn of(sources: &'s [Source], sampling: Sampling, threads: usize) -> Self {
        let options = DecodeOptions { threads, ..DecodeOptions::default() };
        Self { sources: sources.iter(), sampling, options, open: None }
    }

    /// The next one; `None` after the last. Images that cannot be decoded are passed over.
    pub fn next(&mut self) -> Result<Option<Frame>, BenchError> {
        loop {
            let (reader, choices) = match &mut self.open {
                Some(open) => open,
                closed => {
                    let Some(source) = self.sources.next() else { return Ok(None) };
                    let choices = Choices { sampler: Sampler::new(self.sampling), over: None };
                    closed.insert((Reader::open(source, &self.options)?, choices))
                }
            };
            match reader.next(&mut |head| choices.want(head))? {
                Read::Frame(_, frame) => return Ok(Some(frame)),
                Read::Broken(..) => {}
                Read::End => self.open = None,
                Read::Skipped(head) => match choices.over {
                    Some((_, Some(error))) => return Err(BenchError::Source(error.to_string())),
                    Some((index, None)) if index <= head.index => self.open = None,
                    _ => {}
                },
            }
        }
    }
}

/// Decodes for `time`, from the beginning as often as there is time.
///
/// What is timed singly is the time from one sampled frame to the next.
pub fn round<'s>(
    frames: impl Fn() -> Frames<'s>,
    time: Duration,
    tally: &mut Tally,
    stop: &Stop,
) -> Result<(), BenchError> {
    let watch = Watch::begin();
    let mut count = 0;
    while watch.elapsed() < time {
        let (mut frames, mut last) = (frames(), None);
        let before = count;
        while let Some(frame) = frames.next()? {
            drop(frame);
            count += 1;
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                tally.sample(now - last);
            }
            if stop.is_asked() {
                return Err(BenchError::Interrupted);
            }
            if watch.elapsed() >= time {
                break;
            }
        }
        if count == before {
            break;
        }
    }
    tally.add(watch.round(count));
    Ok(())
}
