//! Workers as processes: the [`Executor`] that survives them.
//!
//! One thread, the supervisor's, starts the processes, hears from them, and buries them; it lives as long as any of
//! them, since a worker is killed by the kernel when the thread that started it ends. What is to be done is decided by
//! [`Supervisor`], under one lock; whoever submits a job may send it, so that it need not wait for the thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::child::{Child, Program};
use crate::executor::{Batch, Deliver, Executor, Failure, StartError, Wire, Worker};
use crate::machine;
use crate::memory::{Desk, DeskLayout, Word, Words};
use crate::message::{
    FromWorker, LARGEST, LARGEST_ITEMS, LARGEST_LETTER, List, ListBuilder, Outputs, ToWorker,
};
use crate::output::Printer;
use crate::slot::{FilledSlot, Slots};
use crate::socket::{Incoming, Socket};
use crate::supervisor::{Action, DEPTH, Death, Load, Policy, Supervisor};

/// How long the supervisor sleeps at most: work may be submitted, and its deadline run, without waking it.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// How often memory is looked at, where it is limited.
const MEMORY_POLL: Duration = Duration::from_millis(100);
/// Most bytes of [`Program::start`].
const LARGEST_START: usize = LARGEST_LETTER - 64;
/// Room in an area for the lengths of outputs.
const AREA_OVERHEAD: usize = 4096;

/// Runs batches in worker processes, supervised.
///
/// Dropping it waits until every item was delivered, and ends the workers; [`Processes::shutdown`] does not wait for
/// longer than it is told.
pub struct Processes<T, W: Worker> {
    shared: Arc<Shared<T, W>>,
    thread: Option<JoinHandle<()>>,
}

/// What worker processes have used, of those that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processes that were started.
    pub started: u64,
    /// CPU seconds of all of them.
    pub cpu_seconds: f64,
    /// Most physical memory that one of them held, in bytes, with the pages that all share. Unknown of those that were killed.
    pub peak_memory_bytes: u64,
}

struct Shared<T, W: Worker> {
    core: Mutex<Core<T, W>>,
    /// Something that is waited for may have happened.
    changed: Condvar,
    wake: OwnedFd,
    usage: Arc<Mutex<Usage>>,
}

/// All that is known, under one lock.
struct Core<T, W: Worker> {
    supervisor: Supervisor<BatchLoad<T, W::Item>>,
    actions: Vec<Action<BatchLoad<T, W::Item>>>,
    children: Vec<Option<Seated<T, W>>>,
    program: Program,
    introduction: Option<Vec<u8>>,
    attached: Option<Attached<T, W>>,
    /// What the supervisor's thread is to do.
    close: Option<Option<Duration>>,
    items: ListBuilder,
    message: Vec<u8>,
    to_spawn: Vec<usize>,
    deliveries: Deliveries<T, W>,
    over: bool,
}

type Deliveries<T, W> = Vec<(T, Result<<W as Worker>::Output, Failure>)>;

/// A child in its seat.
struct Seated<T, W: Worker> {
    child: Child,
    is_ready: bool,
    is_attached: bool,
    /// The desk, while it is attached.
    desk: Option<(Desk, Words)>,
    /// Jobs under way, with the result area of each.
    areas: VecDeque<(u64, usize)>,
    next_area: usize,
    /// Slots whose bytes the worker keeps beyond its answer, by the job they came with.
    kept: HashMap<u64, Arc<FilledSlot>>,
    /// Jobs whose bytes were released before their answer came.
    released: HashSet<u64>,
    /// What it held at most when it was asked to leave.
    peak_memory: u64,
    _types: std::marker::PhantomData<fn() -> (T, W)>,
}

/// What ready workers get.
struct Attached<T, W: Worker> {
    slots: Slots,
    desks: OwnedFd,
    layout: DeskLayout,
    deliver: Arc<Deliver<T, W::Output>>,
}

/// A batch, or a part of one.
struct BatchLoad<T, I> {
    batch: Batch<T, I>,
    /// How many items of the slot go before it.
    first: usize,
    item_bytes: usize,
    slot: Arc<FilledSlot>,
}

impl<T, I> Load for BatchLoad<T, I> {
    fn items(&self) -> usize {
        self.batch.len()
    }

