//! Workers as processes: the [`Executor`] that survives them.
//!
//! One thread, the supervisor's, starts the processes, hears from them, and buries them; it lives as long as any of
//! them, since a worker is killed by the kernel when the thread that started it ends. What is to be done is decided by
//! [`Supervisor`], under one lock; whoever submits a job may send it, so that it need not wait for the thread.

use std::collections::BTreeSet;
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
    /// Those that are being performed, while they may lead to others.
    in_hand: Vec<Action<BatchLoad<T, W::Item>>>,
    children: Vec<Option<Seated>>,
    program: Program,
    introduction: Option<Vec<u8>>,
    attached: Option<Attached<T, W>>,
    items: ListBuilder,
    message: Vec<u8>,
    output: Vec<u8>,
    started: u64,
    to_spawn: Vec<usize>,
    deliveries: Deliveries<T, W>,
    over: bool,
}

type Deliveries<T, W> = Vec<(T, Result<<W as Worker>::Output, Failure>)>;

/// A child in its seat.
struct Seated {
    child: Child,
    /// It is up, and has said what it is.
    is_introduced: bool,
    /// Its desk, once it has its memory.
    desk: Option<(Desk, Words)>,
    lent: Vec<Lent>,
    next_area: usize,
    /// What it held at most when it was asked to leave.
    peak_memory: u64,
}

/// A slot that a worker may be reading: it stays taken, whatever becomes of the job, until the worker is done with it or
/// buried.
struct Lent {
    sequence: u64,
    slot: Arc<FilledSlot>,
    /// The result area that goes with the job.
    area: usize,
    /// The job was answered, and the worker keeps the bytes.
    is_kept: bool,
    /// The bytes were released before the answer came.
    is_released: bool,
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
            in_hand: Vec::new(),
            children: (0..count).map(|_| None).collect(),
            program,
            introduction: None,
            attached: None,
            items: ListBuilder::default(),
            message: Vec::new(),
            output: Vec::new(),
            started: 0,
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
            memory_killer: MemoryKiller::new(Instant::now()),
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
        loop {
            if let Some(known) = self.introduction_within(LONGEST_SLEEP) {
                return known;
            }
        }
    }

    /// The same for who cannot wait without an end: nothing, if it is not known after `patience`.
    pub fn introduction_within(&self, patience: Duration) -> Option<Result<Vec<u8>, StartError>> {
        let until = Instant::now() + patience;
        let mut core = self.shared.lock();
        loop {
            if let Some(reason) = core.supervisor.failure() {
                let reason = reason.to_owned();
                return Some(Err(match core.supervisor.is_refused() {
                    true => StartError::Refused(reason),
                    false => StartError::Failed(reason),
                }));
            }
            if let Some(introduction) = &core.introduction {
                return Some(Ok(introduction.clone()));
            }
            if core.over {
                return Some(Err(StartError::Failed("the pool was shut down".into())));
            }
            let left = until.checked_duration_since(Instant::now())?;
            (core, _) = self.shared.changed.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives the workers their memory: `slots`, made by [`Slots::shared`], and room for outputs of `output_bytes` bytes in all
    /// for one batch, needed only to have outputs of more than some 60 KB come fast. From now on batches can be submitted; `deliver` gets every
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
        let now = Instant::now();
        (0..workers).for_each(|seat| core.attach(seat, now));
        self.shared.act(core);
        Ok(())
    }

    /// Why the pool failed, if it did: no worker is left, and none will be started.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().supervisor.failure().map(str::to_owned)
    }

    /// How many workers there are to be at any time.
    pub fn workers(&self) -> usize {
        self.shared.lock().children.len()
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
        let mut core = self.shared.lock();
        let Core { supervisor, actions, .. } = &mut *core;
        supervisor.close(grace, Instant::now(), actions);
        drop(core);
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
    fn submit(&self, batch: &mut Batch<T, W::Item>, item_bytes: usize, slot: FilledSlot) {
        let batch = std::mem::take(batch);
        let load = BatchLoad { batch, first: 0, item_bytes, slot: Arc::new(slot) };
        let mut core = self.shared.lock();
        let Core { supervisor, actions, .. } = &mut *core;
        supervisor.submit(load, Instant::now(), actions);
        self.shared.act(core);
    }
}

impl<T, W: Worker<Item: Wire, Output: Wire>> Shared<T, W> {
    /// Does what was decided, from any thread; what only the supervisor's may do is left to it.
    fn act(&self, mut core: MutexGuard<'_, Core<T, W>>) {
        core.perform();
        if !core.to_spawn.is_empty() {
            self.wake();
        }
        self.deliver(core);
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
            let spare = std::mem::take(&mut self.in_hand);
            let mut in_hand = std::mem::replace(&mut self.actions, spare);
            for action in in_hand.drain(..) {
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
            self.in_hand = in_hand;
        }
    }

