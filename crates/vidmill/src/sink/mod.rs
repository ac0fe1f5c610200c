//! Sinks: where records go. In: records, in frame order per source. Out: a file that is valid whenever the program is
//! not in the middle of a write, and complete once [`Sink::finish`] returned.
//!
//! | name ends in | format | after a crash |
//! |-|-|-|
//! | `.jsonl`, `.ndjson` | [`jsonl`]: one record a line | every record up to the last flush |
//! | `.csv` | [`csv`]: one detection a row | every record up to the last flush |
//! | `.json` | [`coco`]: COCO results | every detection up to the last flush |
//! | `.txt` | [`mot`]: one tracked detection a line | every line up to the last flush |
//! | `.parquet` | [`parquet`]: columns | the same records in `PATH.partial.jsonl` |
//!
//! `docs/RECORD.md` gives the columns and keys.

mod categories;
pub mod coco;
pub mod csv;
pub mod jsonl;
pub mod mot;
mod output;
pub mod parquet;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::record::{Class, Detection, Outcome, Record};

/// The path that means standard output.
pub const STANDARD_OUTPUT: &str = "-";
/// Name of no output at all, for those who take records as they come ([`crate::run_with`]).
pub const NOWHERE: &str = "";

/// Takes records one at a time, in order.
pub trait Sink: Send {
    /// Called once per sampled frame. When it returns `Ok`, the record will survive the death of this process
    /// (it left the process's own buffers, at the latest at the next [`Sink::flush`]).
    fn write(&mut self, record: &Record) -> Result<(), SinkError>;

    /// Called after each group of records: everything written so far leaves the process's buffers.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// How long the output is, in bytes, up to the last flush and without what only closes it (of Parquet, the journal):
    /// where [`go_on`] can take it up again. `None` where it cannot: standard output.
    fn position(&self) -> Option<u64> {
        None
    }

    /// Called once at the end: closes the output validly, and removes what is no longer needed.
    fn finish(self: Box<Self>) -> Result<(), SinkError>;

    /// Called in place of [`Sink::finish`]: closes the output validly, and keeps all that [`go_on`] needs. When that turns out to
    /// be needed no more, [`clear`] removes it.
    fn suspend(self: Box<Self>) -> Result<(), SinkError> {
        self.finish()
    }
}

/// Opens the output `path`, in the format that its name's ending tells; `-` is standard output, as JSON Lines.
///
/// Missing parent directories are created, an existing file is overwritten. `class_names` are the model's class
/// names in the order of their numbers, empty where it has none; COCO results need them (see [`coco`]).
///
/// Errors where the ending is unknown or the output cannot be opened: before any work is done.
pub fn create(path: &Path, class_names: &[impl AsRef<str>]) -> Result<Box<dyn Sink>, SinkError> {
    if path.as_os_str() == STANDARD_OUTPUT {
        return Ok(Box::new(jsonl::JsonlSink::standard_output()));
    }
    Ok(match Format::of(path)? {
        Format::Jsonl => Box::new(jsonl::JsonlSink::create(path)?),
        Format::Csv => Box::new(csv::CsvSink::create(path)?),
        Format::Coco => Box::new(coco::CocoSink::create(path, class_names)?),
        Format::Parquet => Box::new(parquet::ParquetSink::create(path)?),
        Format::Mot => Box::new(mot::MotSink::create(path)?),
    })
}

/// Opens the output `path` to go on after its first `bytes` bytes, a [`Sink::position`] of the sink that wrote it. What
/// comes after them is cut off. COCO results can be gone on with only where they are of a video.
pub fn go_on(path: &Path, class_names: &[impl AsRef<str>], bytes: u64) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match Format::of(path)? {
        Format::Jsonl => Box::new(jsonl::JsonlSink::go_on(path, bytes)?),
        Format::Csv => Box::new(csv::CsvSink::go_on(path, bytes)?),
        Format::Coco => Box::new(coco::CocoSink::go_on(path, class_names, bytes)?),
        Format::Parquet => Box::new(parquet::ParquetSink::go_on(path, bytes)?),
        Format::Mot => Box::new(mot::MotSink::go_on(path, bytes)?),
    })
}

/// The file that [`Sink::position`] counts in: the output `path` itself, or its journal.
pub fn growing_file(path: &Path) -> PathBuf {
    match Format::of(path) {
        Ok(Format::Parquet) => parquet::journal_path(path),
        _ => path.to_owned(),
    }
}

/// Removes what [`Sink::suspend`] kept for the output `path`.
pub fn clear(path: &Path) -> Result<(), SinkError> {
    match Format::of(path) {
        Ok(Format::Parquet) => parquet::remove(&parquet::journal_path(path)),
        _ => Ok(()),
    }
}

/// A format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON Lines, see [`jsonl`].
    Jsonl,
    /// Comma-separated values, see [`csv`].
    Csv,
    /// COCO results, see [`coco`].
    Coco,
    /// Apache Parquet, see [`parquet`].
    Parquet,
    /// MOTChallenge's tracks, see [`mot`].
    Mot,
}

