//! The whole measurement, from sources and a model to the report.

use std::num::NonZeroUsize;
use std::time::Duration;

use vidmill_image::Size;

use super::clip::{self, Clip};
use super::decode::{self, Frames};
use super::end_to_end;
use super::infer::Workers;
use super::limit::{Limit, Stages, Wait};
use super::preprocess;
use super::report::{DecodePart, EndToEnd, InferPart, PreprocessPart, Report, SourcePart, WorkersPart};
use super::tally::Tally;
use super::{BenchError, BenchOptions};
use crate::loaded::Loaded;
use crate::manifest::Manifest;
use crate::options::{Options, Part};
use crate::progress::Stop;
use crate::source::{self, Source, SourceKind};
use crate::tune;

/// Frames that preprocessing and the model are measured on.
const KEPT: usize = 8;
/// Images are repeated until there are so many in a run.
const LEAST_IMAGES: usize = 2000;
/// Most that the first run and each other warm-up take.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures. `say` is told what is being measured, again and again.
///
/// # Errors
/// As for a run; where there are too few frames, or they fail; and when asked to stop.
pub fn measure(options: &BenchOptions, stop: &Stop, say: &mut dyn FnMut(&str)) -> Result<Report, BenchError> {
    if let Some(then) = &options.run.then {
        return Err(BenchError::Cascade(format!("{} (--then)", then.model.display())));
    }
    let run = tune::applied(&options.run, stop)?.into_owned();
    let options = &BenchOptions { run, ..options.clone() };
    let media = Media::find(&options.run, stop, say)?;
    let mut bench = Bench::prepare(options, &media, stop, say)?;
    for number in 1..=bench.rounds {
        bench.round(stop, &mut |part| say(&format!("round {number} of {}: {part}", options.rounds)))?;
    }
    Ok(bench.report(options))
}

/// What is read.
struct Media {
    sources: Vec<Source>,
    name: String,
    /// Can be read as long as this is here.
    clip: Option<Clip>,
}

impl Media {
    fn find(run: &Options, stop: &Stop, say: &mut dyn FnMut(&str)) -> Result<Self, BenchError> {
        if let Some(once) = run.sources.iter().find(|name| *name == "-" || name.contains("://")) {
            return Err(BenchError::OnlyOnce(once.clone()));
        }
        if run.sources.is_empty() {
            say("generating a clip");
            let clip = Clip::generate(stop)?;
            let sources = source::resolve(&[clip.path()])?;
            return Ok(Self { sources, name: clip::WHAT.to_owned(), clip: Some(clip) });
        }
        Ok(Self { sources: source::resolve(&run.sources)?, name: run.sources.join(" "), clip: None })
    }

    /// Names for a run. Images that are too few to tell anything are named again and again, as one long source.
    fn names(&self) -> Vec<String> {
        let images = self.sources.iter().map(|source| match &source.kind {
            SourceKind::Images(paths) => Some(paths),
            SourceKind::Video(_) => None,
        });
        match images.collect::<Option<Vec<_>>>() {
            Some(images) => {
                let all: Vec<_> = images.into_iter().flatten().map(|path| path.to_string_lossy()).collect();
                let count = LEAST_IMAGES.max(all.len());
                all.iter().cycle().take(count).map(|name| name.clone().into_owned()).collect()
            }
            None => self.sources.iter().map(|source| source.name.to_string()).collect(),
        }
    }
}

/// All parts, ready to be measured.
struct Bench<'b> {
    media: &'b Media,
    run: &'b Options,
    cores: usize,
    rounds: usize,
    /// For each part of a round.
    time: Duration,
    /// Of the first run.
    manifest: Manifest,
    /// Of the first frame, as displayed.
    size: Size,
    preprocess: preprocess::Bench,
    /// One worker.
    one: Workers,
    end_to_end: end_to_end::Bench,
    tallies: Tallies,
}

#[derive(Default)]
struct Tallies {
    decode_one: Tally,
    decode: Tally,
    preprocess: Tally,
    infer: Tally,
    infer_all: Tally,
    task: Tally,
    end_to_end: Tally,
}

