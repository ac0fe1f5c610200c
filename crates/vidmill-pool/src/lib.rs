//! Work over slots of memory, in threads or in supervised processes.
//!
//! In: items, each with bytes in a slot. Out: every item again, once, with its output or the [`Failure`] that kept it from
//! having one. Slots are allocated once; when none is free, whoever wants to fill one waits: that is all the
//! back-pressure there is. This crate knows bytes and items, not video.
//!
//! [`Pool`] is the easy way in. Below it, an [`Executor`] runs batches: [`Threads`] in this process, [`Processes`] in worker
//! processes that read the slots where they lie, and whose deaths cost nothing but time. What such a worker runs is
//! a program that calls [`serve`] first thing, as a rule the same program again ([`Program::this`]).
//!
//! ```no_run
//! use std::process::ExitCode;
//! use vidmill_pool::{Input, Policy, Pool, Program, Worker, is_worker, serve};
//!
//! struct Brightness;
//!
//! impl Worker for Brightness {
//!     type Item = ();
//!     type Output = u64;
//!     fn run(&mut self, _: &[()], pixels: &Input, outputs: &mut Vec<u64>) {
//!         outputs.push(pixels.iter().map(|&byte| u64::from(byte)).sum());
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     if is_worker() {
//!         return serve(|_start| Ok((Brightness, Vec::new())));
//!     }
//!     let pictures = (0..1000).map(|n| vec![n as u8; 640 * 480]);
//!     // 2 processes; 6 slots of 640 x 480 bytes; outputs are small.
//!     let pool = Pool::processes(2, 6, 640 * 480, 0, Program::this(Vec::new()), Policy::default());
//!     let pool: Pool<Brightness> = pool.expect("workers");
//!     for result in pool.map(pictures, |picture, slot| slot.copy_from_slice(&picture)) {
//!         match result {
//!             Ok(brightness) => println!("{brightness}"),
//!             Err(failure) => println!("{failure} ({} attempts)", failure.attempts),
//!         }
//!     }
//!     ExitCode::SUCCESS
//! }
//! ```

mod child;
mod envelope;
mod executor;
mod machine;
#[expect(unsafe_code, reason = "shared memory is mapped and lent by hand")]
mod memory;
mod message;
mod output;
mod pool;
mod process;
mod serve;
#[expect(unsafe_code, reason = "signal handlers")]
mod signals;
mod slot;
mod socket;
mod supervisor;
mod thread;

pub use child::Program;
pub use envelope::{Contents, Envelope, Label, Opened};
pub use executor::{Batch, Cause, Deliver, Executor, Failure, Input, StartError, Wire, Worker};
pub use machine::{need_memory, peak_memory};
pub use message::WireError;
pub use output::Printer;
pub use pool::{Ordered, Pending, Pool, PoolError, Unordered};
pub use process::{Processes, Usage};
pub use serve::{is_worker, serve};
pub use slot::{FilledSlot, FreeSlot, SlotError, Slots};
pub use supervisor::Policy;
pub use thread::Threads;
