//! How fast items go to worker processes that read every byte of them once, and how long one of them takes there and back.
//! `make bench-pool` runs it beside its peers (bench/README.md).
//!
//!     hand_over --bytes N --workers W --items K --mode throughput|round-trip --fill copy|in-place
//!
//! prints `{"items":..,"seconds":..,"cpu_seconds":..}`, with `p50_us` and `p99_us` for round trips.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program of its own")]

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vidmill_pool::{Input, Pending, Policy, Pool, Program, Worker, is_worker, serve};

/// Items under way at once.
const IN_FLIGHT: usize = 4;
/// Payloads that are copied in turn, so that none stays in the caches for want of others.
const SOURCES: usize = 4;
const PAGE: usize = 4096;
const WARM_UP: usize = 16;

struct Adder;

impl Worker for Adder {
    type Item = ();
    type Output = u64;

    fn run(&mut self, _: &[()], input: &Input, outputs: &mut Vec<u64>) {
        outputs.push(sum(input));
    }
}

/// Of the bytes as 64-bit words.
fn sum(bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    bytes.as_chunks().0.iter().map(word).fold(0, u64::wrapping_add)
}

/// What is done to a slot for each item.
#[derive(Clone, Copy, PartialEq)]
enum Fill {
    /// A payload is copied in.
    Copy,
    /// The payload is made in the slot: it is there already, and a word of each page is written anew.
    InPlace,
}

struct Case {
    bytes: usize,
    workers: usize,
    items: usize,
    round_trip: bool,
    fill: Fill,
}

impl Case {
    fn parse() -> Option<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let place = arguments.iter().position(|argument| argument.strip_prefix("--") == Some(name))?;
            arguments.get(place + 1)
        };
        let number = |name: &str| value(name)?.parse::<usize>().ok();
        Some(Self {
            bytes: number("bytes").filter(|bytes| *bytes > 0 && bytes.is_multiple_of(8))?,
            workers: number("workers")?,
            items: number("items")?,
            round_trip: match value("mode")?.as_str() {
                "throughput" => false,
                "round-trip" => true,
                _ => return None,
            },
            fill: match value("fill")?.as_str() {
                "copy" => Fill::Copy,
                "in-place" => Fill::InPlace,
                _ => return None,
            },
        })
    }
}

/// Fills slots and knows what their sums must be.
struct Producer {
    fill: Fill,
    sources: Vec<Vec<u8>>,
    /// Of each source, without the words that are written for each item.
    sums: Vec<u64>,
    words: u64,
}

impl Producer {
    fn new(case: &Case) -> Self {
        let (count, words) = match case.fill {
            Fill::Copy => (SOURCES, 1),
            // Any slot may be used for any item, so they hold the same.
            Fill::InPlace => (1, case.bytes.div_ceil(PAGE)),
        };
        let sources: Vec<Vec<u8>> = (0..count)
            .map(|seed| (0..case.bytes).map(|at| (at * 31 + seed * 7 + at / 251) as u8).collect())
            .collect();
        let rest = |source: &Vec<u8>| {
            let written = source.chunks(PAGE).take(words).map(|page| sum(&page[..8]));
            written.fold(sum(source), u64::wrapping_sub)
        };
        let sums = sources.iter().map(rest).collect();
        Self { fill: case.fill, sources, sums, words: words as u64 }
    }

    /// Every slot is touched, and holds what is there already when items are made in place.
    fn prepare(&self, pool: &Pool<Adder>) {
        let mut slots: Vec<_> = (0..IN_FLIGHT).map(|_| pool.slot()).collect();
        slots.iter_mut().for_each(|slot| slot.bytes_mut().copy_from_slice(&self.sources[0]));
    }

    /// Returns the sum that the worker must give.
    fn fill(&self, number: u64, slot: &mut [u8]) -> u64 {
        let word = number.to_le_bytes();
        let source = number as usize % self.sources.len();
        match self.fill {
            Fill::Copy => {
                slot.copy_from_slice(&self.sources[source]);
                slot[..8].copy_from_slice(&word);
            }
            Fill::InPlace => slot.chunks_mut(PAGE).for_each(|page| page[..8].copy_from_slice(&word)),
        }
        self.sums[source].wrapping_add(number.wrapping_mul(self.words))
    }
}

struct Outcome {
    seconds: f64,
    round_trips: Vec<Duration>,
}

fn hand_over(pool: &Pool<Adder>, producer: &Producer, items: usize, in_flight: usize) -> Outcome {
    let mut under_way: VecDeque<(Instant, u64, Pending<u64>)> = VecDeque::new();
    let mut round_trips = Vec::with_capacity(items);
    let begin = Instant::now();
    for number in 0..items as u64 {
        let begin = Instant::now();
        let mut slot = pool.slot();
        let expected = producer.fill(number, slot.bytes_mut());
        under_way.push_back((begin, expected, pool.submit((), slot.filled())));
        if under_way.len() >= in_flight {
            round_trips.extend(under_way.pop_front().map(arrived));
        }
    }
    round_trips.extend(under_way.into_iter().map(arrived));
    Outcome { seconds: begin.elapsed().as_secs_f64(), round_trips }
}

fn arrived((begin, expected, pending): (Instant, u64, Pending<u64>)) -> Duration {
    assert_eq!(pending.wait(), Ok(expected), "the worker read something else");
    begin.elapsed()
}

/// CPU seconds of this process and of the pool's workers.
fn cpu_seconds(pool: &Pool<Adder>) -> f64 {
    let ticks = |process: u32| {
        let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<u64>().ok()).unwrap_or(0)
    };
    let threads = |process: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).map(ticks).sum::<u64>()
    };
    let processes = pool.process_ids().into_iter().chain([std::process::id()]);
    processes.map(threads).sum::<u64>() as f64 / 1e9
}

fn run(case: &Case) {
    let program = Program::this(Vec::new());
    let pool = Pool::processes(case.workers, IN_FLIGHT, case.bytes, 0, program, Policy::default())
        .expect("a pool of this size");
    let producer = Producer::new(case);
    let in_flight = if case.round_trip { 1 } else { IN_FLIGHT };
    producer.prepare(&pool);
    hand_over(&pool, &producer, WARM_UP, in_flight);
    let cpu = cpu_seconds(&pool);
    let Outcome { seconds, mut round_trips } = hand_over(&pool, &producer, case.items, in_flight);
    let cpu = cpu_seconds(&pool) - cpu;
    let mut line = format!(r#"{{"items":{},"seconds":{seconds},"cpu_seconds":{cpu}"#, case.items);
    if case.round_trip {
        round_trips.sort_unstable();
        let at =
            |part: f64| round_trips[(part * (round_trips.len() - 1) as f64) as usize].as_secs_f64() * 1e6;
        line += &format!(r#","p50_us":{},"p99_us":{}"#, at(0.5), at(0.99));
    }
    println!("{line}}}");
}

fn main() -> ExitCode {
    if is_worker() {
        return serve(|_| Ok((Adder, Vec::new())));
    }
    match Case::parse() {
        Some(case) if case.items > 0 => run(&case),
        _ => {
            eprintln!(
                "hand_over --bytes N --workers W --items K --mode throughput|round-trip --fill copy|in-place"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
