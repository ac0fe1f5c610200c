//! The system's allocator, which counts for whoever asks. Only what Rust code allocates goes through it: FFmpeg and the runtimes have
//! their own ways.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use vidmill::bench::Allocations;

/// To be the program's `#[global_allocator]`. Until [`start`] is called it only passes calls on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

static IS_THERE: AtomicBool = AtomicBool::new(false);
static IS_ON: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Begins to count; `None` where [`Counting`] is not the program's allocator, as in a Python interpreter.
pub fn start() -> Option<fn() -> Allocations> {
    IS_ON.store(true, Relaxed);
    // Whether somebody counts shows when something is allocated.
    drop(std::hint::black_box(Box::new(0_u8)));
    IS_THERE.load(Relaxed).then_some(so_far as fn() -> Allocations)
}

fn so_far() -> Allocations {
    Allocations { count: COUNT.load(Relaxed), bytes: BYTES.load(Relaxed) }
}

fn count(bytes: usize) {
    if IS_ON.load(Relaxed) {
        IS_THERE.store(true, Relaxed);
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing and cannot panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of `realloc`, and `memory` came from the system's allocator.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `memory` came from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}
