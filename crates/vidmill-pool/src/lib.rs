//! Work over slots of memory.
//!
//! In: jobs, each with a [`FilledSlot`] of bytes. Out: every job again, once, with its result or the [`Failure`] that
//! kept it from having one. Slots are allocated once; when none is free, whoever wants to fill one waits: that is all the
//! back-pressure there is. This crate knows bytes and jobs, not video.

mod executor;
mod slot;
mod thread;

pub use executor::{Deliver, Executor, Failure, StartError, Worker};
pub use slot::{FilledSlot, FreeSlot, SlotError, Slots};
pub use thread::Threads;