    fn split(self) -> Vec<Self> {
        let Self { batch, first, item_bytes, slot } = self;
        let part = |(number, entry)| Self {
            batch: vec![entry],
            first: first + number,
            item_bytes,
            slot: Arc::clone(&slot),
        };
        batch.into_iter().enumerate().map(part).collect()
    }
}

impl<T, W> Processes<T, W>
where
    T: Send + 'static,
    W: Worker<Item: Wire, Output: Wire> + 'static,
{
    /// Starts `count` worker processes (at least one) of `program`. They are ready when [`Processes::introduction`] returns; they
    /// get work when they have memory ([`Processes::attach`]).
    ///
    /// What workers print goes to `printer`, line by line.
    ///
    /// # Errors
    /// When this process has no threads or descriptors left for that.
    pub fn launch(
        count: usize,
        program: Program,
        policy: Policy,
        printer: Printer,
    ) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::Failed(format!("cannot supervise workers: {error}"));
        if program.start.len() > LARGEST_START {
            let bytes = program.start.len();
            return Err(StartError::Failed(format!(
                "workers cannot be started from {bytes} bytes: at most {LARGEST_START} are possible"
            )));
        }
        let count = count.max(1);
        let memory_is_limited = policy.memory_limit.is_some();
        let core = Core {
            supervisor: Supervisor::new(count, policy, Instant::now()),
            actions: Vec::new(),
            children: (0..count).map(|_| None).collect(),
            program,
            introduction: None,
            attached: None,
            close: None,
            items: ListBuilder::default(),
            message: Vec::new(),
            to_spawn: Vec::new(),
            deliveries: Vec::new(),
            over: false,
        };
        let wake =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| failed(e.into()))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        epoll::add(&epoll, &wake, EventData::new_u64(Token::Wake.to_u64()), EventFlags::IN)
            .map_err(|e| failed(e.into()))?;
        let usage = Arc::default();
        let shared = Arc::new(Shared { core: Mutex::new(core), changed: Condvar::new(), wake, usage });
        let mut thread = SupervisorThread {
            shared: Arc::clone(&shared),
            epoll,
            printer,
            oom_kills: machine::oom_kills(),
            memory_is_limited,
            buffer: Socket::buffer(),
        };
        let thread = std::thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || thread.run())
            .map_err(failed)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until the first worker is ready, and returns what it says of itself.
    ///
    /// # Errors
    /// When no worker can start: the first one's own words.
    pub fn introduction(&self) -> Result<Vec<u8>, StartError> {
        let mut core = self.shared.lock();
        loop {
            if let Some(reason) = core.supervisor.failure() {
                let reason = reason.to_owned();
                return Err(match core.supervisor.is_refused() {
                    true => StartError::Refused(reason),
                    false => StartError::Failed(reason),
                });
            }
            if let Some(introduction) = &core.introduction {
                return Ok(introduction.clone());
            }
            if core.over {
                return Err(StartError::Failed("the pool was shut down".into()));
            }
            core = self.shared.changed.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives the workers their memory: `slots`, made by [`Slots::shared`], and room for outputs of `output_bytes` bytes in all
    /// for one batch, needed only for outputs of more than some 60 KB. From now on batches can be submitted; `deliver` gets every
    /// item back, once.
    ///
    /// # Errors
    /// When the slots are not shared, or there is no memory for outputs.
    pub fn attach(
        &self,
        slots: &Slots,
        output_bytes: usize,
        deliver: Arc<Deliver<T, W::Output>>,
    ) -> Result<(), StartError> {
        if slots.file().is_none() {
            return Err(StartError::Failed("worker processes need slots in shared memory".into()));
        }
        let mut core = self.shared.lock();
        let with_lengths = output_bytes.saturating_add(AREA_OVERHEAD);
        let area_bytes = if with_lengths <= LARGEST { 0 } else { with_lengths };
        let layout = DeskLayout { areas: DEPTH, area_bytes };
        let workers = core.children.len();
        let needed = (area_bytes as u64).saturating_mul((workers * DEPTH) as u64);
        if let Some(available) = machine::available_memory().filter(|&available| needed > available) {
            return Err(StartError::Failed(format!(
                "the outputs of {workers} workers take {} MiB of memory, and {} MiB are free",
                needed >> 20,
                available >> 20
            )));
        }
        let desks = Desk::file(workers, layout)
            .map_err(|error| StartError::Failed(format!("cannot allocate memory for outputs: {error}")))?;
        core.attached = Some(Attached { slots: slots.clone(), desks, layout, deliver });
        drop(core);
        self.shared.wake();
        Ok(())
    }

    /// Why the pool failed, if it did: no worker is left, and none will be started.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().supervisor.failure().map(str::to_owned)
    }

    /// The numbers of the processes that run now.
    pub fn process_ids(&self) -> Vec<u32> {
        self.shared.lock().children.iter().flatten().map(|seated| seated.child.id).collect()
    }

    /// What the workers that have ended have used; to be looked at again later.
    pub fn usage(&self) -> Arc<Mutex<Usage>> {
        Arc::clone(&self.shared.usage)
    }

    /// Ends the pool: what was submitted is finished within `grace`; then workers are asked to leave, terminated, and killed. Items that
    /// were not done by then are delivered as [`crate::Cause::ShutDown`]. Nothing is left behind when this returns.
    pub fn shutdown(mut self, grace: Duration) {
        self.end(Some(grace));
    }
}

