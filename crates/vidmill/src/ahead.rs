//! A source that is read by a thread of its own, ahead of its turn by a few frames.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use vidmill_video::Damage;

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
        let damage = loop {
            match self.told.recv_deadline(deadline) {
                Ok(Told::Closed(closing)) => {
                    self.end();
                    break closing.damage;
                }
                Ok(_) => {}
                Err(_) => break Damage::default(),
            }
        };
        // Even where it came to its end: that was not its turn.
        Closing { intake: taken, damage, complete: false, error: None }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use vidmill_image::{ColorMatrix, ColorRange, ColorSpec, Picture, Size};
    use vidmill_video::DecodeOptions;

    use super::*;
    use crate::progress::Progress;
    use crate::resume::Resumed;
    use crate::sample::Sampling;
    use crate::source::SourceKind;

    fn pictures(folder: &Path, count: usize) -> Vec<PathBuf> {
        let picture = Picture::new(Size::new(8, 8), ColorSpec::new(ColorMatrix::Bt601, ColorRange::Full));
        let paths = (0..count).map(|n| folder.join(format!("{n}.png")));
        paths.inspect(|path| vidmill_video::write_image(&path.to_string_lossy(), &picture).unwrap()).collect()
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < end, "nothing happened in time");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn so_many_frames_are_read_ahead_and_no_more_when_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source { name: "all".into(), kind: SourceKind::Images(pictures(folder.path(), 12)) };
        let progress = Arc::new(Progress::default());
        let means = Means {
            sampling: Sampling::default(),
            decode: DecodeOptions::default(),
            clocks: Arc::default(),
            progress: Arc::clone(&progress),
            stop: Stop::default(),
            resumed: Arc::new(Resumed::nothing(1)),
        };
        let ahead = Ahead::begin(&means, 0, &source, None);
        drop(means);
        let stop = Stop::default();
        assert!(matches!(ahead.next(&stop), Some(Told::Opened { expected: Some(12), .. })));
        let most = AHEAD as u64 + 1;
        wait_for(|| progress.snapshot().decoded == most);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(progress.snapshot().decoded, most);
        match ahead.next(&stop) {
            Some(Told::Frame(first)) => assert_eq!((first.head.frame, first.intake.sampled), (0, 1)),
            _ => panic!("the first frame comes next"),
        }
        wait_for(|| progress.snapshot().decoded == most + 1);
        drop(ahead);
        // The thread has ended, and what it held is gone.
        wait_for(|| Arc::strong_count(&progress) == 1);
        assert_eq!(progress.snapshot().decoded, most + 1);
    }

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
