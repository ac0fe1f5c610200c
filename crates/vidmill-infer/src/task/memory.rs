//! Memory that decoding uses again.

use std::cell::Cell;

use super::found::Detection;
use crate::Candidate;

/// What a worker keeps from frame to frame, so that decoding need not ask for memory.
#[derive(Default)]
pub struct Memory {
    candidates: Cell<Vec<Candidate>>,
    detections: Cell<Vec<Detection>>,
}

impl Memory {
    /// Takes the memory of detections that nobody needs any more, for those of the next frame.
    pub fn reuse(&self, mut detections: Vec<Detection>) {
        detections.clear();
        self.detections.set(detections);
    }

    /// An empty list for the boxes of a frame.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        self.candidates.take()
    }

    /// Takes that list back.
    pub(super) fn reuse_candidates(&self, mut candidates: Vec<Candidate>) {
        candidates.clear();
        self.candidates.set(candidates);
    }

    /// An empty list for the detections of a frame.
    pub(super) fn detections(&self) -> Vec<Detection> {
        self.detections.take()
    }
}
