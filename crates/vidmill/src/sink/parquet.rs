//! Apache Parquet: one row a sampled frame, its detections as a list. [`SCHEMA`] has the columns.
//!
//! A Parquet file can be read only once its footer is written, at the very end. So records first go to a journal,
//! `PATH.partial.jsonl`, one JSON object a line; [`Sink::finish`] turns it into `PATH.tmp`, renames that to `PATH`, and
//! removes the journal. After a crash the journal has every record up to the last flush, and [`convert`] makes it into
//! what the run would have made. A file of an earlier run is removed at the start, lest it pass for this run's.

mod columns;

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use vidmill_image::Mask;

use columns::{Columns, Leaf, Level, List, Maybe, Text, columns, put_number};

use super::jsonl::{self, JsonlSink};
use super::{Sink, SinkError, output};
use crate::record::{Class, Detection, Found, Json, Keypoint, Outcome, Record, Region};

/// The columns. `message` is a failure's error or a drop's reason; `detections` is null unless `status` is `ok`. What was found
/// in a detection (its own `detections`) is JSON, since it may be as deep as models follow each other.
pub const SCHEMA: &str = "
    message record {
      required binary source (STRING);
      required int64 frame;
      optional int64 pts;
      optional double time;
      required binary status (STRING);
      optional binary message (STRING);
      optional int32 attempts;
      optional group detections (LIST) {
        repeated group list {
          required group element {
            required float x1;
            required float y1;
            required float x2;
            required float y2;
            required float confidence;
            required int32 class_id;
            required binary class (STRING);
            optional int64 track_id;
            optional group corners (LIST) { repeated group list {
              required group element (LIST) { repeated group list { required float element; } }
            } }
            optional group keypoints (LIST) { repeated group list {
              required group element (LIST) { repeated group list { required float element; } }
            } }
            optional group mask {
              required group size (LIST) { repeated group list { required int32 element; } }
              required binary counts (STRING);
            }
            optional group classes (LIST) { repeated group list { required group element {
              required int32 class_id;
              required binary class (STRING);
              required float confidence;
            } } }
            optional binary text (STRING);
            optional float text_confidence;
            optional group embedding (LIST) { repeated group list { required float element; } }
            optional binary detections (JSON);
            optional group masks (LIST) { repeated group list { required group element {
              required int32 class_id;
              required binary class (STRING);
              required group mask {
                required group size (LIST) { repeated group list { required int32 element; } }
                required binary counts (STRING);
              }
            } } }
            optional binary outputs (JSON);
          }
        }
      }
      optional binary outputs (JSON);
      optional group classes (LIST) { repeated group list { required group element {
        required int32 class_id;
        required binary class (STRING);
        required float confidence;
      } } }
      optional group masks (LIST) { repeated group list { required group element {
        required int32 class_id;
        required binary class (STRING);
        required group mask {
          required group size (LIST) { repeated group list { required int32 element; } }
          required binary counts (STRING);
        }
      } } }
      optional binary text (STRING);
      optional float text_confidence;
      optional group embedding (LIST) { repeated group list { required float element; } }
    }";

/// Columns of few different values, stored as numbers into a dictionary.
const DICTIONARIES: [&str; 14] = [
    "source",
    "status",
    "message",
    "detections.list.element.class_id",
    "detections.list.element.class",
    "detections.list.element.mask.size.list.element",
    "detections.list.element.classes.list.element.class_id",
    "detections.list.element.classes.list.element.class",
    "detections.list.element.masks.list.element.class",
    "detections.list.element.masks.list.element.mask.size.list.element",
    "classes.list.element.class_id",
    "classes.list.element.class",
    "masks.list.element.class",
    "masks.list.element.mask.size.list.element",
];

/// A row group is written out when it has this many rows, or detections, or bytes of text and lists: some 20 MB of memory.
const GROUP_ROWS: usize = 32 * 1024;
const GROUP_DETECTIONS: usize = 64 * 1024;
const GROUP_TEXT: usize = 4 * 1024 * 1024;

