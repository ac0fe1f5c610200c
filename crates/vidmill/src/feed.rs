//! The first half of the pipeline: source -> decode -> sample -> preprocess -> slot.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use vidmill_image::{Geometry, Preprocess, TensorSpec};
use vidmill_pool::{Executor, FreeSlot, Slots};
use vidmill_video::{Damage, DecodeOptions, Frame, FrameHead, Probe};

use crate::ledger::Ledger;
use crate::progress::{Progress, Stop};
use crate::sample::{Choice, NoTimestamp, Sampler, Sampling};
use crate::source::Source;
use crate::source::reader::{Read, Reader};
use crate::stage::{Clocks, Stage};
use crate::worker::{Batch, Head, Item, ModelWorker, Verdict};

/// Everything that is reported of a run, in order.
pub(crate) enum Event {
    /// A source was opened.
    Opened { number: usize, name: Arc<str>, probe: Option<Box<Probe>> },
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
    /// Whether nothing is under way: all that entered has been reported.
    pub fn is_idle(&self) -> bool {
        self.permits.is_empty()
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
    pub spec: TensorSpec,
    pub batch: usize,
    pub keep_frames: bool,
    pub slots: Slots,
    pub executor: Box<dyn Executor<ModelWorker> + Send>,
    pub line: Line,
    pub clocks: Arc<Clocks>,
    pub progress: Arc<Progress>,
    pub stop: Stop,
    pub filling: Option<Filling>,
}

/// A slot with the frames that have been written into it so far.
pub(crate) struct Filling {
    slot: FreeSlot,
    batch: Batch,
}

impl Feeder {
    /// Reads until all sources are exhausted or the run is asked to stop; returns when every batch was delivered.
    pub fn feed(mut self) {
        let mut first = self.first.take();
        for (number, source) in std::mem::take(&mut self.sources).iter().enumerate() {
            if self.stop.is_asked() {
                break;
            }
            let reader = first.take().map_or_else(|| Reader::open(source, &self.decode), Ok);
            let probe = reader.as_ref().ok().and_then(Reader::probe).cloned().map(Box::new);
            self.report(Event::Opened { number, name: Arc::clone(&source.name), probe });
            let closing = match reader {
                Ok(reader) => {
                    self.progress.begin_source(&source.name, reader.expected());
                    self.read_source(reader)
                }
                Err(error) => Closing { error: Some(error.to_string()), ..Closing::default() },
            };
            self.report(Event::Closed { number, closing: Box::new(closing) });
        }
        self.submit();
    }

    fn read_source(&mut self, mut reader: Reader) -> Closing {
        let mut watch = Watch { sampler: Sampler::new(self.sampling), over: None };
        let mut preprocess = None;
        let mut closing = Closing::default();
        while !self.stop.is_asked() {
            let read = self.clocks.time(Stage::Decode, || reader.next(&mut |head| watch.want(head)));
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
                    self.report(Event::Frame { item, verdict: Err(error) });
                }
            }
            self.progress.decoded();
        }
        closing.damage = reader.damage();
        closing
    }

    /// Preprocesses a frame into the slot that is being filled, and hands the slot over when it is full.
    fn take(&mut self, head: Head, frame: Frame, preprocess: &mut Option<Preprocess>) {
        let place = self.place();
        let Filling { slot, batch } = self.filling.get_or_insert_with(|| {
            let slot = self.clocks.time(Stage::WaitForSlot, || self.slots.acquire());
            Filling { slot, batch: Batch::default() }
        });
        let item_bytes = self.spec.item_bytes();
        let begin = batch.items.len() * item_bytes;
        let out = &mut slot.bytes_mut()[begin..begin + item_bytes];
        let geometry = self.clocks.time(Stage::Preprocess, || fill(&frame, &self.spec, preprocess, out));
        let item = Item { head, frame: self.keep_frames.then_some(frame) };
        match geometry {
            Ok(geometry) => batch.items.push((place, item, geometry)),
            Err(error) => self.line.send(place, Event::Frame { item, verdict: Err(error) }),
        }
        if batch.items.len() == self.batch {
            self.submit();
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
            self.submit();
        }
        self.clocks.time(Stage::WaitForSlot, || self.line.place())
    }

    fn submit(&mut self) {
        let Some(Filling { slot, batch }) = self.filling.take() else { return };
        if !batch.items.is_empty() {
            self.clocks.time(Stage::WaitForSlot, || self.executor.submit(batch, slot.filled()));
        }
    }
}

/// Asks the sampler, and remembers where it said that nothing more will be taken.
struct Watch {
    sampler: Sampler,
    over: Option<(u64, Result<(), NoTimestamp>)>,
}

impl Watch {
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
