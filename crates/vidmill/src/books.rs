//! The second half of the pipeline: verdicts -> order -> records -> sinks, and the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use vidmill_infer::{Labels, TaskPlan};

use crate::error::RunError;
use crate::feed::{Closing, Event, LineEnd};
use crate::ledger::Ledger;
use crate::manifest::{Manifest, SourceEntry};
use crate::outputs::Outputs;
use crate::progress::{Progress, Stop};
use crate::record::{self, Outcome, Record};
use crate::reorder::Reorder;
use crate::stage::Clocks;
use crate::usage;
use crate::worker::{Item, Verdict};

/// How often a wait looks up.
const POLL: Duration = Duration::from_millis(100);
/// How long the reader may take to notice that it should stop, when no frame is under way.
const IDLE_PATIENCE: Duration = Duration::from_secs(1);
/// The same while frames are under way: longer than any model takes for a batch.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);

/// What became of the reader's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It has ended or is about to.
    Ended,
    /// It waits for input that may never come.
    Abandoned,
}

/// What comes next on the line.
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
    /// What became of the current source's sampled frames.
    settled: Ledger,
    names: Names,
    clocks: Arc<Clocks>,
    progress: Arc<Progress>,
    begin: Instant,
    /// How many sources there are to read.
    sources: usize,
}

impl Books {
    pub fn new(
        manifest: Manifest,
        outputs: Outputs,
        plan: &TaskPlan,
        clocks: Arc<Clocks>,
        progress: Arc<Progress>,
        begin: Instant,
        sources: usize,
    ) -> Self {
        let names = Names { labels: plan.labels().clone(), known: BTreeMap::new() };
        let settled = Ledger::default();
        Self { manifest, outputs, settled, names, clocks, progress, begin, sources }
    }

    /// Takes events until there are no more. When an output fails, asks the run to stop and lets what is under way
    /// drain; the manifest then tells how far it came.
    ///
    /// A reader that waits for its input (a pipe, a network stream) cannot be stopped; when it alone keeps the run from ending,
    /// it is left where it is.
    pub fn keep(mut self, line: &LineEnd, stop: &Stop) -> (Result<Manifest, RunError>, Reading) {
        let mut reading = Reading::Ended;
        let mut result = self.outputs.write_manifests(&self.manifest).map_err(RunError::from);
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
                    result = self.report(event);
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
            *result = self.outputs.flush();
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
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn report(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Opened { number, name, probe } => {
                self.outputs.begin_source(number, probe.as_deref())?;
                self.manifest.sources.push(SourceEntry::begun(&name, probe.map(|p| *p)));
                self.outputs.write_manifest_of(&self.manifest, number)?;
                Ok(())
            }
            Event::Frame { item, verdict } => self.record(item, verdict),
            Event::Closed { number, closing } => self.end_source(number, *closing),
        }
    }

    fn record(&mut self, item: Item, verdict: Verdict) -> Result<(), RunError> {
        let outcome = match verdict {
            Ok(found) => Outcome::Ok { detections: found.iter().map(|d| self.names.put_on(d)).collect() },
            Err(error) => Outcome::Failed { error, attempts: 1 },
        };
        let crate::worker::Head { source, frame, pts, time } = item.head;
        let record = Record { source, frame, pts, time, outcome };
        self.outputs.write(&record, item.frame.as_ref())?;
        self.settled.settle(&record.outcome);
        self.manifest.note_failure(&record);
        self.progress.settled(!matches!(record.outcome, Outcome::Ok { .. }));
        Ok(())
    }

    fn end_source(&mut self, number: usize, closing: Closing) -> Result<(), RunError> {
        let Closing { intake, damage, complete, error } = closing;
        let ledger = Ledger {
            decoded: intake.decoded,
            skipped: intake.skipped,
            sampled: intake.sampled,
            ..std::mem::take(&mut self.settled)
        };
        if let Some(entry) = self.manifest.sources.last_mut() {
            *entry = SourceEntry { ledger, damage, complete, error, ..entry.clone() };
        }
        self.manifest.ledger.add(&ledger);
        self.outputs.end_source()?;
        ledger.check()?;
        self.take_stock();
        self.outputs.write_manifest_of(&self.manifest, number)?;
        Ok(())
    }

    /// After a failure, what was settled of a source that was never closed: only what has a record is counted.
    fn end_unclosed_source(&mut self) {
        let settled = std::mem::take(&mut self.settled);
        let recorded = settled.ok + settled.failed + settled.dropped;
        let ledger = Ledger { decoded: recorded, sampled: recorded, ..settled };
        if let Some(entry) = self.manifest.sources.last_mut().filter(|_| recorded > 0) {
            entry.ledger = ledger;
            self.manifest.ledger.add(&ledger);
        }
    }

    fn take_stock(&mut self) {
        self.manifest.wall_seconds = self.begin.elapsed().as_secs_f64();
        self.manifest.cpu_seconds = usage::cpu_seconds();
        self.manifest.stage_seconds = self.clocks.seconds();
        self.manifest.peak_memory_bytes = usage::peak_memory_bytes();
    }

    fn close(mut self, result: Result<(), RunError>, stop: &Stop) -> Result<Manifest, RunError> {
        // Outputs are closed and the manifest is written also after a failure, whose first cause is what is told.
        let result = result.and(self.outputs.finish());
        self.end_unclosed_source();
        self.take_stock();
        let read = &self.manifest.sources;
        self.manifest.complete = result.is_ok()
            && read.len() == self.sources
            && read.iter().all(|s| s.complete && s.error.is_none());
        // Asked to stop when all was read already is not interrupted; nor is a source that ended with its own error.
        let unread = read.len() < self.sources || read.iter().any(|s| !s.complete && s.error.is_none());
        self.manifest.interrupted = stop.is_asked() && result.is_ok() && unread;
        self.manifest.error = result.as_ref().err().map(ToString::to_string);
        let written = self.outputs.write_manifests(&self.manifest);
        result?;
        written?;
        self.manifest.ledger.check()?;
        Ok(self.manifest)
    }
}

/// Class names, each made once.
struct Names {
    labels: Labels,
    known: BTreeMap<u32, Arc<str>>,
}

impl Names {
    /// A detection as the record has it.
    fn put_on(&mut self, found: &vidmill_infer::Detection) -> record::Detection {
        let id = found.class_id;
        let class = self.known.entry(id).or_insert_with(|| self.labels.name(id).into());
        let vidmill_image::Rect { x1, y1, x2, y2 } = found.rect;
        record::Detection {
            xyxy: [x1, y1, x2, y2],
            confidence: found.confidence,
            class_id: id,
            class: Arc::clone(class),
        }
    }
}
