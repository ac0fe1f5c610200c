//! The table of places that a line is sampled at, and the one unchecked read of the kernels.

use super::Position;

/// Where along a line every output lies: between sample `index` and the one `step` further, `weight` of the way.
///
/// Invariant: every entry of `index` is at most `last`. [`Taps::new`] alone makes one, and nothing changes it.
#[derive(Clone, Debug)]
pub(crate) struct Taps {
    index: Vec<u32>,
    weight: Vec<f32>,
    step: usize,
    last: usize,
}

impl Taps {
    /// Taps into a line whose samples stand `step` apart, the first at `first`.
    pub(crate) fn new(positions: &[Position], step: usize, first: usize) -> Self {
        let index: Vec<u32> =
            positions.iter().map(|position| (position.index * step + first) as u32).collect();
        let last = index.iter().max().map_or(0, |&last| last as usize);
        Self { index, weight: positions.iter().map(|position| position.weight).collect(), step, last }
    }

    /// Whether they take every one of `count` samples, as it is.
    pub(crate) fn are_all(&self, count: usize) -> bool {
        self.index.len() == count
            && self.index.iter().enumerate().all(|(at, &index)| index as usize == at)
            && self.weight.iter().all(|&weight| weight == 0.0)
    }

    /// Both samples and the weight of every tap.
    ///
    /// # Panics
    /// When `line` is shorter than the taps reach; checked once, not for every tap.
    #[inline(always)]
    #[expect(unsafe_code, reason = "two checks a value would keep the loops from being vectorised")]
    pub(super) fn over<T: Copy>(&self, line: &[T]) -> impl Iterator<Item = (T, T, f32)> {
        let step = self.step;
        assert!(line.len() > self.last + step, "a line is shorter than its taps reach");
        self.index.iter().zip(&self.weight).map(move |(&at, &weight)| {
            let at = at as usize;
            // SAFETY: by the invariant of this type `at` is at most `last`, and the line was found to be longer than
            // `last + step`.
            let (a, b) = unsafe { (*line.get_unchecked(at), *line.get_unchecked(at + step)) };
            (a, b, weight)
        })
    }

    /// [`Taps::over`] where samples stand side by side: both are read at once.
    ///
    /// # Panics
    /// When `line` is shorter than the taps reach, or samples are further apart.
    #[inline(always)]
    #[expect(unsafe_code, reason = "two checks a value would keep the loops from being vectorised")]
    pub(super) fn over_neighbours(&self, line: &[i16]) -> impl Iterator<Item = (i16, i16, f32)> {
        assert!(line.len() > self.last + 1, "a line is shorter than its taps reach");
        assert_eq!(self.step, 1, "samples of the taps are not neighbours");
        self.index.iter().zip(&self.weight).map(move |(&at, &weight)| {
            let first = line.as_ptr().wrapping_add(at as usize).cast::<u32>();
            // SAFETY: by the invariant of this type `at` is at most `last`, and the line was found to be longer than
            // `last + 1`: four bytes from its sample `at` on are within it. The read needs no alignment.
            let both = unsafe { first.read_unaligned() };
            let (low, high) = (both as i16, (both >> 16) as i16);
            if cfg!(target_endian = "little") { (low, high, weight) } else { (high, low, weight) }
        })
    }
}
