//! The first half of the pipeline: source -> decode -> sample -> preprocess -> slot.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use vidmill_image::{Geometry, Preprocess, TensorSpec};
use vidmill_infer::TaskPlan;
use vidmill_video::{Damage, DecodeOptions, Frame, FrameHead, Probe, Rational, Timestamp};

use crate::checkpoint::Mark;
use crate::fill::Filler;
use crate::ledger::Ledger;
use crate::progress::{Progress, Stop};
use crate::record::Record;
use crate::resume::{Going, Resumed, Start};
use crate::sample::{Choice, NoTimestamp, Sampler, Sampling};
use crate::sink::jsonl::{self, Records};
use crate::source::Source;
use crate::source::reader::{Read, Reader};
use crate::stage::{Clocks, Stage};
use crate::worker::{Head, Item, Ticket, Verdict};

/// Everything that is reported of a run, in order.
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub(crate) enum Event {
    /// A source was opened.
    Opened { number: usize, name: Arc<str>, probe: Option<Box<Probe>> },
    /// An earlier run is done with a source.
    Done { number: usize },
    /// A frame whose record an earlier run wrote, to be drawn again.
    Redrawn { record: Box<Record>, frame: Frame },
    /// A sampled frame has its verdict.
    Frame { item: Item, verdict: Verdict },
    /// A source gave all it could.
    Closed { number: usize, closing: Box<Closing> },
}

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

/// Gives out places in the order of what is reported, and carries events. No more than a window of them are under way
/// at once, so that one slow frame cannot make the others pile up behind it.
pub(crate) struct Line {
    next: u64,
    permits: Sender<()>,
    events: Sender<(u64, Event)>,
}

/// The other end of a [`Line`].
pub(crate) struct LineEnd {
    permits: Receiver<()>,
    pub events: Receiver<(u64, Event)>,
}

/// A line on which `window` events may be under way.
pub(crate) fn line(window: usize) -> (Line, LineEnd) {
    let (take, give_back) = bounded(window);
    let (send, events) = bounded(window);
    (Line { next: 0, permits: take, events: send }, LineEnd { permits: give_back, events })
}

impl Line {
    /// Whether the next place must wait for what is under way.
    fn is_full(&self) -> bool {
        self.permits.is_full()
    }

    /// The next place; waits while the window is full.
    fn place(&mut self) -> u64 {
        // The other end stays until all events are out, so neither channel can be closed here.
        let _ = self.permits.send(());
        let place = self.next;
        self.next += 1;
        place
    }

    fn send(&self, place: u64, event: Event) {
        let _ = self.events.send((place, event));
    }

    /// Where workers send the frames that they are done with.
    pub fn events(&self) -> Sender<(u64, Event)> {
        self.events.clone()
    }
}

impl LineEnd {
    /// Whether the reader is there and nothing is under way: all that entered has been reported.
    pub fn is_idle(&self) -> bool {
        self.permits.is_empty() && self.permits.try_recv() != Err(TryRecvError::Disconnected)
    }

    /// An event has been reported: another may enter.
    pub fn reported(&self) {
        let _ = self.permits.try_recv();
    }
}

/// Reads all sources, one after the other, and hands batches to the executor.
pub(crate) struct Feeder {
    pub sources: Vec<Source>,
    /// The first source, already open: whether it can be read was to be known before any output was touched.
    pub first: Option<Reader>,
    pub sampling: Sampling,
    pub decode: DecodeOptions,
    pub plan: Arc<TaskPlan>,
    pub keep_frames: bool,
    pub filler: Filler<Ticket>,
    pub line: Line,
    pub clocks: Arc<Clocks>,
    pub progress: Arc<Progress>,
    pub stop: Stop,
    /// What is done already, and where this run goes on.
    pub resumed: Arc<Resumed>,
}

impl Feeder {
    /// Reads until all sources are exhausted or the run is asked to stop; returns when every batch was delivered.
    pub fn feed(mut self) {
        let mut first = self.first.take();
        for (number, source) in std::mem::take(&mut self.sources).iter().enumerate() {
            if self.resumed.is_done(number) {
                self.report(Event::Done { number });
                continue;
            }
            if self.stop.is_asked() {
                break;
            }
            let reader = first.take().map_or_else(|| Reader::open(source, &self.decode), Ok);
            let probe = reader.as_ref().ok().and_then(Reader::probe).cloned().map(Box::new);
            self.report(Event::Opened { number, name: Arc::clone(&source.name), probe });
            let closing = match reader {
                Ok(reader) => {
                    self.progress.begin_source(&source.name, reader.expected());
                    self.read_source(number, reader)
                }
                Err(error) => Closing { error: Some(error.to_string()), ..Closing::default() },
            };
            self.report(Event::Closed { number, closing: Box::new(closing) });
        }
        self.filler.submit();
        // First the line: who keeps the books then knows that only the workers' end is to be waited for.
        let Self { line, filler, .. } = self;
        drop(line);
        drop(filler);
    }

