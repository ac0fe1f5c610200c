//! End to end: runs as any other, watched while all their parts are busy.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::BenchError;
use super::report::StageMs;
use super::tally::{Round, Tally};
use crate::error::RunError;
use crate::latency::Counts;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::outputs::OutputOptions;
use crate::progress::{Progress, Stop};
use crate::run::run_with;
use crate::sink::{Format, SinkError};
use crate::usage::cpu_seconds;

/// After the first so many records, marks are made at every 8th only.
const CLOSE_MARKS: u64 = 64;
/// Marks that there is room for from the beginning, so that counting allocates nothing.
const MARKS: usize = 1 << 14;

/// What a program has allocated so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// How often.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// How things stand when a record has been written.
#[derive(Clone, Copy)]
struct Mark {
    /// Records so far.
    records: u64,
    at: Instant,
    cpu: f64,
    allocations: Allocations,
    page_faults: u64,
}

/// Takes notes during a run.
struct Notes {
    marks: Vec<Mark>,
    records: u64,
    /// Records from which on all parts are busy.
    warm: u64,
    time: Duration,
    /// Where that ends the run.
    stop: Stop,
    progress: Arc<Progress>,
    before: Counts,
    allocations: Option<fn() -> Allocations>,
    stat: Option<File>,
}

impl Notes {
    fn note(&mut self) {
        self.records += 1;
        if self.records == self.warm {
            self.before = self.progress.latency().counts();
        }
        let is_close = self.records <= self.warm + CLOSE_MARKS;
        if !(is_close || self.records.is_multiple_of(8)) || self.stop.is_asked() {
            return;
        }
        let mark = Mark {
            records: self.records,
            at: Instant::now(),
            cpu: cpu_seconds(),
            allocations: self.allocations.map(|count| count()).unwrap_or_default(),
            page_faults: self.stat.as_ref().and_then(page_faults).unwrap_or(0),
        };
        self.marks.push(mark);
        if self.warm_mark().is_some_and(|warm| warm.at.elapsed() >= self.time) {
            self.stop.ask();
        }
    }

    fn warm_mark(&self) -> Option<&Mark> {
        // All records up to there have a mark.
        self.marks.get(usize::try_from(self.warm).ok()?.checked_sub(1)?)
    }

    /// The part of the run in which all were busy; where the run was too short for that, all but its first record.
    fn steady(&self, tail: u64) -> Option<(Mark, Mark)> {
        let last = *self.marks.last()?;
        let end = match self.stop.is_asked() {
            true => last,
            // While the last frames are under way, nobody decodes any more.
            false => *self.marks.iter().rfind(|mark| mark.records + tail <= last.records).unwrap_or(&last),
        };
        match self.warm_mark() {
            Some(warm) if warm.records < end.records => Some((*warm, end)),
            _ => Some((*self.marks.first()?, last)),
        }
    }
}

/// Minor and major page faults of all threads so far (fields 10 and 12 of Linux's proc(5) stat).
fn page_faults(stat: &File) -> Option<u64> {
    let mut text = [0; 512];
    let count = stat.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..count]).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let minor: u64 = fields.nth(7)?.parse().ok()?;
    let major: u64 = fields.nth(1)?.parse().ok()?;
    Some(minor + major)
}

/// What runs took, summed over their steady parts.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    pub frames: u64,
    pub allocations: Allocations,
    pub page_faults: u64,
    pub latency: Counts,
    /// Of whole runs: their frames, and their stages' milliseconds.
    pub run_frames: u64,
    pub stages: StageMs,
    pub failed: u64,
}

/// Runs end to end.
pub struct Bench {
    options: Options,
    allocations: Option<fn() -> Allocations>,
    pub sum: Sum,
    /// Holds what is written; removed at the end.
    _folder: TempDir,
}

impl Bench {
    /// Records of the runs go to a file, as anybody's do.
    pub fn new(run: Options, allocations: Option<fn() -> Allocations>) -> Result<Self, BenchError> {
        let folder = TempDir::with_prefix("vidmill-bench-").map_err(|error| {
            let name = std::env::temp_dir().display().to_string();
            RunError::Sink(SinkError::of(name, error))
        })?;
        let out = folder.path().join("records.jsonl");
        let output = OutputOptions { out, annotate: None, folder_format: Format::Jsonl };
        let options = Options { output, ..run };
        Ok(Self { options, allocations, sum: Sum::default(), _folder: folder })
    }

    /// A short run, whose manifest tells what all of them use.
    pub fn first_run(&mut self, time: Duration, stop: &Stop) -> Result<Manifest, BenchError> {
        let (manifest, _) = self.run(1, time, stop)?;
        self.sum = Sum::default();
        Ok(manifest)
    }

