//! One source, read from its beginning, or from where an earlier run stopped, to its end. In: a source, and the choice of its frames.
//! Out: what is to be said of it, in order ([`Told`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use vidmill_video::{Damage, DecodeOptions, Error, Frame, FrameHead, Probe, Rational, Timestamp};

use super::Source;
use super::reader::{Read, Reader};
use crate::checkpoint::Mark;
use crate::ledger::Ledger;
use crate::progress::{Progress, Stop};
use crate::record::Record;
use crate::resume::{Going, Resumed, Start};
use crate::sample::{Choice, NoTimestamp, Sampler, Sampling};
use crate::sink::jsonl::{self, Records};
use crate::stage::{Clocks, Stage};
use crate::worker::Head;

/// What is known of a source when its reading ends.
#[derive(Default)]
pub(crate) struct Closing {
    /// Decoded, skipped and sampled; the rest is counted where records are written.
    pub intake: Ledger,
    pub damage: Damage,
    /// Read to its end, or to `--end`.
    pub complete: bool,
    pub error: Option<String>,
}

impl Closing {
    /// Whether there is nothing left to read.
    pub fn is_done(&self) -> bool {
        self.complete || self.error.is_some()
    }
}

/// What is said of a source, from [`Told::Opened`] to [`Told::Closed`].
pub(crate) enum Told {
    /// It was opened, or could not be.
    Opened { probe: Option<Box<Probe>>, expected: Option<u64> },
    /// A frame whose record an earlier run wrote, to be drawn again.
    Redrawn(Box<Record>, Frame),
    /// A frame that was sampled.
    Frame(Sampled),
    /// It gave all it could.
    Closed(Box<Closing>),
}

/// A frame that was sampled.
pub(crate) struct Sampled {
    pub head: Head,
    /// Or why it cannot be decoded.
    pub frame: Result<Frame, String>,
    /// What was decoded, skipped and sampled so far, this frame included.
    pub intake: Ledger,
    /// Whether nothing unusual was met so far.
    pub is_sound: bool,
}

/// What it takes to read sources.
#[derive(Clone)]
pub(crate) struct Means {
    pub sampling: Sampling,
    pub decode: DecodeOptions,
    pub clocks: Arc<Clocks>,
    pub progress: Arc<Progress>,
    pub stop: Stop,
    /// What is done already, and where this run goes on.
    pub resumed: Arc<Resumed>,
}

impl Means {
    /// Reads source `number`, which may have been opened before, until it ends, the run is asked to stop, or `tell` says that nobody
    /// listens any more.
    pub fn read(
        &self,
        number: usize,
        source: &Source,
        opened: Option<Reader>,
        tell: &mut dyn FnMut(Told) -> bool,
    ) {
        let reader = opened.map_or_else(|| Reader::open(source, &self.decode), Ok);
        let probe = reader.as_ref().ok().and_then(Reader::probe).cloned().map(Box::new);
        let expected = reader.as_ref().ok().and_then(Reader::expected);
        if !tell(Told::Opened { probe, expected }) {
            return;
        }
        let closing = match reader {
            Ok(reader) => self.read_frames(number, reader, tell),
            Err(error) => Closing { error: Some(error.to_string()), ..Closing::default() },
        };
        tell(Told::Closed(Box::new(closing)));
    }

    fn read_frames(&self, number: usize, mut reader: Reader, tell: &mut dyn FnMut(Told) -> bool) -> Closing {
        // Whatever comes by again is counted already.
        let mut closing = Closing { intake: self.resumed.intake(number), ..Closing::default() };
        let mut watch = match self.begin(number, &mut reader) {
            Ok(watch) => watch,
            Err(error) => return Closing { error: Some(error), damage: reader.damage(), ..closing },
        };
        while !self.stop.is_asked() {
            let read = self.clocks.time(Stage::Decode, || reader.next(&mut |head| watch.want(head)));
            let read = match watch.pass(read, reader.name()) {
                Passed::Through(read) => read,
                Passed::Redrawn(record, frame) => {
                    self.progress.decoded();
                    if tell(Told::Redrawn(record, frame)) {
                        continue;
                    }
                    break;
                }
                Passed::By => {
                    self.progress.decoded();
                    continue;
                }
                Passed::Lost(error) => {
                    closing.error = Some(error);
                    break;
                }
            };
            let (head, frame) = match read {
                Err(error) => {
                    closing.error = Some(error.to_string());
                    break;
                }
                Ok(Read::End) => {
                    closing.complete = true;
                    break;
                }
                Ok(Read::Skipped(head)) => {
                    closing.intake.skip();
                    if let Some(reason) = watch.over_at(head) {
                        closing.complete = reason.is_ok();
                        closing.error = reason.err().map(|e| e.to_string());
                        break;
                    }
                    self.progress.decoded();
                    continue;
                }
                Ok(Read::Frame(head, frame)) => (head, Ok(frame)),
                Ok(Read::Broken(head, error)) => (head, Err(error)),
            };
            closing.intake.sample();
            self.progress.decoded();
            let head = Head::new(number, reader.name(), head);
            let (intake, is_sound) = (closing.intake, reader.is_sound());
            if !tell(Told::Frame(Sampled { head, frame, intake, is_sound })) {
                break;
            }
        }
        closing.damage = reader.damage();
        closing
    }