    fn with_child(&mut self, seat: usize, act: impl FnOnce(&mut Seated)) {
        if let Some(seated) = &mut self.children[seat] {
            act(seated);
        }
    }

    fn spawn(&mut self, seat: usize, epoll: &OwnedFd) {
        if !self.supervisor.is_wanted(seat, Instant::now(), &mut self.actions) {
            return;
        }
        match self.try_spawn(seat, epoll) {
            Ok(child) => {
                tracing::debug!(worker = seat, process = child.id, "started");
                self.started += 1;
                self.children[seat] = Some(Seated::new(child));
            }
            Err(error) => {
                let path = self.program.path.display();
                let remedy = match Errno::from_io_error(&error) {
                    Some(Errno::MFILE) => {
                        "; use fewer workers or slots, or allow more open files (ulimit -n)"
                    }
                    _ => "",
                };
                let reason = format!("cannot start the worker process {path}: {error}{remedy}");
                self.supervisor.cannot_spawn(seat, reason, Instant::now(), &mut self.actions);
            }
        }
    }

    fn try_spawn(&mut self, seat: usize, epoll: &OwnedFd) -> io::Result<Child> {
        let mut child = Child::spawn(&self.program)?;
        let hello = ToWorker::Hello { worker: number(seat), start: &self.program.start };
        let told = watch(epoll, seat, &child).and_then(|()| {
            match child.socket.send_now(hello.encode(&mut self.message), &[]) {
                // It has died already; its death notice says more.
                Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
                sent => sent,
            }
        });
        if let Err(error) = told {
            unwatch(epoll, &child);
            child.kill();
            child.bury(&mut |_| {});
            return Err(error.into());
        }
        Ok(child)
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
                let slot = Arc::clone(&load.slot);
                seated.lent.push(Lent { sequence, slot, area, is_kept: false, is_released: false });
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
        if !seated.is_introduced || seated.desk.is_some() {
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
            Ok(()) => supervisor.ready(seat, now, actions),
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => {
                supervisor.broke_protocol(seat, format!("it cannot be given memory: {error}"), actions)
            }
        }
    }

    /// A message from a worker. What makes no sense costs the worker its life, and its job the attempt.
    fn hear(&mut self, seat: usize, message: &[u8], now: Instant) {
        let message = match FromWorker::decode(message) {
            Ok(message) => message,
            Err(error) => {
                return self.supervisor.broke_protocol(seat, error.to_string(), &mut self.actions);
            }
        };
        match message {
            FromWorker::Ready { introduction } => self.introduced(seat, introduction, now),
            FromWorker::CannotStart { reason } => {
                self.supervisor.cannot_start(seat, reason.to_owned(), now, &mut self.actions);
            }
            FromWorker::Done { sequence, kept, outputs } => {
                if let Err(what) = self.done(seat, sequence, kept, outputs, now) {
                    self.supervisor.broke_protocol(seat, what.clone(), &mut self.actions);
                    self.supervisor.failed(seat, sequence, &what, now, &mut self.actions);
                }
                self.check_for_work();
            }
            FromWorker::Failed { sequence, kept, reason } => {
                self.answered(seat, sequence, kept);
                self.supervisor.failed(seat, sequence, reason, now, &mut self.actions);
                self.check_for_work();
            }
            FromWorker::Released { sequence } => self.with_child(seat, |seated| seated.release(sequence)),
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
        self.supervisor.introduced(seat);
        self.with_child(seat, |seated| seated.is_introduced = true);
        self.attach(seat, now);
    }

    /// A worker has answered a job: its slot is given back, unless it is kept. Returns the result area.
    fn answered(&mut self, seat: usize, sequence: u64, kept: bool) -> Option<usize> {
        self.children[seat].as_mut()?.answered(sequence, kept)
    }

    fn done(
        &mut self,
        seat: usize,
        sequence: u64,
        kept: bool,
        outputs: Outputs<'_>,
        now: Instant,
    ) -> Result<(), String> {
        let area = self.answered(seat, sequence, kept);
        // An answer may come too late, when its job has been given up.
        let Some(expected) = self.supervisor.job(seat, sequence).map(Load::items) else { return Ok(()) };
        let list = match outputs {
            Outputs::Here(list) => list,
            Outputs::InArea { bytes } => {
                let desk = self.children[seat].as_ref().and_then(|seated| seated.desk.as_ref());
                let copied = area.zip(desk).zip(usize::try_from(bytes).ok());
                copied
                    .and_then(|((area, (desk, _)), bytes)| desk.copy_result(area, bytes, &mut self.output))
                    .ok_or("its output is not where it says")?;
                List::of(&self.output).map_err(|error| error.to_string())?
            }
        };
        let outputs: Vec<W::Output> =
            list.iter().map(W::Output::read).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        if expected != outputs.len() {
            return Err(format!("it gave {} outputs for {expected} items", outputs.len()));
        }
        if let Some(load) = self.supervisor.done(seat, sequence, now, &mut self.actions) {
            let results = load.batch.into_iter().zip(outputs);
            self.deliveries.extend(results.map(|((ticket, _), output)| (ticket, Ok(output))));
        }
        Ok(())
    }

    /// Workers that keep every slot would have the pool stand still for ever.
    fn check_for_work(&mut self) {
        let Some(Attached { slots, .. }) = &self.attached else { return };
        let seated = self.children.iter().enumerate();
        let kept = seated.filter_map(|(seat, child)| Some((seat, child.as_ref()?.slots_kept())));
        let all: usize = kept.clone().map(|(_, kept)| kept).sum();
        if all > 0
            && all >= slots.count()
            && let Some((greedy, _)) = kept.max_by_key(|(_, kept)| *kept)
        {
            let what = format!(
                "it keeps the bytes of its inputs beyond its calls, and all {all} slots are taken: let it copy what it \
                 wants to keep"
            );
            self.supervisor.broke_protocol(greedy, what, &mut self.actions);
        }
    }
}

impl Seated {
    fn new(child: Child) -> Self {
        Self { child, is_introduced: false, desk: None, lent: Vec::new(), next_area: 0, peak_memory: 0 }
    }

