//! Slots that are being filled: items of one size lie together, and go to the workers when a slot is full or nothing more comes.

use vidmill_image::{Geometry, Size, TensorSpec};
use vidmill_pool::{Batch, FreeSlot, Slots};

use crate::engine::BoxedExecutor;
use crate::stage::ModelClocks;
use crate::worker::Fitted;

/// Fills slots and hands them over.
pub(crate) struct Filler<T> {
    slots: Slots,
    executor: BoxedExecutor<T>,
    /// Most items in a slot.
    batch: usize,
    filling: Option<Filling>,
    /// The items that have been written into the slot so far.
    items: Batch<T, Fitted>,
    clocks: ModelClocks,
}

/// A slot for items of one size.
struct Filling {
    slot: FreeSlot,
    size: Size,
    item_bytes: usize,
}

impl<T> Filler<T> {
    pub fn new(slots: Slots, executor: BoxedExecutor<T>, batch: usize, clocks: ModelClocks) -> Self {
        Self { slots, executor, batch, filling: None, items: Vec::new(), clocks }
    }

    /// Memory for the next item; waits while no slot is free. It holds what was there before, until [`Filler::put`] takes it.
    pub fn room(&mut self, spec: &TensorSpec) -> &mut [u8] {
        // Items of another size wait for nobody.
        if self.filling.as_ref().is_some_and(|filling| filling.size != spec.size) {
            self.submit();
        }
        let Filling { slot, item_bytes, .. } = self.filling.get_or_insert_with(|| {
            let slot = self.clocks.wait(|| self.slots.acquire());
            Filling { slot, size: spec.size, item_bytes: spec.item_bytes() }
        });
        let begin = self.items.len() * *item_bytes;
        &mut slot.bytes_mut()[begin..begin + *item_bytes]
    }

    /// What was written into the last [`Filler::room`] is an item.
    pub fn put(&mut self, ticket: T, geometry: Geometry) {
        self.items.push((ticket, Fitted(geometry)));
        if self.items.len() == self.batch {
            self.submit();
        }
    }

    /// Hands over what there is.
    pub fn submit(&mut self) {
        let Some(Filling { slot, item_bytes, .. }) = self.filling.take() else { return };
        if !self.items.is_empty() {
            self.clocks.wait(|| self.executor.submit(&mut self.items, item_bytes, slot.filled()));
        }
    }
}
