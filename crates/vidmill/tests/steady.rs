//! In its steady state a run allocates nothing: what it needs for a frame, it has from earlier frames.
//!
//! Real runs are counted, by an allocator that sees all Rust code (FFmpeg and ONNX Runtime have theirs). To see who allocates:
//! `VIDMILL_WHO_ALLOCATES=1 cargo test -p vidmill --test steady`.

#![expect(unsafe_code, reason = "an allocator that counts is unsafe to implement")]
#![expect(clippy::print_stdout, reason = "a test with a main of its own")]

#[path = "../../vidmill-infer/tests/common/mod.rs"]
mod onnx;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use onnx::{D, F32, File, Onnx};
use vidmill::infer::{LoadOptions, TaskOptions};
use vidmill::sample::{Pace, Sampling};
use vidmill::sink::Format;
use vidmill::{Isolation, Manifest, Options, OutputOptions, Progress, Stop, Tuning};

/// Frames of the clip.
const FRAMES: usize = 1000;
/// Records after which memory of nearly every kind has been used once.
const WARM: usize = 60;
/// The last records are left out: the reader is at its end by then.
const TAIL: usize = 40;
/// Allocations in all that depend on threads' luck: channels note who waits in lists, which grow when as many wait for the first time,
/// and so do lists that go round when they get their first items. There are some twenty of these, however long the video is.
const LUCK: u64 = 12;
/// Allocations for a group of pictures, which is read ahead as lists of packets and decoded apart; the clip has one for 250 frames.
const GROUP: u64 = 15;
const GROUPS: u64 = (FRAMES / 250) as u64;

