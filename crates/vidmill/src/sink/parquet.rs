//! Apache Parquet: one row a sampled frame, its detections as a list. [`SCHEMA`] has the columns.
//!
//! A Parquet file can be read only once its footer is written, at the very end. So records first go to a journal,
//! `PATH.partial.jsonl`, one JSON object a line; [`Sink::finish`] turns it into `PATH.tmp`, renames that to `PATH`, and
//! removes the journal. After a crash the journal has every record up to the last flush, and [`convert`] makes it into
//! what the run would have made. A file of an earlier run is removed at the start, lest it pass for this run's.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::jsonl::{self, JsonlSink};
use super::{Sink, SinkError, output};
use crate::record::{Detection, Found, Json, Outcome, Record};

/// The columns. `message` is a failure's error or a drop's reason; `detections` is null unless `status` is `ok`.
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
          }
        }
      }
      optional binary outputs (JSON);
    }";

/// Columns of few different values, stored as numbers into a dictionary.
const DICTIONARIES: [&str; 5] =
    ["source", "status", "message", "detections.list.element.class_id", "detections.list.element.class"];

/// A row group is written out when it has this many rows, or detections, or bytes of text: some 10 MB of memory.
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
    if !rows.frame.is_empty() {
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

/// Rows that wait for their row group, as columns. Levels are Parquet's definition and repetition levels:
/// <https://parquet.apache.org/docs/file-format/nestedencoding/>.
#[derive(Default)]
struct Rows {
    text: Text,
    source: Vec<ByteArray>,
    frame: Vec<i64>,
    pts: Nullable<i64>,
    time: Nullable<f64>,
    status: Vec<ByteArray>,
    message: Nullable<ByteArray>,
    attempts: Nullable<i32>,
    detections: Detections,
    outputs: Nullable<ByteArray>,
    output_bytes: usize,
}

impl Rows {
    fn push(&mut self, record: &Record) -> Result<()> {
        let nothing = Found::default();
        let (status, message, attempts, found) = match &record.outcome {
            Outcome::Ok(found) => ("ok", None, None, found),
            Outcome::Failed { error, attempts } => ("failed", Some(error), Some(*attempts), &nothing),
            Outcome::Dropped { reason } => ("dropped", Some(reason), None, &nothing),
        };
        let outputs = found.outputs.as_ref().map(Json::as_str);
        self.output_bytes += outputs.map_or(0, str::len);
        self.outputs.push(outputs.map(ByteArray::from));
        self.source.push(self.text.shared(&record.source));
        self.frame.push(record.frame.try_into()?);
        self.pts.push(record.pts);
        self.time.push(record.time);
        self.status.push(self.text.shared(status));
        self.message.push(message.map(|message| self.text.shared(message)));
        self.attempts.push(attempts.map(i32::try_from).transpose()?);
        self.detections.push(found.detections.as_deref(), &mut self.text)
    }

    fn is_full(&self) -> bool {
        self.frame.len() >= GROUP_ROWS
            || self.detections.class_id.len() >= GROUP_DETECTIONS
            || self.text.bytes + self.output_bytes >= GROUP_TEXT
    }

    /// Writes one row group: the columns in the order of [`SCHEMA`].
    fn write(self, writer: &mut SerializedFileWriter<File>) -> Result<()> {
        let mut group = writer.next_row_group()?;
        put::<ByteArrayType>(&mut group, &self.source, None, None)?;
        put::<Int64Type>(&mut group, &self.frame, None, None)?;
        put::<Int64Type>(&mut group, &self.pts.values, Some(&self.pts.levels), None)?;
        put::<DoubleType>(&mut group, &self.time.values, Some(&self.time.levels), None)?;
        put::<ByteArrayType>(&mut group, &self.status, None, None)?;
        put::<ByteArrayType>(&mut group, &self.message.values, Some(&self.message.levels), None)?;
        put::<Int32Type>(&mut group, &self.attempts.values, Some(&self.attempts.levels), None)?;
        self.detections.write(&mut group)?;
        put::<ByteArrayType>(&mut group, &self.outputs.values, Some(&self.outputs.levels), None)?;
        group.close()?;
        Ok(())
    }
}

/// The lists of all rows, end to end; the levels tell where each begins.
#[derive(Default)]
struct Detections {
    xyxy: [Vec<f32>; 4],
    confidence: Vec<f32>,
    class_id: Vec<i32>,
    class: Vec<ByteArray>,
    /// 0: no list; 1: an empty list; 2: a detection.
    definition: Vec<i16>,
    /// 0: the first of its row; 1: a further one.
    repetition: Vec<i16>,
}

impl Detections {
    fn push(&mut self, list: Option<&[Detection]>, text: &mut Text) -> Result<()> {
        let list = match list {
            None | Some([]) => {
                self.definition.push(list.is_some().into());
                self.repetition.push(0);
                return Ok(());
            }
            Some(list) => list,
        };
        for (index, detection) in list.iter().enumerate() {
            self.definition.push(2);
            self.repetition.push((index > 0).into());
            for (column, side) in self.xyxy.iter_mut().zip(detection.xyxy) {
                column.push(side);
            }
            self.confidence.push(detection.confidence);
            self.class_id.push(detection.class_id.try_into()?);
            self.class.push(text.shared(&detection.class));
        }
        Ok(())
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<()> {
        let levels = (Some(&*self.definition), Some(&*self.repetition));
        for column in self.xyxy.iter().chain([&self.confidence]) {
            put::<FloatType>(group, column, levels.0, levels.1)?;
        }
        put::<Int32Type>(group, &self.class_id, levels.0, levels.1)?;
        put::<ByteArrayType>(group, &self.class, levels.0, levels.1)
    }
}

/// Writes the next column of a row group.
fn put<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<()> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("more columns than the schema has".into()))?;
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}

/// A column that may be null: only what is there, and for each row whether it is.
#[derive(Default)]
struct Nullable<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Nullable<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(value.is_some().into());
        self.values.extend(value);
    }
}

/// The different texts of a row group, each in memory once.
#[derive(Default)]
struct Text {
    known: HashMap<String, ByteArray>,
    bytes: usize,
}

impl Text {
    fn shared(&mut self, text: &str) -> ByteArray {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        self.bytes += text.len();
        let shared = ByteArray::from(text);
        self.known.insert(text.to_owned(), shared.clone());
        shared
    }
}
