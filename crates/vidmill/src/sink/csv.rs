//! CSV: one row a detection, with the frame's columns repeated. A frame without detections has one row, its box columns
//! empty, so that every sampled frame is in the table. What a model gives beside detections is JSON in the frame's first row. Quoting as RFC 4180 says; rows end in a line feed.

use std::fmt::Debug;
use std::io::{self, Write};
use std::path::Path;

use super::output::Output;
use super::{Sink, SinkError, check_finite};
use crate::record::{Detection, Json, Outcome, Record};

/// The first line.
pub const HEADER: &str =
    "source,frame,pts,time,status,x1,y1,x2,y2,confidence,class_id,class,message,outputs\n";

/// Writes one row per detection, and one per frame that has none.
#[derive(Debug)]
pub struct CsvSink {
    output: Output,
}

impl CsvSink {
    /// To a file.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        Ok(Self { output: Output::create(path, HEADER, "")? })
    }

    /// To a file that holds rows already, of which the first `bytes` bytes are kept.
    pub fn go_on(path: &Path, bytes: u64) -> Result<Self, SinkError> {
        Ok(Self { output: Output::go_on(path, bytes, "")? })
    }
}

impl Sink for CsvSink {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        check_finite(record, self.output.name())?;
        self.output.append(|rows| match &record.outcome {
            Outcome::Ok(found) => {
                let outputs = found.outputs.as_ref().map_or("", Json::as_str);
                let (first, rest) = match found.detections() {
                    [] => (None, &[][..]),
                    [first, rest @ ..] => (Some(first), rest),
                };
                row(rows, record, "ok", first, "", outputs)?;
                rest.iter().try_for_each(|detection| row(rows, record, "ok", Some(detection), "", ""))
            }
            Outcome::Failed { error, .. } => row(rows, record, "failed", None, error, ""),
            Outcome::Dropped { reason } => row(rows, record, "dropped", None, reason, ""),
        })
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.output.flush()
    }

    fn position(&self) -> Option<u64> {
        self.output.position()
    }

    fn finish(self: Box<Self>) -> Result<(), SinkError> {
        self.output.finish()
    }
}

fn row(
    out: &mut Vec<u8>,
    record: &Record,
    status: &str,
    detection: Option<&Detection>,
    message: &str,
    outputs: &str,
) -> io::Result<()> {
    let (source, frame) = (quote(&record.source), record.frame);
    write!(out, "{source},{frame},{},{},{status},", or_empty(record.pts), or_empty(record.time))?;
    match detection {
        Some(Detection { xyxy: [x1, y1, x2, y2], confidence, class_id, class, .. }) => {
            write!(out, "{x1:?},{y1:?},{x2:?},{y2:?},{confidence:?},{class_id},{}", quote(class))?;
        }
        None => write!(out, ",,,,,,")?,
    }
    writeln!(out, ",{},{}", quote(message), quote(outputs))
}

/// `Debug` writes the shortest number that reads back the same, and floats always with a point or an exponent, so that
/// a column of them is never taken for integers.
fn or_empty(value: Option<impl Debug>) -> String {
    value.map(|value| format!("{value:?}")).unwrap_or_default()
}

/// A field as RFC 4180 wants it: in quotes, and inner quotes doubled, where it holds a quote, a comma or a line break.
fn quote(field: &str) -> String {
    match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
