//! The first half of the pipeline: source -> decode -> sample -> preprocess -> slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use vidmill_image::{Geometry, Preprocess, TensorSpec};
use vidmill_infer::TaskPlan;
use vidmill_video::{Frame, Probe};

use crate::ahead::Ahead;
use crate::fill::Filler;
use crate::ledger::Ledger;
use crate::record::Record;
use crate::source::Source;
use crate::source::reader::Reader;
use crate::source::reading::{Closing, Means, Sampled, Told};
use crate::stage::Stage;
use crate::turns::Turns;
use crate::worker::{Head, Item, Ticket, Verdict};

/// How long sources that are read ahead may take to notice that they should stop, all together: whoever keeps the books waits longer.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// Everything that is reported of a run, in order.
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub(crate) enum Event {
    /// A source was opened.
    Opened { number: usize, name: Arc<str>, probe: Option<Box<Probe>> },
    /// A frame whose record an earlier run wrote, to be drawn again.
    Redrawn { number: usize, record: Box<Record>, frame: Frame },
    /// A sampled frame has its verdict.
    Frame { item: Item, verdict: Verdict },
    /// A source gave all it could.
    Closed { number: usize, closing: Box<Closing> },
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

/// Reads all sources, and hands batches to the executor.
pub(crate) struct Feeder {
    pub sources: Vec<Source>,
    pub turns: Turns,
    /// How many are read at once. One is read by this thread itself, several by a thread each.
    pub at_once: usize,
    /// The first source, already open: whether it can be read was to be known before any output was touched.
    pub first: Option<Reader>,
    pub means: Means,
    pub plan: Arc<TaskPlan>,
    pub keep_frames: bool,
    pub filler: Filler<Ticket>,
    pub line: Line,
    /// What is known of the sources that have been opened.
    pub open: BTreeMap<usize, Open>,
}

/// A source whose opening has been reported.
#[derive(Default)]
pub(crate) struct Open {
    /// Kept while frames stay alike.
    preprocess: Option<Preprocess>,
    /// What of it has been taken.
    intake: Ledger,
}

impl Feeder {
    /// Reads until all sources are exhausted or the run is asked to stop; returns when every batch was delivered.
    pub fn feed(mut self) {
        if self.at_once > 1 {
            self.feed_by_turns();
        } else {
            self.feed_one_by_one();
        }
        self.filler.submit();
        // First the line: who keeps the books then knows that only the workers' end is to be waited for.
        let Self { line, filler, .. } = self;
        drop(line);
        drop(filler);
    }

    fn feed_one_by_one(&mut self) {
        let (means, sources) = (self.means.clone(), std::mem::take(&mut self.sources));
        while let Some((number, source)) = self.next_of(&sources) {
            let first = self.first.take();
            means.read(number, source, first, &mut |told| {
                self.take(number, &source.name, told);
                true
            });
        }
    }

    /// The source whose turn it is, unless the run is to stop.
    fn next_of<'a>(&self, sources: &'a [Source]) -> Option<(usize, &'a Source)> {
        let number = self.turns.next().filter(|_| !self.means.stop.is_asked())?;
        sources.get(number).map(|source| (number, source))
    }

    fn feed_by_turns(&mut self) {
        let sources = std::mem::take(&mut self.sources);
        let mut readers: BTreeMap<usize, Ahead> = BTreeMap::new();
        while let Some((number, source)) = self.next_of(&sources) {
            // All that have a place are opened, and read ahead, while they wait for their turns.
            for number in
                self.turns.circle().filter(|number| !readers.contains_key(number)).collect::<Vec<_>>()
            {
                let Some(source) = sources.get(number) else { continue };
                let first = self.turns.next().filter(|next| *next == number).and_then(|_| self.first.take());
                readers.insert(number, Ahead::begin(&self.means, number, source, first));
            }
            let told = readers.get(&number).and_then(|ahead| ahead.next(&self.means.stop));
            let Some(told) = told else { break };
            if matches!(told, Told::Closed(_)) {
                readers.remove(&number).into_iter().for_each(Ahead::end);
            }
            self.take(number, &source.name, told);
        }
        self.close_all(readers);
    }

    /// Sources that were opened when the run was asked to stop are closed. What was read ahead of them is as if it never had been.
    fn close_all(&mut self, readers: BTreeMap<usize, Ahead>) {
        let deadline = Instant::now() + STOP_PATIENCE;
        for (number, ahead) in readers {
            let taken = self.open.get(&number).map(|open| open.intake);
            let closing = Box::new(ahead.close(taken.unwrap_or_default(), deadline));
            if taken.is_some() {
                self.report(Event::Closed { number, closing });
            }
        }
    }

    /// Reports what was told of a source, and gives its frames to the model.
    fn take(&mut self, number: usize, name: &Arc<str>, told: Told) {
        match told {
            Told::Opened { probe, expected } => {
                // Whatever comes by again is counted already.
                let intake = self.means.resumed.intake(number);
                self.open.insert(number, Open { intake, ..Open::default() });
                self.means.progress.begin_source(name, expected);
                self.report(Event::Opened { number, name: Arc::clone(name), probe });
            }
            Told::Redrawn(record, frame) => self.report(Event::Redrawn { number, record, frame }),
            Told::Frame(sampled) => {
                let Sampled { head, frame, intake, is_sound } = sampled;
                if !is_sound {
                    self.means.resumed.doubts.note(number);
                }
                self.turns.took(number);
                match frame {
                    Ok(frame) => self.take_frame(head, frame, intake),
                    Err(error) => {
                        self.open.entry(number).or_default().intake = intake;
                        let item = Item { head, frame: None };
                        self.report(Event::Frame { item, verdict: Verdict::Failed { error, attempts: 1 } });
                    }
                }
            }
            Told::Closed(closing) => {
                // One that was asked to stop keeps its place.
                if closing.is_done() {
                    self.turns.ended(number);
                }
                self.open.remove(&number);
                self.means.progress.end_source();
                self.report(Event::Closed { number, closing });
            }
        }
    }

    /// Preprocesses a frame into the slot that is being filled, and hands the slot over when it is full.
    fn take_frame(&mut self, head: Head, frame: Frame, intake: Ledger) {
        let place = self.place();
        let spec = self.plan.spec_for(frame.planes().displayed_size());
        let room = self.filler.room(&spec);
        let open = self.open.entry(head.number).or_default();
        open.intake = intake;
        let preprocess = &mut open.preprocess;
        let clocks = &self.means.clocks;
        let geometry = clocks.time(Stage::Preprocess, || fill(&frame, &spec, preprocess, room));
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
        self.means.clocks.time(Stage::WaitForSlot, || self.line.place())
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
