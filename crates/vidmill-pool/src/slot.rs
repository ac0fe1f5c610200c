//! Slots: fixed regions of memory that go round between who fills them and who reads them.
//!
//! Free -> Filled -> free again. The steps are types, so a slot cannot be read before it was filled, filled while it is
//! read, or lost: dropping it in any state hands it back.

use bytemuck::{Pod, Zeroable};
use crossbeam_channel::{Receiver, Sender, bounded};

/// A cache line: gives every slot an alignment of 64 bytes, enough for any element type and any vector load.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A fixed number of slots of one size.
#[derive(Clone)]
pub struct Slots {
    free: Receiver<Vec<Line>>,
    back: Sender<Vec<Line>>,
    bytes: usize,
}

/// Memory that could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The allocator refused.
    #[error(
        "cannot allocate {count} slots of {bytes} bytes ({total_mib} MiB): use a smaller batch, input size or number of workers"
    )]
    OutOfMemory {
        /// Slots asked for.
        count: usize,
        /// Bytes of one slot.
        bytes: usize,
        /// Both multiplied, in MiB.
        total_mib: usize,
    },
}

impl Slots {
    /// Allocates `count` slots (at least one) of `bytes` bytes each, touching every page, so that memory that is not
    /// there is missed now and not in the middle of the work.
    pub fn new(count: usize, bytes: usize) -> Result<Self, SlotError> {
        let count = count.max(1);
        let (back, free) = bounded(count);
        for _ in 0..count {
            let memory = allocate(bytes).ok_or(SlotError::OutOfMemory {
                count,
                bytes,
                total_mib: count.saturating_mul(bytes) >> 20,
            })?;
            back.send(memory).expect("the channel has room for every slot, and we hold its receiver");
        }
        Ok(Self { free, back, bytes })
    }

    /// Takes a free slot; waits while there is none.
    pub fn acquire(&self) -> FreeSlot {
        let memory = self.free.recv().expect("we hold a sender, so the channel stays open");
        FreeSlot(Slot { memory, bytes: self.bytes, back: self.back.clone() })
    }

    /// How many slots are free at this moment.
    #[cfg(test)]
    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }
}

fn allocate(bytes: usize) -> Option<Vec<Line>> {
    let lines = bytes.div_ceil(size_of::<Line>());
    let mut memory = Vec::new();
    memory.try_reserve_exact(lines).ok()?;
    memory.resize(lines, Line([0; 64]));
    Some(memory)
}

struct Slot {
    memory: Vec<Line>,
    bytes: usize,
    back: Sender<Vec<Line>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The channel has room for every slot there is; it is closed only when all owners of the slots are gone.
        let _ = self.back.try_send(std::mem::take(&mut self.memory));
    }
}

/// A slot that is being filled.
pub struct FreeSlot(Slot);

/// A slot whose bytes are ready to be read.
pub struct FilledSlot(Slot);

impl FreeSlot {
    /// The slot's memory, 64-byte aligned. It still holds what its last user left there.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.0.memory)[..self.0.bytes]
    }

    /// Done writing.
    pub fn filled(self) -> FilledSlot {
        FilledSlot(self.0)
    }
}

impl FilledSlot {
    /// The slot's bytes, 64-byte aligned.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0.memory)[..self.0.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_from_every_state() {
        let slots = Slots::new(2, 100).unwrap();
        let free = slots.acquire();
        assert_eq!(slots.free_count(), 1);
        drop(free);
        assert_eq!(slots.free_count(), 2);
        let filled = slots.acquire().filled();
        assert_eq!(slots.free_count(), 1);
        drop(filled);
        assert_eq!(slots.free_count(), 2);
    }

    #[test]
    fn bytes_are_aligned_sized_and_kept() {
        let slots = Slots::new(1, 130).unwrap();
        let mut slot = slots.acquire();
        assert_eq!(slot.bytes_mut().len(), 130);
        assert_eq!(slot.bytes_mut().as_ptr().align_offset(64), 0);
        slot.bytes_mut()[129] = 7;
        assert_eq!(slot.filled().bytes()[129], 7);
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
        let error = Slots::new(1, usize::MAX / 2).err().expect("no machine has that much");
        assert!(error.to_string().contains("MiB"), "{error}");
    }
}
