//! Real worker processes, and everything that can happen to them. This program is its own worker; so it has a `main` of
//! its own, which otherwise does what the usual test harness does.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "a test, and a worker that misbehaves on purpose"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vidmill_pool::{Cause, Failure, Input, Policy, Pool, PoolError, Program, Worker, is_worker, serve};

/// Does as its item says.
struct Actor {
    kept: Vec<Input>,
}

impl Worker for Actor {
    type Item = Vec<u8>;
    type Output = Vec<u8>;

    fn run(&mut self, items: &[Vec<u8>], input: &Input, outputs: &mut Vec<Vec<u8>>) {
        outputs.extend(items.iter().map(|item| self.act(std::str::from_utf8(item).expect("text"), input)));
    }
}

impl Actor {
    fn act(&mut self, order: &str, input: &Input) -> Vec<u8> {
        let (verb, number) = order.split_once(' ').unwrap_or((order, "0"));
        let number: u64 = number.parse().expect("a number");
        match verb {
            "sum" => return sum(input).to_le_bytes().to_vec(),
            "sleep" => std::thread::sleep(Duration::from_millis(number)),
            "exit" => std::process::exit(i32::try_from(number).expect("small")),
            "abort" => std::process::abort(),
            "panic" => panic!("as ordered"),
            "signal" => {
                let signal = Signal::from_named_raw(i32::try_from(number).expect("small")).expect("a signal");
                kill_process(rustix::process::getpid(), signal).expect("oneself");
                std::thread::sleep(Duration::from_secs(60));
            }
            "grow" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1_u8; 8 << 20]);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            "child" => {
                let child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
                return u64::from(child.id()).to_le_bytes().to_vec();
            }
            "pid" => return u64::from(std::process::id()).to_le_bytes().to_vec(),
            "large" => return vec![7; usize::try_from(number).expect("size")],
            "print" => {
                println!("on standard output");
                eprintln!("on standard error");
            }
            "keep" => self.kept.push(input.clone()),
            "kept" => return self.kept.iter().map(|input| input[0]).collect(),
            "release" => self.kept.clear(),
            _ => panic!("no such order: {order}"),
        }
        b"done".to_vec()
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

/// A worker that starts as the pool says: at once, never, with a word of regret, or with a crash.
fn build(start: &[u8]) -> Result<(Actor, Vec<u8>), String> {
    match start {
        b"never" => std::thread::sleep(Duration::from_secs(1000)),
        b"refuse" => return Err("no such model: a.onnx".into()),
        b"crash" => {
            eprintln!("libexample.so: cannot open shared object file");
            std::process::exit(127);
        }
        _ => {}
    }
    Ok((Actor { kept: Vec::new() }, start.to_vec()))
}

const BYTES: usize = 1000;

fn pool(workers: usize, policy: Policy) -> Pool<Actor> {
    try_pool(workers, policy, b"").expect("workers start")
}

fn try_pool(workers: usize, policy: Policy, start: &[u8]) -> Result<Pool<Actor>, PoolError> {
    Pool::processes(workers, workers + 4, BYTES, 1 << 20, Program::this(start.to_vec()), policy)
}

fn order(pool: &Pool<Actor>, order: &str) -> Result<Vec<u8>, Failure> {
    pool.submit(order.into(), pool.slot().filled()).wait()
}

fn number(output: Result<Vec<u8>, Failure>) -> u64 {
    u64::from_le_bytes(output.expect("an output").try_into().expect("a number"))
}

fn fill(number: u64, bytes: &mut [u8]) -> Vec<u8> {
    bytes.fill((number % 251) as u8);
    b"sum".to_vec()
}

fn expected(number: u64) -> u64 {
    number % 251 * BYTES as u64
}

fn is_alive(process: u32) -> bool {
    // A zombie is a process that has ended.
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "{what} did not happen within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Descriptors, child processes, and shared memory that this process has.
fn belongings() -> (usize, usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors").count();
    let me = std::process::id().to_string();
    let is_child = |stat: &str| {
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).is_some_and(|parent| parent == me)
    };
    let children = fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| is_child(stat))
        .count();
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    (descriptors, children, maps.matches("memfd:vidmill").count())
}

