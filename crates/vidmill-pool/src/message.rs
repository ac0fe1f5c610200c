//! What supervisor and worker say to each other: one message a packet, small, little-endian. Workers need not be
//! written in Rust, so this page is the whole protocol.
//!
//! ```text
//! every message   u8 kind, u8 version, u16 flags, u32 number, u64 sequence, body
//!
//! to the worker
//! 1 hello         number: the worker's, from 0        body: whatever it is built from
//! 2 attach        fds: slab, desks                    body: u64 slab bytes, u64 areas, u64 bytes of each
//! 3 job           number: the result area to use      body: u64 offset and u64 bytes in the slab, list of items
//! 4 leave
//!
//! to the supervisor
//! 17 ready                                            body: what the worker says of itself
//! 18 cannot start                                     body: why, in UTF-8
//! 19 done         flags                               body: list of outputs, one an item
//! 20 failed       flags                               body: why, in UTF-8
//! 21 released     the bytes that were kept are not needed any more
//!
//! any other size  a message of more than 64 KiB comes as one of kind 255: the file beside it holds it, and the body is its
//!                 u64 length
//! flags           1: the list is in the area, and the body is its u64 length; 2: the job's bytes are kept
//! a list          u32 count, then u32 length and that many bytes for each
//! ```
//!
//! A worker says hello back with *ready*, is attached, and gets jobs, in order; it answers each with *done* or *failed*.
//! Before it touches a job's bytes it stores the job's sequence number in its desk's first word, and 0 when it has answered.

/// Raised when the two sides would misunderstand each other.
pub(crate) const VERSION: u8 = 1;
/// Largest message. Kernels take packets of some 200 KB; two of these must fit a socket's buffer.
pub(crate) const LARGEST: usize = 64 * 1024;
/// Largest message that comes in a file.
pub(crate) const LARGEST_LETTER: usize = 64 << 20;
/// The kind of a message that tells of one in a file.
pub(crate) const ENCLOSED: u8 = 255;
/// Most bytes of a job's items: jobs must not make anybody wait, and never come in files.
pub(crate) const LARGEST_ITEMS: usize = LARGEST - 64;

const HEAD: usize = 16;
const IN_AREA: u16 = 1;
const KEPT: u16 = 2;

/// What is not a message of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Cut off, or longer than it says.
    #[error("a message of {0} bytes does not have the form of its kind")]
    Form(usize),
    /// Of another version.
    #[error(
        "it speaks version {found} of the protocol, and {VERSION} is expected: run the same vidmill on both sides"
    )]
    Version {
        /// Of the message.
        found: u8,
    },
    /// Of no known kind.
    #[error("a message of the unknown kind {0}")]
    Kind(u8),
    /// A value that is none of its type.
    #[error("{0}")]
    Value(String),
}

/// From the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToWorker<'a> {
    Hello { worker: u32, start: &'a [u8] },
    Attach { slab_bytes: u64, areas: u64, area_bytes: u64 },
    Job { sequence: u64, area: u32, offset: u64, bytes: u64, items: List<'a> },
    Leave,
}

/// From a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromWorker<'a> {
    Ready { introduction: &'a [u8] },
    CannotStart { reason: &'a str },
    Done { sequence: u64, kept: bool, outputs: Outputs<'a> },
    Failed { sequence: u64, kept: bool, reason: &'a str },
    Released { sequence: u64 },
}

/// Where a job's outputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outputs<'a> {
    Here(List<'a>),
    /// A list of this length in the area that the job named.
    InArea {
        bytes: u64,
    },
}

/// Byte strings, one after the other; their form has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List<'a>(&'a [u8]);

impl ToWorker<'_> {
    pub fn encode<'m>(&self, message: &'m mut Vec<u8>) -> &'m [u8] {
        match *self {
            Self::Hello { worker, start } => {
                begin(message, 1, 0, worker, 0);
                message.extend_from_slice(start);
            }
            Self::Attach { slab_bytes, areas, area_bytes } => {
                begin(message, 2, 0, 0, 0);
                [slab_bytes, areas, area_bytes]
                    .iter()
                    .for_each(|n| message.extend_from_slice(&n.to_le_bytes()));
            }
            Self::Job { sequence, area, offset, bytes, items } => {
                begin(message, 3, 0, area, sequence);
                message.extend_from_slice(&offset.to_le_bytes());
                message.extend_from_slice(&bytes.to_le_bytes());
                message.extend_from_slice(items.0);
            }
            Self::Leave => begin(message, 4, 0, 0, 0),
        }
        message
    }
}

impl FromWorker<'_> {
    pub fn encode<'m>(&self, message: &'m mut Vec<u8>) -> &'m [u8] {
        match *self {
            Self::Ready { introduction } => {
                begin(message, 17, 0, 0, 0);
                message.extend_from_slice(introduction);
            }
            Self::CannotStart { reason } => {
                begin(message, 18, 0, 0, 0);
                message.extend_from_slice(shortened(reason).as_bytes());
            }
            Self::Done { sequence, kept, outputs } => {
                let kept = if kept { KEPT } else { 0 };
                match outputs {
                    Outputs::Here(list) => {
                        begin(message, 19, kept, 0, sequence);
                        message.extend_from_slice(list.0);
                    }
                    Outputs::InArea { bytes } => {
                        begin(message, 19, kept | IN_AREA, 0, sequence);
                        message.extend_from_slice(&bytes.to_le_bytes());
                    }
                }
            }
            Self::Failed { sequence, kept, reason } => {
                begin(message, 20, if kept { KEPT } else { 0 }, 0, sequence);
                message.extend_from_slice(shortened(reason).as_bytes());
            }
            Self::Released { sequence } => begin(message, 21, 0, 0, sequence),
        }
        message
    }
}

