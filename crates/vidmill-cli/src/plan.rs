//! From what was typed to what is ready to run.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;

use vidmill::image::Size;
use vidmill::infer::{Cards, LoadOptions, TaskOptions};
use vidmill::predictor::{parts_of, runs_in_python};
use vidmill::sample::{Pace, Sampling};
use vidmill::sink::{Format, NOWHERE};
use vidmill::track::Settings;
use vidmill::{Isolation, Options, OutputOptions, Then, Tuning};

use crate::Programs;
use crate::args::{
    BenchArgs, DeviceArgs, FolderFormat, IsolationArgs, OutputArgs, RunArgs, SamplingArgs, SpeedArgs,
    TaskArgs, ThenArgs, TuneArgs,
};

/// What is to be run. `programs` are what worker processes run.
///
/// # Errors
/// When options do not fit each other.
pub fn options(args: &RunArgs, typed: &[OsString], programs: Option<Programs>) -> Result<Options, String> {
    Ok(Options {
        sources: args.sources.clone(),
        model: args.model.clone(),
        card: args.task.card.clone(),
        load: load(&args.device, args.speed.threads.0, Cards::default()),
        task: task(&args.task),
        track: track(args)?,
        sampling: sampling(&args.sampling),
        output: output(&args.output),
        workers: args.speed.workers.0,
        batch: args.speed.batch.0,
        isolate: isolation(args.isolation, &args.model, other_in_python(args), programs.clone())?,
        then: then(args, programs)?,
        resume: args.output.resume,
        tuning: tuning(&args.speed),
        at_once: args.speed.at_once,
        command: words(typed),
    })
}

/// A run that is to be measured: as any other, but for where results go.
///
/// # Errors
/// When options do not fit each other.
pub fn bench(args: &BenchArgs, typed: &[OsString], programs: Option<Programs>) -> Result<Options, String> {
    let run = measured(&args.model, args.source.as_ref(), &args.sampling, &args.task, &args.device);
    Ok(Options {
        load: LoadOptions { threads: args.speed.threads.0.map_or(0, NonZeroUsize::get), ..run.load },
        workers: args.speed.workers.0,
        batch: args.speed.batch.0,
        isolate: isolation(args.isolation, &args.model, false, programs)?,
        tuning: tuning(&args.speed),
        at_once: args.speed.at_once,
        command: words(typed),
        ..run
    })
}

/// A run of a model whose settings are to be found.
pub fn tune(args: &TuneArgs) -> Options {
    measured(&args.model, args.source.as_ref(), &args.sampling, &args.task, &args.device)
}

/// A run without outputs, with all that decides over its speed left open.
fn measured(
    model: &Path,
    source: Option<&String>,
    sampled: &SamplingArgs,
    task: &TaskArgs,
    device: &DeviceArgs,
) -> Options {
    Options {
        sources: source.into_iter().cloned().collect(),
        model: model.to_owned(),
        card: task.card.clone(),
        load: load(device, None, Cards::default()),
        task: self::task(task),
        track: None,
        sampling: sampling(sampled),
        output: OutputOptions { out: NOWHERE.into(), annotate: None, folder_format: Format::Jsonl },
        workers: None,
        batch: None,
        isolate: None,
        then: None,
        resume: false,
        tuning: Tuning::Ignore,
        at_once: NonZeroUsize::MIN,
        command: Vec::new(),
    }
}