/// What lies in /dev/shm, but for the semaphores of other programs.
fn shared_names() -> BTreeSet<OsString> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|entry| entry.file_name());
    entries.filter(|name| !name.to_string_lossy().starts_with("sem.")).collect()
}

/// Runs `work`, and checks that it leaves nothing behind.
fn leaves_nothing(work: impl FnOnce()) {
    let before = belongings();
    let named = shared_names();
    work();
    wait_until("that nothing is left behind", || belongings() == before);
    assert!(shared_names().is_subset(&named), "/dev/shm");
}

fn outputs_come_in_order_or_as_they_are_done() {
    let pool = pool(2, Policy::default());
    let ordered: Vec<u64> = pool.map(0..2000, fill).map(number).collect();
    assert_eq!(ordered, (0..2000).map(expected).collect::<Vec<_>>());
    let unordered: BTreeMap<u64, u64> =
        pool.map_unordered(0..2000, fill).map(|(n, o)| (n, number(o))).collect();
    assert_eq!(unordered, (0..2000).map(|n| (n, expected(n))).collect());
}

fn large_outputs_come_through_shared_memory() {
    let pool = pool(1, Policy::default());
    // The last ones are larger than the room that was asked for.
    for bytes in [0, 1, 60_000, 65_000, 70_000, 1 << 20, 2_000_000, 60_000_000] {
        assert!(order(&pool, &format!("large {bytes}")) == Ok(vec![7; bytes]), "{bytes} bytes");
    }
    let failure = order(&pool, "large 70000000").unwrap_err();
    assert_eq!(failure.attempts, 1);
    assert!(failure.to_string().contains("70000008 bytes: at most 67108864"), "{failure}");
    assert_eq!(order(&pool, "sleep 0"), Ok(b"done".to_vec()));
}

/// A waker that wakes nobody in particular, and a loop that polls.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn outputs_can_be_awaited() {
    use futures_core::Stream;
    let pool = pool(2, Policy::default());
    let slow = pool.submit(b"sleep 50".to_vec(), pool.slot().filled());
    let quick = pool.submit(b"sleep 1".to_vec(), pool.slot().filled());
    assert_eq!(block_on(async { (quick.await, slow.await) }), (Ok(b"done".to_vec()), Ok(b"done".to_vec())));
    fn collect<S: Stream + Unpin>(mut stream: S) -> Vec<S::Item> {
        let mut items = Vec::new();
        block_on(std::future::poll_fn(|context| {
            while let Some(item) = std::task::ready!(Pin::new(&mut stream).poll_next(context)) {
                items.push(item);
            }
            Poll::Ready(())
        }));
        items
    }
    let ordered: Vec<u64> = collect(pool.map(0..100, fill)).into_iter().map(number).collect();
    assert_eq!(ordered, (0..100).map(expected).collect::<Vec<_>>());
    assert_eq!(collect(pool.map_unordered(0..100, fill)).len(), 100);
}

