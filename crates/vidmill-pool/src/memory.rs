//! Memory that goes between processes. In: sizes. Out: [`Region`]s that one owner at a time may write, [`View`]s of what
//! others wrote, and words that survive the death of who wrote them.
//!
//! Shared memory is a memfd: it has no name, so nothing is left in /dev/shm, and its pages are taken before the work
//! begins, so that memory which is not there is missed then and not by a SIGBUS later. It is sealed: nobody can
//! shrink it under the others' feet, and only who made the slab can write it.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Everything in a slab begins at a multiple of this: a page, which is more than any element or vector load needs.
pub(crate) const PAGE: usize = 4096;

/// A piece of mapped memory, unmapped when its last user is gone.
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is plain memory, valid from any thread until it is dropped; who may touch which part of it is the
// business of `Region`, `View` and `Desk`, which hand out no part twice for writing.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn anonymous(bytes: usize) -> Result<Self, Errno> {
        let bytes = bytes.max(1);
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe {
            mmap_anonymous(std::ptr::null_mut(), bytes, prot, MapFlags::PRIVATE | MapFlags::POPULATE)
        }?;
        Self::new(base.cast(), bytes)
    }

    fn of_file(file: BorrowedFd<'_>, offset: usize, bytes: usize, prot: ProtFlags) -> Result<Self, Errno> {
        let bytes = bytes.max(1);
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing. The file has at least
        // `offset + bytes` bytes and is sealed against shrinking, so that no access can fault.
        let base = unsafe { mmap(std::ptr::null_mut(), bytes, prot, flags, file, offset as u64) }?;
        Self::new(base.cast(), bytes)
    }

    fn new(base: *mut u8, bytes: usize) -> Result<Self, Errno> {
        NonNull::new(base).map(|base| Self { base, bytes }).ok_or(Errno::NOMEM)
    }

    /// The address of `range`, which must lie in the mapping.
    ///
    /// # Panics
    /// When it does not.
    fn at(&self, range: &Range<usize>) -> *mut u8 {
        assert!(range.start <= range.end && range.end <= self.bytes, "{range:?} of {} bytes", self.bytes);
        // SAFETY: the assertion keeps the offset within the mapping.
        unsafe { self.base.as_ptr().add(range.start) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping, and all that lend parts of it hold it alive. Unmapping
        // what is mapped does not fail.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// A part of a mapping that this process alone writes. There is one for each part.
pub(crate) struct Region {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl Region {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the range lies in the mapping; only this region's owner writes it, by `bytes_mut`, which needs the
        // region to itself. Other processes have it mapped for reading only.
        unsafe { std::slice::from_raw_parts(self.mapping.at(&self.range), self.range.len()) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the region is borrowed mutably, so nobody in this process reads it meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.at(&self.range), self.range.len()) }
    }

    /// Where it begins in its slab.
    pub fn offset(&self) -> usize {
        self.range.start
    }
}

/// Bytes that another process lends to this one.
pub(crate) struct View {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl View {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the range lies in the mapping. The supervisor does not write a slot while it is lent: from the job's
        // message until its result, or, for a view that is kept longer, until this process says that it is released or has
        // been buried.
        unsafe { std::slice::from_raw_parts(self.mapping.at(&self.range), self.range.len()) }
    }
}

/// `count` regions of `bytes` bytes, all in one piece of memory.
pub(crate) struct Slab {
    pub regions: Vec<Region>,
    /// What other processes can map; nothing for memory of this process alone.
    pub file: Option<Arc<OwnedFd>>,
}

impl Slab {
    /// Memory of this process alone.
    pub fn private(count: usize, bytes: usize) -> Result<Self, Errno> {
        let stride = stride(bytes)?;
        let mapping = Mapping::anonymous(count.checked_mul(stride).ok_or(Errno::NOMEM)?)?;
        Ok(Self { regions: regions(mapping, count, bytes, stride), file: None })
    }

    /// Memory that other processes can map, to read it.
    pub fn shared(count: usize, bytes: usize) -> Result<Self, Errno> {
        let stride = stride(bytes)?;
        let whole = count.checked_mul(stride).ok_or(Errno::NOMEM)?;
        let file = memory_file("vidmill-slab", whole)?;
        let mapping = Mapping::of_file(file.as_fd(), 0, whole, ProtFlags::READ | ProtFlags::WRITE)?;
        // From here on this mapping is the only one that can write.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE;
        fcntl_add_seals(&file, seals)?;
        Ok(Self { regions: regions(mapping, count, bytes, stride), file: Some(Arc::new(file)) })
    }
}

fn stride(bytes: usize) -> Result<usize, Errno> {
    bytes.max(1).checked_next_multiple_of(PAGE).ok_or(Errno::NOMEM)
}

fn regions(mapping: Mapping, count: usize, bytes: usize, stride: usize) -> Vec<Region> {
    let mapping = Arc::new(mapping);
    let region = |n: usize| Region { mapping: Arc::clone(&mapping), range: n * stride..n * stride + bytes };
    (0..count).map(region).collect()
}

/// A file in memory, all of its pages there.
fn memory_file(name: &str, bytes: usize) -> Result<OwnedFd, Errno> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let bytes = u64::try_from(bytes.max(PAGE)).map_err(|_| Errno::NOMEM)?;
    ftruncate(&file, bytes)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
    Ok(file)
}

