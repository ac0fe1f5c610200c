//! The first SIGINT or SIGTERM asks the run to stop; the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use signal_hook::flag;
use vidmill::Stop;

use crate::complain;
use crate::exit_status::ExitStatus;

/// Signals that interrupt a run.
const SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// Remembers which signal came.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Begins to listen, for what the first of them asks to stop; or says why that cannot be, and with which status the command ends.
    pub fn begin() -> Result<(Stop, Self), ExitStatus> {
        let stop = Stop::default();
        match Self::listen(&stop) {
            Ok(signals) => Ok((stop, signals)),
            Err(error) => {
                complain(&format!("cannot listen for signals: {error}"));
                Err(ExitStatus::Failed)
            }
        }
    }

    fn listen(stop: &Stop) -> io::Result<Self> {
        let last = Arc::new(AtomicUsize::new(0));
        for signal in SIGNALS {
            // In this order: on the first signal the flag is not yet set, so only the second one ends the process.
            flag::register_conditional_shutdown(signal, 128 + signal, stop.flag())?;
            flag::register(signal, stop.flag())?;
            flag::register_usize(signal, Arc::clone(&last), usize::try_from(signal).unwrap_or(0))?;
        }
        // A limit on file size is then an error of the write that meets it, and not the process's end.
        flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
        Ok(Self(last))
    }

    /// The last signal that came.
    pub fn last(&self) -> Option<i32> {
        i32::try_from(self.0.load(Relaxed)).ok().filter(|&signal| signal != 0)
    }
}
