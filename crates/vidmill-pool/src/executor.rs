//! What every way of running work has in common.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use crate::memory::View;
use crate::message::WireError;
use crate::slot::FilledSlot;

/// Turns items into outputs. One worker serves one batch at a time.
pub trait Worker {
    /// What the worker is told of an item beside its bytes; small.
    type Item: Send + 'static;
    /// What the work yields for an item. Work that fails in a way that is foreseen says so in here.
    type Output: Send + 'static;

    /// Does the work, and puts one output for each item into `outputs`, which is empty, in their order. The items' bytes lie one
    /// after the other in `input`, all of one length.
    ///
    /// A panic in here is caught; then each item of the batch is run alone, so that the one to blame fails alone.
    fn run(&mut self, items: &[Self::Item], input: &Input, outputs: &mut Vec<Self::Output>);
}

/// The bytes of a batch, to be read. A clone keeps them beyond the call: the slot is not filled again before the last
/// clone is gone.
#[derive(Clone)]
pub struct Input {
    whole: Arc<dyn Bytes>,
    range: Range<usize>,
}

impl Input {
    pub(crate) fn new(whole: Arc<dyn Bytes>, range: Range<usize>) -> Self {
        Self { whole, range }
    }

    /// A part of it.
    ///
    /// # Panics
    /// Where it is read, when the range goes beyond it.
    pub fn part(&self, range: Range<usize>) -> Self {
        let begin = self.range.start;
        Self::new(Arc::clone(&self.whole), begin + range.start..begin + range.end)
    }
}

impl Deref for Input {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.whole.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Memory that an [`Input`] looks at.
pub(crate) trait Bytes: Send + Sync {
    fn bytes(&self) -> &[u8];
}

/// Empty while nobody looks.
impl Bytes for Option<FilledSlot> {
    fn bytes(&self) -> &[u8] {
        self.as_ref().expect("a slot stays while it is looked at").bytes()
    }
}

impl Bytes for View {
    fn bytes(&self) -> &[u8] {
        Self::bytes(self)
    }
}

/// What can be sent to another process.
pub trait Wire: Sized {
    /// Appends itself.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads what [`Wire::write`] wrote.
    ///
    /// # Errors
    /// When `bytes` are something else.
    fn read(bytes: &[u8]) -> Result<Self, WireError>;
}

impl Wire for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(bytes.to_vec())
    }
}

impl Wire for () {
    fn write(&self, _: &mut Vec<u8>) {}
    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.is_empty() { Ok(()) } else { Err(WireError::Form(bytes.len())) }
    }
}

impl Wire for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = bytes.try_into().map_err(|_| WireError::Form(bytes.len()))?;
        Ok(Self::from_le_bytes(bytes))
    }
}

/// An item that has no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// How many workers tried it.
    pub attempts: u32,
}

/// Why an item has no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The worker said so: it panicked, raised an exception, or its output could not be sent.
    #[error("{0}")]
    Raised(String),
    /// The worker ended by itself.
    #[error("the worker ended with exit code {0}")]
    Exit(i32),
    /// The worker was ended by a signal.
    #[error("the worker was killed by {}", signal_name(*.0))]
    Signal(i32),
    /// It took too long.
    #[error("the worker was killed because it took more than {:.3} s", .0.as_secs_f64())]
    Deadline(Duration),
    /// The kernel had no memory left and chose this worker.
    #[error("the worker ran out of memory, and the kernel killed it")]
    OutOfMemory,
    /// It grew beyond the limit that was set for it.
    #[error("the worker was killed because it took {} MiB of memory, and {} are allowed", .used >> 20, .limit >> 20)]
    MemoryLimit {
        /// Bytes it had taken.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// What the worker sent made no sense.
    #[error("the worker broke the protocol: {0}")]
    Protocol(String),
    /// The pool failed before the item had its turn.
    #[error("no worker is left: {0}")]
    PoolFailed(String),
    /// The pool was shut down before the item had its turn.
    #[error("the pool was shut down before this item was done")]
    ShutDown,
}

/// "signal 11 (SIGSEGV)": the signals that end processes, by their names.
fn signal_name(number: i32) -> String {
    const NAMES: [(i32, &str); 15] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    match NAMES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("signal {number} ({name})"),
        None => format!("signal {number}"),
    }
}

/// Workers that could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The worker's own words: what it is to work with cannot be used.
    #[error("{0}")]
    Refused(String),
    /// It never got so far, or there is no place for it.
    #[error("{0}")]
    Failed(String),
}

/// Called for every item that was submitted, once, with its ticket; from any thread. It must not wait for anything that needs
/// another item to be delivered.
pub type Deliver<T, O> = dyn Fn(T, Result<O, Failure>) + Send + Sync + 'static;

/// Items to be run together, each with its ticket: whatever the caller wants back with the output.
pub type Batch<T, I> = Vec<(T, I)>;

/// Runs batches somewhere. Implementations differ in where; what comes out is the same. Dropping one waits until every
/// item was delivered, and ends the workers.
pub trait Executor<T, W: Worker>: Send {
    /// Hands a batch over: takes all that is in it, and leaves it empty. The items' bytes lie one after the other at the beginning of
    /// the slot, `item_bytes` each. The slot goes back to its pool when all of them are delivered.
    fn submit(&self, batch: &mut Batch<T, W::Item>, item_bytes: usize, slot: FilledSlot);
}
