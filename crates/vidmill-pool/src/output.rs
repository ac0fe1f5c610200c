//! What workers print, passed on without ever making them or their supervisor wait.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

/// Lines that may wait to be printed.
const WAITING: usize = 1024;
/// How long the end waits for them.
const LONGEST_FLUSH: Duration = Duration::from_millis(200);

/// Passes on lines, each with the number of the worker that printed it, from a thread of its own. When nobody takes them
/// fast enough, lines are left out and counted.
#[derive(Clone)]
pub struct Printer {
    lines: Sender<(usize, String)>,
    lost: Arc<AtomicU64>,
}

impl Printer {
    /// To standard error, as `[worker 1] text`.
    pub fn to_standard_error() -> Self {
        Self::to(|worker, line| {
            // When nobody can hear it, the work goes on.
            let _ = writeln!(std::io::stderr(), "[worker {worker}] {line}");
        })
    }

    /// To whatever `print` does.
    pub fn to(print: impl Fn(usize, &str) + Send + 'static) -> Self {
        let (lines, queue) = bounded::<(usize, String)>(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("worker output".into());
        let spawned = thread.spawn(move || {
            for (worker, line) in queue {
                print(worker, &line);
                let lost = counter.swap(0, Relaxed);
                if lost > 0 {
                    print(worker, &format!("({lost} lines of workers were left out)"));
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "what workers print is not shown");
        }
        Self { lines, lost }
    }

    /// Gives what waits a moment to be printed: it may be why everything ended.
    pub(crate) fn flush(&self) {
        let until = Instant::now() + LONGEST_FLUSH;
        while !self.lines.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn print(&self, worker: usize, line: &str) {
        if self.lines.try_send((worker, line.to_owned())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}
