//! Memory of any size that goes to a worker and back with one item, for items whose size nobody knows before.
//!
//! An [`Envelope`] has two files in memory, of no name: what goes *there*, which only its maker can write, and what comes *back*,
//! which the worker writes. Both grow to what is needed and are used again while they are warm. A worker finds them by its
//! [`Label`], which travels with the item: process and descriptor, by way of /proc, and the file's own number, so that what
//! was closed meanwhile is not taken for another. When maker and workers are gone, however they ended, nothing is left.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use crate::machine;
use crate::memory::{Lent, PAGE, Slab, Tray, View};
use crate::message::WireError;

/// The maker's side.
///
/// Whoever sends its label along with an item must keep it until that item is delivered: until then the worker may use it.
pub struct Envelope {
    there: Option<There>,
    back: Tray,
    back_inode: u64,
}

struct There {
    slab: Slab,
    room: usize,
    inode: u64,
}

/// Where an envelope is, for a worker to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which of its maker's envelopes: a worker keeps one of each number open.
    pub number: u32,
    process: u32,
    there: Option<Place>,
    back: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    descriptor: i32,
    inode: u64,
}

impl Envelope {
    /// An empty one.
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let back = Tray::new()?;
        let back_inode = inode(back.file())?;
        Ok(Self { there: None, back, back_inode })
    }

    /// `bytes` bytes to be written for the worker, beginning at a page. They hold what was there before, if anything.
    ///
    /// # Errors
    /// When there is not as much memory, which is said with numbers.
    pub fn there(&mut self, bytes: usize) -> io::Result<&mut [u8]> {
        let enough = self.there.take().filter(|there| there.room >= bytes);
        let there = match enough {
            Some(there) => there,
            None => There::new(bytes)?,
        };
        let there = self.there.insert(there);
        let region = there.slab.regions.first_mut().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(&mut region.bytes_mut()[..bytes])
    }

    /// Room for what comes back, so that the worker need not make it.
    ///
    /// # Errors
    /// When there is not as much memory, which is said with numbers.
    pub fn reserve_back(&mut self, bytes: usize) -> io::Result<()> {
        machine::need_memory(bytes)?;
        Ok(self.back.reserve(bytes)?)
    }

    /// A worker still looks at what went there: it is left to it, and never written again.
    pub fn leave_there(&mut self) {
        self.there = None;
    }

    /// Copies what came back, from byte `at` on. `None` when there is not as much.
    pub fn read_back(&mut self, at: usize, out: &mut [u8]) -> Option<()> {
        self.back.read(at, out)
    }

    /// Where it is.
    pub fn label(&self, number: u32) -> Label {
        let there = self.there.as_ref().and_then(|there| {
            let descriptor = there.slab.file.as_ref()?.as_raw_fd();
            Some(Place { descriptor, inode: there.inode })
        });
        let back = Place { descriptor: self.back.file().as_raw_fd(), inode: self.back_inode };
        Label { number, process: std::process::id(), there, back }
    }
}

impl There {
    /// With some more room than asked for, since items that differ in size do so by a little as a rule.
    fn new(bytes: usize) -> io::Result<Self> {
        let room = bytes.saturating_add(bytes / 8).checked_next_multiple_of(PAGE).unwrap_or(usize::MAX);
        machine::need_memory(room)?;
        let slab = Slab::shared(1, room)?;
        let inode = inode(slab.file.as_deref().ok_or(io::ErrorKind::OutOfMemory)?)?;
        Ok(Self { slab, room, inode })
    }
}

fn inode(file: impl AsFd) -> io::Result<u64> {
    Ok(File::from(file.as_fd().try_clone_to_owned()?).metadata()?.ino())
}

impl Label {
    /// Bytes of [`Label::to_bytes`].
    pub const BYTES: usize = 32;

    /// To be sent.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let there = self.there.unwrap_or(Place { descriptor: -1, inode: 0 });
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.process.to_le_bytes());
        bytes[8..12].copy_from_slice(&there.descriptor.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.back.descriptor.to_le_bytes());
        bytes[16..24].copy_from_slice(&there.inode.to_le_bytes());
        bytes[24..].copy_from_slice(&self.back.inode.to_le_bytes());
        bytes
    }

    /// As it was sent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| WireError::Form(bytes.len()))?;
        let small = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let large = |at: usize| {
            u64::from(u32::from_le_bytes(small(at))) | u64::from(u32::from_le_bytes(small(at + 4))) << 32
        };
        let there = Place { descriptor: i32::from_le_bytes(small(8)), inode: large(16) };
        Ok(Self {
            number: u32::from_le_bytes(small(0)),
            process: u32::from_le_bytes(small(4)),
            there: (there.descriptor >= 0).then_some(there),
            back: Place { descriptor: i32::from_le_bytes(small(12)), inode: large(24) },
        })
    }
}

