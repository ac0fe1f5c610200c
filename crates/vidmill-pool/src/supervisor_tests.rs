use proptest::prelude::*;

use super::*;

/// Items are numbers; a load is some of them.
#[derive(Clone, Debug, PartialEq)]
struct Numbers(Vec<u32>);

impl Load for Numbers {
    fn items(&self) -> usize {
        self.0.len()
    }
    fn split(self) -> Vec<Self> {
        self.0.into_iter().map(|number| Self(vec![number])).collect()
    }
}

/// A supervisor with imaginary workers and an imaginary clock.
struct Stage {
    supervisor: Supervisor<Numbers>,
    now: Instant,
    actions: Vec<Action<Numbers>>,
    /// Per seat: whether a process is there, and the jobs sent to it.
    processes: Vec<Option<VecDeque<u64>>>,
    done: Vec<u32>,
    failed: Vec<(u32, Failure)>,
    killed: usize,
    asked: usize,
    terminated: usize,
}

impl Stage {
    fn new(seats: usize, policy: Policy) -> Self {
        let now = Instant::now();
        let mut stage = Self {
            supervisor: Supervisor::new(seats, policy, now),
            now,
            actions: Vec::new(),
            processes: vec![None; seats],
            done: Vec::new(),
            failed: Vec::new(),
            killed: 0,
            asked: 0,
            terminated: 0,
        };
        stage.supervisor.tick(now, &mut stage.actions);
        stage.act();
        stage
    }

    /// With all workers ready.
    fn ready(seats: usize, policy: Policy) -> Self {
        let mut stage = Self::new(seats, policy);
        (0..seats).for_each(|seat| stage.become_ready(seat));
        stage
    }

    fn act(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Spawn(seat) => {
                    assert!(self.processes[seat].is_none(), "two processes in seat {seat}");
                    self.processes[seat] = Some(VecDeque::new());
                }
                Action::Send(seat, sequence) => {
                    assert!(self.supervisor.job(seat, sequence).is_some());
                    self.processes[seat].as_mut().unwrap().push_back(sequence);
                }
                Action::Ask(seat) => {
                    assert!(self.processes[seat].is_some());
                    self.asked += 1;
                }
                Action::Terminate(_) => self.terminated += 1,
                Action::Kill(seat) => {
                    assert!(self.processes[seat].is_some());
                    self.killed += 1;
                }
                Action::Fail(load, failure) => {
                    self.failed.extend(load.0.into_iter().map(|n| (n, failure.clone())));
                }
            }
        }
    }

    fn become_ready(&mut self, seat: usize) {
        self.supervisor.ready(seat, self.now, &mut self.actions);
        self.act();
    }

    fn submit(&mut self, numbers: &[u32]) {
        self.supervisor.submit(Numbers(numbers.to_vec()), self.now, &mut self.actions);
        self.act();
    }

    fn answer(&mut self, seat: usize) {
        let sequence = self.processes[seat].as_mut().unwrap().pop_front().unwrap();
        // Nothing comes back of what was given up meanwhile.
        if let Some(load) = self.supervisor.done(seat, sequence, self.now, &mut self.actions) {
            self.done.extend(load.0);
        }
        self.act();
    }

    fn running(&self, seat: usize) -> u64 {
        self.processes[seat].as_ref().and_then(|jobs| jobs.front().copied()).unwrap_or(0)
    }

    fn die(&mut self, seat: usize, end: End, running: u64) {
        self.processes[seat] = None;
        let death = Death { end, out_of_memory: false, running, last_words: String::new() };
        self.supervisor.died(seat, death, self.now, &mut self.actions);
        self.act();
    }

    fn crash(&mut self, seat: usize) {
        let running = self.running(seat);
        self.die(seat, End::Signal(11), running);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.supervisor.tick(self.now, &mut self.actions);
        self.act();
    }

    fn jobs(&self, seat: usize) -> usize {
        self.processes[seat].as_ref().map_or(0, VecDeque::len)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn work_goes_to_idle_workers_first_and_none_holds_more_than_two() {
    let mut stage = Stage::ready(2, Policy::default());
    for number in 0..8 {
        stage.submit(&[number]);
    }
    assert_eq!((stage.jobs(0), stage.jobs(1)), (1, 1), "nobody knows yet how quick they are");
    stage.answer(1);
    stage.answer(0);
    assert_eq!((stage.jobs(0), stage.jobs(1)), (2, 2));
    stage.answer(1);
    assert_eq!((stage.jobs(0), stage.jobs(1)), (2, 2));
    assert_eq!(stage.done, [1, 0, 2]);
}

#[test]
fn slow_workers_are_not_queued_at() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0]);
    stage.now += SECOND;
    stage.answer(0);
    stage.submit(&[1]);
    stage.submit(&[2]);
    assert_eq!(stage.jobs(0), 1);
}