impl<T, W: Worker> Processes<T, W> {
    fn end(&mut self, grace: Option<Duration>) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.lock().close = Some(grace);
        self.shared.wake();
        // A panic in there is caught and told.
        let _ = thread.join();
    }
}

impl<T, W: Worker> Drop for Processes<T, W> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<T, W> Executor<T, W> for Processes<T, W>
where
    T: Send + 'static,
    W: Worker<Item: Wire, Output: Wire> + 'static,
{
    fn submit(&self, batch: Batch<T, W::Item>, item_bytes: usize, slot: FilledSlot) {
        let load = BatchLoad { batch, first: 0, item_bytes, slot: Arc::new(slot) };
        let mut core = self.shared.lock();
        let Core { supervisor, actions, .. } = &mut *core;
        supervisor.submit(load, Instant::now(), actions);
        core.perform();
        if !core.to_spawn.is_empty() {
            self.shared.wake();
        }
        self.shared.deliver(core);
    }
}

impl<T, W: Worker> Shared<T, W> {
    fn lock(&self) -> MutexGuard<'_, Core<T, W>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can fail only when it is full, and then the thread is about to wake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Hands out what has come in, with the lock released: who receives it may submit more.
    fn deliver(&self, mut core: MutexGuard<'_, Core<T, W>>) {
        if core.deliveries.is_empty() {
            return;
        }
        let deliveries = std::mem::take(&mut core.deliveries);
        let deliver = core.attached.as_ref().map(|attached| Arc::clone(&attached.deliver));
        drop(core);
        if let Some(deliver) = deliver {
            deliveries.into_iter().for_each(|(ticket, result)| deliver(ticket, result));
        }
    }
}

