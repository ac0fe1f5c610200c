//! A worker process's side: from its first breath to its last.

use std::ffi::CString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock};

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::stdio::{dup2_stdin, stdin};

use crate::executor::{Bytes, Input, Wire, Worker};
use crate::memory::{Desk, DeskLayout, Lent, View, Word, Words};
use crate::message::{FromWorker, LARGEST, LARGEST_LETTER, List, ListBuilder, Outputs, ToWorker};
use crate::signals;
use crate::socket::{Incoming, Socket};
use crate::thread::text_of;

/// Set for worker processes: the number of the process that started them.
pub(crate) const VARIABLE: &str = "VIDMILL_POOL_WORKER";

/// Whether this process was started as a worker: its program is then to call [`serve`], and nothing else.
pub fn is_worker() -> bool {
    // What a worker starts inherits the variable, but not the socket.
    std::env::var_os(VARIABLE).is_some() && matches!(socket_type(stdin()), Ok(SocketType::SEQPACKET))
}

/// Serves as a worker until the supervisor lets it go, or is gone itself. `build` makes the worker from what the pool was
/// started with ([`crate::Program::start`]), and says of it whatever the pool's owner is to know; all workers of a
/// pool must say the same. It is called again after a panic.
///
/// The process then: has the socket no longer as its standard input, but nothing; prints to the supervisor; dies
/// with the supervisor's process; does not end on SIGINT and SIGTERM; is the first that the kernel ends when memory runs out.
pub fn serve<W, B>(mut build: B) -> ExitCode
where
    W: Worker<Item: Wire, Output: Wire>,
    B: FnMut(&[u8]) -> Result<(W, Vec<u8>), String>,
{
    let desk = Arc::new(OnceLock::new());
    let ended = prepare(&desk).and_then(|socket| Serving::serve(Arc::new(socket), &desk, &mut build));
    match ended {
        Ok(code) => code,
        Err(error) => {
            use io::Write as _;
            // Its supervisor reads this; when there is none any more, nobody does.
            let _ = writeln!(io::stderr(), "worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(desk: &Arc<OnceLock<Words>>) -> io::Result<Socket> {
    let socket = fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before that took effect.
    let parent = std::env::var(VARIABLE).ok().and_then(|text| text.parse::<i32>().ok());
    if parent != getppid().map(|pid| pid.as_raw_nonzero().get()) {
        return Err(io::Error::other("the process that started this worker is gone"));
    }
    signals::outlast_interruptions(desk)?;
    name_after_program();
    // Where that is not allowed, the kernel chooses by size.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(Socket::from_fd(socket))
}

/// The kernel's own name for this process, which is "exe" otherwise: it stands in its log when it kills for memory.
fn name_after_program() {
    let name = std::env::args().next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let name: Vec<u8> = name.bytes().take(15).filter(|byte| *byte != 0).collect();
    if let Ok(name) = CString::new(name) {
        // It is of use to readers only.
        let _ = rustix::thread::set_name(&name);
    }
}

/// A worker that is being served.
struct Serving<'b, W, B> {
    socket: Arc<Socket>,
    build: &'b mut B,
    start: Vec<u8>,
    worker: W,
    place: Option<Place>,
    list: ListBuilder,
    message: Vec<u8>,
}

/// The memory that a worker is attached to.
struct Place {
    lent: Lent,
    desk: Desk,
    words: Words,
}

/// Why a job has no outputs.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the worker panicked: {0}")]
    Panic(String),
    #[error("the worker gave {0} outputs for {1} items")]
    Count(usize, usize),
}

/// A job, as its message tells it.
struct Job<'m> {
    sequence: u64,
    area: usize,
    offset: u64,
    bytes: u64,
    items: List<'m>,
}