impl Place {
    fn open(self, process: u32, writable: bool) -> io::Result<OwnedFd> {
        let path = format!("/proc/{process}/fd/{}", self.descriptor);
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot open shared memory at {path}: {error}"))
        };
        let file = OpenOptions::new().read(true).write(writable).open(&path).map_err(told)?;
        if file.metadata()?.ino() != self.inode {
            return Err(io::Error::other(format!("{path} is not the shared memory that it was")));
        }
        Ok(file.into())
    }
}

/// The worker's side of one envelope. One that is opened anew closes what is not the same any more.
#[derive(Default)]
pub struct Opened {
    there: Option<(u64, Lent)>,
    back: Option<(u64, Tray)>,
}

/// What a worker got, to be read for as long as it likes: its maker leaves it alone when it hears that it is kept.
pub struct Contents(View);

impl Deref for Contents {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Opened {
    /// What came, `bytes` bytes of it.
    ///
    /// # Errors
    /// When it is not there any more, or does not hold as much.
    pub fn there(&mut self, label: &Label, bytes: usize) -> io::Result<Contents> {
        let place = label.there.ok_or_else(|| io::Error::other("the envelope is empty"))?;
        let lent = match self.there.take().filter(|(inode, _)| *inode == place.inode) {
            Some((_, lent)) => lent,
            None => {
                let file = place.open(label.process, false)?;
                let whole = File::from(file.try_clone()?).metadata()?.len();
                Lent::map(file.as_fd(), usize::try_from(whole).map_err(io::Error::other)?)?
            }
        };
        let view =
            lent.view(0, bytes).ok_or_else(|| io::Error::other("the envelope is smaller than its item"))?;
        self.there = Some((place.inode, lent));
        Ok(Contents(view))
    }

    /// Writes `bytes` bytes to go back, by `write`, which is given where to put something.
    ///
    /// # Errors
    /// When there is not as much memory.
    pub fn back<F>(&mut self, label: &Label, bytes: usize, write: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn FnMut(usize, &[u8])),
    {
        let mut tray = match self.back.take().filter(|(inode, _)| *inode == label.back.inode) {
            Some((_, tray)) => tray,
            None => Tray::of(label.back.open(label.process, true)?),
        };
        if !tray.has(bytes) {
            machine::need_memory(bytes)?;
        }
        tray.reserve(bytes)?;
        let mut fits = true;
        write(&mut |at, part| fits &= tray.write(at, part).is_some());
        self.back = Some((label.back.inode, tray));
        if fits { Ok(()) } else { Err(io::Error::other("more was written than there is room for")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(envelope: &mut Envelope, opened: &mut Opened, bytes: &[u8]) -> Vec<u8> {
        opened.back(&envelope.label(0), bytes.len(), |put| put(0, bytes)).unwrap();
        let mut out = vec![0; bytes.len()];
        envelope.read_back(0, &mut out).unwrap();
        out
    }

    #[test]
    fn it_goes_there_and_back_at_any_size() {
        let (mut envelope, mut opened) = (Envelope::new().unwrap(), Opened::default());
        for bytes in [10, 3, 100_000, 99_999, 10_000_000, 1] {
            envelope.there(bytes).unwrap().fill(bytes as u8);
            let label = Label::from_bytes(&envelope.label(7).to_bytes()).unwrap();
            assert_eq!(label, envelope.label(7));
            let letter = opened.there(&label, bytes).unwrap();
            assert_eq!((letter.len(), letter[bytes - 1]), (bytes, bytes as u8));
            let answer = vec![bytes as u8 + 1; bytes];
            assert_eq!(back(&mut envelope, &mut opened, &answer), answer);
        }
    }

    #[test]
    fn what_is_kept_stays_as_it_was() {
        let (mut envelope, mut opened) = (Envelope::new().unwrap(), Opened::default());
        envelope.there(5).unwrap().copy_from_slice(b"first");
        let kept = opened.there(&envelope.label(0), 5).unwrap();
        envelope.leave_there();
        envelope.there(5).unwrap().copy_from_slice(b"other");
        let next = opened.there(&envelope.label(0), 5).unwrap();
        assert_eq!((&*kept, &*next), (&b"first"[..], &b"other"[..]));
    }

    #[test]
    fn one_that_is_gone_is_noticed() {
        let mut envelope = Envelope::new().unwrap();
        envelope.there(5).unwrap();
        let label = envelope.label(0);
        drop(envelope);
        let error = Opened::default().there(&label, 5).err().unwrap().to_string();
        assert!(error.contains("shared memory"), "{error}");
    }

    #[test]
    fn memory_that_is_not_there_is_told_with_its_size() {
        let error = Envelope::new().unwrap().there(1 << 50).err().unwrap().to_string();
        assert!(error.contains("1207959552 MiB of shared memory are needed"), "{error}");
    }
}
