//! Who does what, and what becomes of it when a worker dies. Pure: events and the time go in, actions come out; processes,
//! sockets and clocks are [`crate::process`]'s.
//!
//! - A job belongs to one queue or one worker, here and nowhere else.
//! - A worker that dies takes nothing with it. The job it was at is *suspect*: it is run again alone, one item at a time,
//!   up to [`Policy::max_attempts`]; the others that it held go back to where they were.
//! - A SIGKILL that neither we nor the kernel (for lack of memory) sent says nothing about the job: it is run again as it
//!   was. Only when that happens to the same job more than [`OUTSIDE_KILLS`] times is it suspect as well.
//! - Jobs that kill their workers are bounded by their attempts. What bounds a pool that cannot work at all, without one result in
//!   between, is [`Policy::restarts`] for deaths that no job is to blame for, and [`Policy::most_given_up`] for jobs.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::executor::{Cause, Failure};

/// How often a job may meet a SIGKILL from outside before it is suspect.
const OUTSIDE_KILLS: u32 = 20;
/// SIGINT and SIGTERM, which workers outlast as soon as they listen. Until then they are ended by what a terminal sends to
/// its group, in which they begin.
const INTERRUPTIONS: [i32; 2] = [2, 15];
/// So many SIGKILLs from outside without one result end the pool.
const MOST_OUTSIDE_KILLS: usize = 200;
/// Jobs that a worker may hold: one that it is at, one that waits, so that it need not wait for the supervisor.
pub(crate) const DEPTH: usize = 2;
/// Work that takes longer than this gains nothing by waiting at a worker, and may lose: another might be free sooner.
const QUICK: Duration = Duration::from_millis(50);
/// Between a polite SIGTERM and SIGKILL.
const TERMINATE_GRACE: Duration = Duration::from_secs(1);
/// From a closed connection to the death notice.
const HANG_UP_GRACE: Duration = Duration::from_secs(10);
/// How much over its limit a worker may grow before it is not waited for.
const MEMORY_SLACK: (u64, u64) = (3, 2);

/// What is allowed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// From a worker's start until it is ready.
    pub start_timeout: Duration,
    /// For one batch, from the worker's previous answer; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Workers that an item may cost before it is given up.
    pub max_attempts: u32,
    /// This many deaths within this time that no item is to blame for, and no result in between, end the pool.
    pub restarts: (usize, Duration),
    /// So many items given up, and no result in between, end the pool.
    pub most_given_up: usize,
    /// A worker is replaced after so many batches.
    pub recycle_after: Option<NonZeroU64>,
    /// Bytes of memory of its own above which a worker is replaced as soon as it is free; at half as much again it is killed.
    pub memory_limit: Option<u64>,
    /// How long a worker that was asked to leave may take.
    pub leave_grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(120),
            timeout: None,
            max_attempts: 3,
            restarts: (5, Duration::from_secs(60)),
            most_given_up: 20,
            recycle_after: None,
            memory_limit: None,
            leave_grace: Duration::from_secs(5),
        }
    }
}

/// Items that travel together.
pub(crate) trait Load: Sized {
    /// How many.
    fn items(&self) -> usize;
    /// One load an item.
    fn split(self) -> Vec<Self>;
}

/// A job and its history.
pub(crate) struct Job<L> {
    pub load: L,
    /// Given when it is sent, anew each time.
    pub sequence: u64,
    /// Workers that it may have cost.
    attempts: u32,
    outside_kills: u32,
}

impl<L> Job<L> {
    /// It goes alone to a worker that has no other.
    fn is_suspect(&self) -> bool {
        self.attempts > 0
    }
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub end: End,
    /// The kernel has killed for lack of memory since the last death.
    pub out_of_memory: bool,
    /// The sequence number that the worker left as the job it was at; 0 for none.
    pub running: u64,
    /// What it wrote to standard error last.
    pub last_words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
    /// Someone else has waited for it.
    Unknown,
}

/// What is to be done, in order.
pub(crate) enum Action<L> {
    /// Start a worker in this seat.
    Spawn(usize),
    /// The job of this sequence number is to be sent to this seat; [`Supervisor::job`] has it.
    Send(usize, u64),
    /// Ask it to leave.
    Ask(usize),
    /// It was asked and has not left: a signal that it can act upon.
    Terminate(usize),
    Kill(usize),
    /// The job is done with: its items fail.
    Fail(L, Failure),
}