/// A file in memory that holds `bytes`.
pub(crate) fn letter(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memfd_create("vidmill-letter", MemfdFlags::CLOEXEC)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = &rest[written..];
    }
    Ok(file)
}

/// A slab as a worker sees it: to be read.
#[derive(Clone)]
pub(crate) struct Lent(Arc<Mapping>);

impl Lent {
    pub fn map(file: BorrowedFd<'_>, bytes: usize) -> Result<Self, Errno> {
        Mapping::of_file(file, 0, bytes, ProtFlags::READ).map(|mapping| Self(Arc::new(mapping)))
    }

    /// A part of it, if it lies in it.
    pub fn view(&self, offset: usize, bytes: usize) -> Option<View> {
        let end = offset.checked_add(bytes).filter(|&end| end <= self.0.bytes)?;
        Some(View { mapping: Arc::clone(&self.0), range: offset..end })
    }
}

/// Memory for what comes back, in a file of its own: one process writes it, another copies from it. It can grow, by either of
/// them, and never shrinks.
pub(crate) struct Tray {
    file: OwnedFd,
    mapping: Option<Mapping>,
}

impl Tray {
    /// An empty one. It takes no memory before it has room.
    pub fn new() -> Result<Self, Errno> {
        let file = memfd_create("vidmill-tray", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        fcntl_add_seals(&file, SealFlags::SHRINK)?;
        Ok(Self::of(file))
    }

    /// One that another process has made.
    pub fn of(file: OwnedFd) -> Self {
        Self { file, mapping: None }
    }

    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Whether there is room for `bytes`.
    pub fn has(&self, bytes: usize) -> bool {
        self.file_bytes().is_ok_and(|there| there >= bytes)
    }

    /// Sees to it that there is room for `bytes`, with all pages there.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), Errno> {
        let whole = stride(bytes)?;
        if self.file_bytes()? < whole {
            let whole = u64::try_from(whole).map_err(|_| Errno::NOMEM)?;
            // It grows when all pages could be had, and only then.
            fallocate(&self.file, FallocateFlags::empty(), 0, whole)?;
        }
        self.see(bytes).and_then(|seen| if seen { Ok(()) } else { Err(Errno::NOMEM) })
    }