fn a_worker_that_cannot_start_says_why_once() {
    let refusal = try_pool(2, Policy::default(), b"refuse").err().expect("refused").to_string();
    assert_eq!(refusal, "cannot start a worker: no such model: a.onnx");
    let crash = try_pool(2, Policy::default(), b"crash").err().expect("refused").to_string();
    assert!(crash.contains("exit code 127") && crash.contains("libexample.so: cannot open"), "{crash}");
    let policy = Policy { start_timeout: Duration::from_millis(200), ..Policy::default() };
    let begin = Instant::now();
    let late = try_pool(1, policy, b"never").err().expect("refused").to_string();
    assert!(late.contains("not ready after 0.2 s"), "{late}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let program = Program { path: "/nonexistent/program".into(), ..Program::this(Vec::new()) };
    let missing = Pool::<Actor>::processes(1, 1, 1, 0, program, Policy::default()).err().expect("refused");
    assert!(missing.to_string().contains("/nonexistent/program: No such file"), "{missing}");
}

fn workers_are_built_from_and_say_as_much_as_they_like() {
    use vidmill_pool::{Printer, Processes};
    let start = vec![5; 3_000_000];
    let program = Program::this(start.clone());
    let pool = Processes::<(), Actor>::launch(2, program, Policy::default(), Printer::to_standard_error());
    assert_eq!(pool.expect("launched").introduction(), Ok(start));
}

fn what_workers_print_is_passed_on() {
    use std::sync::Mutex;
    use vidmill_pool::{Executor, Printer, Processes, Slots};
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let printer =
        Printer::to(move |worker, line| sink.lock().expect("whole").push((worker, line.to_owned())));
    let program = Program::this(Vec::new());
    let workers = Processes::<(), Actor>::launch(1, program, Policy::default(), printer).expect("launched");
    let slots = Slots::shared(1, 1).expect("a slot");
    workers.attach(&slots, 0, Arc::new(|(), output| drop(output.expect("printed")))).expect("attached");
    workers.submit(&mut vec![((), b"print".to_vec())], 1, slots.acquire().filled());
    drop(workers);
    let told = lines.lock().expect("whole").clone();
    assert_eq!(told, [(0, "on standard output".to_owned()), (0, "on standard error".to_owned())]);
}

fn poison_fails_alone_with_its_cause() {
    let pool = pool(2, Policy { timeout: Some(Duration::from_millis(300)), ..Policy::default() });
    let poisons = ["exit 3", "abort", "signal 8", "sleep 100000", "exit 0", "signal 19"];
    let work: Vec<_> = (0..60)
        .map(|n| {
            let poison = (n % 10 == 3).then(|| poisons[n / 10]);
            let order = poison.unwrap_or("sum");
            (poison, pool.submit(order.into(), pool.slot().filled()))
        })
        .collect();
    let mut causes = Vec::new();
    for (poison, pending) in work {
        match (poison, pending.wait()) {
            (None, output) => drop(output.expect("innocent")),
            (Some(_), output) => causes.push(output.expect_err("poison")),
        }
    }
    let limit = Cause::Deadline(Duration::from_millis(300));
    let wanted = [Cause::Exit(3), Cause::Signal(6), Cause::Signal(8), limit.clone(), Cause::Exit(0), limit];
    assert_eq!(causes, wanted.map(|cause| Failure { cause, attempts: 3 }));
    assert_eq!(causes[1].to_string(), "the worker was killed by signal 6 (SIGABRT)");
}

fn a_panic_costs_no_process() {
    let pool = pool(1, Policy::default());
    let process = number(order(&pool, "pid"));
    let failure = order(&pool, "panic").unwrap_err();
    assert_eq!(failure.to_string(), "the worker panicked: as ordered");
    assert_eq!(number(order(&pool, "pid")), process);
}

fn a_worker_that_takes_too_much_memory_is_stopped() {
    let pool = pool(1, Policy { memory_limit: Some(100 << 20), ..Policy::default() });
    let failure = order(&pool, "grow").unwrap_err();
    assert!(matches!(failure.cause, Cause::MemoryLimit { limit, .. } if limit == 100 << 20), "{failure}");
    assert_eq!(order(&pool, "sleep 0"), Ok(b"done".to_vec()));
}

fn workers_are_recycled() {
    let pool = pool(1, Policy { recycle_after: std::num::NonZeroU64::new(10), ..Policy::default() });
    let processes: BTreeSet<u64> = (0..40).map(|_| number(order(&pool, "pid"))).collect();
    assert_eq!(processes.len(), 4);
}

fn kept_bytes_stay_as_they_are_until_they_are_released() {
    let pool = pool(1, Policy::default());
    let keep = |value: u8| {
        let mut slot = pool.slot();
        slot.bytes_mut().fill(value);
        pool.submit(b"keep".to_vec(), slot.filled()).wait().expect("kept");
    };
    (1..=3).for_each(keep);
    for _ in 0..50 {
        pool.map(100..105, fill).for_each(|output| drop(output.expect("a sum")));
        assert_eq!(order(&pool, "kept"), Ok(vec![1, 2, 3]));
    }
    assert_eq!(order(&pool, "release"), Ok(b"done".to_vec()));
    let all: Vec<_> = (0..5).map(|_| pool.slot()).collect();
    assert_eq!(all.len(), 5, "all slots are there again");
    drop(all);
    // Who keeps everything would have the pool stand still; it is told, and the pool goes on.
    let orders: Vec<_> = (0..20).map(|_| pool.submit(b"keep".to_vec(), pool.slot().filled())).collect();
    let outputs: Vec<_> = orders.into_iter().map(|pending| pending.wait()).collect();
    assert_eq!(outputs.len(), 20);
    assert_eq!(order(&pool, "sleep 0"), Ok(b"done".to_vec()));
}

fn what_a_worker_started_goes_with_it() {
    let pool = pool(1, Policy::default());
    let grandchild = u32::try_from(number(order(&pool, "child"))).expect("a process");
    assert!(is_alive(grandchild));
    order(&pool, "abort").unwrap_err();
    wait_until("the grandchild's end", || !is_alive(grandchild));
    let grandchild = u32::try_from(number(order(&pool, "child"))).expect("a process");
    drop(pool);
    wait_until("the grandchild's end", || !is_alive(grandchild));
}

fn interruptions_do_not_end_workers() {
    let pool = pool(1, Policy::default());
    let process = number(order(&pool, "pid"));
    let pid = Pid::from_raw(i32::try_from(process).expect("a process")).expect("a process");
    let pending = pool.submit(b"sleep 100".to_vec(), pool.slot().filled());
    for signal in [Signal::INT, Signal::TERM, Signal::INT] {
        kill_process(pid, signal).expect("sent");
    }
    assert_eq!(pending.wait(), Ok(b"done".to_vec()));
    assert_eq!(number(order(&pool, "pid")), process);
}

fn shutting_down_does_not_wait_for_ever() {
    let pool = pool(2, Policy::default());
    let slow = pool.submit(b"sleep 100000".to_vec(), pool.slot().filled());
    let quick = pool.submit(b"sleep 10".to_vec(), pool.slot().filled());
    let processes = pool.process_ids();
    let begin = Instant::now();
    pool.shutdown(Duration::from_millis(300));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(quick.wait(), Ok(b"done".to_vec()));
    assert_eq!(slow.wait().unwrap_err().cause, Cause::ShutDown);
    assert!(processes.iter().all(|&process| !is_alive(process)));
}

fn memory_that_is_not_there_is_refused() {
    let program = Program::this(Vec::new());
    let huge = Pool::<Actor>::processes(2, 64, 1 << 40, 0, program.clone(), Policy::default());
    let error = huge.err().expect("refused").to_string();
    assert!(error.contains("64 slots of 1099511627776 bytes take 67108864 MiB"), "{error}");
    let huge = Pool::<Actor>::processes(2, 4, 1, 1 << 45, program, Policy::default());
    let error = huge.err().expect("refused").to_string();
    assert!(error.contains("outputs of 2 workers take"), "{error}");
}

/// A small generator (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Kills some worker every so many milliseconds, by `signal`, while all items go through; returns how often.
fn under_fire(signal: Signal, pause: std::ops::Range<u64>, kills_wanted: usize, policy: Policy) -> usize {
    let pool = pool(2, policy);
    let mut random = Random(0x5eed_1234_5678_9abc);
    let mut kills = 0;
    let mut at = Instant::now();
    let mut next = 0;
    let numbers = 0..u64::MAX;
    let mut outputs = pool.map(numbers, fill);
    while kills < kills_wanted {
        let output = outputs.next().expect("an output");
        assert_eq!(number(output), expected(next), "item {next} after {kills} kills");
        next += 1;
        if at <= Instant::now() {
            let processes = pool.process_ids();
            if let Some(&process) = processes.get(random.below(processes.len().max(1) as u64) as usize) {
                let pid = Pid::from_raw(process as i32).expect("a process");
                kills += usize::from(kill_process(pid, signal).is_ok());
            }
            at = Instant::now() + Duration::from_millis(pause.start + random.below(pause.end - pause.start));
        }
    }
    assert!(next > 100, "only {next} items");
    kills
}

fn nothing_is_lost_when_workers_are_killed_at_random() {
    leaves_nothing(|| {
        under_fire(Signal::KILL, 50..300, 30, Policy::default());
    });
}

/// Faster than any operator's hand: workers die while they start, while they work and while they answer.
fn nothing_is_lost_when_workers_are_killed_all_the_time() {
    leaves_nothing(|| {
        under_fire(Signal::KILL, 2..12, 2000, Policy::default());
    });
}

fn nothing_is_lost_when_workers_are_stopped() {
    let policy = Policy { timeout: Some(Duration::from_millis(100)), ..Policy::default() };
    leaves_nothing(|| {
        under_fire(Signal::STOP, 200..300, 10, policy);
    });
}

fn killing_the_supervisor_ends_its_workers() {
    let mut supervisor = std::process::Command::new("/proc/self/exe")
        .arg("--supervise-for-ever")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("this program");
    let mut line = String::new();
    let output = supervisor.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    let workers: Vec<u32> = line.split_whitespace().map(|text| text.parse().expect("a process")).collect();
    assert_eq!(workers.len(), 3);
    assert!(workers.iter().all(|&worker| is_alive(worker)));
    supervisor.kill().expect("killed");
    supervisor.wait().expect("waited for");
    let begin = Instant::now();
    wait_until("the workers' end", || workers.iter().all(|&worker| !is_alive(worker)));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// The program of [`killing_the_supervisor_ends_its_workers`].
fn supervise_for_ever() -> ! {
    let pool = pool(3, Policy::default());
    let _busy: Vec<_> = (0..3).map(|_| pool.submit(b"sleep 100000".to_vec(), pool.slot().filled())).collect();
    wait_until("three workers", || pool.process_ids().len() == 3);
    std::thread::sleep(Duration::from_millis(100));
    let processes: Vec<String> = pool.process_ids().iter().map(u32::to_string).collect();
    println!("{}", processes.join(" "));
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn without_descriptors_the_pool_says_so() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let usual = getrlimit(Resource::Nofile);
    let pool = pool(1, Policy::default());
    order(&pool, "sleep 0").expect("an output");
    let used = fs::read_dir("/proc/self/fd").expect("descriptors").count() as u64;
    setrlimit(Resource::Nofile, Rlimit { current: Some(used - 3), ..usual }).expect("a lower limit");
    let refused = try_pool(1, Policy::default(), b"").err();
    // A worker that dies now cannot be replaced.
    let failure = order(&pool, "abort").err();
    setrlimit(Resource::Nofile, usual).expect("the old limit");
    let refused = refused.expect("refused").to_string();
    assert!(refused.contains("Too many open files"), "{refused}");
    let failure = failure.expect("no worker is left").to_string();
    assert!(failure.contains("Too many open files") && failure.contains("ulimit -n"), "{failure}");
}

fn with_as_many_kills_as_asked() {
    // For longer trials by hand: KILLS=10000 cargo test -p vidmill-pool --test processes kills_as_asked
    let kills = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    leaves_nothing(|| {
        under_fire(Signal::KILL, 2..30, kills, Policy::default());
    });
}

type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn())),*] };
}