impl<T, W> Core<T, W>
where
    W: Worker<Item: Wire, Output: Wire>,
{
    /// Does what the supervisor decided, but for starting processes: its thread must do that.
    fn perform(&mut self) {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Spawn(seat) => self.to_spawn.push(seat),
                    Action::Send(seat, sequence) => self.send(seat, sequence),
                    Action::Ask(seat) => self.ask(seat),
                    Action::Terminate(seat) => self.with_child(seat, |seated| {
                        if let Some((_, words)) = &seated.desk {
                            words.get(Word::Leave).store(1, SeqCst);
                        }
                        seated.child.terminate();
                    }),
                    Action::Kill(seat) => self.with_child(seat, |seated| seated.child.kill()),
                    Action::Fail(load, failure) => {
                        let fail = |(ticket, _)| (ticket, Err(failure.clone()));
                        self.deliveries.extend(load.batch.into_iter().map(fail));
                    }
                }
            }
        }
    }

    fn with_child(&mut self, seat: usize, act: impl FnOnce(&mut Seated<T, W>)) {
        if let Some(seated) = &mut self.children[seat] {
            act(seated);
        }
    }

    fn spawn(&mut self, seat: usize, epoll: &OwnedFd) {
        if !self.supervisor.is_wanted(seat, Instant::now(), &mut self.actions) {
            return;
        }
        let spawned = Child::spawn(&self.program).and_then(|child| {
            watch(epoll, seat, &child)?;
            let hello = ToWorker::Hello { worker: number(seat), start: &self.program.start };
            child.socket.send_now(hello.encode(&mut self.message), &[])?;
            Ok(child)
        });
        match spawned {
            Ok(child) => {
                tracing::debug!(worker = seat, process = child.id, "started");
                self.children[seat] = Some(Seated::new(child));
            }
            Err(error) => {
                let path = self.program.path.display();
                let reason = format!("cannot start the worker process {path}: {error}");
                self.supervisor.cannot_spawn(seat, reason, Instant::now(), &mut self.actions);
            }
        }
    }

    fn send(&mut self, seat: usize, sequence: u64) {
        let Self { supervisor, children, items, message, actions, .. } = self;
        let (Some(load), Some(seated)) = (supervisor.job(seat, sequence), &mut children[seat]) else {
            return;
        };
        items.clear();
        load.batch.iter().for_each(|(_, item)| items.push(|bytes| item.write(bytes)));
        let described = items.bytes().len();
        if described > LARGEST_ITEMS {
            let reason = format!(
                "the descriptions of the items take {described} bytes; at most {LARGEST_ITEMS} are possible"
            );
            supervisor.failed(seat, sequence, &reason, Instant::now(), actions);
            return;
        }
        let area = seated.next_area;
        let job = ToWorker::Job {
            sequence,
            area: number(area),
            offset: (load.slot.offset() + load.first * load.item_bytes) as u64,
            bytes: (load.batch.len() * load.item_bytes) as u64,
            items: items.list(),
        };
        match seated.child.socket.send_now(job.encode(message), &[]) {
            Ok(()) => {
                seated.areas.push_back((sequence, area));
                seated.next_area = (area + 1) % DEPTH;
            }
            // It has died; its death notice is on its way, and the job goes to another.
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => {
                let what = format!("it takes no more messages: {error}");
                supervisor.broke_protocol(seat, what, actions);
            }
        }
    }

    fn ask(&mut self, seat: usize) {
        let message = &mut self.message;
        if let Some(Seated { child, peak_memory, .. }) = &mut self.children[seat] {
            *peak_memory = child.peak_memory().unwrap_or(0);
            // A worker that cannot be asked is terminated in due time.
            let _ = child.socket.send_now(ToWorker::Leave.encode(message), &[]);
        }
    }

    /// Gives a ready worker its memory, if it has none yet and there is some.
    fn attach(&mut self, seat: usize, now: Instant) {
        let Self { supervisor, children, attached, message, actions, .. } = self;
        let (Some(seated), Some(Attached { slots, desks, layout, .. })) = (&mut children[seat], attached)
        else {
            return;
        };
        if !seated.is_ready || seated.is_attached {
            return;
        }
        let Some((slab, slab_bytes)) = slots.file() else { return };
        let (areas, area_bytes) = (layout.areas as u64, layout.area_bytes as u64);
        let attach = ToWorker::Attach { slab_bytes: slab_bytes as u64, areas, area_bytes };
        let sent = Desk::map(desks.as_fd(), seat, *layout).and_then(|desk| {
            let words = desk.words();
            words.get(Word::Leave).store(0, SeqCst);
            words.get(Word::Running).store(0, SeqCst);
            seated.desk = Some((desk, words));
            seated.child.socket.send_now(attach.encode(message), &[slab.as_fd(), desks.as_fd()])
        });
        match sent {
            Ok(()) => {
                seated.is_attached = true;
                supervisor.ready(seat, now, actions);
            }
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => {
                supervisor.broke_protocol(seat, format!("it cannot be given memory: {error}"), actions)
            }
        }
    }

    /// A message from a worker. What makes no sense costs the worker its life, and nothing else.
    fn hear(&mut self, seat: usize, message: &[u8], now: Instant) {
        let heard = FromWorker::decode(message).map_err(|error| error.to_string()).and_then(|message| {
            match message {
                FromWorker::Ready { introduction } => self.introduced(seat, introduction, now),
                FromWorker::CannotStart { reason } => {
                    self.supervisor.cannot_start(seat, reason.to_owned(), now, &mut self.actions);
                }
                FromWorker::Done { sequence, kept, outputs } => {
                    return self.done(seat, sequence, kept, outputs, now);
                }
                FromWorker::Failed { sequence, kept, reason } => {
                    self.keep(seat, sequence, kept);
                    self.with_child(seat, |seated| {
                        seated.take_area(sequence);
                    });
                    self.supervisor.failed(seat, sequence, reason, now, &mut self.actions);
                }
                FromWorker::Released { sequence } => self.with_child(seat, |seated| {
                    if seated.kept.remove(&sequence).is_none()
                        && seated.areas.iter().any(|(s, _)| *s == sequence)
                    {
                        seated.released.insert(sequence);
                    }
                }),
            }
            Ok(())
        });
        if let Err(what) = heard {
            self.supervisor.broke_protocol(seat, what, &mut self.actions);
        }
    }

    fn introduced(&mut self, seat: usize, introduction: &[u8], now: Instant) {
        let known = self.introduction.get_or_insert_with(|| introduction.to_vec());
        if known != introduction {
            let reason = "it is not like the first worker: the model or program has changed since the start"
                .to_owned();
            self.supervisor.cannot_start(seat, reason, now, &mut self.actions);
            return;
        }
        self.with_child(seat, |seated| seated.is_ready = true);
        self.attach(seat, now);
    }

    /// If the worker keeps a job's bytes, its slot stays taken.
    fn keep(&mut self, seat: usize, sequence: u64, kept: bool) {
        let slot = self.supervisor.job(seat, sequence).map(|load| Arc::clone(&load.slot));
        self.with_child(seat, |seated| {
            let released = seated.released.remove(&sequence);
            if let (Some(slot), true) = (slot, kept && !released) {
                seated.kept.insert(sequence, slot);
            }
        });
    }

    fn done(
        &mut self,
        seat: usize,
        sequence: u64,
        kept: bool,
        outputs: Outputs<'_>,
        now: Instant,
    ) -> Result<(), String> {
        self.keep(seat, sequence, kept);
        let seated = self.children[seat].as_mut().ok_or("nobody is there")?;
        let area = seated.take_area(sequence);
        let list = match outputs {
            Outputs::Here(list) => list,
            Outputs::InArea { bytes } => {
                let desk = seated.desk.as_ref().map(|(desk, _)| desk);
                let bytes = area.zip(desk).and_then(|(area, desk)| desk.result(area, bytes.try_into().ok()?));
                List::of(bytes.ok_or("its output is not where it says")?)
                    .map_err(|error| error.to_string())?
            }
        };
        let outputs: Vec<W::Output> =
            list.iter().map(W::Output::read).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        // An answer may come too late, when its job has been given up.
        let Some(expected) = self.supervisor.job(seat, sequence).map(Load::items) else { return Ok(()) };
        if expected != outputs.len() {
            return Err(format!("it gave {} outputs for {expected} items", outputs.len()));
        }
        if let Some(load) = self.supervisor.done(seat, sequence, now, &mut self.actions) {
            let BatchLoad { batch, slot, .. } = load;
            drop(slot);
            let results = batch.into_iter().zip(outputs);
            self.deliveries.extend(results.map(|((ticket, _), output)| (ticket, Ok(output))));
        }
        self.check_for_work();
        Ok(())
    }

    /// Workers that keep every slot would have the pool stand still for ever.
    fn check_for_work(&mut self) {
        let Some(Attached { slots, .. }) = &self.attached else { return };
        let kept: usize = self.children.iter().flatten().map(|seated| seated.kept.len()).sum();
        if kept > 0 && kept >= slots.count() {
            let greedy = self.children.iter().flatten().map(|seated| seated.kept.len()).enumerate();
            if let Some((seat, _)) = greedy.max_by_key(|(_, kept)| *kept) {
                let what = format!(
                    "it keeps the bytes of its inputs beyond its calls, and all {kept} slots are taken: \
                     let it copy what it wants to keep"
                );
                self.supervisor.broke_protocol(seat, what, &mut self.actions);
            }
        }
    }
}