impl<W, B> Serving<'_, W, B>
where
    W: Worker<Item: Wire, Output: Wire>,
    B: FnMut(&[u8]) -> Result<(W, Vec<u8>), String>,
{
    fn serve(socket: Arc<Socket>, shared: &OnceLock<Words>, build: &mut B) -> io::Result<ExitCode> {
        let mut buffer = Socket::buffer();
        let mut message = Vec::new();
        let Some((number, start)) = hello(&socket, &mut buffer)? else { return Ok(ExitCode::SUCCESS) };
        let (worker, introduction) = match guarded(build, &start) {
            Ok(built) => built,
            Err(reason) => {
                socket.send(FromWorker::CannotStart { reason: &reason }.encode(&mut message))?;
                return Ok(ExitCode::FAILURE);
            }
        };
        socket.send(FromWorker::Ready { introduction: &introduction }.encode(&mut message))?;
        let mut this =
            Serving { socket, build, start, worker, place: None, list: ListBuilder::default(), message };
        loop {
            let socket = Arc::clone(&this.socket);
            let Incoming::Message(message, descriptors) = socket.receive(&mut buffer)? else {
                return Ok(ExitCode::SUCCESS);
            };
            match ToWorker::decode(message).map_err(io::Error::other)? {
                ToWorker::Attach { slab_bytes, areas, area_bytes } => {
                    let layout = DeskLayout { areas: size(areas)?, area_bytes: size(area_bytes)? };
                    let place = attach(number, descriptors, size(slab_bytes)?, layout)?;
                    let _ = shared.set(place.words.clone());
                    this.place = Some(place);
                }
                ToWorker::Job { sequence, area, offset, bytes, items } => {
                    this.work(&Job { sequence, area: area as usize, offset, bytes, items })?;
                }
                ToWorker::Leave => return Ok(ExitCode::SUCCESS),
                ToWorker::Hello { .. } => return Err(io::Error::other("a second hello")),
            }
        }
    }

    /// Does a job and answers it.
    fn work(&mut self, job: &Job<'_>) -> io::Result<()> {
        let Some(place) = &self.place else { return Err(io::Error::other("a job before any memory")) };
        let words = place.words.clone();
        words.get(Word::Running).store(job.sequence, SeqCst);
        let view = place.lent.view(size(job.offset)?, size(job.bytes)?);
        let view = view.ok_or_else(|| io::Error::other("a job outside of the memory"))?;
        let items: Result<Vec<W::Item>, _> = job.items.iter().map(W::Item::read).collect();
        let lease = Arc::new(Lease::new(view, Arc::clone(&self.socket), job.sequence));
        let done = self.run(&items.map_err(io::Error::other)?, &lease);
        let kept = Lease::end(lease);
        match &done {
            Ok(()) => self.answer(job, kept)?,
            Err(trouble) => self.fail(job.sequence, kept, &trouble.to_string())?,
        }
        words.get(Word::Running).store(0, SeqCst);
        if let Err(Trouble::Panic(_)) = done {
            // Nobody knows what state the worker is in.
            (self.worker, _) = guarded(self.build, &self.start).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Runs the worker; its outputs are then in `self.list`.
    fn run(&mut self, items: &[W::Item], lease: &Arc<Lease>) -> Result<(), Trouble> {
        let input = Input::new(Arc::clone(lease) as Arc<dyn Bytes>, 0..lease.bytes().len());
        let mut outputs = Vec::with_capacity(items.len());
        catch_unwind(AssertUnwindSafe(|| self.worker.run(items, &input, &mut outputs)))
            .map_err(|panic| Trouble::Panic(text_of(panic.as_ref())))?;
        if outputs.len() != items.len() {
            return Err(Trouble::Count(outputs.len(), items.len()));
        }
        self.list.clear();
        outputs.iter().for_each(|output| self.list.push(|bytes| output.write(bytes)));
        Ok(())
    }

    fn answer(&mut self, job: &Job<'_>, kept: bool) -> io::Result<()> {
        const HEAD: usize = 64;
        let bytes = self.list.bytes().len();
        let area = self.place.as_mut().and_then(|place| place.desk.area_mut(job.area, bytes));
        let outputs = match area {
            Some(area) if bytes + HEAD > LARGEST => {
                area.copy_from_slice(self.list.bytes());
                Outputs::InArea { bytes: bytes as u64 }
            }
            None if bytes + HEAD > LARGEST_LETTER => {
                let reason = format!("the output takes {bytes} bytes: at most {LARGEST_LETTER} are possible");
                return self.fail(job.sequence, kept, &reason);
            }
            // Too much for a message, it goes in a file.
            _ => Outputs::Here(self.list.list()),
        };
        let done = FromWorker::Done { sequence: job.sequence, kept, outputs };
        Ok(self.socket.send(done.encode(&mut self.message))?)
    }

    fn fail(&mut self, sequence: u64, kept: bool, reason: &str) -> io::Result<()> {
        Ok(self.socket.send(FromWorker::Failed { sequence, kept, reason }.encode(&mut self.message))?)
    }
}

fn guarded<W, B>(build: &mut B, start: &[u8]) -> Result<(W, Vec<u8>), String>
where
    B: FnMut(&[u8]) -> Result<(W, Vec<u8>), String>,
{
    catch_unwind(AssertUnwindSafe(|| build(start)))
        .unwrap_or_else(|panic| Err(format!("it panicked: {}", text_of(panic.as_ref()))))
}

/// This worker's number and what it is built from. Nothing when the supervisor has gone already.
fn hello(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<Option<(u32, Vec<u8>)>> {
    let Incoming::Message(message, _) = socket.receive(buffer)? else { return Ok(None) };
    match ToWorker::decode(message) {
        Ok(ToWorker::Hello { worker, start }) => Ok(Some((worker, start.to_vec()))),
        Ok(_) => Err(io::Error::other("the supervisor did not begin with a hello")),
        Err(error) => {
            let reason = error.to_string();
            socket.send(FromWorker::CannotStart { reason: &reason }.encode(&mut Vec::new()))?;
            Err(io::Error::other(error))
        }
    }
}

fn attach(
    number: u32,
    descriptors: Vec<OwnedFd>,
    slab_bytes: usize,
    layout: DeskLayout,
) -> io::Result<Place> {
    let [slab, desks] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|fds| io::Error::other(format!("{} descriptors in place of 2", fds.len())))?;
    let lent = Lent::map(slab.as_fd(), slab_bytes)?;
    let desk = Desk::map(desks.as_fd(), number as usize, layout)?;
    let words = desk.words();
    Ok(Place { lent, desk, words })
}

fn size(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

/// A job's bytes, for as long as the worker wants them.
struct Lease {
    view: View,
    socket: Arc<Socket>,
    sequence: u64,
    /// The job was answered, and the supervisor waits to hear that the bytes are released.
    kept: AtomicBool,
}

impl Lease {
    fn new(view: View, socket: Arc<Socket>, sequence: u64) -> Self {
        Self { view, socket, sequence, kept: AtomicBool::new(false) }
    }

    /// The call is over. Whether the worker keeps the bytes: then whoever drops the last clone says so.
    fn end(this: Arc<Self>) -> bool {
        let kept = Arc::strong_count(&this) > 1;
        this.kept.store(kept, SeqCst);
        kept
    }
}

impl Bytes for Lease {
    fn bytes(&self) -> &[u8] {
        self.view.bytes()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.kept.load(Relaxed) {
            let released = FromWorker::Released { sequence: self.sequence };
            // Where that fails the supervisor is gone, and this process soon will be.
            let _ = self.socket.send(released.encode(&mut Vec::new()));
        }
    }
}
