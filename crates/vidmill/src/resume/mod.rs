//! Where an earlier run stopped, and how this one goes on. In: the manifests beside the outputs. Out: a [`Start`] for each
//! source, and how much of each output is kept. Nothing is changed here.

mod key;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::checkpoint::{Checkpoint, Doubts, Mark};
use crate::ledger::Ledger;
use crate::manifest::{FailureEntry, Manifest, SourceEntry};
use crate::outputs::{Annotates, Plan};
use crate::record::Record;
use crate::sink::{self, Format, NOWHERE, STANDARD_OUTPUT, jsonl};
use crate::source::{Source, SourceKind};
use crate::turns::Turns;
pub(crate) use key::{Key, check_sources, key, key_of_then, only};

/// How a source begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// With its first frame.
    Fresh,
    /// Not at all: an earlier run is done with it, and this is what came of it.
    Done(Box<SourceEntry>),
    /// After the frames that have their records.
    After(Box<Going>),
}

/// A source that is gone on with.
#[derive(Clone, Debug)]
pub(crate) struct Going {
    /// Its checkpoint, moved on to the last record that is kept.
    pub checkpoint: Checkpoint,
    /// That record's frame.
    pub mark: Mark,
    /// Where the frames that are done are to be drawn again: the records to draw, and the byte where they begin.
    pub redraw: Option<(PathBuf, u64)>,
}

/// What this run takes over from earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    starts: Vec<Start>,
    /// Bytes to keep of the output that all sources share; without it, that begins anew.
    shared: Option<u64>,
    /// The same of each source's own.
    own: Vec<Option<u64>>,
    /// Of several sources that were open at once, with one output: in the order of their turns, those that are gone on with.
    circle: Vec<usize>,
    /// The same run's sources, as far as they had been opened.
    begun: Vec<SourceEntry>,
    /// Failures among the records that are kept.
    pub failures: Vec<FailureEntry>,
    /// Whether there is nothing left to do.
    pub is_finished: bool,
    /// Kept here as reader and bookkeeper share both.
    pub doubts: Doubts,
}

/// A run that cannot go on where another stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// Records went to standard output.
    #[error("--resume: records on standard output are gone from here: give --out a file or a folder")]
    StandardOutput,
    /// The output is a pipe or a device.
    #[error("--resume: `{}` is no file, so what was written to it cannot be gone on with: give --out a file or a folder", .0.display())]
    NotAFile(PathBuf),
    /// A source that is no file.
    #[error("--resume: `{0}` cannot be read again from where it stopped, as files can: leave --resume out")]
    Source(String),
    /// Records of which no manifest tells.
    #[error(
        "--resume: `{}` holds records, but there is no `{}` to tell how far they go: leave --resume out to begin anew \
         (it will be overwritten), or choose another --out",
        .output.display(), .manifest.display()
    )]
    NoManifest {
        /// The output.
        output: PathBuf,
        /// What is missing.
        manifest: PathBuf,
    },
    /// A manifest that cannot be understood.
    #[error("--resume: `{}` does not tell how far its run came: {reason}; leave --resume out to begin anew", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The earlier run was another one.
    #[error(
        "--resume: `{}` was begun by a run that differs from this one ({differences}): give the same model, sources and \
         options, or leave --resume out to begin anew", .output.display()
    )]
    Differs {
        /// The output.
        output: PathBuf,
        /// What differs, with both values.
        differences: String,
    },
    /// An output that something else has changed.
    #[error(
        "--resume: `{}` has {found} bytes where its manifest counts on {expected}: something else has changed it; leave \
         --resume out to begin anew", .output.display()
    )]
    Changed {
        /// The output.
        output: PathBuf,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
}

/// What is read back of a manifest.
#[derive(Deserialize)]
struct Earlier {
    #[serde(default)]
    resume_key: Key,
    sources: Vec<SourceEntry>,
    failures: Vec<FailureEntry>,
    checkpoint: Option<Checkpoint>,
    #[serde(default)]
    further_checkpoints: Vec<Checkpoint>,
    #[serde(default)]
    bytes: Option<u64>,
}

/// One output that is to be gone on with.
struct Target<'a> {
    path: &'a Path,
    /// The source that its checkpoint stands in; none where all are done.
    source: Option<&'a Source>,
    annotates: Annotates,
}

impl Resumed {
    /// Takes over nothing.
    pub fn nothing(sources: usize) -> Self {
        let doubts = Doubts::none(sources);
        Self { starts: vec![Start::Fresh; sources], own: vec![None; sources], doubts, ..Self::default() }
    }

