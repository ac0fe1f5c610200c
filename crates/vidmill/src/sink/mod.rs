//! Sinks: where records go. In: records, in frame order per source. Out: a file that is valid whenever the program is
//! not in the middle of a write, and complete once [`Sink::finish`] returned.

use crate::record::Record;

/// Takes records one at a time, in order.
pub trait Sink: Send {
    /// Called once per sampled frame. When it returns `Ok`, the record will survive the death of this process
    /// (it left the process's own buffers, at the latest at the next [`Sink::flush`]).
    fn write(&mut self, record: &Record) -> Result<(), SinkError>;

    /// Called after each group of records: everything written so far leaves the process's buffers.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Called once at the end, also after an interruption: closes the output validly.
    fn finish(self: Box<Self>) -> Result<(), SinkError>;
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
        source: std::io::Error,
    },
}