    /// Brings the reader to where the source begins for this run.
    fn begin(&self, number: usize, reader: &mut Reader) -> Result<Watch, String> {
        let mut watch = Watch::new(Sampler::new(self.sampling));
        let Some(Start::After(going)) = self.resumed.starts().get(number) else { return Ok(watch) };
        let Going { checkpoint, mark, redraw } = going.as_ref();
        if let Some(redraw) = redraw {
            watch.again = Some(Again { mark: *mark, records: Some(Drawn::open(redraw)?) });
            return Ok(watch);
        }
        let time_base = checkpoint.time_base.unwrap_or(Rational::new(0, 1));
        let timestamp = mark.pts.map(|pts| Timestamp { pts, time_base });
        let last = FrameHead { index: mark.frame, timestamp };
        let mut after = Watch::new(Sampler::after(self.sampling, mark.first_pts, last));
        let go_on = || reader.go_on_after(checkpoint, *mark, &mut |head| after.want(head));
        let went = self.clocks.time(Stage::Decode, go_on);
        if went.map_err(|error| error.to_string())? {
            self.progress.passed(mark.frame + 1);
            return Ok(after);
        }
        tracing::debug!(source = %reader.name(), frame = mark.frame + 1, "going on by way of the beginning");
        watch.again = Some(Again { mark: *mark, records: None });
        Ok(watch)
    }
}

/// Asks the sampler, and remembers where it said that nothing more will be taken.
struct Watch {
    sampler: Sampler,
    over: Option<(u64, Result<(), NoTimestamp>)>,
    again: Option<Again>,
}

/// Frames that come by again, since there was no way to begin after them.
struct Again {
    /// The last of them.
    mark: Mark,
    /// Where they are to be drawn again: their records.
    records: Option<Drawn>,
}

/// Records of frames that are to be drawn again. Those of other sources may lie between them.
struct Drawn(Records);

impl Drawn {
    fn open((path, begin): &(PathBuf, u64)) -> Result<Self, String> {
        jsonl::read_from(path, *begin).map(Self).map_err(|error| error.to_string())
    }

    /// The record of a frame; its own come in the order of frames.
    fn of(&mut self, source: &str, frame: u64) -> Result<Record, String> {
        let is_it = |record: &Record| record.frame == frame && *record.source == *source;
        match self.0.find(|record| record.as_ref().map_or(true, is_it)) {
            Some(found) => found.map_err(|error| error.to_string()),
            None => Err("the records there are of other frames".to_owned()),
        }
    }
}

/// What became of a frame that may have come by before.
enum Passed {
    /// It did not.
    Through(Result<Read, Error>),
    By,
    Redrawn(Box<Record>, Frame),
    /// The source, or its records, are not what they were.
    Lost(String),
}

impl Watch {
    fn new(sampler: Sampler) -> Self {
        Self { sampler, over: None, again: None }
    }

    /// Sorts out what came by before; `source` is what records call it.
    fn pass(&mut self, read: Result<Read, Error>, source: &str) -> Passed {
        let Some(Again { mark, mut records }) = self.again.take() else { return Passed::Through(read) };
        let lost = |what: &str| {
            let frame = mark.frame;
            Passed::Lost(format!(
                "cannot go on after frame {frame}: {what}; leave --resume out to begin anew"
            ))
        };
        let head = match &read {
            Ok(Read::Frame(head, _) | Read::Skipped(head) | Read::Broken(head, _)) => *head,
            Ok(Read::End) => return lost("the source ends before it"),
            Err(_) => return Passed::Through(read),
        };
        if head.index == mark.frame && head.timestamp.map(|t| t.pts) != mark.pts {
            return lost("it has another timestamp than it had");
        }
        let passed = match (&mut records, read) {
            (Some(records), Ok(Read::Frame(head, frame))) => match records.of(source, head.index) {
                Ok(record) => Passed::Redrawn(Box::new(record), frame),
                Err(error) => lost(&error),
            },
            _ => Passed::By,
        };
        self.again = (head.index < mark.frame).then_some(Again { mark, records });
        passed
    }

    /// Frames that come by again are wanted again: what is decoded decides what damage is noticed.
    fn want(&mut self, head: FrameHead) -> bool {
        // A decoder that looks ahead may ask beyond the end.
        if self.over.is_some() {
            return false;
        }
        match self.sampler.choose(head) {
            Ok(Choice::Take) => return true,
            Ok(Choice::Skip) => {}
            Ok(Choice::Stop) => self.over = Some((head.index, Ok(()))),
            Err(error) => self.over = Some((head.index, Err(error))),
        }
        false
    }

    /// Whether reading ends with this frame, and why.
    fn over_at(&self, head: FrameHead) -> Option<Result<(), NoTimestamp>> {
        self.over.filter(|(index, _)| *index <= head.index).map(|(_, reason)| reason)
    }
}

impl Head {
    fn new(number: usize, source: &Arc<str>, head: FrameHead) -> Self {
        Self {
            number,
            source: Arc::clone(source),
            frame: head.index,
            pts: head.timestamp.map(|t| t.pts),
            time: head.timestamp.map(|t| t.seconds()),
            decoded: Instant::now(),
        }
    }
}