/// What a seat's worker is doing.
#[derive(Clone, Debug, PartialEq)]
enum State {
    /// There is none; the next may be started at this time.
    Empty { from: Instant },
    /// Without a deadline: it is up, and waits for its memory.
    Starting { deadline: Option<Instant> },
    /// `since`: when it answered last, or got work after a pause.
    Ready { since: Instant },
    /// Asked to leave.
    Leaving { deadline: Instant, terminated: bool },
    /// It has closed its socket; its death notice should follow.
    Gone { deadline: Instant, was_ready: bool },
    /// Killed by us; the death notice has not come yet.
    Dying(Cause),
    /// There is none, and no other follows.
    Closed,
}

struct Seat<L> {
    state: State,
    jobs: VecDeque<Job<L>>,
    /// Batches that this worker has done.
    served: u64,
    /// Replace the worker as soon as it is free.
    retiring: bool,
    /// Its last batch took less than [`QUICK`]; nothing is known of a new worker.
    quick: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Running,
    /// No more is taken. With a deadline, what is not done by then is given up.
    Closing(Option<Instant>),
    Failed(String),
}

pub(crate) struct Supervisor<L> {
    policy: Policy,
    seats: Vec<Seat<L>>,
    waiting: VecDeque<Job<L>>,
    /// Jobs that may have killed a worker: each goes alone to a worker that has no other.
    suspects: VecDeque<Job<L>>,
    /// Deaths since the last result that no job is to blame for.
    deaths: VecDeque<Instant>,
    /// Items given up since the last result.
    given_up: usize,
    outside_kills: usize,
    next_sequence: u64,
    phase: Phase,
    /// A worker has been ready at some time.
    has_started: bool,
    /// The first worker said that it cannot work.
    is_refused: bool,
}

impl<L: Load> Supervisor<L> {
    /// A supervisor of `seats` workers, none of which has been started.
    pub fn new(seats: usize, policy: Policy, now: Instant) -> Self {
        let seat = || Seat {
            state: State::Empty { from: now },
            jobs: VecDeque::new(),
            served: 0,
            retiring: false,
            quick: false,
        };
        Self {
            policy,
            seats: (0..seats).map(|_| seat()).collect(),
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            deaths: VecDeque::new(),
            given_up: 0,
            outside_kills: 0,
            next_sequence: 1,
            phase: Phase::Running,
            has_started: false,
            is_refused: false,
        }
    }

    /// Takes a load; every load comes back, as a result or as [`Action::Fail`].
    pub fn submit(&mut self, load: L, now: Instant, out: &mut Vec<Action<L>>) {
        let job = Job { load, sequence: 0, attempts: 0, outside_kills: 0 };
        match &self.phase {
            Phase::Failed(reason) => {
                let cause = Cause::PoolFailed(reason.clone());
                out.push(Action::Fail(job.load, Failure { cause, attempts: 0 }));
            }
            Phase::Running | Phase::Closing(_) => {
                self.waiting.push_back(job);
                self.dispatch(now, out);
            }
        }
    }

    /// The load of a job that a seat has.
    pub fn job(&self, seat: usize, sequence: u64) -> Option<&L> {
        self.seats[seat].jobs.iter().find(|job| job.sequence == sequence).map(|job| &job.load)
    }

    /// A seat's worker is up; it is ready when it has its memory.
    pub fn introduced(&mut self, seat: usize) {
        if let State::Starting { deadline } = &mut self.seats[seat].state {
            *deadline = None;
            self.has_started = true;
        }
    }

    /// A seat's worker is ready for work.
    pub fn ready(&mut self, seat: usize, now: Instant, out: &mut Vec<Action<L>>) {
        if !matches!(self.seats[seat].state, State::Starting { .. }) {
            return;
        }
        self.has_started = true;
        self.seats[seat].state = State::Ready { since: now };
        self.settle(now, out);
    }

    /// A seat's worker says why it cannot work; it ends by itself.
    pub fn cannot_start(&mut self, seat: usize, reason: String, now: Instant, out: &mut Vec<Action<L>>) {
        if self.has_started {
            // It worked before, so it may work again: its end counts as a death.
            self.kill(seat, Cause::Raised(reason), out);
        } else {
            self.is_refused = true;
            self.fail(reason, now, out);
        }
    }