    fn answered(&mut self, sequence: u64, kept: bool) -> Option<usize> {
        let place = self.lent.iter().position(|lent| lent.sequence == sequence && !lent.is_kept)?;
        let lent = &mut self.lent[place];
        lent.is_kept = kept && !lent.is_released;
        let area = lent.area;
        if !lent.is_kept {
            self.lent.swap_remove(place);
        }
        Some(area)
    }

    fn release(&mut self, sequence: u64) {
        let Some(place) = self.lent.iter().position(|lent| lent.sequence == sequence) else { return };
        if self.lent[place].is_kept {
            self.lent.swap_remove(place);
        } else {
            self.lent[place].is_released = true;
        }
    }

    /// Slots that it keeps beyond its answers; parts of one batch may lie in the same.
    fn slots_kept(&self) -> usize {
        let kept = self.lent.iter().filter(|lent| lent.is_kept).map(|lent| lent.slot.offset());
        kept.collect::<BTreeSet<_>>().len()
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

/// Notices when the kernel kills processes for lack of memory: if one of ours died by SIGKILL about then, it was that.
struct MemoryKiller {
    count: Option<u64>,
    looked_at: Instant,
    seen_at: Option<Instant>,
}

impl MemoryKiller {
    /// How long a kill and a death may be apart to be the same, and how often to look while nobody dies.
    const ABOUT: Duration = Duration::from_secs(1);

    fn new(now: Instant) -> Self {
        Self { count: machine::oom_kills(), looked_at: now, seen_at: None }
    }

    fn look_now(&mut self, now: Instant) {
        let count = machine::oom_kills();
        if count > self.count {
            self.seen_at = Some(now);
        }
        (self.count, self.looked_at) = (count, now);
    }

    fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked_at) >= Self::ABOUT {
            self.look_now(now);
        }
    }

    fn was_here(&mut self, now: Instant) -> bool {
        self.look_now(now);
        self.seen_at.is_some_and(|at| now.saturating_duration_since(at) <= Self::ABOUT)
    }
}

/// The thread that starts, hears and buries.
struct SupervisorThread<T, W: Worker> {
    shared: Arc<Shared<T, W>>,
    epoll: OwnedFd,
    printer: Printer,
    memory_killer: MemoryKiller,
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
                }
                Token::Socket(seat) => self.receive(&mut core, seat, now),
                Token::Output(seat) => self.pass_on_output(&mut core, seat),
                Token::Death(seat) => self.bury(&mut core, seat, now),
            }
        }
        self.memory_killer.look(now);
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
                // It had not read all that it was sent; what it had sent itself comes after this.
                Err(Errno::CONNRESET) => {}
                Ok(Incoming::End) | Err(_) => break,
            }
        }
        let Some(mut seated) = core.children[seat].take() else { return };
        unwatch(&self.epoll, &seated.child);
        self.account(&seated, core.started);
        let end = seated.child.bury(&mut |line| self.printer.print(seat, line));
        let death = Death {
            end,
            out_of_memory: self.memory_killer.was_here(now),
            running: seated.desk.as_ref().map_or(0, |(_, words)| words.get(Word::Running).load(SeqCst)),
            last_words: seated.child.last_words(),
        };
        tracing::debug!(worker = seat, process = seated.child.id, ?death, "ended");
        let Core { supervisor, actions, .. } = core;
        supervisor.died(seat, death, now, actions);
    }

    fn account(&self, seated: &Seated, started: u64) {
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