/// Writes a journal, and the Parquet file at the end.
#[derive(Debug)]
pub struct ParquetSink {
    path: PathBuf,
    journal_path: PathBuf,
    journal: JsonlSink,
}

impl ParquetSink {
    /// To a file. Starts the journal and removes an earlier run's file.
    pub fn create(path: &Path) -> std::result::Result<Self, SinkError> {
        let journal_path = journal_path(path);
        let journal = JsonlSink::create(&journal_path)?;
        if let Err(error) = remove(path) {
            // The journal is empty yet.
            let _ = fs::remove_file(&journal_path);
            return Err(error);
        }
        Ok(Self { path: path.to_owned(), journal_path, journal })
    }

    /// To a file whose journal is there, of which the first `bytes` bytes are kept.
    pub fn go_on(path: &Path, bytes: u64) -> std::result::Result<Self, SinkError> {
        let journal_path = journal_path(path);
        let journal = JsonlSink::go_on(&journal_path, bytes)?;
        remove(path)?;
        Ok(Self { path: path.to_owned(), journal_path, journal })
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, record: &Record) -> std::result::Result<(), SinkError> {
        self.journal.write(record)
    }

    fn flush(&mut self) -> std::result::Result<(), SinkError> {
        self.journal.flush()
    }

    fn position(&self) -> Option<u64> {
        self.journal.position()
    }

    fn finish(self: Box<Self>) -> std::result::Result<(), SinkError> {
        let journal = self.journal_path.clone();
        self.suspend()?;
        remove(&journal)
    }