#[test]
fn only_the_running_job_is_suspect_and_it_goes_alone() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0, 1]);
    stage.submit(&[2]);
    stage.crash(0);
    stage.become_ready(0);
    // The batch is taken apart; nothing else is at the worker.
    assert_eq!(stage.jobs(0), 1);
    let suspect = stage.running(0);
    assert_eq!(stage.supervisor.job(0, suspect), Some(&Numbers(vec![0])));
    for _ in 0..3 {
        stage.answer(0);
    }
    assert_eq!(stage.done, [0, 1, 2]);
    assert!(stage.failed.is_empty());
}

#[test]
fn an_item_that_kills_again_and_again_is_given_up_and_the_rest_goes_on() {
    let mut stage = Stage::ready(2, Policy::default());
    (0..4).for_each(|number| stage.submit(&[number]));
    for _ in 0..3 {
        let seat =
            (0..2).find(|&s| stage.supervisor.job(s, stage.running(s)) == Some(&Numbers(vec![0]))).unwrap();
        stage.crash(seat);
        stage.become_ready(seat);
    }
    assert_eq!(stage.failed, [(0, Failure { cause: Cause::Signal(11), attempts: 3 })]);
    while stage.jobs(0) + stage.jobs(1) > 0 {
        let seat = usize::from(stage.jobs(0) == 0);
        stage.answer(seat);
    }
    stage.done.sort_unstable();
    assert_eq!(stage.done, [1, 2, 3]);
    assert_eq!(stage.supervisor.failure(), None);
}

#[test]
fn kills_from_outside_do_not_count_against_the_item() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0, 1]);
    for _ in 0..OUTSIDE_KILLS {
        let running = stage.running(0);
        stage.die(0, End::Signal(9), running);
        stage.become_ready(0);
        // As it was: alone the result might differ in the last bit.
        assert_eq!(stage.supervisor.job(0, stage.running(0)), Some(&Numbers(vec![0, 1])));
    }
    stage.answer(0);
    assert_eq!(stage.done, [0, 1]);
    assert_eq!(stage.supervisor.failure(), None);
}

#[test]
fn an_item_that_sends_itself_sigkill_is_given_up_too() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0]);
    for _ in 0..OUTSIDE_KILLS + 3 {
        let running = stage.running(0);
        stage.die(0, End::Signal(9), running);
        stage.become_ready(0);
    }
    assert_eq!(stage.failed, [(0, Failure { cause: Cause::Signal(9), attempts: 3 })]);
}

#[test]
fn a_model_that_always_crashes_fails_the_pool() {
    let mut stage = Stage::ready(1, Policy::default());
    (0..100).for_each(|number| stage.submit(&[number]));
    let mut deaths = 0;
    while stage.supervisor.failure().is_none() {
        stage.crash(0);
        deaths += 1;
        if stage.supervisor.failure().is_none() {
            stage.become_ready(0);
        }
    }
    assert_eq!(deaths, 20 * 3);
    let reason = stage.supervisor.failure().unwrap();
    assert!(reason.contains("20 items in a row were given up"), "{reason}");
    assert_eq!(stage.failed.len(), 100);
    assert!(stage.supervisor.is_closed());
    stage.submit(&[100]);
    assert!(matches!(&stage.failed[100].1.cause, Cause::PoolFailed(_)));
}

#[test]
fn a_bad_scene_does_not_end_the_pool() {
    let mut stage = Stage::ready(1, Policy::default());
    (0..19).for_each(|number| stage.submit(&[number]));
    stage.submit(&[19]);
    for _ in 0..19 * 3 {
        stage.crash(0);
        stage.become_ready(0);
    }
    stage.answer(0);
    assert_eq!(stage.done, [19]);
    assert_eq!(stage.failed.len(), 19);
    assert_eq!(stage.supervisor.failure(), None);
}