    /// Looks for what earlier runs of the same `key` left in the outputs of `plan`.
    pub fn find(plan: &Plan, sources: &[Source], key: &Key) -> Result<Self, ResumeError> {
        let mut resumed = Self::nothing(sources.len());
        match plan.shared() {
            Some(path) => resumed.look_at_shared(path, plan, sources, key)?,
            None => resumed.look_at_each(plan, sources, key)?,
        }
        Ok(resumed)
    }

    fn look_at_shared(
        &mut self,
        path: &Path,
        plan: &Plan,
        sources: &[Source],
        key: &Key,
    ) -> Result<(), ResumeError> {
        let Some(earlier) = Earlier::beside(path, key)? else { return Ok(()) };
        let Some(checkpoint) = earlier.checkpoint else {
            check_finished(path, &earlier, sources.len())?;
            self.take_done(earlier.sources);
            self.failures = earlier.failures;
            self.is_finished = true;
            return Ok(());
        };
        if key::is_by_turns(key) {
            let checkpoints = std::iter::once(checkpoint).chain(earlier.further_checkpoints).collect();
            return self.look_at_turns(path, plan, sources, (checkpoints, earlier.sources, earlier.failures));
        }
        let number = checkpoint.source;
        if number > earlier.sources.len().min(sources.len()) {
            let reason = format!("its checkpoint is in source {number}, which it does not have");
            return Err(ResumeError::Manifest { path: Manifest::path_of(path), reason });
        }
        let annotates = plan.annotates(number);
        let target = Target { path, source: sources.get(number), annotates };
        let Kept { start, bytes, failures } = target.keep(checkpoint, earlier.failures)?;
        self.take_done(earlier.sources.into_iter().take(number));
        if let Some(place) = self.starts.get_mut(number) {
            *place = start;
        }
        (self.shared, self.failures) = (bytes, failures);
        Ok(())
    }

    /// Of several sources that were open at once, records lie between each other: what is kept is what lies before the checkpoints of
    /// all, and where one of them cannot be gone on with from there, all begin anew.
    fn look_at_turns(
        &mut self,
        path: &Path,
        plan: &Plan,
        sources: &[Source],
        (checkpoints, begun, failures): (Vec<Checkpoint>, Vec<SourceEntry>, Vec<FailureEntry>),
    ) -> Result<(), ResumeError> {
        let unknown = |reason: String| ResumeError::Manifest { path: Manifest::path_of(path), reason };
        let is_read = |entry: &SourceEntry| entry.complete || entry.error.is_some();
        let checkpoint_of = |number| checkpoints.iter().find(|checkpoint| checkpoint.source == number);
        if let Some(number) = (0..begun.len()).find(|&n| checkpoint_of(n).is_none() && !is_read(&begun[n])) {
            return Err(unknown(format!("source {number} is not finished, but has no checkpoint")));
        }
        let far = checkpoints
            .iter()
            .find(|it| it.source > sources.len() || (it.last.is_some() && it.source >= begun.len()));
        if let Some(Checkpoint { source, .. }) = far {
            return Err(unknown(format!("a checkpoint is in source {source}, which it does not have")));
        }
        let file = sink::growing_file(path);
        let found = fs::metadata(&file).map_or(0, |metadata| metadata.len());
        let bytes = checkpoints.iter().map(|checkpoint| checkpoint.bytes).max().unwrap_or(0);
        let can_go_on = |checkpoint: &Checkpoint| {
            let Some(source) = sources.get(checkpoint.source) else { return true };
            let target = Target { path, source: Some(source), annotates: plan.annotates(checkpoint.source) };
            checkpoint.last.is_none() || target.can_go_on(source)
        };
        if found < bytes || !checkpoints.iter().all(can_go_on) {
            return Ok(());
        }
        self.failures = failures;
        self.failures.retain(|f| {
            checkpoint_of(f.number).is_none_or(|it| it.last.is_some_and(|last| f.frame <= last.frame))
        });
        self.take_done(begun.iter().cloned());
        for checkpoint in checkpoints {
            let Some(start) = self.starts.get_mut(checkpoint.source) else { continue };
            self.circle.push(checkpoint.source);
            let redraw = (plan.annotates(checkpoint.source) == Annotates::Video)
                .then(|| (file.clone(), checkpoint.begin));
            *start = match checkpoint.last {
                Some(mark) => Start::After(Box::new(Going { checkpoint, mark, redraw })),
                None => Start::Fresh,
            };
        }
        (self.shared, self.begun) = (Some(bytes), begun);
        Ok(())
    }

