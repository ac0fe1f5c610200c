//! What a worker does about signals: nothing, until its supervisor wants it gone.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::low_level;

use crate::memory::{Word, Words};

/// The conventional exit code of a process that SIGTERM ended.
const TERMINATED: i32 = 128 + SIGTERM;

/// From now on SIGINT and SIGTERM, which a terminal or a service manager sends to everything that belongs to a job, do not
/// end this process: what it holds is finished. Only when the supervisor has said so on the desk does SIGTERM end it.
///
/// Nor does SIGXFSZ: a limit on file size is an error of the write that meets it.
///
/// These are handlers and not ignored signals, which programs that the worker starts would inherit.
pub(crate) fn outlast_interruptions(desk: &Arc<OnceLock<Words>>) -> io::Result<()> {
    let desk = Arc::clone(desk);
    let leave = move || {
        if desk.get().is_some_and(|words| words.get(Word::Leave).load(Relaxed) != 0) {
            low_level::exit(TERMINATED);
        }
    };
    // SAFETY: the handlers only load atomics (`OnceLock::get` is one load) and call `_exit`; they take no lock and
    // allocate nothing.
    unsafe {
        low_level::register(SIGTERM, leave)?;
        low_level::register(SIGINT, || {})?;
        low_level::register(SIGXFSZ, || {})?;
    }
    Ok(())
}