#[test]
fn a_pool_whose_workers_die_for_no_reason_of_any_job_fails() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0]);
    for _ in 0..5 {
        stage.die(0, End::Exit(1), 0);
        stage.wait(SECOND);
        stage.become_ready(0);
    }
    assert!(stage.supervisor.failure().unwrap().contains("5 workers died within 60 s"));
    assert!(matches!(&stage.failed[0].1, Failure { cause: Cause::PoolFailed(_), attempts: 0 }));
}

#[test]
fn old_deaths_are_forgotten() {
    let mut stage = Stage::ready(1, Policy::default());
    for _ in 0..20 {
        stage.die(0, End::Exit(1), 0);
        stage.wait(16 * SECOND);
        stage.become_ready(0);
    }
    assert_eq!(stage.supervisor.failure(), None);
}

#[test]
fn restarts_wait_longer_the_more_die_in_vain() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.die(0, End::Exit(1), 0);
    assert!(stage.processes[0].is_some(), "the first is replaced at once");
    stage.become_ready(0);
    stage.die(0, End::Exit(1), 0);
    assert!(stage.processes[0].is_none());
    stage.wait(SECOND);
    assert!(stage.processes[0].is_some());
}

#[test]
fn who_cannot_start_at_first_fails_the_pool_with_its_own_words() {
    let mut stage = Stage::new(2, Policy::default());
    stage.supervisor.cannot_start(0, "no such model".into(), stage.now, &mut stage.actions);
    stage.act();
    assert_eq!(stage.supervisor.failure(), Some("no such model"));
    stage.die(0, End::Exit(1), 0);
    stage.die(1, End::Exit(0), 0);
    assert!(stage.supervisor.is_closed());
}

#[test]
fn who_dies_at_first_fails_the_pool_with_its_last_words() {
    let mut stage = Stage::new(1, Policy::default());
    let last_words = "libfoo.so: not found\n".to_owned();
    let death = Death { end: End::Exit(127), out_of_memory: false, running: 0, last_words };
    stage.processes[0] = None;
    stage.supervisor.died(0, death, stage.now, &mut stage.actions);
    let reason = stage.supervisor.failure().unwrap();
    assert!(reason.contains("exit code 127") && reason.contains("libfoo.so"), "{reason}");
}

#[test]
fn a_program_that_is_not_there_fails_the_pool() {
    let mut stage = Stage::new(1, Policy::default());
    stage.processes[0] = None;
    stage.supervisor.cannot_spawn(0, "no such file".into(), stage.now, &mut stage.actions);
    stage.act();
    assert_eq!(stage.supervisor.failure(), Some("no such file"));
    assert!(stage.supervisor.is_closed());
}

#[test]
fn start_and_work_have_deadlines() {
    let policy = Policy { timeout: Some(5 * SECOND), ..Policy::default() };
    let mut stage = Stage::new(1, policy.clone());
    stage.wait(policy.start_timeout);
    assert!(stage.supervisor.failure().unwrap().contains("not ready"));

    let mut stage = Stage::ready(1, policy);
    // The clock runs from when there is work.
    stage.wait(100 * SECOND);
    stage.submit(&[0]);
    stage.submit(&[1]);
    stage.wait(4 * SECOND);
    assert_eq!(stage.killed, 0);
    stage.answer(0);
    stage.wait(4 * SECOND);
    assert_eq!(stage.killed, 0, "each answer starts it anew");
    stage.wait(SECOND);
    assert_eq!(stage.killed, 1);
    let running = stage.running(0);
    stage.die(0, End::Signal(9), running);
    stage.become_ready(0);
    for _ in 0..2 {
        stage.wait(5 * SECOND);
        let running = stage.running(0);
        stage.die(0, End::Signal(9), running);
        stage.become_ready(0);
    }
    assert_eq!(stage.failed, [(1, Failure { cause: Cause::Deadline(5 * SECOND), attempts: 3 })]);
}

