//! MOTChallenge's results: `frame,id,left,top,width,height,confidence,-1,-1,-1`, one line a detection that belongs to a track. The
//! format has a place for nothing else: frames without tracks, and frames that failed, leave no trace in it (the other
//! formats and the manifest have them).
//!
//! `frame` is the record's, counted from 1; so a file takes one source. The box is the detector's own, as in the other formats. The last three
//! columns are places in the world, which nobody knows here.
//!
//! <https://motchallenge.net/instructions/>

use std::io::Write;
use std::path::Path;

use super::output::Output;
use super::{Sink, SinkError, check_finite};
use crate::record::{Outcome, Record};

/// Writes one line per tracked detection.
#[derive(Debug)]
pub struct MotSink {
    output: Output,
}

impl MotSink {
    /// To a file.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        Ok(Self { output: Output::create(path, "", "")? })
    }

    /// To a file that holds lines already, of which the first `bytes` bytes are kept.
    pub fn go_on(path: &Path, bytes: u64) -> Result<Self, SinkError> {
        Ok(Self { output: Output::go_on(path, bytes, "")? })
    }
}

impl Sink for MotSink {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        check_finite(record, self.output.name())?;
        let Outcome::Ok(found) = &record.outcome else { return Ok(()) };
        let frame = record.frame.saturating_add(1);
        self.output.append(|lines| {
            let tracked = found.detections().iter().filter_map(|d| d.track_id.map(|id| (id, d)));
            for (id, detection) in tracked {
                let ([x1, y1, x2, y2], confidence) = (detection.xyxy, detection.confidence);
                let (width, height) = (x2 - x1, y2 - y1);
                writeln!(lines, "{frame},{id},{x1:?},{y1:?},{width:?},{height:?},{confidence:?},-1,-1,-1")?;
            }
            Ok(())
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