const TESTS: &[Test] = tests![
    outputs_come_in_order_or_as_they_are_done,
    large_outputs_come_through_shared_memory,
    outputs_can_be_awaited,
    a_worker_that_cannot_start_says_why_once,
    workers_are_built_from_and_say_as_much_as_they_like,
    what_workers_print_is_passed_on,
    poison_fails_alone_with_its_cause,
    a_panic_costs_no_process,
    a_worker_that_takes_too_much_memory_is_stopped,
    workers_are_recycled,
    kept_bytes_stay_as_they_are_until_they_are_released,
    what_a_worker_started_goes_with_it,
    interruptions_do_not_end_workers,
    shutting_down_does_not_wait_for_ever,
    memory_that_is_not_there_is_refused,
    nothing_is_lost_when_workers_are_killed_at_random,
    nothing_is_lost_when_workers_are_killed_all_the_time,
    nothing_is_lost_when_workers_are_stopped,
    killing_the_supervisor_ends_its_workers,
    without_descriptors_the_pool_says_so,
    with_as_many_kills_as_asked,
];

fn main() -> ExitCode {
    if is_worker() {
        // What a panic says comes back with its item.
        std::panic::set_hook(Box::new(|_| {}));
        return serve(build);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--supervise-for-ever") {
        supervise_for_ever();
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let (mut passed, mut failed) = (0, 0);
    // One after the other: they count what this process has.
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let begin = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!(
            "test {name} ... {} ({:.2} s)",
            if ok { "ok" } else { "FAILED" },
            begin.elapsed().as_secs_f64()
        );
        *(if ok { &mut passed } else { &mut failed }) += 1;
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}