    /// Writes within the room that was reserved; `None` beyond it.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let to = self.address(at, bytes.len())?;
        // SAFETY: the range lies in the mapping, which is this process's own view of the file; `bytes` is memory of another
        // kind, since nobody is ever lent a reference into a tray.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Some(())
    }

    /// Copies what the other side wrote; `None` if the file does not hold as much.
    pub fn read(&mut self, at: usize, out: &mut [u8]) -> Option<()> {
        self.see(at.checked_add(out.len())?).ok().filter(|seen| *seen)?;
        let from = self.address(at, out.len())?;
        // SAFETY: the range lies in the mapping, and `out` does not, as above. A worker out of its mind may write the file
        // meanwhile; then any bytes are copied, and bytes is all that is claimed of them.
        unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len()) };
        Some(())
    }

    fn file_bytes(&self) -> Result<usize, Errno> {
        usize::try_from(fstat(&self.file)?.st_size).map_err(|_| Errno::NOMEM)
    }

    fn address(&self, at: usize, bytes: usize) -> Option<*mut u8> {
        let (mapping, end) = (self.mapping.as_ref()?, at.checked_add(bytes)?);
        (end <= mapping.bytes).then(|| mapping.at(&(at..end)))
    }

    /// Maps the file as it is now, unless enough of it is mapped. `false` when it does not hold `bytes`.
    fn see(&mut self, bytes: usize) -> Result<bool, Errno> {
        if self.mapping.as_ref().is_some_and(|mapping| mapping.bytes >= bytes) {
            return Ok(true);
        }
        let whole = self.file_bytes()?;
        if whole < bytes {
            return Ok(false);
        }
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // Sealed against shrinking by who made it.
        self.mapping = Some(Mapping::of_file(self.file.as_fd(), 0, whole, prot)?);
        Ok(true)
    }
}

/// One worker's desk: words that both sides see, and areas for results too large for a message.
///
/// ```text
/// page 0             the words
/// then, each area    `area_bytes`, rounded up to pages
/// ```
pub(crate) struct Desk {
    mapping: Arc<Mapping>,
    layout: DeskLayout,
}

/// The words of a desk.
#[derive(Clone)]
pub(crate) struct Words(Arc<Mapping>);

/// The sizes of a desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeskLayout {
    pub areas: usize,
    pub area_bytes: usize,
}

/// The words on a desk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// The sequence number of the job that the worker is at, or 0. Written by the worker.
    Running = 0,
    /// Not 0 when the worker is to end even in the middle of its work. Written by the supervisor.
    Leave = 8,
}

impl DeskLayout {
    /// Bytes of one desk, whole pages.
    pub fn bytes(self) -> Option<usize> {
        self.stride()?.checked_mul(self.areas)?.checked_add(PAGE)
    }

    fn stride(self) -> Option<usize> {
        self.area_bytes.checked_next_multiple_of(PAGE)
    }

    fn area(self, index: usize, bytes: usize) -> Option<Range<usize>> {
        if index >= self.areas || bytes > self.area_bytes {
            return None;
        }
        let begin = PAGE.checked_add(self.stride()?.checked_mul(index)?)?;
        Some(begin..begin.checked_add(bytes)?)
    }
}

impl Desk {
    /// The memory for `count` desks.
    pub fn file(count: usize, layout: DeskLayout) -> Result<OwnedFd, Errno> {
        let whole = layout.bytes().and_then(|one| one.checked_mul(count)).ok_or(Errno::NOMEM)?;
        let file = memory_file("vidmill-desks", whole)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(file)
    }

    /// Maps desk `number`, and no other.
    pub fn map(file: BorrowedFd<'_>, number: usize, layout: DeskLayout) -> Result<Self, Errno> {
        let bytes = layout.bytes().ok_or(Errno::NOMEM)?;
        let offset = number.checked_mul(bytes).ok_or(Errno::NOMEM)?;
        let mapping = Mapping::of_file(file, offset, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Self { mapping: Arc::new(mapping), layout })
    }

    pub fn words(&self) -> Words {
        Words(Arc::clone(&self.mapping))
    }

    /// Copies what the worker wrote into an area to `out`. `None` when it says that it wrote more than there is room for.
    pub fn copy_result(&self, area: usize, bytes: usize, out: &mut Vec<u8>) -> Option<()> {
        let range = self.layout.area(area, bytes)?;
        out.clear();
        out.reserve(bytes);
        // SAFETY: the range lies in the mapping, `out` has room for as many bytes, and the two do not overlap. A worker
        // out of its mind may write the area meanwhile; then any bytes are copied, and bytes is all that is claimed of them.
        unsafe {
            std::ptr::copy_nonoverlapping(self.mapping.at(&range), out.as_mut_ptr(), bytes);
            out.set_len(bytes);
        }
        Some(())
    }

