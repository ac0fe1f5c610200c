//! Slots that are being filled: items of one size lie together, and go to the workers when a slot is full or nothing more comes.

use vidmill_image::{Geometry, Size, TensorSpec};
use vidmill_pool::{FreeSlot, Slots};

use crate::engine::BoxedExecutor;
use crate::stage::ModelClocks;
use crate::worker::Fitted;

/// Fills slots and hands them over.
pub(crate) struct Filler<T> {
    slots: Slots,
    executor: BoxedExecutor<T>,
    /// Most items in a slot.
    batch: usize,
    filling: Option<Filling<T>>,
    clocks: ModelClocks,
}

/// A slot with the items that have been written into it so far.
struct Filling<T> {
    slot: FreeSlot,
    size: Size,
    item_bytes: usize,
    batch: Vec<(T, Fitted)>,
}

impl<T> Filler<T> {
    pub fn new(slots: Slots, executor: BoxedExecutor<T>, batch: usize, clocks: ModelClocks) -> Self {
        Self { slots, executor, batch, filling: None, clocks }
    }

    /// Memory for the next item; waits while no slot is free. It holds what was there before, until [`Filler::put`] takes it.
    pub fn room(&mut self, spec: &TensorSpec) -> &mut [u8] {
        // Items of another size wait for nobody.
        if self.filling.as_ref().is_some_and(|filling| filling.size != spec.size) {
            self.submit();
        }
        let Filling { slot, item_bytes, batch, .. } = self.filling.get_or_insert_with(|| {
            let slot = self.clocks.wait(|| self.slots.acquire());
            Filling { slot, size: spec.size, item_bytes: spec.item_bytes(), batch: Vec::new() }
        });
        let begin = batch.len() * *item_bytes;
        &mut slot.bytes_mut()[begin..begin + *item_bytes]
    }

    /// What was written into the last [`Filler::room`] is an item.
    pub fn put(&mut self, ticket: T, geometry: Geometry) {
        let Some(filling) = &mut self.filling else { return };
        filling.batch.push((ticket, Fitted(geometry)));
        if filling.batch.len() == self.batch {
            self.submit();
        }
    }

    /// Hands over what there is.
    pub fn submit(&mut self) {
        let Some(Filling { slot, item_bytes, batch, .. }) = self.filling.take() else { return };
        if !batch.is_empty() {
            let submit = || self.executor.submit(batch, item_bytes, slot.filled());
            self.clocks.wait(submit);
        }
    }
}