#[test]
fn workers_are_replaced_after_their_share() {
    let mut stage = Stage::ready(1, Policy { recycle_after: NonZeroU64::new(2), ..Policy::default() });
    (0..5).for_each(|number| stage.submit(&[number]));
    stage.answer(0);
    stage.answer(0);
    assert_eq!(stage.jobs(0), 0);
    assert_eq!(stage.asked, 1);
    stage.die(0, End::Exit(0), 0);
    stage.become_ready(0);
    assert_eq!(stage.jobs(0), 1);
    assert_eq!(stage.supervisor.failure(), None);
}

#[test]
fn memory_has_a_limit_that_replaces_and_one_that_kills() {
    let mut stage = Stage::ready(1, Policy { memory_limit: Some(1000), ..Policy::default() });
    stage.submit(&[0]);
    stage.supervisor.uses_memory(0, 1200, stage.now, &mut stage.actions);
    stage.act();
    assert_eq!((stage.asked, stage.killed), (0, 0));
    stage.answer(0);
    assert_eq!((stage.asked, stage.killed), (1, 0));
    stage.die(0, End::Exit(0), 0);
    stage.become_ready(0);
    stage.submit(&[1]);
    stage.supervisor.uses_memory(0, 1501, stage.now, &mut stage.actions);
    stage.act();
    assert_eq!(stage.killed, 1);
    for _ in 0..3 {
        let running = stage.running(0);
        stage.die(0, End::Signal(9), running);
        stage.become_ready(0);
        stage.supervisor.uses_memory(0, 9999, stage.now, &mut stage.actions);
        stage.act();
    }
    assert_eq!(stage.failed.len(), 1);
    assert_eq!(stage.failed[0].1.cause, Cause::MemoryLimit { used: 9999, limit: 1000 });
}

#[test]
fn a_limit_below_what_a_worker_needs_at_rest_fails_the_pool() {
    let mut stage = Stage::ready(1, Policy { memory_limit: Some(1000), ..Policy::default() });
    stage.submit(&[0]);
    let running = stage.running(0);
    stage.die(0, End::Signal(9), running);
    for _ in 0..5 {
        stage.supervisor.uses_memory(0, 1200, stage.now, &mut stage.actions);
        stage.act();
        stage.die(0, End::Signal(9), 0);
        stage.wait(10 * SECOND);
    }
    let reason = stage.supervisor.failure().expect("it cannot work");
    assert!(reason.contains("took 0 MiB of memory"), "{reason}");
}

#[test]
fn who_is_up_has_time_to_wait_for_its_memory() {
    let mut stage = Stage::new(2, Policy::default());
    stage.supervisor.introduced(0);
    stage.supervisor.introduced(1);
    stage.wait(10_000 * SECOND);
    assert_eq!(stage.supervisor.failure(), None);
    // What comes now is a death like any other.
    stage.die(1, End::Exit(1), 0);
    assert_eq!(stage.supervisor.failure(), None);
    stage.become_ready(0);
    stage.submit(&[0]);
    assert_eq!(stage.jobs(0), 1);
}

#[test]
fn times_without_end_are_no_trouble() {
    let policy = Policy {
        start_timeout: Duration::MAX,
        timeout: Some(Duration::MAX),
        leave_grace: Duration::MAX,
        ..Policy::default()
    };
    let mut stage = Stage::ready(1, policy);
    stage.submit(&[0]);
    stage.supervisor.close(Some(Duration::MAX), stage.now, &mut stage.actions);
    stage.wait(SECOND);
    stage.answer(0);
    assert_eq!(stage.asked, 1);
}

#[test]
fn closing_kills_who_is_still_loading() {
    let mut stage = Stage::new(1, Policy::default());
    stage.supervisor.close(None, stage.now, &mut stage.actions);
    stage.act();
    assert_eq!((stage.asked, stage.killed), (0, 1));
    stage.die(0, End::Signal(9), 0);
    assert!(stage.supervisor.is_closed());
}

#[test]
fn a_worker_that_is_interrupted_before_it_listens_is_replaced() {
    let mut stage = Stage::new(1, Policy::default());
    for signal in [2, 15, 2, 15, 2, 15] {
        stage.supervisor.hung_up(0, stage.now);
        stage.die(0, End::Signal(signal), 0);
    }
    assert_eq!(stage.supervisor.failure(), None);
    stage.become_ready(0);
    stage.submit(&[0]);
    stage.answer(0);
    assert_eq!(stage.done, [0]);
}

