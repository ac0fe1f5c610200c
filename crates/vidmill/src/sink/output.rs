//! The file or standard output behind a sink. In: whole units (lines, rows, list entries). Out: the same bytes, handed
//! to the kernel in whole units only, and a file that is valid after every flush.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::SinkError;

/// Units wait in memory up to this many bytes, so that a caller who seldom flushes needs no memory for it.
const BUFFER: usize = 64 * 1024;
/// Memory that stays for them: with a usual record on top, and as vectors grow.
const KEPT: usize = 4 * BUFFER;

/// An output under construction: `units` closed by `tail`. Each flush writes the new units over the old tail, and the
/// tail again, in one call. Dropped without [`Output::finish`], it loses what was not flushed, as a crash would.
#[derive(Debug)]
pub(super) struct Output {
    name: String,
    target: Target,
    pending: Vec<u8>,
    /// Bytes written, without the tail.
    written: u64,
    tail: &'static str,
}

#[derive(Debug)]
enum Target {
    StandardOutput,
    File(File),
}

impl Output {
    /// Standard output, to which whole lines go.
    pub(super) fn standard() -> Self {
        Self {
            name: "standard output".to_owned(),
            target: Target::StandardOutput,
            pending: Vec::new(),
            written: 0,
            tail: "",
        }
    }

    /// A new or emptied file, which at once holds `head` and `tail`. A `tail` needs a file that can seek: no pipe.
    pub(super) fn create(path: &Path, head: &str, tail: &'static str) -> Result<Self, SinkError> {
        create_parent(path)?;
        let name = path.display().to_string();
        let file = open_locked(path, &name)?;
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            file.set_len(0).map_err(|error| SinkError::of(&name, error))?;
        }
        let pending = head.as_bytes().to_vec();
        let mut output = Self { name, target: Target::File(file), pending, written: 0, tail };
        output.flush()?;
        Ok(output)
    }

    /// The file at `path`, of which the first `written` bytes are kept; `tail` follows them again at once.
    pub(super) fn go_on(path: &Path, written: u64, tail: &'static str) -> Result<Self, SinkError> {
        let name = path.display().to_string();
        let mut file = open_locked(path, &name)?;
        let mut cut = || {
            // Made longer, it would hold what was never written.
            if file.metadata()?.len() < written {
                return Err(io::Error::other("it is shorter than when its manifest was written"));
            }
            file.set_len(written)?;
            file.seek(SeekFrom::Start(written))?;
            file.write_all(tail.as_bytes())
        };
        cut().map_err(|error| SinkError::of(&name, error))?;
        Ok(Self { name, target: Target::File(file), pending: Vec::new(), written, tail })
    }

    /// Bytes of whole units that the kernel has, without the tail; `None` for standard output.
    pub(super) fn position(&self) -> Option<u64> {
        matches!(self.target, Target::File(_)).then_some(self.written)
    }

    /// The path, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Adds what `unit` writes; nothing of it when `unit` fails.
    pub(super) fn append(
        &mut self,
        unit: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> Result<(), SinkError> {
        let whole = self.pending.len();
        if let Err(error) = unit(&mut self.pending) {
            self.pending.truncate(whole);
            return Err(SinkError::of(&self.name, error));
        }
        if self.pending.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands everything to the kernel. On an error a file is cut back to the last whole unit, so that it stays valid.
    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let units = self.pending.len();
        self.pending.extend_from_slice(self.tail.as_bytes());
        let result = self.put();
        self.pending.truncate(units);
        if let Err(error) = result {
            self.cut_back();
            return Err(SinkError::of(&self.name, error));
        }
        self.written += units as u64;
        self.pending.clear();
        self.pending.shrink_to(KEPT);
        Ok(())
    }

    /// Flushes, and waits until the disk has it: some errors show only then.
    pub(super) fn finish(mut self) -> Result<(), SinkError> {
        self.flush()?;
        match &self.target {
            Target::File(file) => sync(file).map_err(|error| SinkError::of(&self.name, error)),
            Target::StandardOutput => Ok(()),
        }
    }

    fn put(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::StandardOutput => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&self.pending)?;
                stdout.flush()
            }
            Target::File(file) => {
                if !self.tail.is_empty() {
                    file.seek(SeekFrom::Start(self.written))?;
                }
                file.write_all(&self.pending)
            }
        }
    }

    /// Undoes a write that failed half-way. What was written before fitted, so this needs no new space; where it
    /// fails all the same, the error that brought us here is the one to tell.
    fn cut_back(&mut self) {
        let Target::File(file) = &mut self.target else { return };
        let _ = file
            .set_len(self.written)
            .and_then(|()| file.seek(SeekFrom::Start(self.written)))
            .and_then(|_| if self.written > 0 { file.write_all(self.tail.as_bytes()) } else { Ok(()) });
    }
}

/// Opens a file, whose contents stay until it is ours: another run may be writing it. Devices and pipes cannot be locked,
/// nor need it.
fn open_locked(path: &Path, name: &str) -> Result<File, SinkError> {
    let open = File::options().write(true).create(true).truncate(false).open(path);
    let file = open.map_err(|error| SinkError::of(name, error))?;
    let end = Instant::now() + PATIENCE;
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        if Instant::now() >= end {
            return Err(SinkError::InUse { path: name.to_owned() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(file)
}

/// A program that is being started by whoever had the file open holds its lock for a moment more: until it has become that
/// program.
const PATIENCE: Duration = Duration::from_millis(100);

/// Creates the directory that `path` lies in, with those above it.
fn create_parent(path: &Path) -> Result<(), SinkError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    fs::create_dir_all(parent)
        .map_err(|source| SinkError::Directory { path: parent.display().to_string(), source })
}

/// Waits for the disk, where there is one: pipes and devices have none, and refuse.
pub(super) fn sync(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) }
}
