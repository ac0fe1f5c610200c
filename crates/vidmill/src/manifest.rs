//! The manifest: what ran, on what, and what came of it. Written beside each output as `PATH.manifest.json`; other
//! programs rely on its fields.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vidmill_infer::{Card, Description, ModelInfo, RuntimeInfo, TaskPlan};
use vidmill_video::{Damage, Probe};

use crate::checkpoint::Checkpoint;
use crate::latency::Percentiles;
use crate::ledger::Ledger;
use crate::record::{Outcome, Record};
use crate::resume::{self, Resumed, Start};
use crate::sink::SinkError;
use crate::stage::StageSeconds;
use crate::track::Settings;

/// One run, as told to other programs. Its size does not grow with the length of the video.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// Versions of vidmill and of the libraries that ran.
    pub versions: Versions,
    /// The command line.
    pub command: Vec<String>,
    /// The model that ran.
    pub model: ModelEntry,
    /// The runtime, the device asked for, the provider that ran, and its precision.
    pub runtime: RuntimeInfo,
    /// The tracker and all its settings; null where nothing is tracked.
    pub track: Option<Settings>,
    /// Workers, batch and threads, as chosen.
    pub parallelism: Parallelism,
    /// Whether device, precision and parallelism are what `vidmill tune` found.
    pub tuned: bool,
    /// Sources that were read at the same time.
    pub at_once: usize,
    /// The second model, where there is one.
    pub then: Option<ThenEntry>,
    /// Every source, in order.
    pub sources: Vec<SourceEntry>,
    /// Sum over all sources.
    pub ledger: Ledger,
    /// The first 100 failures; the ledger has their number.
    pub failures: Vec<FailureEntry>,
    /// Seconds from start to end.
    pub wall_seconds: f64,
    /// CPU seconds of this process, all threads, and of its worker processes.
    pub cpu_seconds: f64,
    /// Seconds per stage, summed over threads.
    pub stage_seconds: StageSeconds,
    /// From when a frame was decoded to when its record was written; null where there is no record yet.
    pub latency_ms: Option<Percentiles>,
    /// Most physical memory that this process ever held, in bytes; null where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// What worker processes took.
    pub worker_processes: WorkerProcesses,
    /// Whether every source was read to its end (or to `--end`) and every record written.
    pub complete: bool,
    /// Whether the run was asked to stop.
    pub interrupted: bool,
    /// What ended the run, when something did.
    pub error: Option<String>,
    /// Sampled frames whose records earlier runs wrote, which this one went on from.
    pub resumed: u64,
    /// How far the records go, for `--resume`; null when there is nothing left to do.
    pub checkpoint: Option<Checkpoint>,
    /// Of sources that were read at the same time, those of the others: `checkpoint` is that of the source whose turn is next, and
    /// these follow in the order of their turns.
    pub further_checkpoints: Vec<Checkpoint>,
    /// The same of sources with outputs of their own that were read, but not drawn to their end.
    #[serde(skip)]
    pub unfinished: Vec<Checkpoint>,
    /// Bytes of the output, once there is nothing left to do.
    pub bytes: Option<u64>,
    /// Everything that influences the records: `--resume` asks for the same.
    pub resume_key: serde_json::Map<String, serde_json::Value>,
}

/// What worker processes took, all of them together; nothing where workers are threads.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WorkerProcesses {
    /// How many were started: more than there are workers when some died or were replaced.
    pub started: u64,
    /// Their CPU seconds.
    pub cpu_seconds: f64,
    /// Most physical memory that one of them held, in bytes, with the slots that all share.
    pub peak_memory_bytes: u64,
}

/// Versions of everything that takes part.
#[derive(Clone, Debug, Serialize)]
pub struct Versions {
    /// vidmill's own.
    pub vidmill: &'static str,
    /// FFmpeg's libraries.
    pub ffmpeg: vidmill_video::Versions,
    /// The inference runtime, by name and version.
    pub runtime: String,
}