    fn look_at_each(&mut self, plan: &Plan, sources: &[Source], key: &Key) -> Result<(), ResumeError> {
        for (number, source) in sources.iter().enumerate() {
            let Some(path) = plan.records(number) else { continue };
            let Some(mut earlier) = Earlier::beside(path, &only(key, number))? else { continue };
            for failure in &mut earlier.failures {
                failure.number = number;
            }
            let Some(mut checkpoint) = earlier.checkpoint else {
                check_finished(path, &earlier, 1)?;
                self.failures.extend(earlier.failures);
                if let Some(entry) = earlier.sources.pop() {
                    self.starts[number] = Start::Done(Box::new(entry));
                }
                continue;
            };
            checkpoint.source = number;
            let target = Target { path, source: Some(source), annotates: plan.annotates(number) };
            let Kept { start, bytes, failures } = target.keep(checkpoint, earlier.failures)?;
            (self.starts[number], self.own[number]) = (start, bytes);
            self.failures.extend(failures);
        }
        self.is_finished = self.starts.iter().all(|start| matches!(start, Start::Done(_)));
        Ok(())
    }

    fn take_done(&mut self, entries: impl IntoIterator<Item = SourceEntry>) {
        for (start, entry) in self.starts.iter_mut().zip(entries) {
            *start = Start::Done(Box::new(entry));
        }
    }

    /// The turns of what is left to do, with so many sources at once.
    pub fn turns(&self, at_once: usize) -> Turns {
        let is_waiting = |number: &usize| !self.is_done(*number) && !self.circle.contains(number);
        Turns::new(self.circle.iter().copied(), (0..self.starts.len()).filter(is_waiting), at_once)
    }

    /// Of several sources that were open at once, with one output, those that an earlier run opened.
    pub fn begun(&self) -> &[SourceEntry] {
        &self.begun
    }

    /// How each source begins.
    pub fn starts(&self) -> &[Start] {
        &self.starts
    }

    /// What an undisturbed run had counted of a source when it came to where this one begins.
    pub fn intake(&self, number: usize) -> Ledger {
        match self.starts.get(number) {
            Some(Start::After(going)) => going.checkpoint.intake(),
            _ => Ledger::default(),
        }
    }

    /// Bytes to keep of the output that all sources share.
    pub fn shared_bytes(&self) -> Option<u64> {
        self.shared
    }

    /// Bytes to keep of the source's own output.
    pub fn own_bytes(&self, number: usize) -> Option<u64> {
        self.own.get(number).copied().flatten()
    }

    /// Whether an earlier run is done with the source.
    pub fn is_done(&self, number: usize) -> bool {
        matches!(self.starts.get(number), Some(Start::Done(_)))
    }
}

/// What becomes of an output.
struct Kept {
    start: Start,
    bytes: Option<u64>,
    failures: Vec<FailureEntry>,
}

impl Target<'_> {
    /// How much of the output is kept, and how its source begins then.
    fn keep(&self, mut checkpoint: Checkpoint, failures: Vec<FailureEntry>) -> Result<Kept, ResumeError> {
        let file = sink::growing_file(self.path);
        let found = fs::metadata(&file).map_or(0, |metadata| metadata.len());
        let number = checkpoint.source;
        let (mut of_source, before): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(|f| f.number >= number);
        let shorter = |expected| ResumeError::Changed { output: file.clone(), expected, found };
        // Lost by a power cut, or cut back by a run that died right after that: what is left of the source is done again.
        if found < checkpoint.begin && number == 0 {
            return Ok(Kept { start: Start::Fresh, bytes: None, failures: Vec::new() });
        }
        if found < checkpoint.begin {
            return Err(shorter(checkpoint.begin));
        }
        let Some(source) = self.source else {
            let bytes = (found >= checkpoint.bytes).then_some(checkpoint.bytes);
            let bytes = Some(bytes.ok_or_else(|| shorter(checkpoint.bytes))?);
            return Ok(Kept { start: Start::Fresh, bytes, failures: before });
        };
        let begin = checkpoint.begin;
        if found < checkpoint.bytes || !self.can_go_on(source) {
            return Ok(Kept { start: Start::Fresh, bytes: Some(begin), failures: before });
        }
        let last = checkpoint.last.map(|mark| mark.frame);
        of_source.retain(|f| f.number == number && last.is_some_and(|last| f.frame <= last));
        // A picture is written after its record, and may be missing or in pieces; where tracks stand is known at the checkpoint only.
        let is_tracked = checkpoint.tracker.is_some();
        if self.has_lines() && self.annotates != Annotates::Pictures && !is_tracked {
            read_on(&file, source, &mut checkpoint, &mut of_source);
        }
        let bytes = Some(checkpoint.bytes);
        let redraw = (self.annotates == Annotates::Video).then_some((file, begin));
        let start = match checkpoint.last {
            Some(mark) => Start::After(Box::new(Going { checkpoint, mark, redraw })),
            None => Start::Fresh,
        };
        Ok(Kept { start, bytes, failures: [before, of_source].concat() })
    }

    /// Frames that are done can be drawn again only from records that can be read; and of pictures, COCO results do not tell
    /// which numbers are taken.
    fn can_go_on(&self, source: &Source) -> bool {
        let is_coco = matches!(Format::of(self.path), Ok(Format::Coco));
        let pictures = matches!(source.kind, SourceKind::Images(_));
        !(is_coco && pictures) && (self.annotates != Annotates::Video || self.has_lines())
    }

    fn has_lines(&self) -> bool {
        matches!(Format::of(self.path), Ok(Format::Jsonl | Format::Parquet))
    }
}