    /// A worker could not even be started, for lack of processes, descriptors or its program.
    pub fn cannot_spawn(&mut self, seat: usize, reason: String, now: Instant, out: &mut Vec<Action<L>>) {
        self.seats[seat].state = State::Closed;
        if self.has_started {
            self.count_death(&reason, now, out);
        } else {
            self.fail(reason, now, out);
        }
        self.vacate(seat, now);
        self.settle(now, out);
    }

    /// Whether the worker that [`Action::Spawn`] asked for is still wanted. If not, the seat is free again.
    pub fn is_wanted(&mut self, seat: usize, now: Instant, out: &mut Vec<Action<L>>) -> bool {
        let wanted = matches!(self.seats[seat].state, State::Starting { .. });
        if !wanted {
            self.vacate(seat, now);
            self.settle(now, out);
        }
        wanted
    }

    /// A job has its result: here it is back. `None` if the seat does not have it.
    pub fn done(&mut self, seat: usize, sequence: u64, now: Instant, out: &mut Vec<Action<L>>) -> Option<L> {
        let job = self.answered(seat, sequence, now)?;
        self.deaths.clear();
        self.given_up = 0;
        self.outside_kills = 0;
        self.settle(now, out);
        Some(job.load)
    }

    /// A worker says that it could not do a job, and lives on.
    pub fn failed(
        &mut self,
        seat: usize,
        sequence: u64,
        reason: &str,
        now: Instant,
        out: &mut Vec<Action<L>>,
    ) {
        let Some(mut job) = self.answered(seat, sequence, now) else { return };
        job.attempts += 1;
        if job.load.items() > 1 {
            self.suspect_each(job);
        } else {
            let failure = Failure { cause: Cause::Raised(reason.to_owned()), attempts: job.attempts };
            out.push(Action::Fail(job.load, failure));
        }
        self.settle(now, out);
    }

    /// What a worker sent made no sense; it is not trusted any more.
    pub fn broke_protocol(&mut self, seat: usize, what: String, out: &mut Vec<Action<L>>) {
        self.kill(seat, Cause::Protocol(what), out);
    }

    /// A worker has closed its connection: as a rule because it has died, which will be told.
    pub fn hung_up(&mut self, seat: usize, now: Instant) {
        let state = &mut self.seats[seat].state;
        if matches!(state, State::Starting { .. } | State::Ready { .. }) {
            let was_ready = matches!(state, State::Ready { .. });
            *state = State::Gone { deadline: after(now, HANG_UP_GRACE), was_ready };
        }
    }

    /// A worker's memory was looked at.
    pub fn uses_memory(&mut self, seat: usize, used: u64, now: Instant, out: &mut Vec<Action<L>>) {
        let Some(limit) = self.policy.memory_limit else { return };
        let (times, over) = MEMORY_SLACK;
        let Seat { served, jobs, .. } = &self.seats[seat];
        // One that is too large before it has done anything would be replaced for ever.
        let is_useless = *served == 0 && jobs.is_empty();
        if used > limit / over * times || (used > limit && is_useless) {
            self.kill(seat, Cause::MemoryLimit { used, limit }, out);
        } else if used > limit {
            self.seats[seat].retiring = true;
            self.settle(now, out);
        }
    }

    /// A worker has died; all that it had sent before has been handled.
    pub fn died(&mut self, seat: usize, death: Death, now: Instant, out: &mut Vec<Action<L>>) {
        let was = std::mem::replace(&mut self.seats[seat].state, State::Closed);
        let jobs = std::mem::take(&mut self.seats[seat].jobs);
        let cause = cause_of(&was, &death);
        let starting = matches!(was, State::Starting { .. } | State::Gone { was_ready: false, .. });
        let outside = match cause {
            Cause::Signal(9) => true,
            Cause::Signal(number) => starting && INTERRUPTIONS.contains(&number),
            _ => false,
        };
        let mut is_explained = false;
        // Back to front, so that they come to stand in their old order.
        for job in jobs.into_iter().rev() {
            if job.sequence == death.running {
                is_explained = true;
                self.suspect(job, &cause, outside, now, out);
            } else {
                self.put_back(job);
            }
        }
        let asked = matches!(was, State::Leaving { .. } | State::Dying(Cause::ShutDown));
        if outside && !asked {
            self.outside_kills += 1;
            if self.outside_kills >= MOST_OUTSIDE_KILLS {
                self.fail(format!("workers were killed {MOST_OUTSIDE_KILLS} times without one result in between; {cause}"), now, out);
            }
        } else if !asked && !is_explained {
            if !self.has_started {
                let words = death.last_words.trim();
                let words =
                    if words.is_empty() { String::new() } else { format!("; its last words: {words}") };
                self.fail(format!("it ended before it was ready: {cause}{words}"), now, out);
            }
            self.count_death(&cause.to_string(), now, out);
        }
        self.vacate(seat, now);
        self.settle(now, out);
    }