/// The model that ran.
#[derive(Clone, Debug, Serialize)]
pub struct ModelEntry {
    /// The file.
    pub path: PathBuf,
    /// The class in it, where it is written in Python.
    pub class: Option<String>,
    /// SHA-256 of the file, and of what else holds its weights (see [`ModelInfo::sha256`]).
    pub sha256: String,
    /// Other files that hold weights.
    pub data: Vec<PathBuf>,
    /// Its card.
    pub card: Option<CardEntry>,
    /// Other programs' files that speak of it.
    pub beside: Vec<CardEntry>,
    /// The task and how its outputs are read.
    pub task: String,
    /// The names of its detections' keypoints, in their order; empty where it gives none.
    pub keypoints: Vec<String>,
    /// The input that frames are turned into.
    pub input: vidmill_image::TensorSpec,
}

/// A file that says how the model is fed and read.
#[derive(Clone, Debug, Serialize)]
pub struct CardEntry {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl CardEntry {
    fn new(card: &Card) -> Self {
        Self { path: card.path.clone(), sha256: card.sha256.clone() }
    }
}

/// The second model of a cascade.
#[derive(Clone, Debug, Serialize)]
pub struct ThenEntry {
    /// The model that ran.
    pub model: ModelEntry,
    /// Its runtime.
    pub runtime: RuntimeInfo,
    /// Its workers, batch and threads.
    pub parallelism: Parallelism,
    /// The classes of the first model that it was given; empty means all.
    pub classes: Vec<String>,
}

/// Workers, batch and threads, as chosen.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Parallelism {
    /// Workers, each with its own session.
    pub workers: usize,
    /// Whether they are processes of their own.
    pub isolated: bool,
    /// Most frames in one call of the model.
    pub batch: usize,
    /// Threads of each session.
    pub threads: usize,
    /// Threads of each decoder.
    pub decode_threads: usize,
    /// Slots between reader and workers.
    pub slots: usize,
    /// Bytes of one slot.
    pub slot_bytes: usize,
}

/// One source and its ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceEntry {
    /// As the user named it.
    pub source: String,
    /// What the container says; null for images, and for what could not be opened.
    pub probe: Option<Probe>,
    /// What became of its frames.
    pub ledger: Ledger,
    /// What was concealed or lost while decoding.
    pub damage: Damage,
    /// Whether it was read to its end.
    pub complete: bool,
    /// What ended it early.
    pub error: Option<String>,
}

/// One frame that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureEntry {
    /// Its place in [`Manifest::sources`].
    pub number: usize,
    /// As its record names it.
    pub source: String,
    /// Its index.
    pub frame: u64,
    /// Its cause.
    pub error: String,
}

/// How many failures a manifest shows.
const FAILURES_SHOWN: usize = 100;

impl ModelEntry {
    pub(crate) fn new(info: &ModelInfo, class: Option<String>, plan: &TaskPlan) -> Self {
        Self {
            path: info.path.clone(),
            class,
            sha256: info.sha256.clone(),
            data: info.data.clone(),
            card: info.cards.card.as_ref().map(CardEntry::new),
            beside: info.cards.beside.iter().map(CardEntry::new).collect(),
            task: plan.family().to_owned(),
            keypoints: plan.keypoint_names().to_vec(),
            input: plan.spec().clone(),
        }
    }
}

impl FailureEntry {
    /// Of a record of source `number`, if it failed.
    pub(crate) fn of(record: &Record, number: usize) -> Option<Self> {
        let Outcome::Failed { error, .. } = &record.outcome else { return None };
        let (source, error) = (record.source.to_string(), error.clone());
        Some(Self { number, source, frame: record.frame, error })
    }
}

impl SourceEntry {
    /// The entry of a source that has been opened, or could not be.
    pub(crate) fn begun(name: &str, probe: Option<Probe>) -> Self {
        Self {
            source: name.to_owned(),
            probe,
            ledger: Ledger::default(),
            damage: Damage::default(),
            complete: false,
            error: None,
        }
    }
}

