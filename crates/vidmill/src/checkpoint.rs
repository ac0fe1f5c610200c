//! How far an unfinished run has come: what its manifest says so that another run can go on from there.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use vidmill_video::Rational;

use crate::ledger::Ledger;
use crate::record::{Outcome, Record};
use crate::track::Tracker;

/// The records that are in the output for certain, and the source that they reach into.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The source to go on with, by its number in [`crate::Manifest::sources`]; those before it are done.
    pub source: usize,
    /// How long the output was when that source began, in bytes (of Parquet, the journal).
    pub begin: u64,
    /// How long the output is now: whole records, without what only closes the file.
    pub bytes: u64,
    /// Frames of that source with a result.
    pub ok: u64,
    /// Its frames that failed.
    pub failed: u64,
    /// Its frames that were given up.
    pub dropped: u64,
    /// Its last frame with a record, and null before there is one.
    pub last: Option<Mark>,
    /// Seconds per unit of its timestamps; null where it has none.
    pub time_base: Option<Rational>,
    /// Whether nothing unusual was met in it so far: no damage, every timestamp later than the one before.
    pub sound: bool,
    /// Where tracks stand after the last frame; null where nothing is tracked.
    #[serde(default)]
    pub tracker: Option<Tracker>,
}

/// A frame that has its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Index among the source's decoded frames, from 0.
    pub frame: u64,
    /// The container's timestamp, where there is one.
    pub pts: Option<i64>,
    /// That of the source's first frame with a record: `--fps` counts from there.
    pub first_pts: Option<i64>,
}

impl Checkpoint {
    /// At the beginning of source `number`, with the output as long as it is now.
    pub(crate) fn at(number: usize, bytes: u64, time_base: Option<Rational>) -> Self {
        Self { source: number, begin: bytes, bytes, time_base, sound: true, ..Self::default() }
    }

    /// Counts a record of the source.
    pub(crate) fn note(&mut self, record: &Record) {
        match record.outcome {
            Outcome::Ok(_) => self.ok += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Dropped { .. } => self.dropped += 1,
        }
        let Record { frame, pts, .. } = *record;
        let first_pts = self.last.map_or(pts, |mark| mark.first_pts);
        self.last = Some(Mark { frame, pts, first_pts });
    }

    /// What became of the source's sampled frames.
    pub(crate) fn settled(&self) -> Ledger {
        let Self { ok, failed, dropped, .. } = *self;
        Ledger { ok, failed, dropped, ..Ledger::default() }
    }

    /// What an undisturbed run had counted when it read the last frame.
    pub(crate) fn intake(&self) -> Ledger {
        let sampled = self.ok + self.failed + self.dropped;
        let decoded = self.last.map_or(0, |mark| mark.frame + 1);
        Ledger { decoded, sampled, skipped: decoded.saturating_sub(sampled), ..Ledger::default() }
    }
}

/// Which sources something unusual was met in. Noted before any frame that comes after that is handed on, so whoever has such a frame
/// knows.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Vec<AtomicBool>);

impl Doubts {
    /// None yet, about any of so many sources.
    pub fn none(sources: usize) -> Self {
        Self((0..sources).map(|_| AtomicBool::default()).collect())
    }

    /// Notes source `number`.
    pub fn note(&self, number: usize) {
        if let Some(doubt) = self.0.get(number) {
            doubt.store(true, Relaxed);
        }
    }

    /// Whether source `number` was noted.
    pub fn about(&self, number: usize) -> bool {
        self.0.get(number).is_some_and(|doubt| doubt.load(Relaxed))
    }
}
