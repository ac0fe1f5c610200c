//! Puts what was done in any order back into the order in which it was begun.

use std::collections::VecDeque;

/// Holds what came too early. Bounded by how far its users let sequence numbers run ahead.
#[derive(Debug)]
pub struct Reorder<T> {
    next: u64,
    waiting: VecDeque<Option<T>>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self { next: 0, waiting: VecDeque::new() }
    }
}

impl<T> Reorder<T> {
    /// Takes an entry with its sequence number, from 0. Each number must come exactly once.
    ///
    /// # Panics
    /// If a number comes twice: that is a fault of the caller.
    pub fn put(&mut self, sequence: u64, entry: T) {
        let place = sequence.checked_sub(self.next).expect("a sequence number came twice") as usize;
        if place >= self.waiting.len() {
            self.waiting.resize_with(place + 1, || None);
        }
        let earlier = self.waiting[place].replace(entry);
        assert!(earlier.is_none(), "a sequence number came twice");
    }

    /// The next entry in order, if it is there.
    pub fn take(&mut self) -> Option<T> {
        let entry = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(entry)
    }

    /// Whether nothing is being held back.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_in_is_the_right_order_out(order in Just((0_u64..60).collect::<Vec<_>>()).prop_shuffle()) {
            let mut reorder = Reorder::default();
            let mut out = Vec::new();
            for sequence in order {
                reorder.put(sequence, sequence);
                while let Some(entry) = reorder.take() {
                    out.push(entry);
                }
            }
            prop_assert_eq!(out, (0..60).collect::<Vec<_>>());
            prop_assert!(reorder.is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "came twice")]
    fn a_number_that_comes_twice_is_a_bug() {
        let mut reorder = Reorder::default();
        reorder.put(0, ());
        reorder.take();
        reorder.put(0, ());
    }
}
