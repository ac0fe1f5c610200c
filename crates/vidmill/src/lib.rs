//! Runs vision models over video: every frame is accounted for.

pub mod record;
pub mod sink;
