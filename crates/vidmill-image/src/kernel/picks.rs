//! The samples of a line that are taken: as a list, and as shuffles of the stretches that they lie in.

/// Which samples of a line are taken, in which order.
///
/// Vector units have no quick way to read here and there, but they put the bytes of a register or two in any order. So for every
/// block of the output, of as many bytes as a register holds, a table tells which windows of the line to load, and which byte of
/// a window each byte of the block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picks {
    index: Vec<u32>,
    /// Bytes of a sample: 1 or 2.
    sample: usize,
    /// Bytes that a line must have.
    length: usize,
    /// They are codes, and every two of them stand side by side.
    pairs: bool,
    shuffles: Shuffles,
}

/// How a level shuffles: bytes of a block and of a window. A block of 0: it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) block: usize,
    pub(super) window: usize,
}

/// Some bytes of the output, as shuffles of windows.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, const BYTES: usize> {
    /// Where it begins in the output, in bytes.
    pub(super) at: usize,
    /// Where each window begins in the line.
    pub(super) starts: &'a [u32],
    /// For each window, which byte of it each byte of the block is; or, by its highest bit, that it is none of it.
    pub(super) places: &'a [[u8; BYTES]],
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shuffles {
    shape: Shape,
    /// Windows of each block.
    count: usize,
    /// Where each window begins in the line.
    starts: Vec<u32>,
    /// For each window, which byte of it each byte of the block is, or [`ELSEWHERE`].
    places: Vec<u8>,
}

/// A byte of the block is none of this window.
const ELSEWHERE: u8 = 0x80;

impl Picks {
    /// Picks samples of `sample` bytes from lines of `samples` of them.
    ///
    /// # Panics
    /// When an index is not below `samples`, or a sample has neither one byte nor two.
    pub(super) fn new(index: Vec<u32>, sample: usize, samples: usize, shape: Shape) -> Self {
        assert!(matches!(sample, 1 | 2), "samples of {sample} bytes cannot be picked");
        assert!(index.iter().all(|&at| (at as usize) < samples), "a pick lies outside its line");
        let length = samples * sample;
        let bytes: Vec<u32> = index
            .iter()
            .flat_map(|&at| (0..sample as u32).map(move |byte| at * sample as u32 + byte))
            .collect();
        let (pairs, rest) = index.as_chunks::<2>();
        let pairs = sample == 2 && rest.is_empty() && pairs.iter().all(|[a, b]| a + 1 == *b);
        Self { index, sample, length, pairs, shuffles: Shuffles::new(&bytes, length, shape) }
    }

    /// Index of every sample that is picked.
    #[inline(always)]
    pub(super) fn index(&self) -> &[u32] {
        &self.index
    }

    /// Whether they are codes, and every two of them stand side by side.
    pub(crate) fn are_pairs(&self) -> bool {
        self.pairs
    }

    /// Reads one of the first `count` pairs of codes: the first of it that is picked, and its neighbour.
    ///
    /// # Panics
    /// When the line is too short, or there are fewer pairs.
    #[inline(always)]
    #[expect(unsafe_code, reason = "two checks a value would keep the loops from being vectorised")]
    pub(super) fn pairs<'a>(&'a self, line: &'a [i16], count: usize) -> impl Fn(usize) -> [i16; 2] + 'a {
        assert!(self.pairs && line.len() * 2 >= self.length, "a line is shorter than its pairs reach");
        let pairs = &self.index.as_chunks::<2>().0[..count];
        move |i| {
            let first = line.as_ptr().wrapping_add(pairs[i][0] as usize).cast::<[i16; 2]>();
            // SAFETY: `pairs` says that the sample after this one is picked too, `Picks::new` that all that is picked lies below
            // `length`, in bytes, and the line was found to have as many. Two codes need no more alignment than one.
            unsafe { first.read_unaligned() }
        }
    }

    /// Two picks after the other, of a line of other values.
    ///
    /// # Panics
    /// When the line is too short.
    #[inline(always)]
    #[expect(unsafe_code, reason = "two checks a value would keep the loops from being vectorised")]
    pub(super) fn twos<'a>(&'a self, line: &'a [f32]) -> impl Iterator<Item = [f32; 2]> + 'a {
        assert!(line.len() * self.sample >= self.length, "a line is shorter than its picks reach");
        self.index.as_chunks::<2>().0.iter().map(|two| {
            // SAFETY: by `Picks::new` every index is below the number of samples, and the line was found to have as many.
            two.map(|at| unsafe { *line.get_unchecked(at as usize) })
        })
    }

