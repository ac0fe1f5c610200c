//! The second half of the pipeline: verdicts -> order -> records -> sinks, and the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};

use vidmill_infer::{self as infer, Labels, TaskPlan};
use vidmill_video::Rational;

use crate::checkpoint::Checkpoint;
use crate::error::RunError;
use crate::feed::{Event, LineEnd};
use crate::ledger::Ledger;
use crate::manifest::{FailureEntry, Manifest, SourceEntry};
use crate::outputs::Outputs;
use crate::progress::{Progress, Stop};
use crate::record::{self, Json, Outcome, Record};
use crate::reorder::Reorder;
use crate::resume::{Resumed, Start};
use crate::source::reading::Closing;
use crate::stage::Stage;
use crate::standing::{Place, Standing, State};
use crate::track::Following;
use crate::turns::Turns;
use crate::usage::Meter;
use crate::worker::{Item, Verdict};

/// How often a wait looks up.
const POLL: Duration = Duration::from_millis(100);
/// How long the reader may take to notice that it should stop, when no frame is under way.
const IDLE_PATIENCE: Duration = Duration::from_secs(1);
/// The same while frames are under way: longer than any model takes for a batch.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);

/// How often the manifest tells how far the run has come, and how much less time that may take than passes in between.
const SAVE_PAUSE: Duration = Duration::from_millis(250);
const SAVE_SHARE: u32 = 50;

/// What became of the reader's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It has ended or is about to.
    Ended,
    /// It waits for input that may never come.
    Abandoned,
}

/// What comes next on the line.
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
enum Next {
    Event(u64, Event),
    End,
    /// The run is to stop and nothing moves.
    Quiet,
}

/// Keeps the books of a run.
pub(crate) struct Books {
    manifest: Manifest,
    outputs: Outputs,
    names: Names,
    following: Option<Following>,
    meter: Meter,
    progress: Arc<Progress>,
    resumed: Arc<Resumed>,
    /// How far the sources have come that are being read.
    standing: Standing,
    saved: Saved,
}

/// When the manifest last told how far the run has come.
struct Saved {
    at: Instant,
    /// How long to wait until the next time.
    pause: Duration,
    /// Whether records came since.
    is_behind: bool,
}

impl Saved {
    fn is_due(&self) -> bool {
        self.is_behind && self.at.elapsed() >= self.pause
    }
}

impl Books {
    pub fn new(
        manifest: Manifest,
        outputs: Outputs,
        names: Names,
        following: Option<Following>,
        meter: Meter,
        progress: Arc<Progress>,
        resumed: Arc<Resumed>,
    ) -> Self {
        let standing = Standing::new(resumed.turns(manifest.at_once), resumed.starts().len());
        let saved = Saved { at: meter.begin, pause: SAVE_PAUSE, is_behind: false };
        Self { manifest, outputs, names, following, meter, progress, resumed, standing, saved }
    }

    /// Takes events until there are no more. When an output fails, asks the run to stop and lets what is under way
    /// drain; the manifest then tells how far it came.
    ///
    /// A reader that waits for its input (a pipe, a network stream) cannot be stopped; when it alone keeps the run from ending,
    /// it is left where it is.
    pub fn keep(mut self, line: &LineEnd, stop: &Stop) -> (Result<Manifest, RunError>, Reading) {
        let mut reading = Reading::Ended;
        let mut result = self.open();
        let mut reorder = Reorder::default();
        loop {
            let (place, event) = match self.next(line, stop, &mut result) {
                Next::Event(place, event) => (place, event),
                Next::End => break,
                Next::Quiet => {
                    reading = Reading::Abandoned;
                    break;
                }
            };
            reorder.put(place, event);
            while let Some(event) = reorder.take() {
                if result.is_ok() {
                    result = self.report(event).and_then(|()| self.save_if_due());
                }
                if result.is_err() {
                    stop.ask();
                }
                line.reported();
            }
        }
        if result.is_ok() && reading == Reading::Ended && !reorder.is_empty() {
            result = Err(RunError::Thread(
                "some frames never came back from their worker; please report this as a bug".into(),
            ));
        }
        (self.close(result, stop), reading)
    }

