//! What a running job can tell while it runs, and how it is told to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::latency::Latency;

/// Asks a run to stop: no more frames are taken, what is in flight is finished, outputs are closed validly.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    own: Arc<AtomicBool>,
    /// What this is a part of.
    whole: Option<Arc<Stop>>,
}

impl Stop {
    /// Asks. May be called from any thread, any number of times.
    pub fn ask(&self) {
        self.own.store(true, Relaxed);
    }
    /// Whether someone asked.
    pub fn is_asked(&self) -> bool {
        self.own.load(Relaxed) || self.whole.as_ref().is_some_and(|whole| whole.is_asked())
    }
    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.own)
    }
    /// Another that is asked whenever this one is, and can be asked alone.
    pub fn part(&self) -> Self {
        Self { own: Arc::default(), whole: Some(Arc::new(self.clone())) }
    }
}

/// Live numbers of a run, for whoever wants to show them.
#[derive(Debug, Default)]
pub struct Progress {
    decoded: AtomicU64,
    settled: AtomicU64,
    failed: AtomicU64,
    expected: AtomicU64,
    latency: Latency,
    open: AtomicU64,
    source: Mutex<String>,
}

/// The numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Snapshot {
    /// The source being read; of several at once, the one that was opened last.
    pub source: String,
    /// Sources being read.
    pub open: u64,
    /// Frames decoded so far, over all sources.
    pub decoded: u64,
    /// Sampled frames that have their record.
    pub settled: u64,
    /// Of these, frames that failed.
    pub failed: u64,
    /// Frames that the sources opened so far declare; 0 when they do not say.
    pub expected: u64,
}

impl Progress {
    /// The numbers now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            source: self.source.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            open: self.open.load(Relaxed),
            decoded: self.decoded.load(Relaxed),
            settled: self.settled.load(Relaxed),
            failed: self.failed.load(Relaxed),
            expected: self.expected.load(Relaxed),
        }
    }
    pub(crate) fn begin_source(&self, name: &str, expected: Option<u64>) {
        name.clone_into(&mut self.source.lock().unwrap_or_else(PoisonError::into_inner));
        self.expected.fetch_add(expected.unwrap_or(0), Relaxed);
        self.open.fetch_add(1, Relaxed);
    }
    pub(crate) fn end_source(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
    /// Frames that are passed over, since an earlier run is done with them.
    pub(crate) fn passed(&self, frames: u64) {
        self.decoded.fetch_add(frames, Relaxed);
    }
    pub(crate) fn decoded(&self) {
        self.decoded.fetch_add(1, Relaxed);
    }
    /// A frame has its record, so long after it was decoded.
    pub(crate) fn settled(&self, failed: bool, latency: Duration) {
        self.settled.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
        self.latency.add(latency);
    }
    /// How long frames took from being decoded to having their record.
    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }
}
