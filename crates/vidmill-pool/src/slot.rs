//! Slots: fixed regions of memory that go round between who fills them and who reads them.
//!
//! Free -> Filled -> free again. The steps are types, so a slot cannot be read before it was filled, filled while it is
//! read, or lost: dropping it in any state hands it back.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::machine;
use crate::memory::{PAGE, Region, Slab};

/// A fixed number of slots of one size.
#[derive(Clone)]
pub struct Slots {
    free: Arc<FreeList>,
    count: usize,
    bytes: usize,
    file: Option<Arc<OwnedFd>>,
}

/// What came back last goes out first: it is the likeliest to be in the processor's caches still.
struct FreeList {
    regions: Mutex<Vec<Region>>,
    returned: Condvar,
}

impl FreeList {
    fn lock(&self) -> MutexGuard<'_, Vec<Region>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// There is not as much.
    #[error(
        "{count} slots of {bytes} bytes take {} MiB of memory, and {} MiB are free: use a smaller batch, input size \
         or number of workers", .needed >> 20, .available >> 20
    )]
    TooLittleMemory {
        /// Slots asked for.
        count: usize,
        /// Bytes of one slot.
        bytes: usize,
        /// Bytes of all.
        needed: u64,
        /// Bytes that the machine, or the limit set for this process, has left.
        available: u64,
    },
    /// The system refused.
    #[error(
        "cannot allocate {count} slots of {bytes} bytes ({total_mib} MiB): {cause}; use a smaller batch, input size \
         or number of workers"
    )]
    Refused {
        /// Slots asked for.
        count: usize,
        /// Bytes of one slot.
        bytes: usize,
        /// Both multiplied, in MiB.
        total_mib: usize,
        /// The system's word.
        cause: std::io::Error,
    },
}

impl Slots {
    /// Allocates `count` slots (at least one) of `bytes` bytes each, for the threads of this process. All pages are
    /// taken now, so that memory that is not there is missed now and not in the middle of the work.
    ///
    /// # Errors
    /// When there is less memory than that; the error says how much is needed.
    pub fn new(count: usize, bytes: usize) -> Result<Self, SlotError> {
        Self::of(count, bytes, Slab::private)
    }

    /// The same in memory that worker processes can map, to read it. It has no name anywhere and is gone with its last user.
    ///
    /// # Errors
    /// As [`Slots::new`].
    pub fn shared(count: usize, bytes: usize) -> Result<Self, SlotError> {
        Self::of(count, bytes, Slab::shared)
    }

    fn of(
        count: usize,
        bytes: usize,
        slab: fn(usize, usize) -> Result<Slab, Errno>,
    ) -> Result<Self, SlotError> {
        let count = count.max(1);
        let total = count.saturating_mul(bytes.max(1).checked_next_multiple_of(PAGE).unwrap_or(usize::MAX));
        let (needed, available) = (total as u64, machine::available_memory());
        if let Some(available) = available.filter(|&available| needed > available) {
            return Err(SlotError::TooLittleMemory { count, bytes, needed, available });
        }
        let slab = slab(count, bytes).map_err(|errno| SlotError::Refused {
            count,
            bytes,
            total_mib: total >> 20,
            cause: errno.into(),
        })?;
        let free = FreeList { regions: Mutex::new(slab.regions), returned: Condvar::new() };
        Ok(Self { free: Arc::new(free), count, bytes, file: slab.file })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a free slot; waits while there is none.
    pub fn acquire(&self) -> FreeSlot {
        let mut regions = self.free.lock();
        loop {
            if let Some(region) = regions.pop() {
                return self.taken(region);
            }
            regions = self.free.returned.wait(regions).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a free slot if there is one.
    pub fn try_acquire(&self) -> Option<FreeSlot> {
        self.free.lock().pop().map(|region| self.taken(region))
    }

    /// How many slots are free at this moment.
    #[cfg(test)]
    pub(crate) fn free_count(&self) -> usize {
        self.free.lock().len()
    }

    fn taken(&self, region: Region) -> FreeSlot {
        FreeSlot(Slot { region: Some(region), back: Arc::clone(&self.free) })
    }

    /// What worker processes map, and how many bytes of it.
    pub(crate) fn file(&self) -> Option<(&OwnedFd, usize)> {
        let stride = self.bytes.max(1).next_multiple_of(PAGE);
        self.file.as_deref().map(|file| (file, stride * self.count))
    }
}

struct Slot {
    /// There until the slot is dropped.
    region: Option<Region>,
    back: Arc<FreeList>,
}

impl Slot {
    fn region(&self) -> &Region {
        self.region.as_ref().expect("the region leaves only when the slot is dropped")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            self.back.lock().push(region);
            self.back.returned.notify_one();
        }
    }
}

/// A slot that is being filled.
pub struct FreeSlot(Slot);

/// A slot whose bytes are ready to be read.
pub struct FilledSlot(Slot);

impl FreeSlot {
    /// The slot's memory; it begins at a page. It still holds what its last user left there.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.region.as_mut().expect("the region leaves only when the slot is dropped").bytes_mut()
    }

    /// Done writing.
    pub fn filled(self) -> FilledSlot {
        FilledSlot(self.0)
    }
}

impl FilledSlot {
    /// The slot's bytes; they begin at a page.
    pub fn bytes(&self) -> &[u8] {
        self.0.region().bytes()
    }

    /// Where the slot begins in its slab.
    pub(crate) fn offset(&self) -> usize {
        self.0.region().offset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_from_every_state() {
        for slots in [Slots::new(2, 100).unwrap(), Slots::shared(2, 100).unwrap()] {
            let free = slots.acquire();
            assert_eq!(slots.free_count(), 1);
            drop(free);
            assert_eq!(slots.free_count(), 2);
            let filled = slots.acquire().filled();
            assert_eq!(slots.free_count(), 1);
            drop(filled);
            assert_eq!(slots.free_count(), 2);
        }
    }

    #[test]
    fn bytes_are_aligned_sized_and_kept() {
        for slots in [Slots::new(2, 4100).unwrap(), Slots::shared(2, 4100).unwrap()] {
            let (mut first, mut second) = (slots.acquire(), slots.try_acquire().unwrap());
            assert!(slots.try_acquire().is_none());
            assert_eq!(first.bytes_mut().len(), 4100);
            assert_eq!(first.bytes_mut().as_ptr().align_offset(64), 0);
            first.bytes_mut().fill(7);
            second.bytes_mut().fill(8);
            assert!(first.filled().bytes().iter().all(|&b| b == 7));
        }
    }

    #[test]
    fn acquire_waits_for_a_slot_to_come_back() {
        let slots = Slots::new(1, 1).unwrap();
        let held = slots.acquire();
        let other = slots.clone();
        let waiter = std::thread::spawn(move || drop(other.acquire()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiter.is_finished());
        drop(held);
        waiter.join().unwrap();
    }

    #[test]
    fn memory_that_is_not_there_is_refused_with_its_size() {
        for slots in [Slots::new(1, usize::MAX / 2), Slots::shared(1024, 1 << 40)] {
            let error = slots.err().expect("no machine has that much");
            assert!(error.to_string().contains("MiB"), "{error}");
        }
        let error = Slots::shared(1 << 10, 1 << 32).err().unwrap().to_string();
        assert!(error.contains("take 4194304 MiB"), "{error}");
    }
}
