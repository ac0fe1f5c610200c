//! JSON Lines: one record a line, as it is. Numbers are the shortest that read back as the same `f32` or `f64`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::output::Output;
use super::{Sink, SinkError, check_finite};
use crate::record::Record;

/// No record comes near this: 300 detections take some 40 KB.
const LONGEST_LINE: u64 = 256 * 1024 * 1024;

/// Writes one JSON object a line.
#[derive(Debug)]
pub struct JsonlSink {
    output: Output,
}

impl JsonlSink {
    /// To a file.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        Ok(Self { output: Output::create(path, "", "")? })
    }

    /// To a file that holds records already, of which the first `bytes` bytes are kept.
    pub fn go_on(path: &Path, bytes: u64) -> Result<Self, SinkError> {
        Ok(Self { output: Output::go_on(path, bytes, "")? })
    }

    /// To standard output. When the reader has gone, writing gives [`SinkError::Closed`].
    pub fn standard_output() -> Self {
        Self { output: Output::standard() }
    }
}

impl Sink for JsonlSink {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        check_finite(record, self.output.name())?;
        self.output.append(|line| {
            serde_json::to_writer(&mut *line, record)?;
            line.push(b'\n');
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

/// Opens a file of records for reading, one at a time.
pub fn read(path: &Path) -> Result<Records, ReadError> {
    read_from(path, 0)
}

/// The same from byte `begin` on, where a record begins; lines are counted from there.
pub fn read_from(path: &Path, begin: u64) -> Result<Records, ReadError> {
    let name = path.display().to_string();
    let open = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(begin))?;
        Ok(BufReader::new(file))
    };
    match open() {
        Ok(file) => Ok(Records { name, file, line: Vec::new(), number: 0, position: begin }),
        Err(source) => Err(ReadError::Io { path: name, source }),
    }
}

/// The records of a file, in its order. After an error comes nothing that could be relied on.
#[derive(Debug)]
pub struct Records {
    name: String,
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    position: u64,
}

impl Records {
    /// Where the last record ended, in bytes.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn next_line(&mut self) -> io::Result<usize> {
        self.line.clear();
        self.file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line)
    }

    fn parse(&self) -> Result<Record, ReadError> {
        let (path, line) = (self.name.clone(), self.number);
        match self.line.strip_suffix(b"\n") {
            Some(whole) => {
                serde_json::from_slice(whole).map_err(|source| ReadError::Malformed { path, line, source })
            }
            None => Err(ReadError::Torn { path, line }),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number += 1;
        match self.next_line() {
            Ok(0) => None,
            Ok(bytes) => {
                let record = self.parse();
                self.position += if record.is_ok() { bytes as u64 } else { 0 };
                Some(record)
            }
            Err(source) => Some(Err(ReadError::Io { path: self.name.clone(), source })),
        }
    }
}

/// Records that could not be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A line that is no record.
    #[error("line {line} of {path} is not a record: {source}")]
    Malformed {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
        /// The cause.
        source: serde_json::Error,
    },
    /// The last line does not end: the writer died while the kernel took it. All lines before it are whole.
    #[error("line {line} of {path} is cut off")]
    Torn {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
    },
}