    /// Deadlines.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Action<L>>) {
        for seat in 0..self.seats.len() {
            if let Some(at) = self.deadline(seat)
                && at <= now
            {
                self.overdue(seat, now, out);
            }
        }
        if let Phase::Closing(Some(at)) = self.phase
            && at <= now
        {
            self.give_up(&Cause::ShutDown, now, out);
        }
        self.settle(now, out);
    }

    /// When [`Self::tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let closing = match self.phase {
            Phase::Closing(Some(at)) if self.has_jobs() => Some(at),
            _ => None,
        };
        (0..self.seats.len()).filter_map(|seat| self.deadline(seat)).chain(closing).min()
    }

    /// No more jobs will come: those there are are finished, within `grace` if there is one, and then all workers are
    /// asked to leave.
    pub fn close(&mut self, grace: Option<Duration>, now: Instant, out: &mut Vec<Action<L>>) {
        if !matches!(self.phase, Phase::Failed(_)) {
            self.phase = Phase::Closing(grace.map(|grace| after(now, grace)));
        }
        self.settle(now, out);
    }

    /// Whether all workers are gone and no more will be started.
    pub fn is_closed(&self) -> bool {
        !self.has_jobs() && self.seats.iter().all(|seat| seat.state == State::Closed)
    }

    /// Why the pool failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        match &self.phase {
            Phase::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether it failed because of what the first worker said.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn has_jobs(&self) -> bool {
        !self.waiting.is_empty()
            || !self.suspects.is_empty()
            || self.seats.iter().any(|seat| !seat.jobs.is_empty())
    }

    /// Takes a job off a seat whose worker has answered.
    fn answered(&mut self, seat: usize, sequence: u64, now: Instant) -> Option<Job<L>> {
        let seat = &mut self.seats[seat];
        let place = seat.jobs.iter().position(|job| job.sequence == sequence)?;
        if let State::Ready { since } = &mut seat.state {
            seat.quick = now.saturating_duration_since(*since) < QUICK;
            *since = now;
        }
        seat.served += 1;
        seat.retiring |= self.policy.recycle_after.is_some_and(|most| seat.served >= most.get());
        seat.jobs.remove(place)
    }

    /// A worker died at this job.
    fn suspect(
        &mut self,
        mut job: Job<L>,
        cause: &Cause,
        outside: bool,
        now: Instant,
        out: &mut Vec<Action<L>>,
    ) {
        if outside {
            job.outside_kills += 1;
            if job.outside_kills <= OUTSIDE_KILLS {
                return self.put_back(job);
            }
        }
        job.attempts += 1;
        if job.load.items() > 1 {
            self.suspect_each(job);
        } else if job.attempts >= self.policy.max_attempts {
            let failure = Failure { cause: cause.clone(), attempts: job.attempts };
            out.push(Action::Fail(job.load, failure));
            self.given_up += 1;
            let most = self.policy.most_given_up;
            if self.given_up >= most {
                let attempts = job.attempts;
                let reason = format!(
                    "{most} items in a row were given up, each after {attempts} workers ended at it; the last one: {cause}"
                );
                self.fail(reason, now, out);
            }
        } else {
            self.put_back(job);
        }
    }

    fn suspect_each(&mut self, job: Job<L>) {
        let Job { load, attempts, outside_kills, .. } = job;
        let alone = |load| Job { load, sequence: 0, attempts, outside_kills };
        self.suspects.extend(load.split().into_iter().map(alone));
    }

    fn put_back(&mut self, job: Job<L>) {
        if job.is_suspect() { self.suspects.push_front(job) } else { self.waiting.push_front(job) }
    }

    /// A death that says that something is wrong with the pool, and not with one job.
    fn count_death(&mut self, cause: &str, now: Instant, out: &mut Vec<Action<L>>) {
        let (most, within) = self.policy.restarts;
        self.deaths.push_back(now);
        self.deaths.retain(|&death| now.saturating_duration_since(death) <= within);
        if self.deaths.len() >= most.max(1) {
            let seconds = within.as_secs();
            self.fail(
                format!("{most} workers died within {seconds} s without one result in between; the last one: {cause}"),
                now,
                out,
            );
        }
    }

    /// After a death: the next worker is started at once, or later the more died in vain.
    fn vacate(&mut self, seat: usize, now: Instant) {
        let seat = &mut self.seats[seat];
        let wait = match self.deaths.len() {
            0 | 1 => Duration::ZERO,
            many => Duration::from_millis(50 << many.min(6)),
        };
        seat.state = State::Empty { from: after(now, wait) };
        seat.served = 0;
        seat.retiring = false;
        seat.quick = false;
    }

    fn kill(&mut self, seat: usize, cause: Cause, out: &mut Vec<Action<L>>) {
        let state = &mut self.seats[seat].state;
        if matches!(state, State::Empty { .. } | State::Closed | State::Dying(_)) {
            return;
        }
        *state = State::Dying(cause);
        out.push(Action::Kill(seat));
    }

    /// The pool cannot work: everything there is fails, and the workers are killed.
    fn fail(&mut self, reason: String, now: Instant, out: &mut Vec<Action<L>>) {
        if self.failure().is_some() {
            return;
        }
        self.phase = Phase::Failed(reason.clone());
        self.give_up(&Cause::PoolFailed(reason), now, out);
    }

    /// Nobody will act any more: everything there is fails now.
    pub fn abandon(&mut self, reason: String, now: Instant, out: &mut Vec<Action<L>>) {
        self.fail(reason, now, out);
        self.seats.iter_mut().for_each(|seat| seat.state = State::Closed);
    }

    /// All jobs fail, and whoever is at one is killed.
    fn give_up(&mut self, cause: &Cause, now: Instant, out: &mut Vec<Action<L>>) {
        let mut jobs: Vec<Job<L>> = self.suspects.drain(..).chain(self.waiting.drain(..)).collect();
        for number in 0..self.seats.len() {
            let held = std::mem::take(&mut self.seats[number].jobs);
            match self.seats[number].state {
                State::Starting { .. } => self.kill(number, Cause::ShutDown, out),
                _ if !held.is_empty() => self.leave(number, now, Duration::ZERO, out),
                _ => {}
            }
            jobs.extend(held);
        }
        for job in jobs {
            let failure = Failure { cause: cause.clone(), attempts: job.attempts };
            out.push(Action::Fail(job.load, failure));
        }
    }

    fn leave(&mut self, seat: usize, now: Instant, grace: Duration, out: &mut Vec<Action<L>>) {
        let state = &mut self.seats[seat].state;
        if matches!(state, State::Ready { .. }) {
            *state = State::Leaving { deadline: after(now, grace), terminated: false };
            out.push(Action::Ask(seat));
        }
    }

    fn deadline(&self, seat: usize) -> Option<Instant> {
        let seat = &self.seats[seat];
        match seat.state {
            State::Empty { from: at }
            | State::Gone { deadline: at, .. }
            | State::Leaving { deadline: at, .. } => Some(at),
            State::Starting { deadline } => deadline,
            State::Ready { since } if !seat.jobs.is_empty() => Some(after(since, self.policy.timeout?)),
            State::Ready { .. } | State::Dying(_) | State::Closed => None,
        }
    }

    fn overdue(&mut self, seat: usize, now: Instant, out: &mut Vec<Action<L>>) {
        match self.seats[seat].state {
            // Started by `settle`.
            State::Empty { .. } | State::Closed | State::Dying(_) => {}
            State::Starting { .. } if self.has_started => {
                self.kill(seat, Cause::Deadline(self.policy.start_timeout), out);
            }
            State::Starting { .. } => {
                let seconds = self.policy.start_timeout.as_secs_f64();
                self.fail(format!("it was not ready after {seconds:.1} s"), now, out);
            }
            State::Ready { .. } => {
                self.kill(seat, Cause::Deadline(self.policy.timeout.unwrap_or_default()), out);
            }
            State::Gone { .. } => {
                self.kill(seat, Cause::Protocol("it closed its connection and went on".into()), out);
            }
            State::Leaving { terminated: false, .. } => {
                self.seats[seat].state =
                    State::Leaving { deadline: after(now, TERMINATE_GRACE), terminated: true };
                out.push(Action::Terminate(seat));
            }
            State::Leaving { terminated: true, .. } => self.kill(seat, Cause::ShutDown, out),
        }
    }

    /// Whatever the state of things now calls for.
    fn settle(&mut self, now: Instant, out: &mut Vec<Action<L>>) {
        let over = match self.phase {
            Phase::Running => false,
            Phase::Closing(_) => !self.has_jobs(),
            Phase::Failed(_) => true,
        };
        for number in 0..self.seats.len() {
            let (grace, seat) = (self.policy.leave_grace, &mut self.seats[number]);
            match seat.state {
                State::Empty { .. } if over => seat.state = State::Closed,
                State::Empty { from } if from <= now => {
                    seat.state = State::Starting { deadline: Some(after(now, self.policy.start_timeout)) };
                    out.push(Action::Spawn(number));
                }
                State::Ready { .. } if over => self.leave(number, now, grace, out),
                // It has nothing to finish, and does not listen while it loads.
                State::Starting { .. } if over => self.kill(number, Cause::ShutDown, out),
                State::Ready { .. } if seat.retiring && seat.jobs.is_empty() => {
                    self.leave(number, now, grace, out);
                }
                _ => {}
            }
        }
        self.dispatch(now, out);
    }

    /// Gives waiting jobs to whoever can take them.
    fn dispatch(&mut self, now: Instant, out: &mut Vec<Action<L>>) {
        while !self.suspects.is_empty() {
            let Some(seat) = self.free_seat(1) else { break };
            let job = self.suspects.pop_front();
            self.give(seat, job, now, out);
        }
        // While a suspect waits for a worker of its own, no worker is given more than one job.
        let depth = if self.suspects.is_empty() { DEPTH } else { 1 };
        while !self.waiting.is_empty() {
            let Some(seat) = self.free_seat(1).or_else(|| self.free_seat(depth)) else { break };
            let job = self.waiting.pop_front();
            self.give(seat, job, now, out);
        }
    }

    /// A seat whose worker can take another job, and has fewer than `depth`.
    fn free_seat(&self, depth: usize) -> Option<usize> {
        let share = self.policy.recycle_after.map_or(u64::MAX, NonZeroU64::get);
        self.seats.iter().position(|seat| {
            matches!(seat.state, State::Ready { .. })
                && !seat.retiring
                && seat.served + (seat.jobs.len() as u64) < share
                && seat.jobs.len() < depth
                && (seat.jobs.is_empty() || (seat.quick && !seat.jobs.iter().any(Job::is_suspect)))
        })
    }

    fn give(&mut self, number: usize, job: Option<Job<L>>, now: Instant, out: &mut Vec<Action<L>>) {
        let (Some(mut job), seat) = (job, &mut self.seats[number]) else { return };
        if seat.jobs.is_empty() {
            seat.state = State::Ready { since: now };
        }
        job.sequence = self.next_sequence;
        self.next_sequence += 1;
        out.push(Action::Send(number, job.sequence));
        seat.jobs.push_back(job);
    }
}

/// A time from now; one too far away to be told is a lifetime away.
fn after(now: Instant, time: Duration) -> Instant {
    const LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(time.min(LIFETIME)).unwrap_or(now)
}

fn cause_of(was: &State, death: &Death) -> Cause {
    match (was, death.end) {
        // A worker that broke the protocol may have been about to die of something else.
        (State::Dying(Cause::Protocol(_)), End::Signal(signal)) if signal != 9 => Cause::Signal(signal),
        (State::Dying(cause), _) => cause.clone(),
        (_, End::Signal(9)) if death.out_of_memory => Cause::OutOfMemory,
        (_, End::Signal(signal)) => Cause::Signal(signal),
        (_, End::Exit(code)) => Cause::Exit(code),
        (_, End::Unknown) => Cause::Raised("the worker is gone, and nobody knows why".into()),
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