    /// An area, for its worker to write to.
    pub fn area_mut(&mut self, area: usize, bytes: usize) -> Option<&mut [u8]> {
        let range = self.layout.area(area, bytes)?;
        // SAFETY: the range lies in the mapping; the desk is borrowed mutably, so nobody else in this process has it, and the
        // supervisor only ever copies from it.
        Some(unsafe { std::slice::from_raw_parts_mut(self.mapping.at(&range), range.len()) })
    }
}

impl Words {
    pub fn get(&self, word: Word) -> &AtomicU64 {
        let begin = word as usize;
        let at = self.0.at(&(begin..begin + size_of::<u64>()));
        // SAFETY: the address lies in the mapping's first page at a multiple of 8, lives as long as `self`, and is only
        // ever used as an atomic, by both processes; areas begin at the second page.
        unsafe { AtomicU64::from_ptr(at.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn what_is_written_to_a_slab_is_seen_by_who_maps_it() {
        let mut slab = Slab::shared(3, 5000).unwrap();
        slab.regions[1].bytes_mut()[4999] = 7;
        let file = slab.file.clone().unwrap();
        let lent = Lent::map(file.as_fd(), 3 * 8192).unwrap();
        let view = lent.view(slab.regions[1].offset(), 5000).unwrap();
        assert_eq!(view.bytes()[4999], 7);
        assert!(lent.view(3 * 8192, 1).is_none());
        assert!(lent.view(usize::MAX, 2).is_none());
    }

    #[test]
    fn a_slab_is_written_by_its_maker_only_and_keeps_its_size() {
        let slab = Slab::shared(1, 100).unwrap();
        let file = slab.file.unwrap();
        let write = Mapping::of_file(file.as_fd(), 0, PAGE, ProtFlags::READ | ProtFlags::WRITE);
        assert_eq!(write.err(), Some(Errno::PERM));
        assert_eq!(ftruncate(&file, 0).err(), Some(Errno::PERM));
        assert_eq!(rustix::io::write(&file, b"x").err(), Some(Errno::PERM));
    }

    #[test]
    fn a_desk_has_words_and_areas_of_its_own() {
        let layout = DeskLayout { areas: 2, area_bytes: 5000 };
        let file = Desk::file(2, layout).unwrap();
        let (mut worker, supervisor) =
            (Desk::map(file.as_fd(), 1, layout).unwrap(), Desk::map(file.as_fd(), 1, layout).unwrap());
        worker.words().get(Word::Running).store(9, SeqCst);
        worker.area_mut(1, 5000).unwrap()[4999] = 3;
        assert_eq!(supervisor.words().get(Word::Running).load(SeqCst), 9);
        assert_eq!(supervisor.words().get(Word::Leave).load(SeqCst), 0);
        let mut result = Vec::new();
        supervisor.copy_result(1, 5000, &mut result).unwrap();
        assert_eq!((result.len(), result[4999]), (5000, 3));
        assert!(supervisor.copy_result(2, 1, &mut result).is_none());
        assert!(supervisor.copy_result(0, 5001, &mut result).is_none());
        let other = Desk::map(file.as_fd(), 0, layout).unwrap();
        assert_eq!(other.words().get(Word::Running).load(SeqCst), 0);
    }

    #[test]
    fn a_tray_grows_from_both_sides_and_never_shrinks() {
        let mut ours = Tray::new().unwrap();
        let mut theirs = Tray::of(ours.file().try_clone().unwrap());
        let mut out = [0; 3];
        assert!(ours.read(0, &mut out).is_none());
        assert!(theirs.write(0, b"abc").is_none());
        theirs.reserve(3).unwrap();
        theirs.write(0, b"abc").unwrap();
        ours.read(0, &mut out).unwrap();
        assert_eq!(&out, b"abc");
        theirs.reserve(100_000).unwrap();
        theirs.write(99_997, b"xyz").unwrap();
        assert!(theirs.write(usize::MAX, b"xyz").is_none());
        ours.read(99_997, &mut out).unwrap();
        assert_eq!(&out, b"xyz");
        ours.reserve(200_000).unwrap();
        theirs.reserve(150_000).unwrap();
        assert_eq!(ftruncate(theirs.file(), 0).err(), Some(Errno::PERM));
    }

    impl std::fmt::Debug for Mapping {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} bytes", self.bytes)
        }
    }
}