/// The system's allocator, with a count of the calls that give memory.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
/// Whether allocations are noted with their origin.
static ASKING: AtomicBool = AtomicBool::new(false);
static ORIGINS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Whether this thread is noting an allocation, which allocates.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn count() {
        if NOTING.get() {
            return;
        }
        COUNT.fetch_add(1, Relaxed);
        if ASKING.load(Relaxed) {
            NOTING.set(true);
            let origin = Backtrace::force_capture().to_string();
            *ORIGINS.lock().expect("no panic").entry(origin).or_default() += 1;
            NOTING.set(false);
        }
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract of `realloc`, and `memory` came from the system's allocator.
        unsafe { System.realloc(memory, layout, size) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `memory` came from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How things stand when a record has been written.
struct Moment {
    allocations: AtomicU64,
    /// Of the manifest's file, which is another whenever the manifest is written.
    manifest: AtomicU64,
}

static MOMENTS: [Moment; FRAMES] =
    [const { Moment { allocations: AtomicU64::new(0), manifest: AtomicU64::new(0) } }; FRAMES];
static RECORDS: AtomicUsize = AtomicUsize::new(0);

fn note(manifest: &Path) {
    let allocations = COUNT.load(Relaxed);
    let inode = std::fs::metadata(manifest).map_or(0, |file| file.ino());
    let moment = &MOMENTS[RECORDS.fetch_add(1, Relaxed)];
    moment.allocations.store(allocations, Relaxed);
    moment.manifest.store(inode, Relaxed);
    if RECORDS.load(Relaxed) == WARM && std::env::var_os("VIDMILL_WHO_ALLOCATES").is_some() {
        ASKING.store(true, Relaxed);
    }
}

/// Allocations between each two neighbouring records. Where the manifest was written in between, which happens by the clock, they are
/// left out.
fn allocations() -> Vec<u64> {
    let moments: Vec<(u64, u64)> = MOMENTS[WARM..RECORDS.load(Relaxed) - TAIL]
        .iter()
        .map(|moment| (moment.allocations.load(Relaxed), moment.manifest.load(Relaxed)))
        .collect();
    let neighbours = moments.windows(2).filter(|pair| pair[0].1 == pair[1].1);
    neighbours.map(|pair| pair[1].0 - pair[0].0).collect()
}

/// A folder with the clip in it.
struct Scratch {
    folder: onnx::Folder,
}

impl Scratch {
    fn new() -> Self {
        let folder = onnx::Folder::new();
        let made = Command::new("ffmpeg")
            .args("-nostdin -v error -y -f lavfi -i testsrc2=size=128x96:rate=30 -frames:v".split(' '))
            .arg(FRAMES.to_string())
            .args("-c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 2".split(' '))
            .arg(folder.0.join("clip.mp4"))
            .status()
            .expect("ffmpeg is installed (apt install ffmpeg)");
        assert!(made.success());
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }
}

const SIDE: u64 = 64;
/// Cells of strides 8, 16 and 32.
const BOXES: usize = 84;
/// Numbers of a box: its place, and scores of two classes.
const NUMBERS: usize = 6;

/// A detector whose boxes move a little with the brightness of the picture, and so are found in every frame.
fn detector() -> File {
    let mut table = vec![0.0; NUMBERS * BOXES];
    for number in 0..BOXES {
        let (x, y) = (number % 10, number / 10);
        let row = |row: usize| row * BOXES + number;
        table[row(0)] = 3.0 + 6.0 * x as f32;
        table[row(1)] = 3.0 + 6.0 * y as f32;
        // The boxes of a row overlap.
        table[row(2)] = 9.0;
        table[row(3)] = 5.0;
        table[row(4 + number % 2)] = 0.1 + 0.01 * number as f32;
    }
    let moves: Vec<f32> = (0..NUMBERS).flat_map(|row| [if row < 2 { 0.7 } else { 0.0 }; 3]).collect();
    let (boxes, numbers) = (BOXES as u64, NUMBERS as u64);
    Onnx::new()
        .input("images", F32, &[D::Any("n"), D::N(3), D::N(SIDE), D::N(SIDE)])
        .output("output0", F32, &[D::Any("n"), D::N(numbers), D::N(boxes)])
        .weights("moves", &[numbers, 3, 1, 1], &moves)
        .weights("table", &[1, numbers, boxes], &table)
        .integers("column", &[0, NUMBERS as i64, 1])
        .node("GlobalAveragePool", &["images"], "mean", &[])
        .node("Conv", &["mean", "moves"], "moved", &[])
        .node("Reshape", &["moved", "column"], "shift", &[])
        .node("Add", &["table", "shift"], "output0", &[])
        .metadata("names", "{0: 'even', 1: 'odd'}")
        .save()
}

fn options(scratch: &Scratch, model: &File, out: &str) -> Options {
    Options {
        sources: vec![scratch.path("clip.mp4").to_string_lossy().into_owned()],
        model: model.0.clone(),
        card: None,
        load: LoadOptions::default(),
        task: TaskOptions::default(),
        track: None,
        sampling: Sampling::default(),
        output: OutputOptions { out: scratch.path(out), annotate: None, folder_format: Format::Jsonl },
        workers: NonZeroUsize::new(2),
        batch: None,
        isolate: None,
        then: None,
        resume: false,
        tuning: Tuning::Ignore,
        at_once: NonZeroUsize::MIN,
        command: Vec::new(),
    }
}

/// Runs, and returns what was allocated from record to record.
fn counted(options: &Options) -> Vec<u64> {
    RECORDS.store(0, Relaxed);
    let manifest = Manifest::path_of(&options.output.out);
    let done = vidmill::run_with(options, &Stop::default(), &Progress::default().into(), move |record| {
        note(&manifest);
        let vidmill::record::Outcome::Ok(found) = &record.outcome else { panic!("{record:?}") };
        assert!(found.detections().len() > 5, "{record:?}");
    });
    ASKING.store(false, Relaxed);
    done.expect("a run");
    tell_origins();
    allocations()
}

/// Who asked for memory, most often first; what is written at the end or by the clock is left out.
fn tell_origins() {
    let origins = std::mem::take(&mut *ORIGINS.lock().expect("no panic"));
    let others = ["write_manifest", "usage.rs", "end_source", ": close"];
    let by_frame = |origin: &str| !others.iter().any(|other| origin.contains(other));
    let mut origins: Vec<_> = origins.into_iter().filter(|(origin, _)| by_frame(origin)).collect();
    origins.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (origin, count) in origins.iter().take(40) {
        println!("{count} times by");
        let lines: Vec<&str> = origin.lines().map(str::trim).collect();
        let theirs = |at: &str| at.contains("/rustc/") || at.contains("steady.rs");
        let calls = lines.windows(2).filter(|pair| pair[1].starts_with("at ") && !theirs(pair[1]));
        calls.take(8).for_each(|pair| println!("    {} {}", pair[0], pair[1]));
    }
}

/// That a run allocates no more than `each` times a record.
fn check(what: &str, each: u64, options: &Options) {
    let counts = counted(options);
    let (sum, records) = (counts.iter().sum::<u64>(), counts.len() as u64);
    println!("{what}: {sum} allocations over {records} records");
    assert!(records >= 80, "{what}: {records} intervals");
    assert!(sum <= each * records + LUCK + GROUP * GROUPS, "{what}: {counts:?}");
}

fn threads(scratch: &Scratch, model: &File) {
    check("threads, JSON Lines", 0, &options(scratch, model, "a.jsonl"));
}

fn batches(scratch: &Scratch, model: &File) {
    let batch = NonZeroUsize::new(4);
    check("batches of 4", 0, &Options { batch, ..options(scratch, model, "b.jsonl") });
}

fn every_fifth(scratch: &Scratch, model: &File) {
    let pace = NonZeroU64::new(5).map_or(Pace::All, Pace::Every);
    let sampling = Sampling { pace, ..Sampling::default() };
    check("every fifth frame", 0, &Options { sampling, ..options(scratch, model, "c.jsonl") });
}

fn rows(scratch: &Scratch, model: &File) {
    check("CSV", 0, &options(scratch, model, "d.csv"));
}

/// The supervisor's process. A batch takes a list of items, a count of who looks at its slot, a list of outputs, one of detections, and
/// one of what is to be delivered; beside them the system tells of workers' memory now and then.
fn processes(scratch: &Scratch, model: &File) {
    let isolate = Some(Isolation::default());
    check("the supervisor's process", 6, &Options { isolate, ..options(scratch, model, "e.jsonl") });
}

type Test = (&'static str, fn(&Scratch, &File));

const TESTS: [Test; 5] = [
    ("threads", threads),
    ("batches", batches),
    ("every_fifth", every_fifth),
    ("rows", rows),
    ("processes", processes),
];

fn main() -> ExitCode {
    if vidmill::is_worker() {
        return vidmill::serve_worker();
    }
    let (scratch, model) = (Scratch::new(), detector());
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let (mut passed, mut failed) = (0, 0);
    // One after the other: they count what this process does.
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let ok = catch_unwind(AssertUnwindSafe(|| test(&scratch, &model))).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        *(if ok { &mut passed } else { &mut failed }) += 1;
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}
