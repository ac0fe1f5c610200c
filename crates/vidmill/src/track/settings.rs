//! What can be tuned of a tracker, and the file that says so.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The trackers by name, for messages.
const NAMES: &str = "`bytetrack` or `sort`";
const TYPE: &str = "tracker_type";

/// A tracker and its parameters, which have the names and defaults of the reference implementations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "tracker_type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Settings {
    /// ByteTrack, as Ultralytics ships it.
    ByteTrack(ByteTrackSettings),
    /// SORT, as its authors published it.
    Sort(SortSettings),
}

/// Parameters of ByteTrack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByteTrackSettings {
    /// Detections of this confidence are assigned to tracks first.
    pub track_high_thresh: f64,
    /// Detections above this are assigned to the tracks that are left then; lower ones are not used.
    pub track_low_thresh: f64,
    /// An unassigned detection of this confidence begins a track.
    pub new_track_thresh: f64,
    /// Frames that a lost track is kept for: sampled frames, whatever time lies between them.
    pub track_buffer: u64,
    /// The highest cost of the first assignment: 1 - IoU, or with `fuse_score` 1 - IoU * confidence.
    pub match_thresh: f64,
    /// Whether the first assignment weighs the overlap with the confidence.
    pub fuse_score: bool,
}

impl Default for ByteTrackSettings {
    fn default() -> Self {
        Self {
            track_high_thresh: 0.25,
            track_low_thresh: 0.1,
            new_track_thresh: 0.25,
            track_buffer: 30,
            match_thresh: 0.8,
            fuse_score: true,
        }
    }
}

/// Parameters of SORT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SortSettings {
    /// Sampled frames that a track is kept for without a detection.
    pub max_age: u64,
    /// Frames in a row with a detection, after its first, before a track is told of; at a source's beginning, all are.
    pub min_hits: u64,
    /// The least overlap of a detection with a track.
    pub iou_threshold: f64,
}

impl Default for SortSettings {
    fn default() -> Self {
        Self { max_age: 1, min_hits: 3, iou_threshold: 0.3 }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Neither a tracker nor a file.
    #[error(
        "--track: there is no tracker `{0}`: give {NAMES}, or a file of settings, whose name ends in .toml"
    )]
    Unknown(String),
    /// The file cannot be read.
    #[error("--track: cannot read `{}`: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("--track: `{}` is no TOML: line {line}: {reason}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A key or a value of the file.
    #[error("--track: `{}`: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The key, its value, and what is expected.
        reason: String,
    },
    /// A value that was not read from a file.
    #[error("the tracker's {0}")]
    Value(String),
}

