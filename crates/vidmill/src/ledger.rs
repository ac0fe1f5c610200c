//! The ledger: what became of every frame of a source, in numbers that must add up.

use serde::{Deserialize, Serialize};

use crate::record::Outcome;

/// Counts of one source's frames. `decoded = sampled + skipped` and `sampled = ok + failed + dropped`, or the run fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Frames that the source yielded, in display order.
    pub decoded: u64,
    /// Of these, frames that the sampling passed over.
    pub skipped: u64,
    /// Of these, frames that were to be processed.
    pub sampled: u64,
    /// Sampled frames with a result.
    pub ok: u64,
    /// Sampled frames that could not be processed; each has its cause in its record.
    pub failed: u64,
    /// Sampled frames given up on purpose.
    pub dropped: u64,
}

/// A ledger that does not add up: a fault in vidmill, never the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger does not balance: decoded {} = sampled {} + skipped {}? sampled = ok {} + failed {} + dropped {}? \
     please report this as a bug",
    .0.decoded, .0.sampled, .0.skipped, .0.ok, .0.failed, .0.dropped
)]
pub struct Imbalance(pub Ledger);

impl Ledger {
    /// Counts a frame that the sampling passed over.
    pub fn skip(&mut self) {
        self.decoded += 1;
        self.skipped += 1;
    }

    /// Counts a frame that is to be processed.
    pub fn sample(&mut self) {
        self.decoded += 1;
        self.sampled += 1;
    }

    /// Counts what became of a sampled frame.
    pub fn settle(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(_) => self.ok += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Dropped { .. } => self.dropped += 1,
        }
    }

    /// Adds another source's counts.
    pub fn add(&mut self, other: &Self) {
        self.decoded += other.decoded;
        self.skipped += other.skipped;
        self.sampled += other.sampled;
        self.ok += other.ok;
        self.failed += other.failed;
        self.dropped += other.dropped;
    }

    /// Whether every frame is accounted for.
    pub fn check(&self) -> Result<(), Imbalance> {
        let balanced = self.decoded == self.sampled + self.skipped
            && self.sampled == self.ok + self.failed + self.dropped;
        if balanced { Ok(()) } else { Err(Imbalance(*self)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_only_when_every_frame_is_settled() {
        let mut ledger = Ledger::default();
        ledger.skip();
        ledger.sample();
        assert_eq!(ledger.check(), Err(Imbalance(ledger)));
        ledger.settle(&Outcome::Ok(vec![].into()));
        assert_eq!(ledger.check(), Ok(()));
        ledger.settle(&Outcome::Dropped { reason: "twice".into() });
        assert!(ledger.check().is_err());
    }
}