    fn read_source(&mut self, number: usize, mut reader: Reader) -> Closing {
        let mut closing = Closing::default();
        let mut watch = match self.begin(number, &mut reader, &mut closing.intake) {
            Ok(watch) => watch,
            Err(error) => return Closing { error: Some(error), damage: reader.damage(), ..closing },
        };
        let mut preprocess = None;
        while !self.stop.is_asked() {
            let read = self.clocks.time(Stage::Decode, || reader.next(&mut |head| watch.want(head)));
            if !reader.is_sound() {
                self.resumed.doubts.note(number);
            }
            let read = match watch.pass(read) {
                Passed::Through(read) => read,
                Passed::Redrawn(record, frame) => {
                    self.report(Event::Redrawn { record, frame });
                    self.progress.decoded();
                    continue;
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
            match read {
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
                }
                Ok(Read::Frame(head, frame)) => {
                    closing.intake.sample();
                    self.take(Head::new(reader.name(), head), frame, &mut preprocess);
                }
                Ok(Read::Broken(head, error)) => {
                    closing.intake.sample();
                    let item = Item { head: Head::new(reader.name(), head), frame: None };
                    self.report(Event::Frame { item, verdict: Verdict::Failed { error, attempts: 1 } });
                }
            }
            self.progress.decoded();
        }
        closing.damage = reader.damage();
        closing
    }

    /// Brings the reader to where the source begins for this run.
    fn begin(&self, number: usize, reader: &mut Reader, intake: &mut Ledger) -> Result<Watch, String> {
        let mut watch = Watch::new(Sampler::new(self.sampling));
        let Some(Start::After(going)) = self.resumed.starts().get(number) else { return Ok(watch) };
        let Going { checkpoint, mark, redraw } = going.as_ref();
        // Whatever comes by again is counted already.
        *intake = checkpoint.intake();
        if let Some((records, begin)) = redraw {
            let records = jsonl::read_from(records, *begin).map_err(|error| error.to_string())?;
            watch.again = Some(Again { mark: *mark, records: Some(records) });
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

    /// Preprocesses a frame into the slot that is being filled, and hands the slot over when it is full.
    fn take(&mut self, head: Head, frame: Frame, preprocess: &mut Option<Preprocess>) {
        let place = self.place();
        let spec = self.plan.spec_for(frame.planes().displayed_size());
        let room = self.filler.room(&spec);
        let geometry = self.clocks.time(Stage::Preprocess, || fill(&frame, &spec, preprocess, room));
        let item = Item { head, frame: self.keep_frames.then_some(frame) };
        match geometry {
            Ok(geometry) => self.filler.put((place, item), geometry),
            Err(error) => {
                self.line.send(place, Event::Frame { item, verdict: Verdict::Failed { error, attempts: 1 } });
            }
        }
    }

    fn report(&mut self, event: Event) {
        let place = self.place();
        self.line.send(place, event);
    }

    /// The next place in line. Nothing is reported before the frames that wait for their batch to fill: when the line is full,
    /// they go, or it would never move again.
    fn place(&mut self) -> u64 {
        if self.line.is_full() {
            self.filler.submit();
        }
        self.clocks.time(Stage::WaitForSlot, || self.line.place())
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
    records: Option<Records>,
}

/// What became of a frame that may have come by before.
enum Passed {
    /// It did not.
    Through(Result<Read, vidmill_video::Error>),
    By,
    Redrawn(Box<Record>, Frame),
    /// The source, or its records, are not what they were.
    Lost(String),
}

impl Watch {
    fn new(sampler: Sampler) -> Self {
        Self { sampler, over: None, again: None }
    }

    /// Whether nothing but a redrawing is wanted of this frame.
    fn comes_again(&self, head: FrameHead) -> bool {
        self.again.as_ref().is_some_and(|again| head.index <= again.mark.frame)
    }

    /// Sorts out what came by before.
    fn pass(&mut self, read: Result<Read, vidmill_video::Error>) -> Passed {
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
            (Some(records), Ok(Read::Frame(head, frame))) => match records.next() {
                Some(Ok(record)) if record.frame == head.index => Passed::Redrawn(Box::new(record), frame),
                Some(Err(error)) => lost(&error.to_string()),
                Some(Ok(_)) | None => lost("the records there are of other frames"),
            },
            _ => Passed::By,
        };
        self.again = (head.index < mark.frame).then_some(Again { mark, records });
        passed
    }

    fn want(&mut self, head: FrameHead) -> bool {
        let redrawn = self.again.as_ref().is_some_and(|again| again.records.is_some());
        let chosen = self.choose(head);
        chosen && (redrawn || !self.comes_again(head))
    }

    fn choose(&mut self, head: FrameHead) -> bool {
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
    fn new(source: &Arc<str>, head: FrameHead) -> Self {
        Self {
            source: Arc::clone(source),
            frame: head.index,
            pts: head.timestamp.map(|t| t.pts),
            time: head.timestamp.map(|t| t.seconds()),
        }
    }
}

/// Writes `frame` into `out` as the model wants it; the plan for it is kept while frames stay alike.
fn fill(
    frame: &Frame,
    spec: &TensorSpec,
    preprocess: &mut Option<Preprocess>,
    out: &mut [u8],
) -> Result<Geometry, String> {
    let planes = frame.planes();
    let plan = match preprocess {
        Some(plan) if plan.fits(&planes) => plan,
        _ => preprocess.insert(Preprocess::for_planes(spec, &planes).map_err(|e| e.to_string())?),
    };
    plan.run(&planes, out).map_err(|e| e.to_string())?;
    Ok(*plan.geometry())
}
