//! One worker process: how it is started, what it says on standard error, and how it is brought to its end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};

use crate::machine;
use crate::serve::VARIABLE;
use crate::socket::Socket;
use crate::supervisor::End;

/// What a worker process runs. The program calls [`crate::serve`] before it does anything else.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments, after its name.
    pub args: Vec<OsString>,
    /// Variables of its environment, beside those of this process.
    pub env: Vec<(OsString, OsString)>,
    /// What it is called in the system's list of processes.
    pub name: OsString,
    /// What each worker is built from; at most 64 MB.
    pub start: Vec<u8>,
}

impl Program {
    /// The program that is running now, even when its file has been replaced meanwhile.
    pub fn this(start: Vec<u8>) -> Self {
        let own = std::env::args_os().next();
        let own = own.as_deref().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
        let mut name = own.to_owned();
        name.push("-worker");
        Self { path: PathBuf::from("/proc/self/exe"), args: Vec::new(), env: Vec::new(), name, start }
    }
}

/// Bytes of a line of standard error after which it is passed on unfinished.
const LONGEST_LINE: usize = 8 * 1024;
/// Reads of output at a time; a pipe holds 16 of them.
const MOST_READS: usize = 17;
/// Lines that are kept to be told if the worker cannot start.
const LAST_WORDS: usize = 8;

/// A running worker process.
pub(crate) struct Child {
    pub id: u32,
    pid: Pid,
    pidfd: OwnedFd,
    pub socket: Socket,
    output: File,
    unfinished: Vec<u8>,
    last_words: Vec<String>,
}

impl Child {
    /// Starts the program in a process group of its own, so that what a terminal sends to the foreground does not reach
    /// it. Its standard input is its socket; what it prints comes to [`Child::read_output`].
    pub fn spawn(program: &Program) -> io::Result<Self> {
        let (socket, theirs) = Socket::pair()?;
        let (output, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&output, OFlags::NONBLOCK)?;
        let child = Command::new(&program.path)
            .arg0(&program.name)
            .args(&program.args)
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(write_end.try_clone()?))
            .stderr(Stdio::from(write_end))
            .process_group(0)
            .spawn()?;
        let id = child.id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            // Without a way to watch it, it must not run. Nobody has waited for it, so the number is still its own.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        })?;
        Ok(Self {
            id,
            pid,
            pidfd,
            socket,
            output: File::from(output),
            unfinished: Vec::new(),
            last_words: Vec::new(),
        })
    }

    /// Readable when the process has ended.
    pub fn death_notice(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Readable when it has printed something.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Passes on some of what it has printed, line by line: who prints without end must not keep anybody from other
    /// work. `false` when nothing more can come.
    pub fn read_output(&mut self, line: &mut dyn FnMut(&str)) -> bool {
        let mut buffer = [0; 4096];
        for _ in 0..MOST_READS {
            match self.output.read(&mut buffer) {
                Ok(0) => return false,
                Ok(bytes) => self.split_lines(&buffer[..bytes], line),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn split_lines(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.unfinished.len() >= LONGEST_LINE {
                self.end_line(line);
            }
        }
    }

    fn end_line(&mut self, line: &mut dyn FnMut(&str)) {
        if self.unfinished.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.unfinished).trim_end().to_owned();
        self.unfinished.clear();
        line(&text);
        if self.last_words.len() == LAST_WORDS {
            self.last_words.remove(0);
        }
        self.last_words.push(text);
    }

    /// The last lines that it printed.
    pub fn last_words(&self) -> String {
        self.last_words.join("\n")
    }

    /// Sends SIGTERM to the worker and to whatever it has started.
    pub fn terminate(&self) {
        // An error says that there is nobody left.
        let _ = kill_process_group(self.pid, Signal::TERM);
    }

    /// Ends the worker at once. What it has started is killed when the death notice comes.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// After the death notice: kills what the worker leaves behind in its process group, and asks how it ended. The rest of
    /// what it printed is passed on.
    pub fn bury(&mut self, line: &mut dyn FnMut(&str)) -> End {
        // As long as nobody has waited for the worker, its group's number cannot be another's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.read_output(line);
        self.end_line(line);
        let status =
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED));
        match status.ok().flatten() {
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => End::Exit(code),
                (None, Some(signal)) => End::Signal(signal),
                (None, None) => End::Unknown,
            },
            None => End::Unknown,
        }
    }

    /// CPU seconds so far, also of a process that has ended and was not waited for.
    pub fn cpu_seconds(&self) -> Option<f64> {
        machine::cpu_seconds(self.id)
    }

    /// The most physical memory that it held; nothing after its end.
    pub fn peak_memory(&self) -> Option<u64> {
        machine::peak_memory(self.id)
    }
}
