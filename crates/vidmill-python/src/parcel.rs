//! What travels between `vidmill.Pool` and its workers: a pickle and its buffers, there and back.
//!
//! ```text
//! body     u64 count of parts, u64 length of each; then the parts, each at a multiple of 64: the pickle, then its buffers
//! item     label of the envelope, then u8 0 and the body (small: within the message), or u8 1 and u64 bytes of the body in the
//!          envelope
//! answer   u8 status, u8 kept, then the same
//! ```

use std::ops::Range;

use vidmill::pool::{Label, Wire, WireError};

/// Bodies up to this size travel within messages.
pub const SMALL: usize = 32 * 1024;
/// What any element of an array wants its first byte to be a multiple of, and any vector load.
const ALIGNMENT: usize = 64;
const WORD: usize = size_of::<u64>();

/// Where the parts of a body lie in it.
pub struct Layout {
    lengths: Vec<usize>,
    pub bytes: usize,
}

impl Layout {
    pub fn of(parts: &[&[u8]]) -> Self {
        Self::with(parts.iter().map(|part| part.len()).collect())
            .unwrap_or(Self { lengths: Vec::new(), bytes: usize::MAX })
    }

    fn with(lengths: Vec<usize>) -> Option<Self> {
        let mut layout = Self { bytes: 0, lengths };
        layout.bytes = layout.ranges()?.last().map_or(layout.head(), |last| last.end);
        Some(layout)
    }

    fn head(&self) -> usize {
        (self.lengths.len() + 1) * WORD
    }

    /// Nothing where the lengths are more than memory can hold.
    pub fn ranges(&self) -> Option<Vec<Range<usize>>> {
        let mut end = self.head();
        let range = |&length: &usize| {
            let begin = end.checked_next_multiple_of(ALIGNMENT)?;
            end = begin.checked_add(length)?;
            Some(begin..end)
        };
        self.lengths.iter().map(range).collect()
    }

    /// Writes the body by `put`, which is told where to.
    pub fn write(&self, parts: &[&[u8]], put: &mut dyn FnMut(usize, &[u8])) {
        let numbers = std::iter::once(parts.len()).chain(parts.iter().map(|part| part.len()));
        let head: Vec<u8> = numbers.flat_map(|number| (number as u64).to_le_bytes()).collect();
        put(0, &head);
        for (range, part) in self.ranges().into_iter().flatten().zip(parts) {
            put(range.start, part);
        }
    }

    /// The same, into memory of as many bytes.
    pub fn write_to(&self, parts: &[&[u8]], body: &mut [u8]) {
        self.write(parts, &mut |at, part| body[at..at + part.len()].copy_from_slice(part));
    }

    /// Reads the layout of a body of `bytes` bytes, which `read` copies from.
    pub fn read(
        bytes: usize,
        mut read: impl FnMut(usize, &mut [u8]) -> Option<()>,
    ) -> Result<Self, WireError> {
        let form = || WireError::Form(bytes);
        let mut word = [0; WORD];
        read(0, &mut word).ok_or_else(form)?;
        let most = (bytes / WORD).checked_sub(1).ok_or_else(form)?;
        let count = small(word).filter(|&count| count <= most).ok_or_else(form)?;
        let mut lengths = vec![0; count * WORD];
        read(WORD, &mut lengths).ok_or_else(form)?;
        let lengths: Option<Vec<usize>> = lengths.as_chunks().0.iter().copied().map(small).collect();
        let layout = Self::with(lengths.ok_or_else(form)?).ok_or_else(form)?;
        if layout.bytes == bytes { Ok(layout) } else { Err(form()) }
    }

    pub fn read_from(body: &[u8]) -> Result<Self, WireError> {
        Self::read(body.len(), |at, out| {
            out.copy_from_slice(body.get(at..at.checked_add(out.len())?)?);
            Some(())
        })
    }
}

fn small(word: [u8; WORD]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(word)).ok()
}

/// A call's arguments.
pub struct Item {
    /// What is large goes by this, there and back.
    pub label: Label,
    pub body: Body,
}

/// What became of a call.
pub struct Answer {
    /// What the pickle is, as `_pool_worker.py` has it: the result, or an exception.
    pub status: u8,
    /// Something still looks at the arguments: their memory must be left alone.
    pub kept: bool,
    pub body: Body,
}

/// Where a body is.
pub enum Body {
    Here(Vec<u8>),
    /// So many bytes in the item's envelope.
    InEnvelope(usize),
}

impl Body {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Here(body) => {
                out.push(0);
                out.extend_from_slice(body);
            }
            Self::InEnvelope(bytes) => {
                out.push(1);
                out.extend_from_slice(&(*bytes as u64).to_le_bytes());
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let form = || WireError::Form(bytes.len());
        match bytes.split_first() {
            Some((0, body)) => Ok(Self::Here(body.to_vec())),
            Some((1, bytes)) => Ok(Self::InEnvelope(bytes.try_into().ok().and_then(small).ok_or_else(form)?)),
            _ => Err(form()),
        }
    }
}

impl Wire for Item {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.label.to_bytes());
        self.body.write(out);
    }

    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let (label, body) = bytes.split_at_checked(Label::BYTES).ok_or(WireError::Form(bytes.len()))?;
        Ok(Self { label: Label::from_bytes(label)?, body: Body::read(body)? })
    }
}

impl Wire for Answer {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.status, u8::from(self.kept)]);
        self.body.write(out);
    }

    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let (&[status, kept], body) = bytes.split_first_chunk().ok_or(WireError::Form(bytes.len()))?;
        Ok(Self { status, kept: kept != 0, body: Body::read(body)? })
    }
}
