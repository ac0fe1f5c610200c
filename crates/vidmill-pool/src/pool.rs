//! The easy way in: submit an item, get its output; or map an iterator, in order or as outputs come.

use std::collections::VecDeque;
use std::future::Future;
use std::iter::Fuse;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;

use crate::child::Program;
use crate::executor::{Deliver, Executor, Failure, StartError, Wire, Worker};
use crate::output::Printer;
use crate::process::Processes;
use crate::slot::{FilledSlot, FreeSlot, SlotError, Slots};
use crate::supervisor::Policy;
use crate::thread::Threads;

/// A pool of workers, each item in a slot of its own.
///
/// Dropping it waits until everything that was submitted is done, and ends the workers.
pub struct Pool<W: Worker> {
    engine: Engine<W>,
    slots: Slots,
}

enum Engine<W: Worker> {
    Threads(Threads<Ticket<W::Output>, W>),
    Processes(Processes<Ticket<W::Output>, W>),
}

/// Where an item's output is to arrive, and under which number.
type Ticket<O> = (Arc<Mailbox<O>>, u64);

/// A pool that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// There is not enough memory for the slots.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The workers do not start.
    #[error("cannot start a worker: {0}")]
    Start(#[from] StartError),
}

impl<W: Worker + 'static> Pool<W> {
    /// `workers` threads, and `slots` slots of `bytes` bytes: as many items can be under way.
    ///
    /// # Errors
    /// When there is not as much memory, or a worker cannot be built.
    pub fn threads<B>(workers: usize, slots: usize, bytes: usize, build: B) -> Result<Self, PoolError>
    where
        B: Fn() -> Result<W, StartError> + Send + Sync + 'static,
    {
        let slots = Slots::new(slots, bytes)?;
        Ok(Self { engine: Engine::Threads(Threads::start(workers, build, deliver())?), slots })
    }
}

impl<W> Pool<W>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
{
    /// `workers` processes of `program`, and `slots` slots of `bytes` bytes: as many items can be under way. One output may
    /// take `output_bytes` bytes; more, up to 64 MB, is possible, but slower.
    ///
    /// # Errors
    /// When there is not as much memory, or a worker does not start: then in its own words.
    pub fn processes(
        workers: usize,
        slots: usize,
        bytes: usize,
        output_bytes: usize,
        program: Program,
        policy: Policy,
    ) -> Result<Self, PoolError> {
        let slots = Slots::shared(slots, bytes)?;
        let processes = Processes::launch(workers, program, policy, Printer::to_standard_error())?;
        processes.introduction()?;
        processes.attach(&slots, output_bytes, deliver())?;
        Ok(Self { engine: Engine::Processes(processes), slots })
    }

    /// The numbers of the worker processes that run now; none for threads.
    pub fn process_ids(&self) -> Vec<u32> {
        match &self.engine {
            Engine::Threads(_) => Vec::new(),
            Engine::Processes(processes) => processes.process_ids(),
        }
    }

    /// A slot to be filled; waits while there is none.
    pub fn slot(&self) -> FreeSlot {
        self.slots.acquire()
    }

    /// A slot to be filled, if there is one.
    pub fn try_slot(&self) -> Option<FreeSlot> {
        self.slots.try_acquire()
    }

    /// Hands an item over; the whole slot is its bytes. What comes back can be waited for or awaited.
    pub fn submit(&self, item: W::Item, slot: FilledSlot) -> Pending<W::Output> {
        let mailbox = Arc::default();
        self.submit_to((Arc::clone(&mailbox), 0), item, slot);
        Pending(mailbox)
    }

    fn submit_to(&self, ticket: Ticket<W::Output>, item: W::Item, slot: FilledSlot) {
        let (batch, bytes) = (&mut vec![(ticket, item)], slot.bytes().len());
        match &self.engine {
            Engine::Threads(threads) => threads.submit(batch, bytes, slot),
            Engine::Processes(processes) => processes.submit(batch, bytes, slot),
        }
    }

    /// The outputs of all `inputs`, in their order: an iterator, and a [`Stream`]. `fill` writes an input into its slot and says what
    /// the worker is to know of it. Inputs are taken only as slots are free, so memory stays bounded.
    pub fn map<I, F>(&self, inputs: I, fill: F) -> Ordered<'_, W, I::IntoIter, F>
    where
        I: IntoIterator,
        F: FnMut(I::Item, &mut [u8]) -> W::Item,
    {
        let feed = Feed { pool: self, inputs: inputs.into_iter().fuse(), fill };
        Ordered { feed, under_way: VecDeque::new() }
    }

    /// The same in the order in which outputs come, each with its input's number.
    pub fn map_unordered<I, F>(&self, inputs: I, fill: F) -> Unordered<'_, W, I::IntoIter, F>
    where
        I: IntoIterator,
        F: FnMut(I::Item, &mut [u8]) -> W::Item,
    {
        let feed = Feed { pool: self, inputs: inputs.into_iter().fuse(), fill };
        Unordered { feed, mailbox: Arc::default(), submitted: 0, arrived: 0 }
    }

    /// Ends the pool: what was submitted is finished within `grace`; then workers are asked to leave, terminated, and killed. Items
    /// that were not done by then fail. (Threads cannot be killed: they finish.)
    pub fn shutdown(self, grace: Duration) {
        match self.engine {
            Engine::Threads(threads) => drop(threads),
            Engine::Processes(processes) => processes.shutdown(grace),
        }
    }
}