    /// The next event. Before waiting for one, what has been written is let go.
    fn next(&mut self, line: &LineEnd, stop: &Stop, result: &mut Result<(), RunError>) -> Next {
        if let Ok((place, event)) = line.events.try_recv() {
            return Next::Event(place, event);
        }
        if result.is_ok() {
            *result = self.flush();
        }
        let mut asked_at = None;
        loop {
            match line.events.recv_timeout(POLL) {
                Ok((place, event)) => return Next::Event(place, event),
                Err(RecvTimeoutError::Disconnected) => return Next::End,
                Err(RecvTimeoutError::Timeout) if stop.is_asked() => {
                    let patience = if line.is_idle() { IDLE_PATIENCE } else { BUSY_PATIENCE };
                    if asked_at.get_or_insert_with(Instant::now).elapsed() > patience {
                        return Next::Quiet;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if result.is_ok() {
                        *result = self.save_if_due();
                    }
                }
            }
        }
    }

    /// The manifest as it is before any source is read.
    fn open(&mut self) -> Result<(), RunError> {
        self.manifest.note_failures(self.resumed.failures.iter().cloned());
        let resumed = Arc::clone(&self.resumed);
        for (start, entry) in resumed.starts().iter().zip(resumed.begun()) {
            match start {
                Start::Done(entry) => self.manifest.take_over(SourceEntry::clone(entry)),
                _ => self.manifest.sources.push(SourceEntry::begun(&entry.source, entry.probe.clone())),
            }
        }
        self.take_over_done();
        self.admit();
        self.note_checkpoint();
        // One that tells where to go on stays, until there is more to tell.
        if self.resumed.shared_bytes().is_none() {
            self.outputs.write_manifests(&self.manifest)?;
        }
        Ok(())
    }

    /// Sources that an earlier run is done with have their places in the manifest among those that are opened.
    fn take_over_done(&mut self) {
        let resumed = Arc::clone(&self.resumed);
        while let Some(Start::Done(entry)) = resumed.starts().get(self.manifest.sources.len()) {
            self.manifest.take_over(SourceEntry::clone(entry));
        }
    }

    /// Sources that have got a place in the turns begin.
    fn admit(&mut self) {
        let Self { resumed, following, outputs, standing, .. } = self;
        standing.admit(|number| beginning_of(resumed, following.as_ref(), outputs, number, None));
    }

    fn report(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Opened { number, name, probe } => {
                self.outputs.begin_source(number, probe.as_deref())?;
                let time_base = probe.as_ref().map(|p| p.time_base);
                let entry = SourceEntry::begun(&name, probe.map(|p| *p));
                match self.manifest.sources.get_mut(number) {
                    Some(place) => *place = entry,
                    None => self.manifest.sources.push(entry),
                }
                self.take_over_done();
                self.begin_source(number, time_base)?;
                self.outputs.write_manifest_of(&self.manifest, number)?;
                Ok(())
            }
            Event::Redrawn { number, record, frame } => {
                self.outputs.draw(number, &record, &frame);
                Ok(())
            }
            Event::Frame { item, verdict } => self.record(item, verdict),
            Event::Closed { number, closing } => self.end_source(number, *closing),
        }
    }

    /// Takes over what earlier runs did of a source.
    fn begin_source(&mut self, number: usize, time_base: Option<Rational>) -> Result<(), RunError> {
        self.outputs.flush()?;
        let Self { resumed, following, outputs, .. } = &*self;
        let now = beginning_of(resumed, following.as_ref(), outputs, number, time_base);
        self.manifest.resumed += now.intake().sampled;
        self.standing.begin(number, now);
        self.note_checkpoint();
        self.saved.is_behind = true;
        Ok(())
    }