impl Manifest {
    /// The manifest of a run that has read nothing yet.
    pub(crate) fn begun(
        command: &[String],
        class: Option<String>,
        model: &Description,
        plan: &TaskPlan,
        track: Option<Settings>,
        parallelism: Parallelism,
        resume_key: resume::Key,
    ) -> Self {
        let runtime = model.runtime.clone();
        Self {
            versions: Versions {
                vidmill: env!("CARGO_PKG_VERSION"),
                ffmpeg: vidmill_video::versions(),
                runtime: format!("{} {}", runtime.name, runtime.version),
            },
            command: command.to_vec(),
            model: ModelEntry::new(&model.info, class, plan),
            runtime,
            track,
            parallelism,
            tuned: false,
            at_once: 1,
            then: None,
            sources: Vec::new(),
            ledger: Ledger::default(),
            failures: Vec::new(),
            wall_seconds: 0.0,
            cpu_seconds: 0.0,
            stage_seconds: StageSeconds::default(),
            latency_ms: None,
            peak_memory_bytes: None,
            worker_processes: WorkerProcesses::default(),
            complete: false,
            interrupted: false,
            error: None,
            resumed: 0,
            checkpoint: None,
            further_checkpoints: Vec::new(),
            unfinished: Vec::new(),
            bytes: None,
            resume_key,
        }
    }

    /// Where the manifest of `output` stands.
    pub fn path_of(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".manifest.json");
        PathBuf::from(name)
    }

    /// Writes the manifest beside `output`: whole or not at all.
    pub fn write_beside(&self, output: &Path) -> Result<(), SinkError> {
        let path = Self::path_of(output);
        let draft = path.with_extension("json.tmp");
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|mut text| {
            text.push(b'\n');
            std::fs::write(&draft, text)?;
            std::fs::rename(&draft, &path)
        })
        .map_err(|source| {
            // What is left of the draft is of no use to anyone; the error tells what matters.
            let _ = std::fs::remove_file(&draft);
            SinkError::of(path.display().to_string(), source)
        })
    }

    /// Notes failures, as long as there is room.
    pub(crate) fn note_failures(&mut self, failures: impl IntoIterator<Item = FailureEntry>) {
        let room = FAILURES_SHOWN.saturating_sub(self.failures.len());
        self.failures.extend(failures.into_iter().take(room));
    }

    /// Adds a source that an earlier run is done with.
    pub(crate) fn take_over(&mut self, entry: SourceEntry) {
        self.ledger.add(&entry.ledger);
        self.resumed += entry.ledger.sampled;
        self.sources.push(entry);
    }

    /// The manifest of a run that found nothing left to do.
    pub(crate) fn take_over_all(&mut self, resumed: Resumed) {
        self.note_failures(resumed.failures.iter().cloned());
        for start in resumed.starts() {
            if let Start::Done(entry) = start {
                self.take_over(SourceEntry::clone(entry));
            }
        }
        self.complete = self.sources.iter().all(|source| source.complete && source.error.is_none());
    }

    /// Whether every source was read to its end, or to what ended it, and was closed.
    pub(crate) fn is_read(&self, sources: usize) -> bool {
        self.sources.len() == sources && self.sources.iter().all(|s| s.complete || s.error.is_some())
    }

    /// The checkpoint of a source that is being read.
    pub(crate) fn checkpoint_of(&self, number: usize) -> Option<&Checkpoint> {
        self.checkpoint.iter().chain(&self.further_checkpoints).find(|checkpoint| checkpoint.source == number)
    }

    /// The manifest with one of its sources only, for an output that holds just that one.
    pub(crate) fn only(&self, number: usize) -> Option<Self> {
        let source = self.sources.get(number)?;
        let of_source = self.failures.iter().filter(|f| f.number == number).cloned();
        let failures = of_source.map(|failure| FailureEntry { number: 0, ..failure }).collect();
        let unfinished = self.unfinished.iter().rfind(|checkpoint| checkpoint.source == number);
        let checkpoint = unfinished.or_else(|| self.checkpoint_of(number)).cloned();
        let complete = source.complete && source.error.is_none() && checkpoint.is_none();
        let interrupted = self.interrupted && !source.complete && source.error.is_none();
        Some(Self {
            sources: vec![source.clone()],
            ledger: source.ledger,
            failures,
            complete,
            interrupted,
            checkpoint: checkpoint.map(|checkpoint| Checkpoint { source: 0, ..checkpoint }),
            further_checkpoints: Vec::new(),
            resume_key: resume::only(&self.resume_key, number),
            ..self.clone()
        })
    }
}
