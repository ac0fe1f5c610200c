//! Whose turn it is among the sources that are open at once. Pure: whoever reads and whoever keeps the books each have one, and
//! both go through the same turns.

use std::collections::VecDeque;

/// The turns of a run: the sources that are open or about to be, and those that wait for a place among them.
///
/// They go round in a circle. A turn is one sampled frame; when a source has ended, the next one that waits has its place, and so its
/// first turn after all others had theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turns {
    circle: VecDeque<usize>,
    waiting: VecDeque<usize>,
}

impl Turns {
    /// Goes on with `circle`, whose first has the next turn; filled up from `waiting` to `at_once` sources.
    pub fn new(
        circle: impl IntoIterator<Item = usize>,
        waiting: impl IntoIterator<Item = usize>,
        at_once: usize,
    ) -> Self {
        let mut turns = Self { circle: circle.into_iter().collect(), waiting: waiting.into_iter().collect() };
        while turns.circle.len() < at_once.max(1) && turns.fill() {}
        turns
    }

    /// The source whose turn it is; none when all have ended.
    pub fn next(&self) -> Option<usize> {
        self.circle.front().copied()
    }

    /// The sources that have a place, in the order of their turns.
    pub fn circle(&self) -> impl Iterator<Item = usize> + '_ {
        self.circle.iter().copied()
    }

    /// The source has had its turn.
    pub fn took(&mut self, source: usize) {
        if self.leave(source) {
            self.circle.push_back(source);
        }
    }

    /// The source has ended, which was its turn.
    pub fn ended(&mut self, source: usize) {
        if self.leave(source) {
            self.fill();
        }
    }

    fn leave(&mut self, source: usize) -> bool {
        debug_assert_eq!(self.next(), Some(source), "a source took a turn that was not its own");
        let at = self.circle.iter().position(|it| *it == source);
        at.and_then(|at| self.circle.remove(at)).is_some()
    }

    fn fill(&mut self) -> bool {
        let next = self.waiting.pop_front();
        self.circle.extend(next);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All turns of sources of these lengths in frames; a source's end is `None`.
    fn all(turns: &mut Turns, left: &mut [usize]) -> Vec<(usize, Option<usize>)> {
        let mut taken = Vec::new();
        while let Some(source) = turns.next() {
            taken.push((source, step(turns, left, source)));
        }
        taken
    }

    fn step(turns: &mut Turns, left: &mut [usize], source: usize) -> Option<usize> {
        let frame = left[source].checked_sub(1);
        match frame {
            Some(rest) => {
                left[source] = rest;
                turns.took(source);
            }
            None => turns.ended(source),
        }
        frame
    }

    fn order(lengths: &[usize], at_once: usize) -> Vec<usize> {
        let mut turns = Turns::new([], 0..lengths.len(), at_once);
        let taken = all(&mut turns, &mut lengths.to_vec());
        taken.into_iter().filter(|(_, frame)| frame.is_some()).map(|(source, _)| source).collect()
    }

    #[test]
    fn one_at_a_time_is_one_after_the_other() {
        assert_eq!(order(&[2, 0, 3], 1), [0, 0, 2, 2, 2]);
    }

    #[test]
    fn sources_take_turns_in_the_order_they_were_named() {
        assert_eq!(order(&[3, 3, 3], 3), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(order(&[3, 1, 2], 9), [0, 1, 2, 0, 2, 0]);
    }

    #[test]
    fn the_next_one_has_the_place_of_one_that_ended() {
        assert_eq!(order(&[4, 1, 2, 2], 2), [0, 1, 0, 0, 2, 0, 2, 3, 3]);
    }

    #[test]
    fn some_that_are_done_are_not_among_them() {
        let mut turns = Turns::new([], [1, 4, 5], 2);
        assert_eq!(turns.circle().collect::<Vec<_>>(), [1, 4]);
        turns.ended(1);
        assert_eq!(turns.circle().collect::<Vec<_>>(), [4, 5]);
    }

    proptest! {
        #[test]
        fn counts_of_open_sources_never_differ_by_more_than_one(at_once in 1_usize..6, length in 1_usize..20, sources in 1_usize..6) {
            // All that are open from the beginning.
            let open = at_once.min(sources);
            let mut counts = vec![0_usize; sources];
            for source in order(&vec![length; sources], at_once).into_iter().take(length * open) {
                counts[source] += 1;
                let (least, most) = (counts[..open].iter().min(), counts[..open].iter().max());
                prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
            }
        }

        #[test]
        fn whoever_goes_on_with_the_circle_goes_through_the_same_turns(
            lengths in proptest::collection::vec(0_usize..8, 1..8), at_once in 1_usize..5, stop in 0_usize..40
        ) {
            let count = lengths.len();
            let mut left = lengths.clone();
            let mut turns = Turns::new([], 0..count, at_once);
            let whole = all(&mut turns.clone(), &mut left.clone());
            let mut taken = Vec::new();
            for _ in 0..stop {
                let Some(source) = turns.next() else { break };
                taken.push((source, step(&mut turns, &mut left, source)));
            }
            let circle: Vec<_> = turns.circle().collect();
            let met = taken.iter().map(|(source, _)| *source).chain(circle.iter().copied()).max();
            let waiting = met.map_or(0, |met| met + 1)..count;
            taken.extend(all(&mut Turns::new(circle, waiting, at_once), &mut left));
            prop_assert_eq!(taken, whole);
        }
    }
}