    /// Lets go of all that was written.
    fn flush(&mut self) -> Result<(), RunError> {
        self.outputs.flush()?;
        self.note_checkpoint();
        Ok(())
    }

    fn note_checkpoint(&mut self) {
        self.standing.note(&self.outputs, &mut self.manifest);
    }

    fn save_if_due(&mut self) -> Result<(), RunError> {
        if self.saved.is_due() { self.save() } else { Ok(()) }
    }

    /// The same, and tells in the manifest how far that is.
    fn save(&mut self) -> Result<(), RunError> {
        let begin = Instant::now();
        self.flush()?;
        self.meter.read(&mut self.manifest);
        self.outputs.write_manifest_in_between(&self.manifest)?;
        // Where there are so many sources that writing takes long, it is done less often.
        let pause = SAVE_PAUSE.max(begin.elapsed() * SAVE_SHARE);
        self.saved = Saved { at: Instant::now(), pause, is_behind: false };
        Ok(())
    }

    fn record(&mut self, item: Item, verdict: Verdict) -> Result<(), RunError> {
        let number = item.head.number;
        let place = self.standing.of(number);
        if place.now.sound && self.resumed.doubts.about(number) {
            // Before anything is written that whoever goes on must not rely on.
            (place.now.sound, place.is_ahead) = (false, true);
            self.save()?;
        }
        let mut outcome = match verdict {
            Verdict::Found(found) => self.names.put_on(found),
            Verdict::Failed { error, attempts } => Outcome::Failed { error, attempts },
            Verdict::Lost(reason) => return Err(RunError::Workers(reason)),
        };
        let place = self.standing.of(number);
        if let Some((following, tracker)) = self.following.as_ref().zip(place.now.tracker.as_mut()) {
            self.meter.clocks.time(Stage::Track, || following.follow(tracker, &mut outcome));
        }
        let crate::worker::Head { source, frame, pts, time, decoded, .. } = item.head;
        let record = Record { source, frame, pts, time, outcome };
        self.outputs.write(number, &record, item.frame.as_ref())?;
        place.now.note(&record);
        place.is_ahead = true;
        self.standing.turns.took(number);
        self.saved.is_behind = true;
        self.manifest.note_failures(FailureEntry::of(&record, number));
        self.progress.settled(!matches!(record.outcome, Outcome::Ok(_)), decoded.elapsed());
        if let Outcome::Ok(found) = record.outcome {
            self.names.reuse(found);
        }
        Ok(())
    }

    fn end_source(&mut self, number: usize, closing: Closing) -> Result<(), RunError> {
        let is_done = closing.is_done();
        let Closing { intake, damage, complete, error } = closing;
        self.flush()?;
        let place = self.standing.of(number);
        place.state = State::Closed;
        let ledger = Ledger {
            decoded: intake.decoded,
            skipped: intake.skipped,
            sampled: intake.sampled,
            ..place.now.settled()
        };
        if let Some(entry) = self.manifest.sources.get_mut(number) {
            *entry = SourceEntry { ledger, damage, complete, error, ..entry.clone() };
        }
        self.manifest.ledger.add(&ledger);
        self.outputs.end_source(number)?;
        ledger.check()?;
        if is_done && self.outputs.has_failed_to_draw(number) {
            self.manifest.unfinished.extend(self.manifest.checkpoint_of(number).cloned());
        }
        if is_done {
            self.standing.end(number);
            self.admit();
            self.note_checkpoint();
            // A source's own manifest is written at once; of that of all, it takes too long to do so for each.
            self.saved.is_behind = self.outputs.position(number).is_some() || self.standing.is_any_open();
        }
        self.meter.read(&mut self.manifest);
        self.outputs.write_manifest_of(&self.manifest, number)?;
        Ok(())
    }