fn deliver<O: Send + 'static>() -> Arc<Deliver<Ticket<O>, O>> {
    Arc::new(|(mailbox, number): Ticket<O>, result| mailbox.put((number, result)))
}

/// Where outputs arrive, each with the number of its item.
struct Mailbox<O> {
    state: Mutex<State<O>>,
    arrived: Condvar,
}

struct State<O> {
    results: VecDeque<Numbered<O>>,
    waker: Option<Waker>,
}

type Numbered<O> = (u64, Result<O, Failure>);

impl<O> Default for Mailbox<O> {
    fn default() -> Self {
        let state = State { results: VecDeque::new(), waker: None };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }
}

impl<O> Mailbox<O> {
    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, result: Numbered<O>) {
        let mut state = self.lock();
        state.results.push_back(result);
        let waker = state.waker.take();
        drop(state);
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn try_take(&self) -> Option<Numbered<O>> {
        self.lock().results.pop_front()
    }

    fn wait(&self) -> Numbered<O> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.results.pop_front() {
                return result;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Numbered<O>> {
        let mut state = self.lock();
        match state.results.pop_front() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// An output that is to come: wait for it, or await it. Dropping it does not take the item back.
#[must_use = "the output comes here"]
pub struct Pending<O>(Arc<Mailbox<O>>);

impl<O> Pending<O> {
    /// Waits for the output.
    ///
    /// # Errors
    /// Why there is none.
    pub fn wait(self) -> Result<O, Failure> {
        self.0.wait().1
    }

    /// The output, if it is there.
    pub fn try_take(&mut self) -> Option<Result<O, Failure>> {
        self.0.try_take().map(|(_, result)| result)
    }
}

impl<O> Future for Pending<O> {
    type Output = Result<O, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(|(_, result)| result)
    }
}

/// Inputs on their way into slots.
struct Feed<'p, W: Worker, I, F> {
    pool: &'p Pool<W>,
    inputs: Fuse<I>,
    fill: F,
}

impl<W, I, F> Feed<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator,
    F: FnMut(I::Item, &mut [u8]) -> W::Item,
{
    /// The next input in its slot, if there is one for it; waits for a slot when nothing else is to be waited for.
    fn next(&mut self, nothing_under_way: bool) -> Option<(W::Item, FilledSlot)> {
        let mut slot = match self.pool.slots.try_acquire() {
            Some(slot) => slot,
            None if nothing_under_way => self.pool.slots.acquire(),
            None => return None,
        };
        let input = self.inputs.next()?;
        let item = (self.fill)(input, slot.bytes_mut());
        Some((item, slot.filled()))
    }
}

/// See [`Pool::map`].
pub struct Ordered<'p, W: Worker, I, F> {
    feed: Feed<'p, W, I, F>,
    under_way: VecDeque<Pending<W::Output>>,
}

impl<W, I, F> Ordered<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator,
    F: FnMut(I::Item, &mut [u8]) -> W::Item,
{
    fn submit_more(&mut self) {
        while let Some((item, slot)) = self.feed.next(self.under_way.is_empty()) {
            self.under_way.push_back(self.feed.pool.submit(item, slot));
        }
    }
}

impl<W, I, F> Iterator for Ordered<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator,
    F: FnMut(I::Item, &mut [u8]) -> W::Item,
{
    type Item = Result<W::Output, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.submit_more();
        self.under_way.pop_front().map(Pending::wait)
    }
}

impl<W, I, F> Stream for Ordered<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator + Unpin,
    F: FnMut(I::Item, &mut [u8]) -> W::Item + Unpin,
{
    type Item = Result<W::Output, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.submit_more();
        let Some(first) = self.under_way.front_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(first).poll(context).map(Some);
        if polled.is_ready() {
            self.under_way.pop_front();
        }
        polled
    }
}

/// See [`Pool::map_unordered`].
pub struct Unordered<'p, W: Worker, I, F> {
    feed: Feed<'p, W, I, F>,
    mailbox: Arc<Mailbox<W::Output>>,
    submitted: u64,
    arrived: u64,
}

impl<W, I, F> Unordered<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator,
    F: FnMut(I::Item, &mut [u8]) -> W::Item,
{
    /// Whether anything is to come.
    fn submit_more(&mut self) -> bool {
        while let Some((item, slot)) = self.feed.next(self.submitted == self.arrived) {
            let ticket = (Arc::clone(&self.mailbox), self.submitted);
            self.feed.pool.submit_to(ticket, item, slot);
            self.submitted += 1;
        }
        self.submitted > self.arrived
    }
}

impl<W, I, F> Iterator for Unordered<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator,
    F: FnMut(I::Item, &mut [u8]) -> W::Item,
{
    type Item = Numbered<W::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.submit_more().then(|| self.mailbox.wait())?;
        self.arrived += 1;
        Some(result)
    }
}

impl<W, I, F> Stream for Unordered<'_, W, I, F>
where
    W: Worker<Item: Wire, Output: Wire> + 'static,
    I: Iterator + Unpin,
    F: FnMut(I::Item, &mut [u8]) -> W::Item + Unpin,
{
    type Item = Numbered<W::Output>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.submit_more() {
            return Poll::Ready(None);
        }
        let polled = self.mailbox.poll(context).map(Some);
        self.arrived += u64::from(polled.is_ready());
        polled
    }
}
