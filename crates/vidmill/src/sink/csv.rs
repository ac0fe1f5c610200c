//! CSV: one row a detection, with the frame's columns repeated. A frame without detections has one row, its box columns
//! empty, so that every sampled frame is in the table. What has no number or text of its own is JSON. Quoting as RFC 4180 says;
//! rows end in a line feed.
//!
//! The columns after `message` are the detection's in a detection's row, and the frame's in a row without a box. A frame that
//! has both sorts has a row of its own before those of its detections; but where its `outputs` are all that it has beside them,
//! those are in its first row.

use std::fmt::{self, Debug, Display};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use vidmill_image::Mask;

use super::output::Output;
use super::{Sink, SinkError, check_finite};
use crate::record::{Class, Detection, Found, Json, Keypoint, Outcome, Record, Region};

/// The first line.
pub const HEADER: &str = "source,frame,pts,time,status,x1,y1,x2,y2,confidence,class_id,class,message,outputs,\
     track_id,corners,keypoints,mask,classes,text,text_confidence,embedding,detections,masks\n";

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
            Outcome::Ok(found) => rows_of(rows, record, found),
            Outcome::Failed { error, .. } => row(rows, record, "failed", None, error, &Cells::default()),
            Outcome::Dropped { reason } => row(rows, record, "dropped", None, reason, &Cells::default()),
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

/// The rows of a frame.
fn rows_of(out: &mut Vec<u8>, record: &Record, found: &Found) -> io::Result<()> {
    let Found { detections: _, classes, masks, text, text_confidence, embedding, outputs } = found;
    let frame = Cells {
        classes: classes.as_deref(),
        masks: masks.as_deref(),
        text: text.as_deref(),
        text_confidence: *text_confidence,
        embedding: embedding.as_deref(),
        outputs: outputs.as_ref(),
        ..Cells::default()
    };
    let detections = found.detections();
    let just_outputs = Cells { outputs: frame.outputs, ..Cells::default() };
    let has_own_row = frame != just_outputs
        || frame.outputs.is_some() && detections.iter().any(|detection| detection.outputs.is_some());
    if has_own_row || detections.is_empty() {
        row(out, record, "ok", None, "", &frame)?;
    }
    for (index, detection) in detections.iter().enumerate() {
        let mut cells = Cells::of(detection);
        if index == 0 && !has_own_row {
            cells.outputs = cells.outputs.or(frame.outputs);
        }
        row(out, record, "ok", Some(detection), "", &cells)?;
    }
    Ok(())
}

/// What a row has beside box and message.
#[derive(Default, PartialEq)]
struct Cells<'a> {
    outputs: Option<&'a Json>,
    track_id: Option<u64>,
    corners: Option<&'a [[f32; 2]; 4]>,
    keypoints: Option<&'a [Keypoint]>,
    mask: Option<&'a Mask>,
    classes: Option<&'a [Class]>,
    text: Option<&'a str>,
    text_confidence: Option<f32>,
    embedding: Option<&'a [f32]>,
    detections: Option<&'a [Detection]>,
    masks: Option<&'a [Region]>,
}

impl<'a> Cells<'a> {
    fn of(detection: &'a Detection) -> Self {
        Self {
            outputs: detection.outputs.as_ref(),
            track_id: detection.track_id,
            corners: detection.corners.as_ref(),
            keypoints: detection.keypoints.as_deref(),
            mask: detection.mask.as_ref(),
            classes: detection.classes.as_deref(),
            text: detection.text.as_deref(),
            text_confidence: detection.text_confidence,
            embedding: detection.embedding.as_deref(),
            detections: detection.detections.as_deref(),
            masks: detection.masks.as_deref(),
        }
    }
}

fn row(
    out: &mut Vec<u8>,
    record: &Record,
    status: &str,
    detection: Option<&Detection>,
    message: &str,
    cells: &Cells<'_>,
) -> io::Result<()> {
    text(out, &record.source);
    write!(out, ",{},{},{},{status},", record.frame, OrEmpty(record.pts), OrEmpty(record.time))?;
    match detection {
        Some(Detection { xyxy: [x1, y1, x2, y2], confidence, class_id, class, .. }) => {
            write!(out, "{x1:?},{y1:?},{x2:?},{y2:?},{confidence:?},{class_id},")?;
            text(out, class);
        }
        None => write!(out, ",,,,,,")?,
    }
    out.push(b',');
    text(out, message);
    out.push(b',');
    text(out, cells.outputs.map_or("", Json::as_str));
    write!(out, ",{}", OrEmpty(cells.track_id))?;
    json(out, cells.corners)?;
    json(out, cells.keypoints)?;
    json(out, cells.mask)?;
    json(out, cells.classes)?;
    out.push(b',');
    text(out, cells.text.unwrap_or_default());
    write!(out, ",{}", OrEmpty(cells.text_confidence))?;
    json(out, cells.embedding)?;
    json(out, cells.detections)?;
    json(out, cells.masks)?;
    writeln!(out)
}

/// A cell.
fn text(out: &mut Vec<u8>, text: &str) {
    let begin = out.len();
    out.extend_from_slice(text.as_bytes());
    quote(out, begin);
}

/// A further cell: JSON, or empty.
fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: Option<&T>) -> io::Result<()> {
    out.push(b',');
    let begin = out.len();
    if let Some(value) = value {
        serde_json::to_writer(&mut *out, value)?;
    }
    quote(out, begin);
    Ok(())
}

/// `Debug` writes the shortest number that reads back the same, and floats always with a point or an exponent, so that
/// a column of them is never taken for integers.
struct OrEmpty<T>(Option<T>);

impl<T: Debug> Display for OrEmpty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

/// Makes the cell that begins at `begin` one as RFC 4180 wants it: in quotes, and inner quotes doubled, where it holds a quote, a comma
/// or a line break.
fn quote(out: &mut Vec<u8>, begin: usize) {
    if !out[begin..].iter().any(|byte| b"\",\n\r".contains(byte)) {
        return;
    }
    let (end, inner) = (out.len(), out[begin..].iter().filter(|byte| **byte == b'"').count());
    // The last byte stays as it is now; from the end on, all others find their places.
    out.resize(end + inner + 2, b'"');
    let mut to = out.len() - 1;
    for from in (begin..end).rev() {
        let byte = out[from];
        for _ in 0..if byte == b'"' { 2 } else { 1 } {
            to -= 1;
            out[to] = byte;
        }
    }
    out[begin] = b'"';
}