/// What stands for a message of `bytes` bytes that comes in a file.
pub(crate) fn enclosed(bytes: usize) -> Vec<u8> {
    let mut message = Vec::new();
    begin(&mut message, ENCLOSED, 0, 0, 0);
    message.extend_from_slice(&(bytes as u64).to_le_bytes());
    message
}

/// The length that [`enclosed`] tells, if it is one.
pub(crate) fn enclosed_bytes(message: &[u8]) -> Option<usize> {
    let Head { kind: ENCLOSED, body, .. } = Head::of(message).ok()? else { return None };
    let [bytes] = numbers(body)?.0;
    usize::try_from(bytes).ok().filter(|&bytes| bytes <= LARGEST_LETTER)
}

fn begin(message: &mut Vec<u8>, kind: u8, flags: u16, number: u32, sequence: u64) {
    message.clear();
    message.extend_from_slice(&[kind, VERSION]);
    message.extend_from_slice(&flags.to_le_bytes());
    message.extend_from_slice(&number.to_le_bytes());
    message.extend_from_slice(&sequence.to_le_bytes());
}

/// A reason that fits a message.
fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(LARGEST / 2)).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

impl<'a> ToWorker<'a> {
    pub fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let Head { kind, number, sequence, body, .. } = Head::of(message)?;
        let form = || WireError::Form(message.len());
        Ok(match kind {
            1 => Self::Hello { worker: number, start: body },
            2 => {
                let [slab_bytes, areas, area_bytes] = numbers(body).ok_or_else(form)?.0;
                Self::Attach { slab_bytes, areas, area_bytes }
            }
            3 => {
                let ([offset, bytes], rest) = numbers(body).ok_or_else(form)?;
                Self::Job { sequence, area: number, offset, bytes, items: List::of(rest)? }
            }
            4 => Self::Leave,
            other => return Err(WireError::Kind(other)),
        })
    }
}

impl<'a> FromWorker<'a> {
    pub fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let Head { kind, flags, sequence, body, .. } = Head::of(message)?;
        let form = || WireError::Form(message.len());
        let text = || std::str::from_utf8(body).map_err(|_| form());
        Ok(match kind {
            17 => Self::Ready { introduction: body },
            18 => Self::CannotStart { reason: text()? },
            19 => {
                let outputs = if flags & IN_AREA != 0 {
                    let [bytes] = numbers(body).ok_or_else(form)?.0;
                    Outputs::InArea { bytes }
                } else {
                    Outputs::Here(List::of(body)?)
                };
                Self::Done { sequence, kept: flags & KEPT != 0, outputs }
            }
            20 => Self::Failed { sequence, kept: flags & KEPT != 0, reason: text()? },
            21 => Self::Released { sequence },
            other => return Err(WireError::Kind(other)),
        })
    }
}

struct Head<'a> {
    kind: u8,
    flags: u16,
    number: u32,
    sequence: u64,
    body: &'a [u8],
}

impl<'a> Head<'a> {
    fn of(message: &'a [u8]) -> Result<Self, WireError> {
        let (head, body) = message.split_first_chunk::<HEAD>().ok_or(WireError::Form(message.len()))?;
        let [kind, version, f0, f1, n0, n1, n2, n3, sequence @ ..] = *head;
        if version != VERSION {
            return Err(WireError::Version { found: version });
        }
        let (flags, number) = (u16::from_le_bytes([f0, f1]), u32::from_le_bytes([n0, n1, n2, n3]));
        Ok(Self { kind, flags, number, sequence: u64::from_le_bytes(sequence), body })
    }
}