impl<T, W: Worker> Seated<T, W> {
    fn new(child: Child) -> Self {
        Self {
            child,
            is_ready: false,
            is_attached: false,
            desk: None,
            areas: VecDeque::new(),
            next_area: 0,
            kept: HashMap::new(),
            released: HashSet::new(),
            peak_memory: 0,
            _types: std::marker::PhantomData,
        }
    }

    fn take_area(&mut self, sequence: u64) -> Option<usize> {
        let place = self.areas.iter().position(|(job, _)| *job == sequence)?;
        self.areas.remove(place).map(|(_, area)| area)
    }
}

fn number(small: usize) -> u32 {
    u32::try_from(small).unwrap_or(u32::MAX)
}

fn watch(epoll: &OwnedFd, seat: usize, child: &Child) -> Result<(), Errno> {
    let fds = [
        (Token::Socket(seat), child.socket.as_fd()),
        (Token::Death(seat), child.death_notice()),
        (Token::Output(seat), child.output()),
    ];
    fds.into_iter()
        .try_for_each(|(token, fd)| epoll::add(epoll, fd, EventData::new_u64(token.to_u64()), EventFlags::IN))
}

/// Closing would do, but for a program that forked meanwhile and has them open still: what they tell would be taken for the
/// next child's.
fn unwatch(epoll: &OwnedFd, child: &Child) {
    for fd in [child.socket.as_fd(), child.death_notice(), child.output()] {
        // It may be unwatched already.
        let _ = epoll::delete(epoll, fd);
    }
}