    /// Bytes of a sample.
    #[inline(always)]
    pub(super) fn sample(&self) -> usize {
        self.sample
    }

    /// For a line and an output of so many bytes, the blocks of `BLOCK` bytes. None where there are no
    /// shuffles of this shape.
    ///
    /// # Panics
    /// When the line or the output is too short.
    #[inline(always)]
    pub(super) fn blocks<const BLOCK: usize>(
        &self,
        line: usize,
        out: usize,
    ) -> Option<impl Iterator<Item = Block<'_, BLOCK>>> {
        let Shuffles { shape, count, starts, places } = &self.shuffles;
        if shape.block != BLOCK || *count == 0 {
            return None;
        }
        let bytes = self.index.len() * self.sample;
        assert!(line >= self.length, "a line is shorter than its picks reach");
        assert!(out >= bytes, "an output is shorter than its picks");
        let places = places.as_chunks::<BLOCK>().0;
        let blocks = starts.chunks_exact(*count).zip(places.chunks_exact(*count)).enumerate();
        Some(blocks.map(move |(i, (starts, places))| {
            // The last one may lie over part of the one before.
            Block { at: (i * BLOCK).min(bytes - BLOCK), starts, places }
        }))
    }
}

impl Shuffles {
    fn new(bytes: &[u32], length: usize, shape: Shape) -> Self {
        let none = Self { shape, count: 0, starts: Vec::new(), places: Vec::new() };
        if shape.block == 0 || bytes.len() < shape.block || length < shape.window {
            return none;
        }
        let last = bytes.len() - shape.block;
        let blocks = (0..bytes.len().div_ceil(shape.block)).map(|i| (i * shape.block).min(last));
        let blocks: Vec<_> = blocks.map(|at| &bytes[at..at + shape.block]).collect();
        let windows: Vec<_> = blocks.iter().map(|block| windows(block, length, shape.window)).collect();
        let count = windows.iter().map(Vec::len).max().unwrap_or(0);
        let mut all = Self { count, ..none };
        for (block, windows) in blocks.into_iter().zip(windows) {
            all.push(block, &windows);
        }
        all
    }

    /// Adds a block of these bytes, which lie in these windows.
    fn push(&mut self, block: &[u32], windows: &[u32]) {
        let first_of = |byte: u32| windows.iter().position(|start| self.shape.holds(*start, byte));
        let homes: Vec<_> = block.iter().map(|&byte| first_of(byte)).collect();
        for window in 0..self.count {
            // What is left over is loaded, and nothing of it taken.
            let start = windows.get(window).copied().unwrap_or(0);
            let place = |(&byte, home): (&u32, &Option<usize>)| {
                if *home == Some(window) { (byte - start) as u8 } else { ELSEWHERE }
            };
            self.starts.push(start);
            self.places.extend(block.iter().zip(&homes).map(place));
        }
    }
}

impl Shape {
    /// Whether a window that begins at `start` holds this byte of the line.
    fn holds(self, start: u32, byte: u32) -> bool {
        (start as usize..start as usize + self.window).contains(&(byte as usize))
    }
}

/// The fewest windows that hold all these bytes of a line of `length` bytes, by their beginnings.
fn windows(bytes: &[u32], length: usize, window: usize) -> Vec<u32> {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    let mut starts: Vec<u32> = Vec::new();
    let mut reach = 0;
    for byte in sorted {
        if starts.is_empty() || byte as usize >= reach {
            let start = (byte as usize).min(length - window);
            starts.push(start as u32);
            reach = start + window;
        }
    }
    starts
}

/// The bytes of a line of codes.
#[inline(always)]
#[expect(unsafe_code, reason = "a line of codes is seen as bytes")]
pub(super) fn as_bytes(line: &[i16]) -> &[u8] {
    // SAFETY: two initialised bytes for each code, in the same borrow; bytes need no alignment.
    unsafe { std::slice::from_raw_parts(line.as_ptr().cast(), size_of_val(line)) }
}

/// The bytes of a line of codes, to be written.
#[inline(always)]
#[expect(unsafe_code, reason = "a line of codes is seen as bytes")]
pub(super) fn as_bytes_mut(line: &mut [i16]) -> &mut [u8] {
    // SAFETY: two initialised bytes for each code, in the same exclusive borrow; bytes need no alignment, and any are a code.
    unsafe { std::slice::from_raw_parts_mut(line.as_mut_ptr().cast(), size_of_val(line)) }
}