impl<'b> Bench<'b> {
    /// Runs once, which tells whether model and sources can be used and what is chosen for them; then loads the model, and
    /// measures all workers at once, so that not all sessions need be in memory while the rest is measured.
    fn prepare(
        options: &'b BenchOptions,
        media: &'b Media,
        stop: &Stop,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, BenchError> {
        let run = &options.run;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let rounds = options.rounds.get();
        let time = options.time / u32::try_from(rounds).unwrap_or(u32::MAX);
        say("a first run");
        forget_peak_memory();
        let names = Options { sources: media.names(), ..run.clone() };
        let mut end_to_end = end_to_end::Bench::new(names, options.allocations)?;
        let manifest = end_to_end.first_run(options.time.min(WARM_UP), stop)?;
        check(&manifest, &media.name)?;

        say("loading the model");
        let loaded = Loaded::load(run.part(), cores, stop)?;
        let kept = some_frames(media, run, stop)?;
        let size = kept.first().map_or(Size::new(0, 0), |frame| frame.planes().displayed_size());
        let preprocess = preprocess::Bench::new(kept, &loaded.plan)?;
        let mut tallies = Tallies::default();
        let one = if loaded.choice.workers == 1 {
            Workers::start(loaded, &preprocess)?
        } else {
            let all = Workers::start(loaded, &preprocess)?;
            all.warm_up(options.time.min(WARM_UP), stop)?;
            for number in 1..=rounds {
                say(&format!("all workers, round {number} of {rounds}"));
                all.all_at_once(time, &mut tallies.infer_all, stop)?;
            }
            drop(all);
            let part = Part { workers: NonZeroUsize::new(1), ..run.part() };
            Workers::start(Loaded::load(part, cores, stop)?, &preprocess)?
        };
        one.warm_up(options.time.min(WARM_UP), stop)?;
        Ok(Self { media, run, cores, rounds, time, manifest, size, preprocess, one, end_to_end, tallies })
    }

    /// Measures each part once.
    fn round(&mut self, stop: &Stop, say: &mut dyn FnMut(&str)) -> Result<(), BenchError> {
        let Self { media, run, time, manifest, preprocess, one, end_to_end, tallies, .. } = self;
        let choice = &manifest.parallelism;
        say("end to end");
        end_to_end.round(choice.window() as u64, *time, &mut tallies.end_to_end, stop)?;
        say("decode");
        let frames = |threads| Frames::of(&media.sources, run.sampling, threads);
        decode::round(|| frames(1), *time, &mut tallies.decode_one, stop)?;
        if choice.decode_threads != 1 {
            decode::round(|| frames(choice.decode_threads), *time, &mut tallies.decode, stop)?;
        }
        say("preprocess");
        preprocess.round(*time, &mut tallies.preprocess, stop)?;
        say("infer");
        one.one_at_a_time(*time, &mut tallies.infer, &mut tallies.task, stop)?;
        if choice.workers == 1 {
            one.all_at_once(*time, &mut tallies.infer_all, stop)?;
        }
        Ok(())
    }

    fn report(mut self, options: &BenchOptions) -> Report {
        let end_to_end = self.whole(options.allocations.is_some());
        let Self { media, run, cores, manifest, size, mut tallies, .. } = self;
        let choice = manifest.parallelism;
        let one = DecodePart { threads: 1, timing: tallies.decode_one.timing() };
        let decode = match choice.decode_threads {
            1 => one.clone(),
            threads => DecodePart { threads, timing: tallies.decode.timing() },
        };
        let core_share = tallies.preprocess.core_share();
        let preprocess = tensor_part(&self.preprocess, &mut tallies.preprocess);
        let timing = tallies.infer.timing();
        let infer = InferPart { batch: self.one.choice.batch, threads: choice.threads, timing };
        let infer_all = WorkersPart { workers: choice.workers, timing: tallies.infer_all.timing() };
        let task = tallies.task.timing();

        let mut stages = Stages {
            decode: one.timing.cpu_ms,
            preprocess: preprocess.timing.cpu_ms,
            infer: infer.timing.cpu_ms,
            task: task.cpu_ms,
            rest: 0.0,
        };
        stages.rest = end_to_end.cpu_ms - stages.sum();
        let on_device = !manifest.runtime.is_on_cpu();
        let device = on_device.then_some(infer_all.timing.frames_per_second);
        let limit = Limit::of(&stages, cores, device, end_to_end.frames_per_second);
        let wait = Wait { reader: end_to_end.reader_waits, workers: end_to_end.workers_wait };
        let advice = limit.advice(&stages, wait, &run.model.display().to_string());
        let probe = manifest.sources.iter().find_map(|source| source.probe.as_ref());
        Report {
            source: SourcePart {
                name: media.name.clone(),
                generated: media.clip.is_some(),
                width: size.width,
                height: size.height,
                codec: probe.map(|probe| probe.codec.clone()),
                pixel_format: probe.map(|probe| probe.pixel_format.clone()),
            },
            versions: manifest.versions,
            model: run.model.clone(),
            task: manifest.model.task,
            runtime: manifest.runtime,
            parallelism: choice,
            cores,
            rounds: self.rounds,
            seconds: options.time.as_secs_f64(),
            core_share,
            decode_one_thread: one,
            decode,
            preprocess,
            infer,
            infer_all_workers: infer_all,
            task_decode: task,
            end_to_end,
            limit,
            cpu_ms: stages,
            advice,
        }
    }

    fn whole(&mut self, counts_allocations: bool) -> EndToEnd {
        let timing = self.tallies.end_to_end.timing();
        let sum = &self.end_to_end.sum;
        let per_frame = |count: u64| count as f64 / sum.frames.max(1) as f64;
        let stage_ms = sum.stages.per_frame(sum.run_frames);
        let workers = self.manifest.parallelism.workers;
        EndToEnd {
            frames: timing.frames,
            failed: sum.failed,
            frames_per_second: timing.frames_per_second,
            cpu_ms: timing.cpu_ms,
            latency_ms: sum.latency.percentiles(),
            allocations_per_frame: counts_allocations.then(|| per_frame(sum.allocations.count)),
            allocated_bytes_per_frame: counts_allocations.then(|| per_frame(sum.allocations.bytes)),
            page_faults_per_frame: per_frame(sum.page_faults),
            peak_memory_bytes: self.manifest.peak_memory_bytes,
            worker_peak_memory_bytes: self.manifest.worker_processes.peak_memory_bytes,
            stage_ms,
            reader_waits: stage_ms.reader_waits(),
            workers_wait: stage_ms.workers_wait(workers, timing.frames_per_second),
        }
    }
}

fn tensor_part(bench: &preprocess::Bench, tally: &mut Tally) -> PreprocessPart {
    let timing = tally.timing();
    let (frame_bytes, tensor_bytes) = bench.bytes();
    let median_ms = timing.ms.map_or(0.0, |ms| ms.p50);
    let bytes = (frame_bytes + tensor_bytes) as f64;
    PreprocessPart {
        width: bench.spec.size.width,
        height: bench.spec.size.height,
        frame_bytes,
        tensor_bytes,
        gb_per_second: if median_ms > 0.0 { bytes / median_ms / 1e6 } else { 0.0 },
        memcpy_gb_per_second: bench.copied_per_second() / 1e9,
        simd: bench.simd(),
        timing,
    }
}

/// Whether there is something to measure.
fn check(manifest: &Manifest, name: &str) -> Result<(), BenchError> {
    if manifest.then.is_some() {
        return Err(BenchError::Cascade(manifest.model.path.display().to_string()));
    }
    let ledger = &manifest.ledger;
    match (ledger.sampled, manifest.failures.first()) {
        (0, _) => Err(BenchError::NoFrames(name.to_owned())),
        (1, _) if manifest.complete => Err(BenchError::OneFrame(name.to_owned())),
        (_, Some(failure)) if ledger.ok == 0 => Err(BenchError::Frames(failure.error.clone())),
        _ => Ok(()),
    }
}

/// The first sampled frames.
fn some_frames(media: &Media, run: &Options, stop: &Stop) -> Result<Vec<vidmill_video::Frame>, BenchError> {
    let mut frames = Frames::of(&media.sources, run.sampling, 1);
    let mut kept = Vec::with_capacity(KEPT);
    while kept.len() < KEPT
        && let Some(frame) = frames.next()?
    {
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        kept.push(frame);
    }
    Ok(kept)
}

/// What this process held before is not the run's. Where the system does not allow this, it counts all the same.
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
