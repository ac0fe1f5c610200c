//! A source that is read by a thread of its own, ahead of its turn by a few frames.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::ledger::Ledger;
use crate::progress::Stop;
use crate::source::Source;
use crate::source::reader::Reader;
use crate::source::reading::{Closing, Means, Told};

/// Frames that may wait for their turn; one more is in the reader's hand. Enough for decoders to work while others have their turns,
/// and for those with several threads, which give frames in bursts.
const AHEAD: usize = 3;
/// How often a wait looks up.
const PATIENCE: Duration = Duration::from_millis(50);

/// A source being read ahead.
pub(crate) struct Ahead {
    told: Receiver<Told>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to read source `number`, which may have been opened before.
    pub fn begin(means: &Means, number: usize, source: &Source, opened: Option<Reader>) -> Self {
        let (tell, told) = bounded(AHEAD);
        let (means, source, to_feeder) = (means.clone(), source.clone(), tell.clone());
        let read = move || means.read(number, &source, opened, &mut |told| to_feeder.send(told).is_ok());
        let spawned = std::thread::Builder::new().name(format!("source {number}")).spawn(read);
        if let Err(error) = &spawned {
            let error = Some(format!("cannot start a thread to read it: {error}"));
            let closing = Box::new(Closing { error, ..Closing::default() });
            // Both have room, and the other end is here.
            let _ = tell.send(Told::Opened { probe: None, expected: None });
            let _ = tell.send(Told::Closed(closing));
        }
        Self { told, thread: spawned.ok() }
    }

    /// What is told next; waits for it. `None` when the run is asked to stop meanwhile.
    pub fn next(&self, stop: &Stop) -> Option<Told> {
        loop {
            match self.told.recv_timeout(PATIENCE) {
                Ok(told) => return Some(told),
                Err(RecvTimeoutError::Timeout) if stop.is_asked() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let error =
                        Some("its reader ended without a word; please report this as a bug".to_owned());
                    return Some(Told::Closed(Box::new(Closing { error, ..Closing::default() })));
                }
            }
        }
    }

    /// After [`Told::Closed`]: the thread's end.
    ///
    /// # Panics
    /// With the thread's own panic, if that was its end.
    pub fn end(self) {
        if let Some(Err(panic)) = self.thread.map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }

    /// What came of a source whose run was asked to stop, when `taken` of it had been taken. One that does not notice in time (it waits
    /// for a pipe or a network) is left where it is.
    pub fn close(self, taken: Ledger, deadline: Instant) -> Closing {
        let mut is_left_out = false;
        loop {
            match self.told.recv_deadline(deadline) {
                Ok(Told::Closed(closing)) => {
                    self.end();
                    return match is_left_out {
                        // Wherever it came to, its records end before that.
                        true => Closing { intake: taken, complete: false, error: None, ..*closing },
                        false => *closing,
                    };
                }
                Ok(_) => is_left_out = true,
                Err(_) => return Closing { intake: taken, ..Closing::default() },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(told: Vec<Told>) -> Ahead {
        let (tell, receive) = bounded(told.len().max(1));
        told.into_iter().for_each(|told| tell.send(told).unwrap());
        // What has not closed its source waits for ever.
        std::mem::forget(tell);
        Ahead { told: receive, thread: None }
    }

    fn closed(intake: Ledger, complete: bool) -> Told {
        Told::Closed(Box::new(Closing { intake, complete, ..Closing::default() }))
    }

    const TAKEN: Ledger = Ledger { decoded: 5, skipped: 2, sampled: 3, ok: 0, failed: 0, dropped: 0 };
    const READ: Ledger = Ledger { decoded: 9, skipped: 4, sampled: 5, ok: 0, failed: 0, dropped: 0 };

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_source_that_ended_as_the_run_was_stopped_has_ended() {
        let closing = ahead(vec![closed(READ, true)]).close(TAKEN, soon());
        assert!(closing.complete && closing.intake == READ);
    }

    #[test]
    fn what_was_read_ahead_of_a_stop_does_not_count() {
        let opened = Told::Opened { probe: None, expected: None };
        let closing = ahead(vec![opened, closed(READ, true)]).close(TAKEN, soon());
        assert!(!closing.complete && closing.intake == TAKEN && closing.error.is_none());
    }

    #[test]
    fn a_source_that_waits_for_its_input_is_left() {
        let closing = ahead(vec![]).close(TAKEN, soon());
        assert!(!closing.complete && closing.intake == TAKEN);
    }

    #[test]
    fn a_wait_for_a_turn_ends_with_the_run() {
        let stop = Stop::default();
        stop.ask();
        assert!(ahead(vec![]).next(&stop).is_none());
    }
}