/// Moves the checkpoint on over whole records of its source that were written after it.
fn read_on(file: &Path, source: &Source, checkpoint: &mut Checkpoint, failures: &mut Vec<FailureEntry>) {
    let Ok(mut records) = jsonl::read_from(file, checkpoint.bytes) else { return };
    while let Some(Ok(record)) = records.next() {
        let is_next = checkpoint.last.is_none_or(|mark| mark.frame < record.frame);
        if !is_next || !is_of(&record, source) {
            return;
        }
        failures.extend(FailureEntry::of(&record, checkpoint.source));
        checkpoint.note(&record);
        checkpoint.bytes = records.position();
    }
}

fn is_of(record: &Record, source: &Source) -> bool {
    match &source.kind {
        SourceKind::Video(_) => record.source == source.name,
        SourceKind::Images(paths) => usize::try_from(record.frame)
            .ok()
            .and_then(|frame| paths.get(frame))
            .is_some_and(|path| path.to_string_lossy() == *record.source),
    }
}

impl Earlier {
    /// The manifest beside `output`, if it is of a run of the same `key`; `None` where nothing was written yet.
    fn beside(output: &Path, key: &Key) -> Result<Option<Self>, ResumeError> {
        let path = Manifest::path_of(output);
        let grows = sink::growing_file(output);
        let is_there = grows.exists() || output.exists();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return if holds_records(output, &grows) {
                    Err(ResumeError::NoManifest { output: output.to_owned(), manifest: path })
                } else {
                    Ok(None)
                };
            }
            Err(error) => return Err(ResumeError::Manifest { path, reason: error.to_string() }),
        };
        if !is_there {
            return Ok(None);
        }
        let earlier: Self = serde_json::from_slice(&text)
            .map_err(|error| ResumeError::Manifest { path: path.clone(), reason: error.to_string() })?;
        if earlier.resume_key.is_empty() {
            let reason = "it was written by a version that kept no checkpoints".to_owned();
            return Err(ResumeError::Manifest { path, reason });
        }
        let differences = key::differences(&earlier.resume_key, key);
        if !differences.is_empty() {
            let differences = differences.join("; ");
            return Err(ResumeError::Differs { output: output.to_owned(), differences });
        }
        let is_untold = |checkpoint: &Checkpoint| checkpoint.last.is_some() && checkpoint.tracker.is_none();
        if key.get("track").is_some_and(|track| !track.is_null())
            && earlier.checkpoint.iter().chain(&earlier.further_checkpoints).any(is_untold)
        {
            return Err(ResumeError::Manifest { path, reason: "its checkpoint has no `tracker`".to_owned() });
        }
        Ok(Some(earlier))
    }
}

/// Whether there is more than an output that has just been opened: a run may die before it writes its first manifest.
fn holds_records(output: &Path, grows: &Path) -> bool {
    let just_opened = match Format::of(output) {
        Ok(Format::Csv) => sink::csv::HEADER.len(),
        Ok(Format::Coco) => sink::coco::EMPTY.len(),
        Ok(Format::Jsonl | Format::Parquet | Format::Mot) | Err(_) => 0,
    };
    let longer = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > just_opened as u64);
    longer(output) || longer(grows)
}

/// A finished output is as its run left it.
fn check_finished(output: &Path, earlier: &Earlier, sources: usize) -> Result<(), ResumeError> {
    let is_read = |entry: &SourceEntry| entry.complete || entry.error.is_some();
    if earlier.sources.len() != sources || !earlier.sources.iter().all(is_read) {
        let reason = "it is not finished, but has no checkpoint".to_owned();
        return Err(ResumeError::Manifest { path: Manifest::path_of(output), reason });
    }
    let found = fs::metadata(output).map_or(0, |metadata| metadata.len());
    match earlier.bytes {
        Some(expected) if expected != found => {
            Err(ResumeError::Changed { output: output.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// Records must go to files, and sources must be files, for a run to be gone on with.
pub(crate) fn check(out: &Path, sources: &[Source]) -> Result<(), ResumeError> {
    if [STANDARD_OUTPUT, NOWHERE].iter().any(|name| out.as_os_str() == *name) {
        return Err(ResumeError::StandardOutput);
    }
    if fs::metadata(out).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return Err(ResumeError::NotAFile(out.to_owned()));
    }
    check_sources(sources)
}