/// What is ready to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Wake,
    Socket(usize),
    Death(usize),
    Output(usize),
}

impl Token {
    fn to_u64(self) -> u64 {
        match self {
            Self::Wake => 0,
            Self::Socket(seat) => (seat as u64) << 2 | 1,
            Self::Death(seat) => (seat as u64) << 2 | 2,
            Self::Output(seat) => (seat as u64) << 2 | 3,
        }
    }

    fn from_u64(token: u64) -> Self {
        let seat = (token >> 2) as usize;
        match token & 3 {
            1 => Self::Socket(seat),
            2 => Self::Death(seat),
            3 => Self::Output(seat),
            _ => Self::Wake,
        }
    }
}

/// The thread that starts, hears and buries.
struct SupervisorThread<T, W: Worker> {
    shared: Arc<Shared<T, W>>,
    epoll: OwnedFd,
    printer: Printer,
    oom_kills: Option<u64>,
    memory_is_limited: bool,
    buffer: Vec<u8>,
}

impl<T, W> SupervisorThread<T, W>
where
    W: Worker<Item: Wire, Output: Wire>,
{
    fn run(&mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.supervise()));
        let reason = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the supervisor cannot go on: {error}")),
            Err(_) => Some("the supervisor panicked; please report this as a bug".to_owned()),
        };
        let mut core = self.shared.lock();
        if let Some(reason) = reason {
            tracing::error!(reason, "workers are abandoned");
            // The kernel kills the workers when this thread ends; nobody must wait for what they had.
            let Core { supervisor, actions, .. } = &mut *core;
            supervisor.abandon(reason, Instant::now(), actions);
            core.perform();
        }
        core.over = true;
        self.shared.deliver(core);
        self.printer.flush();
        self.shared.changed.notify_all();
    }

    fn supervise(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(32);
        let mut memory_at = Instant::now();
        loop {
            if !self.turn(&events, &mut memory_at) {
                return Ok(());
            }
            events.clear();
            let sleep = self.sleep();
            let timeout = Timespec { tv_sec: sleep.as_secs() as _, tv_nsec: sleep.subsec_nanos() as _ };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How long nothing needs to be done, unless something happens.
    fn sleep(&self) -> Duration {
        let now = Instant::now();
        let deadline = self.shared.lock().supervisor.next_deadline();
        let until = deadline.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(now));
        until.min(if self.memory_is_limited { MEMORY_POLL } else { LONGEST_SLEEP })
    }

    /// Handles what has happened, and what time calls for. `false` when all is over.
    fn turn(&mut self, events: &[epoll::Event], memory_at: &mut Instant) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = Instant::now();
        for event in events {
            match Token::from_u64(event.data.u64()) {
                Token::Wake => {
                    let _ = rustix::io::read(&shared.wake, &mut [0; 8]);
                    (0..core.children.len()).for_each(|seat| core.attach(seat, now));
                    if let Some(grace) = core.close.take() {
                        let Core { supervisor, actions, .. } = &mut *core;
                        supervisor.close(grace, now, actions);
                    }
                }
                Token::Socket(seat) => self.receive(&mut core, seat, now),
                Token::Output(seat) => self.pass_on_output(&mut core, seat),
                Token::Death(seat) => self.bury(&mut core, seat, now),
            }
        }
        if self.memory_is_limited && now.saturating_duration_since(*memory_at) >= MEMORY_POLL {
            *memory_at = now;
            look_at_memory(&mut core, now);
        }
        let Core { supervisor, actions, .. } = &mut *core;
        supervisor.tick(now, actions);
        core.perform();
        while let Some(seat) = core.to_spawn.pop() {
            core.spawn(seat, &self.epoll);
            core.perform();
        }
        let over = core.supervisor.is_closed() && core.children.iter().all(Option::is_none);
        let waited_for = core.introduction.is_some() || core.supervisor.failure().is_some();
        shared.deliver(core);
        if waited_for {
            shared.changed.notify_all();
        }
        !over
    }

    /// Takes one message; there may be more, and then this is called again.
    fn receive(&mut self, core: &mut Core<T, W>, seat: usize, now: Instant) {
        let Some(seated) = &core.children[seat] else { return };
        match seated.child.socket.receive_now(&mut self.buffer) {
            Ok(Incoming::Message(message, _)) => core.hear(seat, message, now),
            // A hint only: it is dead, which its death notice will say, or has closed its socket and is of no use.
            Ok(Incoming::End) | Err(Errno::CONNRESET) => {
                let _ = epoll::delete(&self.epoll, &seated.child.socket);
                core.supervisor.hung_up(seat, now);
            }
            Err(Errno::AGAIN) => {}
            Err(error) => {
                let what = format!("it cannot be heard: {error}");
                core.supervisor.broke_protocol(seat, what, &mut core.actions);
            }
        }
    }

    fn pass_on_output(&self, core: &mut Core<T, W>, seat: usize) {
        let Some(seated) = &mut core.children[seat] else { return };
        if !seated.child.read_output(&mut |line| self.printer.print(seat, line)) {
            let _ = epoll::delete(&self.epoll, seated.child.output());
        }
    }

    /// A worker has died. What it had sent counts; then it is waited for; then others take over.
    fn bury(&mut self, core: &mut Core<T, W>, seat: usize, now: Instant) {
        while let Some(seated) = &core.children[seat] {
            match seated.child.socket.receive_now(&mut self.buffer) {
                Ok(Incoming::Message(message, _)) => core.hear(seat, message, now),
                Ok(Incoming::End) | Err(_) => break,
            }
        }
        let Some(mut seated) = core.children[seat].take() else { return };
        unwatch(&self.epoll, &seated.child);
        self.account(&seated, core.supervisor.started);
        let end = seated.child.bury(&mut |line| self.printer.print(seat, line));
        let kills = machine::oom_kills();
        let death = Death {
            end,
            out_of_memory: kills > self.oom_kills,
            running: seated.desk.as_ref().map_or(0, |(_, words)| words.get(Word::Running).load(SeqCst)),
            last_words: seated.child.last_words(),
        };
        self.oom_kills = kills;
        tracing::debug!(worker = seat, process = seated.child.id, ?death, "ended");
        let Core { supervisor, actions, .. } = core;
        supervisor.died(seat, death, now, actions);
    }

    fn account(&self, seated: &Seated<T, W>, started: u64) {
        let mut usage = self.shared.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.started = started;
        usage.cpu_seconds += seated.child.cpu_seconds().unwrap_or(0.0);
        usage.peak_memory_bytes = usage.peak_memory_bytes.max(seated.peak_memory);
    }
}

fn look_at_memory<T, W: Worker>(core: &mut Core<T, W>, now: Instant) {
    let Core { children, supervisor, actions, .. } = core;
    for (seat, seated) in children.iter().enumerate() {
        if let Some(used) = seated.as_ref().and_then(|seated| machine::own_memory(seated.child.id)) {
            supervisor.uses_memory(seat, used, now, actions);
        }
    }
}