/// The first `N` numbers of a body, and what comes after them.
fn numbers<const N: usize>(mut body: &[u8]) -> Option<([u64; N], &[u8])> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (bytes, rest) = body.split_first_chunk()?;
        (*number, body) = (u64::from_le_bytes(*bytes), rest);
    }
    Some((numbers, body))
}

impl<'a> List<'a> {
    /// Checks the form of a list.
    pub fn of(bytes: &'a [u8]) -> Result<Self, WireError> {
        let list = Self(bytes);
        let mut entries = list.iter();
        let form = WireError::Form(bytes.len());
        let count = list.count().ok_or(form.clone())?;
        if entries.by_ref().take(count).count() == count && entries.rest.is_empty() {
            Ok(list)
        } else {
            Err(form)
        }
    }

    fn count(&self) -> Option<usize> {
        let count = u32::from_le_bytes(*self.0.first_chunk()?);
        usize::try_from(count).ok()
    }

    pub fn iter(&self) -> Entries<'a> {
        Entries { rest: self.0.get(size_of::<u32>()..).unwrap_or_default() }
    }
}

/// The byte strings of a [`List`].
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = rest;
        Some(entry)
    }
}

/// Builds a list.
#[derive(Default)]
pub(crate) struct ListBuilder {
    bytes: Vec<u8>,
}

impl ListBuilder {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; size_of::<u32>()]);
    }

    /// Adds what `write` appends.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; size_of::<u32>()]);
        write(&mut self.bytes);
        let length = self.bytes.len().saturating_sub(begin + size_of::<u32>());
        // Longer than 4 GiB does not fit anywhere; the list then fails its check where it is read.
        self.put(begin, u32::try_from(length).unwrap_or(u32::MAX));
        let count = self.bytes.first_chunk().map_or(0, |count| u32::from_le_bytes(*count));
        self.put(0, count + 1);
    }

    fn put(&mut self, at: usize, number: u32) {
        if let Some(place) = self.bytes.get_mut(at..at + size_of::<u32>()) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn list(&self) -> List<'_> {
        List(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[&[u8]]) -> ListBuilder {
        let mut list = ListBuilder::default();
        list.clear();
        entries.iter().for_each(|entry| list.push(|bytes| bytes.extend_from_slice(entry)));
        list
    }

    #[test]
    fn every_message_reads_back() {
        let items = list(&[b"one", b"", b"three"]);
        let to_worker = [
            ToWorker::Hello { worker: 3, start: b"model" },
            ToWorker::Attach { slab_bytes: 1 << 33, areas: 2, area_bytes: 4096 },
            ToWorker::Job { sequence: u64::MAX, area: 1, offset: 8192, bytes: 5, items: items.list() },
            ToWorker::Leave,
        ];
        let from_worker = [
            FromWorker::Ready { introduction: b"" },
            FromWorker::CannotStart { reason: "no such model" },
            FromWorker::Done { sequence: 7, kept: true, outputs: Outputs::Here(items.list()) },
            FromWorker::Done { sequence: 8, kept: false, outputs: Outputs::InArea { bytes: 99 } },
            FromWorker::Failed { sequence: 9, kept: true, reason: "" },
            FromWorker::Released { sequence: 10 },
        ];
        let mut bytes = Vec::new();
        for message in to_worker {
            assert_eq!(ToWorker::decode(message.encode(&mut bytes)), Ok(message));
        }
        for message in from_worker {
            assert_eq!(FromWorker::decode(message.encode(&mut bytes)), Ok(message));
        }
        assert_eq!(items.list().iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = ToWorker::Leave.encode(&mut Vec::new()).to_vec();
        bytes[1] = 99;
        assert_eq!(ToWorker::decode(&bytes), Err(WireError::Version { found: 99 }));
    }

    #[test]
    fn reasons_are_shortened_at_a_character() {
        let long = "ü".repeat(LARGEST);
        let message = FromWorker::CannotStart { reason: &long };
        let mut bytes = Vec::new();
        assert!(message.encode(&mut bytes).len() <= LARGEST);
        assert!(
            matches!(FromWorker::decode(&bytes), Ok(FromWorker::CannotStart { reason }) if long.starts_with(reason))
        );
    }

    proptest! {
        /// A worker may be anything: what it sends must never do more than be refused.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0_u8..30) {
            let mut bytes = bytes;
            if let [first, second, ..] = &mut bytes[..] {
                (*first, *second) = (kind, VERSION);
            }
            let _ = ToWorker::decode(&bytes);
            if let Ok(FromWorker::Done { outputs: Outputs::Here(list), .. }) = FromWorker::decode(&bytes) {
                prop_assert_eq!(Some(list.iter().count()), list.count());
            }
        }
    }
}