fn words(typed: &[OsString]) -> Vec<String> {
    typed.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

fn tuning(args: &SpeedArgs) -> Tuning {
    match (args.tune, args.no_tune) {
        (true, _) => Tuning::Find,
        (false, true) => Tuning::Ignore,
        (false, false) => Tuning::Use,
    }
}

/// The second model.
fn then(args: &RunArgs, programs: Option<Programs>) -> Result<Option<Then>, String> {
    let ThenArgs { then, then_classes, then_task, then_conf, then_labels, then_batch } = &args.then;
    let Some(model) = then else { return Ok(None) };
    let names = |list: &[String]| list.iter().map(|name| name.trim().to_owned()).collect();
    Ok(Some(Then {
        model: model.clone(),
        load: load(&args.device, args.speed.threads.0, Cards::default()),
        task: TaskOptions {
            conf: *then_conf,
            labels: then_labels.clone(),
            task: then_task.clone(),
            ..TaskOptions::default()
        },
        classes: names(then_classes),
        workers: args.speed.workers.0,
        batch: then_batch.0,
        isolate: isolation(args.isolation, model, other_in_python(args), programs)?,
    }))
}

/// Whether a model is named as one can be.
///
/// # Errors
/// When a class is missing.
pub fn check_model(model: &Path) -> Result<(), String> {
    let (file, class) = parts_of(model);
    let is_python =
        file.extension().is_some_and(|ending| ending == "py") || file.to_string_lossy().contains(".py:");
    if is_python && class.is_none() {
        let file = file.display().to_string();
        let file = file.split_once(".py:").map_or(file.as_str(), |(file, _)| file).trim_end_matches(".py");
        return Err(format!("{}: name the class in it, as {file}.py:Detector", model.display()));
    }
    Ok(())
}

/// Whether one of the models runs in Python.
fn other_in_python(args: &RunArgs) -> bool {
    std::iter::once(&args.model).chain(&args.then.then).any(|model| runs_in_python(model))
}

/// Whether and how workers are processes. Those that run Python always are. Options may be about the `other` model, if that does.
fn isolation(
    args: IsolationArgs,
    model: &Path,
    other: bool,
    programs: Option<Programs>,
) -> Result<Option<Isolation>, String> {
    check_model(model)?;
    let in_python = runs_in_python(model);
    let IsolationArgs { isolate, timeout, worker_memory, recycle } = args;
    if !in_python && !isolate {
        let given = [
            ("--timeout", timeout.is_some()),
            ("--worker-memory", worker_memory.is_some()),
            ("--recycle", recycle.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given && !other) {
            Some((option, _)) => Err(format!("{option} is about worker processes: add --isolate")),
            None => Ok(None),
        };
    }
    let Programs { native, python } = programs.unwrap_or_default();
    Ok(Some(Isolation {
        program: if in_python { python } else { native },
        timeout: timeout.or(Isolation::default().timeout),
        memory_limit: worker_memory,
        recycle_after: recycle,
    }))
}

pub fn load(args: &DeviceArgs, threads: Option<NonZeroUsize>, cards: Cards) -> LoadOptions {
    LoadOptions {
        device: args.device,
        precision: args.precision.unwrap_or_default(),
        threads: threads.map_or(0, NonZeroUsize::get),
        sessions: 0,
        runtime_library: args.onnxruntime.clone(),
        openvino_library: args.openvino.clone(),
        cards,
    }
}

pub fn task(args: &TaskArgs) -> TaskOptions {
    TaskOptions {
        conf: args.conf,
        iou: args.iou,
        max_det: args.max_det,
        classes: args.classes.iter().map(|name| name.trim().to_owned()).collect(),
        imgsz: args.imgsz.map(|side| Size::new(side.get(), side.get())),
        labels: args.labels.clone(),
        top_k: args.top_k,
        normalize: args.normalize,
        task: args.task.clone(),
        weaker: None,
    }
}

fn track(args: &RunArgs) -> Result<Option<Settings>, String> {
    args.track.as_deref().map(Settings::of).transpose().map_err(|error| error.to_string())
}

fn sampling(args: &SamplingArgs) -> Sampling {
    let pace = match (args.every, args.fps) {
        (Some(n), _) => Pace::Every(n),
        (None, Some(rate)) => Pace::Rate(rate),
        (None, None) => Pace::All,
    };
    Sampling { pace, start: args.start, end: args.end }
}

fn output(args: &OutputArgs) -> OutputOptions {
    let folder_format = match args.format {
        FolderFormat::Jsonl => Format::Jsonl,
        FolderFormat::Csv => Format::Csv,
        FolderFormat::Parquet => Format::Parquet,
        FolderFormat::Coco => Format::Coco,
        FolderFormat::Mot => Format::Mot,
    };
    OutputOptions { out: args.out.clone(), annotate: args.annotate.clone(), folder_format }
}