    /// What was settled of sources that were never closed, after a failure, or never opened, as their turns did not come again: only what
    /// has a record is counted.
    fn end_unclosed_sources(&mut self, standing: Standing) {
        for (number, Place { now, state, .. }) in standing.into_all() {
            let settled = now.settled();
            let recorded = settled.ok + settled.failed + settled.dropped;
            let Some(entry) = self.manifest.sources.get_mut(number).filter(|_| recorded > 0) else {
                continue;
            };
            entry.ledger = match state {
                State::Closed => continue,
                State::Open => Ledger { decoded: recorded, sampled: recorded, ..settled },
                State::Waiting => Ledger {
                    ok: settled.ok,
                    failed: settled.failed,
                    dropped: settled.dropped,
                    ..now.intake()
                },
            };
            self.manifest.ledger.add(&entry.ledger);
            self.manifest.resumed += if state == State::Waiting { recorded } else { 0 };
        }
    }

    fn close(mut self, result: Result<(), RunError>, stop: &Stop) -> Result<Manifest, RunError> {
        // Outputs are closed and the manifest is written also after a failure, whose first cause is what is told.
        let result = result.and_then(|()| self.flush());
        let result = result.and(self.outputs.finish());
        let standing = std::mem::replace(&mut self.standing, Standing::new(Turns::new([], [], 1), 0));
        self.end_unclosed_sources(standing);
        self.meter.read(&mut self.manifest);
        // Asked to stop when all was read already is not interrupted; nor is a source that ended with its own error.
        let is_read = self.manifest.is_read(self.resumed.starts().len());
        let without_error = self.manifest.sources.iter().all(|s| s.error.is_none());
        self.manifest.complete = result.is_ok() && is_read && without_error;
        self.manifest.interrupted = stop.is_asked() && result.is_ok() && !is_read;
        if result.is_ok() && is_read {
            self.manifest.checkpoint = None;
            self.manifest.further_checkpoints.clear();
        }
        self.manifest.error = result.as_ref().err().map(ToString::to_string);
        let written = self.outputs.write_manifests(&self.manifest);
        result?;
        written?;
        self.manifest.ledger.check()?;
        Ok(self.manifest)
    }
}

/// Where this run begins with source `number`.
fn beginning_of(
    resumed: &Resumed,
    following: Option<&Following>,
    outputs: &Outputs,
    number: usize,
    time_base: Option<Rational>,
) -> Checkpoint {
    match resumed.starts().get(number) {
        Some(Start::After(going)) => going.checkpoint.clone(),
        _ => Checkpoint {
            tracker: following.map(Following::begin),
            ..Checkpoint::at(number, outputs.position(number).unwrap_or(0), time_base)
        },
    }
}

/// What was found as a record has it, for whoever runs a model without a run.
///
/// # Errors
/// When its outputs are not JSON.
pub fn named(found: infer::Found, labels: &Labels) -> Result<record::Found, serde_json::Error> {
    Names { labels: labels.clone(), ..Names::default() }.name(found)
}

/// Class names, each made once.
#[derive(Default)]
pub(crate) struct Names {
    labels: Labels,
    known: BTreeMap<u32, Arc<str>>,
    /// Those of the next model.
    inside: Option<Box<Names>>,
    /// Memory for the detections of the next record.
    spare: Vec<record::Detection>,
    /// Where that of what workers found goes back.
    back: Option<Sender<Vec<infer::Detection>>>,
}

impl Names {
    /// Of a run's models. The memory of what workers found goes `back`.
    pub fn of_run(plans: &[&TaskPlan], back: Sender<Vec<infer::Detection>>) -> Self {
        Self { back: Some(back), ..Self::new(plans) }
    }

    /// Names of the classes of a model, and of those that follow it.
    fn new(plans: &[&TaskPlan]) -> Self {
        let labels = plans.first().map(|plan| plan.labels().clone()).unwrap_or_default();
        let inside = plans.get(1..).filter(|rest| !rest.is_empty()).map(|rest| Box::new(Self::new(rest)));
        Self { labels, inside, ..Self::default() }
    }