impl Format {
    /// The format that the ending of `path` names, in either case; an error that lists the endings for any other.
    pub fn of(path: &Path) -> Result<Self, SinkError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Coco),
            Some("parquet") => Ok(Self::Parquet),
            Some("txt") => Ok(Self::Mot),
            _ => Err(SinkError::UnknownFormat { path: path.display().to_string() }),
        }
    }
}

/// An output that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The operating system refused.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The output.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The disk is full, or a quota or limit on file size is reached.
    #[error("cannot write {path}: {source}; free some space, or write to another disk")]
    Full {
        /// The output.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Another run is writing it.
    #[error("cannot write {path}: another run is writing it; wait for that to end, or choose another path")]
    InUse {
        /// The output.
        path: String,
    },
    /// The reader of a pipe has gone (`vidmill ... | head`): nothing is wrong, but nobody reads on.
    #[error("{path} was closed by its reader")]
    Closed {
        /// The output.
        path: String,
    },
    /// The directory for the output does not exist and could not be made.
    #[error("cannot create the directory {path} for the output: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The ending of the path names no format.
    #[error(
        "cannot tell the format of {path} from its ending: use .jsonl (or .ndjson), .csv, .parquet, .json (COCO results) \
         or .txt (MOT tracks), or - for JSON Lines on standard output"
    )]
    UnknownFormat {
        /// The output.
        path: String,
    },
    /// A number that the formats have no place for.
    #[error(
        "cannot write {path}: {field} is {value} in frame {frame} of {origin}; records hold finite numbers only, \
         such a frame is to be recorded as failed"
    )]
    NonFinite {
        /// The output.
        path: String,
        /// The record's source.
        origin: String,
        /// The record's frame.
        frame: u64,
        /// The key.
        field: &'static str,
        /// The number.
        value: f64,
    },
    /// Two frames would share one COCO `image_id`.
    #[error(
        "cannot write {path}: a COCO results file tells frames apart by number only, and frame {image_id} of \
         {second} would be mixed up with {first}; give a directory as the output, for one file per source"
    )]
    ImageIdTaken {
        /// The output.
        path: String,
        /// The `image_id` wanted twice.
        image_id: u64,
        /// What the file holds already.
        first: String,
        /// The record's source.
        second: String,
    },
    /// A result without detections, for which COCO results have no place.
    #[error(
        "cannot write {path}: COCO results hold detections, and frame {frame} of {origin} has {found} instead; \
         write .jsonl, .csv or .parquet"
    )]
    NoPlace {
        /// The output.
        path: String,
        /// The record's source.
        origin: String,
        /// The record's frame.
        frame: u64,
        /// The keys that the record has.
        found: String,
    },
    /// The Parquet file could not be made from its journal, which is kept.
    #[error("cannot make {path}: {source}; nothing is lost, the records are kept as JSON Lines in {journal}")]
    Conversion {
        /// The output.
        path: String,
        /// Where the records are.
        journal: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SinkError {
    /// Sorts the operating system's refusals by what the user can do about them.
    pub(crate) fn of(path: impl Into<String>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

/// Refuses a record with a number that is not finite: JSON has no word for it, and would say `null`.
fn check_finite(record: &Record, path: &str) -> Result<(), SinkError> {
    let check = |field, value: f64| match value.is_finite() {
        true => Ok(()),
        false => Err(SinkError::NonFinite {
            path: path.to_owned(),
            origin: record.source.to_string(),
            frame: record.frame,
            field,
            value,
        }),
    };
    check("time", record.time.unwrap_or(0.0))?;
    let Outcome::Ok(found) = &record.outcome else { return Ok(()) };
    let check_f32 = |field, value: f32| check(field, value.into());
    check_further(&found.classes, found.text_confidence, &found.embedding, &check_f32)?;
    check_detections(found.detections(), &check_f32)
}

fn check_detections(
    detections: &[Detection],
    check: &impl Fn(&'static str, f32) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    for detection in detections {
        check("confidence", detection.confidence)?;
        detection.xyxy.iter().try_for_each(|side| check("xyxy", *side))?;
        detection.corners.iter().flatten().flatten().try_for_each(|side| check("corners", *side))?;
        for point in detection.keypoints.iter().flatten() {
            let [x, y] = point.xy();
            [x, y, point.confidence().unwrap_or(0.0)].iter().try_for_each(|n| check("keypoints", *n))?;
        }
        check_further(&detection.classes, detection.text_confidence, &detection.embedding, check)?;
        check_detections(detection.detections.as_deref().unwrap_or_default(), check)?;
    }
    Ok(())
}

/// What frames and detections both may have.
fn check_further(
    classes: &Option<Vec<Class>>,
    text_confidence: Option<f32>,
    embedding: &Option<Vec<f32>>,
    check: &impl Fn(&'static str, f32) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    classes.iter().flatten().try_for_each(|class| check("classes", class.confidence))?;
    check("text_confidence", text_confidence.unwrap_or(0.0))?;
    embedding.iter().flatten().try_for_each(|number| check("embedding", *number))
}