impl Settings {
    /// What `--track` names: a tracker with its defaults, or a file of settings.
    ///
    /// # Errors
    /// When it is neither, or the file does not hold what it must.
    pub fn of(name: &str) -> Result<Self, SettingsError> {
        match Self::by_name(name) {
            Some(settings) => Ok(settings),
            None if name.ends_with(".toml") => Self::read(Path::new(name)),
            None => Err(SettingsError::Unknown(name.to_owned())),
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        match name {
            "bytetrack" => Some(Self::ByteTrack(ByteTrackSettings::default())),
            "sort" => Some(Self::Sort(SortSettings::default())),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::ByteTrack(_) => "bytetrack",
            Self::Sort(_) => "sort",
        }
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            line: text[..error.span().map_or(0, |span| span.start)].matches('\n').count() + 1,
            reason: error.message().to_owned(),
        })?;
        Self::from_table(table).map_err(|reason| SettingsError::File { path: path.to_owned(), reason })
    }

    /// Keys that are left out have their defaults.
    fn from_table(mut table: Table) -> Result<Self, String> {
        let mut settings = match table.remove(TYPE) {
            Some(Value::String(name)) => {
                Self::by_name(&name).ok_or_else(|| format!("`{TYPE}` is \"{name}\", but must be {NAMES}"))?
            }
            Some(other) => return Err(format!("`{TYPE}` is {other}, but must be {NAMES}")),
            None => return Err(format!("`{TYPE}` is missing: it says which tracker this is for, {NAMES}")),
        };
        for (key, value) in table {
            let name = settings.name();
            let fields = settings.fields();
            let known = fields.iter().fold(String::new(), |mut list, (known, _)| {
                let _ = write!(list, "{}`{known}`", if list.is_empty() { "" } else { ", " });
                list
            });
            let (_, mut field) = fields
                .into_iter()
                .find(|(known, _)| *known == key)
                .ok_or_else(|| format!("`{key}` is no key of {name}, which has {known}"))?;
            field.set(&value).ok_or_else(|| field.refusal(&key, &value.to_string()))?;
        }
        settings.find_fault().map_or(Ok(settings), Err)
    }

    /// Checks values that were not read from a file.
    ///
    /// # Errors
    /// When one is impossible.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.find_fault().map_or(Ok(()), |reason| Err(SettingsError::Value(reason)))
    }

    fn find_fault(&self) -> Option<String> {
        let mut own = self.clone();
        let refused = own.fields().into_iter().find_map(|(key, field)| {
            let value = match &field {
                Field::Part(part) if !UNIT.contains(*part) => part.to_string(),
                _ => return None,
            };
            Some(field.refusal(key, &value))
        });
        match self {
            _ if refused.is_some() => refused,
            Self::ByteTrack(ByteTrackSettings { track_high_thresh: high, track_low_thresh: low, .. })
                if low > high =>
            {
                Some(format!(
                    "`track_low_thresh` is {low}, but must not be above `track_high_thresh`, which is {high}"
                ))
            }
            _ => None,
        }
    }

    pub(super) fn fields(&mut self) -> Vec<(&'static str, Field<'_>)> {
        match self {
            Self::ByteTrack(ByteTrackSettings {
                track_high_thresh,
                track_low_thresh,
                new_track_thresh,
                track_buffer,
                match_thresh,
                fuse_score,
            }) => vec![
                ("track_high_thresh", Field::Part(track_high_thresh)),
                ("track_low_thresh", Field::Part(track_low_thresh)),
                ("new_track_thresh", Field::Part(new_track_thresh)),
                ("track_buffer", Field::Frames(track_buffer)),
                ("match_thresh", Field::Part(match_thresh)),
                ("fuse_score", Field::Flag(fuse_score)),
            ],
            Self::Sort(SortSettings { max_age, min_hits, iou_threshold }) => vec![
                ("max_age", Field::Frames(max_age)),
                ("min_hits", Field::Frames(min_hits)),
                ("iou_threshold", Field::Part(iou_threshold)),
            ],
        }
    }

    /// The least confidence that a detection must have to play a part, where the tracker wants weaker ones than are told of.
    pub(crate) fn least_confidence(&self) -> Option<f32> {
        match self {
            Self::ByteTrack(settings) => Some(settings.track_low_thresh as f32),
            Self::Sort(_) => None,
        }
    }
}

const UNIT: RangeInclusive<f64> = 0.0..=1.0;

/// A parameter, by what it may be.
pub(super) enum Field<'a> {
    /// A number from 0 to 1.
    Part(&'a mut f64),
    /// A number of frames.
    Frames(&'a mut u64),
    Flag(&'a mut bool),
}

impl Field<'_> {
    /// Takes a value of its kind; `None` for others.
    fn set(&mut self, value: &Value) -> Option<()> {
        match (self, value) {
            (Self::Part(part), Value::Float(value)) if UNIT.contains(value) => **part = *value,
            (Self::Part(part), Value::Integer(value @ 0..=1)) => **part = *value as f64,
            (Self::Frames(frames), Value::Integer(value)) => **frames = u64::try_from(*value).ok()?,
            (Self::Flag(flag), Value::Boolean(value)) => **flag = *value,
            _ => return None,
        }
        Some(())
    }

    fn refusal(&self, key: &str, value: &str) -> String {
        let expected = match self {
            Self::Part(_) => "a number from 0 to 1",
            Self::Frames(_) => "a number of frames, 0 or more",
            Self::Flag(_) => "true or false",
        };
        format!("`{key}` is {value}, but must be {expected}")
    }
}
