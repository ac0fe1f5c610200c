//! What this process and its workers have used so far.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use vidmill_pool::Usage;

use crate::manifest::{Manifest, WorkerProcesses};
use crate::progress::Progress;
use crate::stage::Clocks;

/// Everything that is measured of a run.
pub(crate) struct Meter {
    pub begin: Instant,
    pub clocks: Arc<Clocks>,
    pub progress: Arc<Progress>,
    /// What worker processes used; filled in as they end.
    pub workers: Vec<Arc<Mutex<Usage>>>,
}

impl Meter {
    /// Writes down how it stands now.
    pub fn read(&self, manifest: &mut Manifest) {
        let mut all = Usage::default();
        for usage in &self.workers {
            let usage = *usage.lock().unwrap_or_else(PoisonError::into_inner);
            all.started += usage.started;
            all.cpu_seconds += usage.cpu_seconds;
            all.peak_memory_bytes = all.peak_memory_bytes.max(usage.peak_memory_bytes);
        }
        let Usage { started, cpu_seconds, peak_memory_bytes } = all;
        manifest.worker_processes = WorkerProcesses { started, cpu_seconds, peak_memory_bytes };
        manifest.wall_seconds = self.begin.elapsed().as_secs_f64();
        manifest.cpu_seconds = self::cpu_seconds() + cpu_seconds;
        manifest.stage_seconds = self.clocks.seconds();
        manifest.latency_ms = self.progress.latency().counts().percentiles();
        manifest.peak_memory_bytes = vidmill_pool::peak_memory(std::process::id());
    }
}

/// CPU seconds of all threads since the process began.
pub(crate) fn cpu_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// The same of this thread alone.
pub(crate) fn thread_cpu_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    #[test]
    fn usage_is_told() {
        assert!(super::cpu_seconds() > 0.0);
        assert!(vidmill_pool::peak_memory(std::process::id()).unwrap() > 100_000);
    }
}