#[test]
fn closing_finishes_the_work_then_asks_terminates_and_kills() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0]);
    stage.supervisor.close(None, stage.now, &mut stage.actions);
    stage.act();
    assert_eq!(stage.asked, 0);
    stage.answer(0);
    assert_eq!((stage.asked, stage.terminated, stage.killed), (1, 0, 0));
    stage.wait(5 * SECOND);
    assert_eq!((stage.terminated, stage.killed), (1, 0));
    stage.wait(SECOND);
    assert_eq!(stage.killed, 1);
    assert!(!stage.supervisor.is_closed());
    stage.die(0, End::Signal(9), 0);
    assert!(stage.supervisor.is_closed());
    assert_eq!(stage.supervisor.failure(), None);
}

#[test]
fn closing_in_a_hurry_gives_up_what_is_not_done() {
    let mut stage = Stage::ready(1, Policy::default());
    (0..5).for_each(|number| stage.submit(&[number]));
    stage.supervisor.close(Some(SECOND), stage.now, &mut stage.actions);
    stage.answer(0);
    stage.wait(SECOND);
    assert_eq!(stage.failed.len(), 4);
    assert!(stage.failed.iter().all(|(_, failure)| failure.cause == Cause::ShutDown));
    stage.wait(SECOND);
    stage.wait(SECOND);
    assert_eq!((stage.terminated, stage.killed), (1, 1));
}

#[test]
fn a_batch_that_raises_is_run_again_one_by_one() {
    let mut stage = Stage::ready(1, Policy::default());
    stage.submit(&[0, 1]);
    for _ in 0..2 {
        let sequence = stage.processes[0].as_mut().unwrap().pop_front().unwrap();
        stage.supervisor.failed(0, sequence, "bad frame", stage.now, &mut stage.actions);
        stage.act();
    }
    stage.answer(0);
    assert_eq!(stage.done, [1]);
    assert_eq!(stage.failed, [(0, Failure { cause: Cause::Raised("bad frame".into()), attempts: 2 })]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, every item comes back exactly once, and at the end nobody is left.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(
        seats in 1_usize..4,
        events in prop::collection::vec((0_u8..12, any::<prop::sample::Index>()), 1..200),
    ) {
        let policy = Policy { timeout: Some(SECOND), recycle_after: NonZeroU64::new(7), ..Policy::default() };
        let mut stage = Stage::ready(seats, policy);
        let mut submitted = 0_u32;
        for (event, index) in events {
            let seat = index.index(seats);
            let alive = stage.processes[seat].is_some();
            match event {
                0..=3 => {
                    let batch: Vec<u32> = (submitted..).take(1 + seat % 3).collect();
                    submitted += batch.len() as u32;
                    stage.submit(&batch);
                }
                4 | 5 if stage.jobs(seat) > 0 => stage.answer(seat),
                6 if alive => stage.crash(seat),
                7 if alive => stage.die(seat, End::Exit(0), 0),
                8 if alive => {
                    let running = stage.running(seat);
                    stage.die(seat, End::Signal(9), running);
                }
                9 | 10 if alive => stage.become_ready(seat),
                _ => stage.wait(SECOND / 3),
            }
        }
        stage.supervisor.close(None, stage.now, &mut stage.actions);
        stage.act();
        for _ in 0..10_000 {
            if stage.supervisor.is_closed() {
                break;
            }
            for seat in 0..seats {
                if stage.jobs(seat) > 0 {
                    stage.answer(seat);
                } else if stage.asked > 0 && stage.processes[seat].is_some() && matches!(stage.supervisor.seats[seat].state, State::Leaving { .. }) {
                    stage.die(seat, End::Exit(0), 0);
                } else if stage.processes[seat].is_some() && matches!(stage.supervisor.seats[seat].state, State::Dying(_)) {
                    let running = stage.running(seat);
                    stage.die(seat, End::Signal(9), running);
                } else if stage.processes[seat].is_some() {
                    stage.become_ready(seat);
                }
            }
            stage.wait(SECOND / 10);
        }
        prop_assert!(stage.supervisor.is_closed());
        let mut seen: Vec<u32> = stage.done.iter().copied().chain(stage.failed.iter().map(|f| f.0)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..submitted).collect::<Vec<_>>());
        prop_assert!(stage.processes.iter().all(Option::is_none));
    }
}