    /// Runs for `time`, as often as it takes. `tail` frames may be under way at once.
    pub fn round(
        &mut self,
        tail: u64,
        time: Duration,
        tally: &mut Tally,
        stop: &Stop,
    ) -> Result<(), BenchError> {
        let (begin, mut round) = (Instant::now(), Round::default());
        loop {
            let left = time.saturating_sub(Duration::from_secs_f64(round.wall));
            let (_, run) = self.run(tail, left, stop)?;
            round.frames += run.frames;
            round.wall += run.wall;
            round.cpu += run.cpu;
            // Short sources spend much of their time on loading the model.
            if round.wall >= 0.9 * time.as_secs_f64() || begin.elapsed() >= 2 * time {
                break;
            }
        }
        tally.add(round);
        Ok(())
    }

    fn run(&mut self, tail: u64, time: Duration, stop: &Stop) -> Result<(Manifest, Round), BenchError> {
        let (progress, part) = (Arc::new(Progress::default()), stop.part());
        let notes = Arc::new(Mutex::new(Notes {
            marks: Vec::with_capacity(MARKS),
            records: 0,
            warm: 2 * tail,
            time,
            stop: part.clone(),
            progress: Arc::clone(&progress),
            before: Counts::default(),
            allocations: self.allocations,
            stat: File::open("/proc/self/stat").ok(),
        }));
        let taken = Arc::clone(&notes);
        let manifest = run_with(&self.options, &part, &progress, move |_| {
            taken.lock().unwrap_or_else(PoisonError::into_inner).note();
        });
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        let manifest = manifest?;
        if let Some(source) = manifest.sources.iter().find(|source| source.error.is_some()) {
            let why = source.error.as_deref().unwrap_or_default();
            return Err(BenchError::Source(format!("{}: {why}", source.source)));
        }
        let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        let round = notes.steady(tail).map(|(first, last)| self.add(&manifest, first, last));
        let latency = progress.latency().counts();
        self.sum.latency.add(&latency.since(&notes.before));
        Ok((manifest, round.unwrap_or_default()))
    }

    fn add(&mut self, manifest: &Manifest, first: Mark, last: Mark) -> Round {
        let frames = last.records - first.records;
        let sum = &mut self.sum;
        sum.frames += frames;
        sum.allocations.count += last.allocations.count - first.allocations.count;
        sum.allocations.bytes += last.allocations.bytes - first.allocations.bytes;
        sum.page_faults += last.page_faults.saturating_sub(first.page_faults);
        let run_frames = manifest.ledger.ok + manifest.ledger.failed;
        sum.run_frames += run_frames;
        sum.stages.add(&manifest.stage_seconds);
        sum.failed += manifest.ledger.failed;
        let mut cpu = last.cpu - first.cpu;
        if manifest.parallelism.isolated && run_frames > 0 {
            // Worker processes tell what they used when they end, with what starting took: their stages are what counts here.
            let threads = manifest.parallelism.threads.max(1) as f64;
            let work = manifest.stage_seconds.infer * threads + manifest.stage_seconds.task;
            cpu += work * frames as f64 / run_frames as f64;
        }
        Round { frames, wall: (last.at - first.at).as_secs_f64(), cpu }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(warm: u64, records: u64) -> Notes {
        let mut notes = Notes {
            marks: Vec::new(),
            records: 0,
            warm,
            time: Duration::from_secs(3600),
            stop: Stop::default(),
            progress: Arc::default(),
            before: Counts::default(),
            allocations: Some(|| Allocations { count: 5, bytes: 7 }),
            stat: File::open("/proc/self/stat").ok(),
        };
        for _ in 0..records {
            notes.note();
        }
        notes
    }

    fn ends(notes: &Notes, tail: u64) -> Option<(u64, u64)> {
        notes.steady(tail).map(|(first, last)| (first.records, last.records))
    }

    #[test]
    fn the_steady_part_leaves_out_the_beginning_and_the_end() {
        assert_eq!(ends(&notes(8, 50), 4), Some((8, 46)));
        assert_eq!(ends(&notes(8, 1000), 4), Some((8, 992)));
        // Too short to have one.
        assert_eq!(ends(&notes(8, 10), 4), Some((1, 10)));
        assert_eq!(ends(&notes(8, 2), 4), Some((1, 2)));
        assert_eq!(ends(&notes(8, 0), 4), None);
    }

    #[test]
    fn a_run_that_was_ended_was_busy_to_its_end() {
        let mut ended = notes(8, 20);
        ended.time = Duration::ZERO;
        ended.note();
        assert!(ended.stop.is_asked());
        ended.note();
        assert_eq!(ends(&ended, 4), Some((8, 21)));
    }

    #[test]
    fn page_faults_are_counted() {
        let stat = File::open("/proc/self/stat").unwrap();
        let before = page_faults(&stat).unwrap();
        let fresh = vec![1_u8; 8 << 20];
        assert!(page_faults(&stat).unwrap() > before, "{}", fresh.len());
    }
}