    fn suspend(mut self: Box<Self>) -> std::result::Result<(), SinkError> {
        self.journal.flush()?;
        // Locked until the file is made of it.
        convert(&self.journal_path, &self.path)
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> std::result::Result<(), SinkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SinkError::of(path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}

/// Where the records of an unfinished `path` are: `PATH.partial.jsonl`.
pub fn journal_path(path: &Path) -> PathBuf {
    with_ending(path, ".partial.jsonl")
}

/// Makes the Parquet file `path` of a file of JSON Lines, in bounded memory; `path` appears whole or not at all.
/// The journal is left as it is.
pub fn convert(journal: &Path, path: &Path) -> std::result::Result<(), SinkError> {
    let unfinished = with_ending(path, ".tmp");
    let result = write_file(journal, &unfinished).and_then(|()| Ok(fs::rename(&unfinished, path)?));
    result.map_err(|error| {
        // Of no use to anyone; the error to tell is the first one.
        let _ = fs::remove_file(&unfinished);
        SinkError::Conversion {
            path: path.display().to_string(),
            journal: journal.display().to_string(),
            source: cause(error, &unfinished),
        }
    })
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The error inside the library's wrapping; with path and remedy where the operating system gave it.
fn cause(error: ParquetError, path: &Path) -> Box<dyn Error + Send + Sync> {
    let ParquetError::External(error) = error else { return error.into() };
    match error.downcast::<io::Error>() {
        Ok(error) => SinkError::of(path.display().to_string(), *error).into(),
        Err(error) => error,
    }
}

fn write_file(journal: &Path, path: &Path) -> Result<()> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(File::create(path)?, schema, Arc::new(properties()))?;
    let mut rows = Rows::default();
    for record in jsonl::read(journal).map_err(external)? {
        rows.push(&record.map_err(external)?)?;
        if rows.is_full() {
            std::mem::take(&mut rows).write(&mut writer)?;
        }
    }
    if rows.columns.frame.len() > 0 {
        rows.write(&mut writer)?;
    }
    writer.finish()?;
    Ok(output::sync(writer.inner())?)
}

fn external(error: impl Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}

fn properties() -> WriterProperties {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    DICTIONARIES
        .iter()
        .fold(properties, |properties, column| {
            let path = ColumnPath::new(column.split('.').map(str::to_owned).collect());
            properties.set_column_dictionary_enabled(path, true)
        })
        .build()
}

columns! {
    /// The columns of [`SCHEMA`], in its order.
    RowColumns {
        source: Leaf<ByteArray>,
        frame: Leaf<i64>,
        pts: Leaf<i64>,
        time: Leaf<f64>,
        status: Leaf<ByteArray>,
        message: Leaf<ByteArray>,
        attempts: Leaf<i32>,
        detections: List<DetectionColumns>,
        outputs: Leaf<ByteArray>,
        classes: List<ClassColumns>,
        masks: List<RegionColumns>,
        text: Leaf<ByteArray>,
        text_confidence: Leaf<f32>,
        embedding: List<Leaf<f32>>,
    }
}

columns! {
    /// Of detections.
    DetectionColumns {
        x1: Leaf<f32>,
        y1: Leaf<f32>,
        x2: Leaf<f32>,
        y2: Leaf<f32>,
        confidence: Leaf<f32>,
        class_id: Leaf<i32>,
        class: Leaf<ByteArray>,
        track_id: Leaf<i64>,
        corners: List<List<Leaf<f32>>>,
        keypoints: List<List<Leaf<f32>>>,
        mask: Maybe<MaskColumns>,
        classes: List<ClassColumns>,
        text: Leaf<ByteArray>,
        text_confidence: Leaf<f32>,
        embedding: List<Leaf<f32>>,
        detections: Leaf<ByteArray>,
        masks: List<RegionColumns>,
        outputs: Leaf<ByteArray>,
    }
}

columns! {
    /// Of classes with their probabilities.
    ClassColumns {
        class_id: Leaf<i32>,
        class: Leaf<ByteArray>,
        confidence: Leaf<f32>,
    }
}

columns! {
    /// Of the pixels of classes.
    RegionColumns {
        class_id: Leaf<i32>,
        class: Leaf<ByteArray>,
        mask: MaskColumns,
    }
}

columns! {
    /// Of a mask.
    MaskColumns {
        size: List<Leaf<i32>>,
        counts: Leaf<ByteArray>,
    }
}

/// Rows that wait for their row group, as columns.
#[derive(Default)]
struct Rows {
    columns: RowColumns,
    text: Text,
}

impl Rows {
    fn push(&mut self, record: &Record) -> Result<()> {
        let nothing = Found::default();
        let (status, message, attempts, found) = match &record.outcome {
            Outcome::Ok(found) => ("ok", None, None, found),
            Outcome::Failed { error, attempts } => ("failed", Some(error), Some(*attempts), &nothing),
            Outcome::Dropped { reason } => ("dropped", Some(reason), None, &nothing),
        };
        let (at, Self { columns, text }) = (Level::ROW, self);
        columns.source.put(at, text.shared(&record.source));
        columns.frame.put(at, record.frame.try_into()?);
        columns.pts.put_or_null(at, record.pts);
        columns.time.put_or_null(at, record.time);
        columns.status.put(at, text.shared(status));
        columns.message.put_or_null(at, message.map(|message| text.shared(message)));
        columns.attempts.put_or_null(at, attempts.map(i32::try_from).transpose()?);
        columns.detections.put_or_null(at, found.detections.as_deref(), |columns, at, detection| {
            columns.put(at, detection, text)
        })?;
        columns.outputs.put_or_null(at, json(found.outputs.as_ref(), text));
        columns.classes.put_or_null(at, found.classes.as_deref(), |c, at, class| c.put(at, class, text))?;
        columns.masks.put_or_null(at, found.masks.as_deref(), |c, at, region| c.put(at, region, text))?;
        columns.text.put_or_null(at, found.text.as_deref().map(|it| text.own(it)));
        columns.text_confidence.put_or_null(at, found.text_confidence);
        text.bytes += size_of_val(found.embedding.as_deref().unwrap_or_default());
        columns.embedding.put_numbers(at, found.embedding.as_deref())
    }

    fn is_full(&self) -> bool {
        self.columns.frame.len() >= GROUP_ROWS
            || self.columns.detections.count(|columns| columns.class_id.len()) >= GROUP_DETECTIONS
            || self.text.bytes >= GROUP_TEXT
    }

    /// Writes one row group.
    fn write(self, writer: &mut SerializedFileWriter<File>) -> Result<()> {
        let mut group = writer.next_row_group()?;
        self.columns.write(&mut group)?;
        group.close()?;
        Ok(())
    }
}

impl DetectionColumns {
    fn put(&mut self, at: Level, detection: &Detection, text: &mut Text) -> Result<()> {
        let [x1, y1, x2, y2] = detection.xyxy;
        for (column, side) in [(&mut self.x1, x1), (&mut self.y1, y1), (&mut self.x2, x2), (&mut self.y2, y2)]
        {
            column.put(at, side);
        }
        self.confidence.put(at, detection.confidence);
        self.class_id.put(at, detection.class_id.try_into()?);
        self.class.put(at, text.shared(&detection.class));
        self.track_id.put_or_null(at, detection.track_id.map(i64::try_from).transpose()?);
        text.bytes += size_of_val(detection.keypoints.as_deref().unwrap_or_default());
        self.corners.put_or_null(at, detection.corners.as_ref().map(|it| &it[..]), |list, at, point| {
            list.put(at, point, put_number)
        })?;
        self.keypoints.put_or_null(at, detection.keypoints.as_deref(), |list, at, point| {
            list.put(at, numbers_of(point), put_number)
        })?;
        self.mask.put(at, detection.mask.as_ref(), |c, at, mask| c.put(at, mask, text))?;
        self.classes.put_or_null(at, detection.classes.as_deref(), |c, at, class| c.put(at, class, text))?;
        self.text.put_or_null(at, detection.text.as_deref().map(|it| text.own(it)));
        self.text_confidence.put_or_null(at, detection.text_confidence);
        text.bytes += size_of_val(detection.embedding.as_deref().unwrap_or_default());
        self.embedding.put_numbers(at, detection.embedding.as_deref())?;
        let inner = detection.detections.as_ref().map(serde_json::to_string).transpose().map_err(external)?;
        self.detections.put_or_null(at, inner.map(|inner| text.own(&inner)));
        self.masks.put_or_null(at, detection.masks.as_deref(), |c, at, region| c.put(at, region, text))?;
        self.outputs.put_or_null(at, json(detection.outputs.as_ref(), text));
        Ok(())
    }
}

impl ClassColumns {
    fn put(&mut self, at: Level, class: &Class, text: &mut Text) -> Result<()> {
        self.class_id.put(at, class.class_id.try_into()?);
        self.class.put(at, text.shared(&class.class));
        self.confidence.put(at, class.confidence);
        // A list may have a thousand of them.
        text.bytes += size_of::<f32>() + size_of::<i32>();
        Ok(())
    }
}

impl RegionColumns {
    fn put(&mut self, at: Level, region: &Region, text: &mut Text) -> Result<()> {
        self.class_id.put(at, region.class_id.try_into()?);
        self.class.put(at, text.shared(&region.class));
        self.mask.put(at, &region.mask, text)
    }
}

impl MaskColumns {
    fn put(&mut self, at: Level, mask: &Mask, text: &mut Text) -> Result<()> {
        let size = [mask.size().height.try_into()?, mask.size().width.try_into()?];
        self.size.put(at, &size, put_number)?;
        self.counts.put(at, text.own(&mask.to_counts()));
        Ok(())
    }
}

fn json(value: Option<&Json>, text: &mut Text) -> Option<ByteArray> {
    value.map(|value| text.own(value.as_str()))
}

fn numbers_of(point: &Keypoint) -> &[f32] {
    match point {
        Keypoint::Sure(numbers) => numbers,
        Keypoint::Plain(numbers) => numbers,
    }
}