    fn of(&mut self, class_id: u32) -> Arc<str> {
        let name = || self.labels.name(class_id).into();
        Arc::clone(self.known.entry(class_id).or_insert_with(name))
    }

    fn own_or_of(&mut self, own: Option<String>, class_id: u32) -> Arc<str> {
        own.map_or_else(|| self.of(class_id), Arc::from)
    }

    /// What was found as the record has it.
    fn put_on(&mut self, found: infer::Found) -> Outcome {
        match self.name(found) {
            Ok(found) => Outcome::Ok(found),
            Err(error) => {
                Outcome::Failed { error: format!("its outputs are not JSON: {error}"), attempts: 1 }
            }
        }
    }

    fn name(&mut self, found: infer::Found) -> Result<record::Found, serde_json::Error> {
        let infer::Found {
            detections,
            names,
            class_names,
            region_names,
            classes,
            regions,
            text,
            embedding,
            outputs,
        } = found;
        let mut own = names.into_iter();
        let named = |mut all: Vec<infer::Detection>| {
            let mut detections = std::mem::take(&mut self.spare);
            for detection in all.drain(..) {
                detections.push(self.detection(detection, own.next())?);
            }
            if let Some(back) = &self.back {
                let _ = back.try_send(all);
            }
            Ok(detections)
        };
        let detections = detections.map(named).transpose()?;
        let mut own = class_names.into_iter();
        let mut class = |infer::Class { class_id, confidence }| record::Class {
            class_id,
            class: self.own_or_of(own.next(), class_id),
            confidence,
        };
        let classes = classes.map(|all| all.into_iter().map(&mut class).collect());
        let mut own = region_names.into_iter();
        let mut region = |infer::Region { class_id, mask }| record::Region {
            class_id,
            class: self.own_or_of(own.next(), class_id),
            mask,
        };
        let masks = regions.map(|all| all.into_iter().map(&mut region).collect());
        let (text, text_confidence) = text.map(|text| (text.text, text.confidence)).unzip();
        let outputs = outputs.map(Json::new).transpose()?;
        Ok(record::Found { detections, classes, masks, text, text_confidence, embedding, outputs })
    }

    /// Takes the memory of what has been written.
    fn reuse(&mut self, found: record::Found) {
        if let Some(mut detections) = found.detections {
            detections.clear();
            self.spare = detections;
        }
    }

    fn detection(
        &mut self,
        found: infer::Detection,
        own_name: Option<String>,
    ) -> Result<record::Detection, serde_json::Error> {
        let vidmill_image::Rect { x1, y1, x2, y2 } = found.rect;
        let class = self.own_or_of(own_name, found.class_id);
        let keypoint = |point: &infer::Keypoint| match point.confidence {
            Some(confidence) => record::Keypoint::Sure([point.x, point.y, confidence]),
            None => record::Keypoint::Plain([point.x, point.y]),
        };
        let keypoints: Vec<_> = found.keypoints.iter().map(keypoint).collect();
        let inside = match (found.inside, &mut self.inside) {
            (Some(found), Some(names)) => names.name(*found)?,
            // A predictor may have more to say of what it finds by itself.
            (Some(found), None) => self.name(*found)?,
            (None, _) => record::Found::default(),
        };
        Ok(record::Detection {
            xyxy: [x1, y1, x2, y2],
            confidence: found.confidence,
            class_id: found.class_id,
            class,
            corners: found.corners,
            keypoints: (!keypoints.is_empty()).then_some(keypoints),
            mask: found.mask,
            classes: inside.classes,
            text: inside.text,
            text_confidence: inside.text_confidence,
            embedding: inside.embedding,
            detections: inside.detections,
            masks: inside.masks,
            outputs: inside.outputs,
            ..record::Detection::default()
        })
    }
}
