//! `vidmill tune`, and `--tune` of a run: the fastest way to run a model here, found by trying.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use vidmill::infer::Precision;
use vidmill::tune::{Agreement, Machine, Report, Request, Setting, Trial, Tuned, devices, find_or_tune};
use vidmill::{Options, RunError, Stop, Tuning};

use crate::args::{DeviceArgs, RunArgs, TuneArgs};
use crate::exit_status::ExitStatus;
use crate::signals::Signals;
use crate::{complain, complain_with_hints, plan};

/// How long `--tune` of a run may take.
const RUN_BUDGET: Duration = Duration::from_secs(60);

/// `vidmill tune`.
pub fn tune(args: &TuneArgs) -> ExitStatus {
    let (stop, signals) = match Signals::begin() {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let request = request(args);
    say!("{}", begin(&request.run, request.budget));
    match vidmill::tune::tune(&request, &stop, &mut |trial| say!("  {}", line(trial))) {
        Ok(tuned) => tell(args, &tuned),
        Err(error) => {
            complain_with_hints(&error, &error.hints());
            ExitStatus::of_stopped(&error, signals.last())
        }
    }
}

/// Before a run that is asked to: tunes its model, unless that has been done.
pub fn before_run(args: &RunArgs, options: &Options, stop: &Stop) -> Result<(), RunError> {
    if options.tuning != Tuning::Find || Tuned::find(&options.model).is_some() {
        return Ok(());
    }
    let tell = |text: &str| {
        if !args.quiet {
            say!("{text}");
        }
    };
    tell(&begin(options, RUN_BUDGET));
    let mut trial = |trial: &Trial| tell(&format!("  {}", line(trial)));
    let tuned = find_or_tune(options, &precisions(&args.device), RUN_BUDGET, stop, &mut trial)?;
    tell(&verdict(&tuned.report));
    Ok(())
}

/// Shows what was found, and keeps it.
fn tell(args: &TuneArgs, tuned: &Tuned) -> ExitStatus {
    let kept = match tuned.report.best {
        Some(_) if !args.dry_run => tuned.keep().map(Some),
        _ => Ok(None),
    };
    let path = kept.as_ref().ok().and_then(Option::as_deref);
    if args.json {
        show!("{:#}", json!({ "tuned": tuned, "kept": path }));
    } else {
        print(&tuned.report, path);
    }
    match kept {
        Err(error) => complain(&format!("the result cannot be kept: {error}")),
        Ok(_) if tuned.report.best.is_some() => return ExitStatus::Ok,
        Ok(_) => {}
    }
    ExitStatus::Failed
}

fn begin(run: &Options, budget: Duration) -> String {
    let Machine { cpu, cores, gpus, .. } = Machine::this();
    let gpu = gpus.first().map(|gpu| format!(" with {gpu}")).unwrap_or_default();
    let model = run.model.display();
    format!("tuning {model} on {cores} cores of {cpu}{gpu}, for about {} s", budget.as_secs_f64().round())
}

fn request(args: &TuneArgs) -> Request {
    let run = plan::tune(args);
    Request { devices: devices(&run.load), precisions: precisions(&args.device), budget: args.seconds, run }
}

/// Lower ones only where they are asked for.
fn precisions(args: &DeviceArgs) -> Vec<Precision> {
    match args.precision {
        None => vec![Precision::Auto],
        Some(Precision::Auto) => vec![Precision::Auto, Precision::Bf16, Precision::F16],
        Some(precision) => vec![precision],
    }
}

/// One trial, in a line.
fn line(trial: &Trial) -> String {
    let Trial { setting, refused, .. } = trial;
    let Setting { workers, threads, batch, .. } = setting;
    let way = format!(
        "{:<12} {:<5} {workers} x {threads} threads, batch {batch:<2}",
        setting.device.to_string(),
        trial.precision
    );
    match (trial.frames_per_second, refused) {
        (Some(rate), None) => format!("{way} {rate:>8.1} frames/s"),
        (_, reason) => format!("{way}        - {}", reason.as_deref().map(short).unwrap_or_default()),
    }
}

/// The whole table, the fastest first.
fn print(report: &Report, kept: Option<&Path>) {
    let mut order: Vec<usize> = (0..report.trials.len()).collect();
    let rate =
        |at: usize| report.trials[at].frames_per_second.filter(|_| report.trials[at].refused.is_none());
    order.sort_by(|a, b| rate(*b).unwrap_or(0.0).total_cmp(&rate(*a).unwrap_or(0.0)));
    show!(
        "{:<24} {:<9} {:>7} {:>7} {:>5} {:>9} {:>9}  {:<13}",
        "runtime",
        "precision",
        "workers",
        "threads",
        "batch",
        "frames/s",
        "CPU ms",
        "same results"
    );
    for at in order {
        let trial = &report.trials[at];
        let Setting { device, workers, threads, batch, .. } = &trial.setting;
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let runtime = if trial.runtime.is_empty() { device.to_string() } else { trial.runtime.clone() };
        let note = match (&trial.refused, Some(at) == report.best, at == 0) {
            (Some(reason), ..) => short(reason),
            (None, true, _) => "<- fastest",
            (None, false, true) => "<- untuned",
            (None, false, false) => "",
        };
        let row = format!(
            "{runtime:<24} {:<9} {workers:>7} {threads:>7} {batch:>5} {:>9} {:>9}  {:<13} {note}",
            trial.precision,
            number(trial.frames_per_second),
            number(trial.cpu_ms_per_frame),
            trial.agreement.as_ref().map(agreement).unwrap_or_default(),
        );
        show!("{}", row.trim_end());
    }
    if report.cut_short {
        show!("the time was over before all had been tried: --seconds gives it more");
    }
    show!("{}", verdict(report));
    if let Some(path) = kept {
        show!("kept in {}; `vidmill run` uses it from now on (--no-tune does not)", path.display());
    }
}

/// A reason without its remedy, which has no room in a table.
fn short(reason: &str) -> &str {
    reason.split([';', '\n']).next().unwrap_or_default()
}

/// How far results agree, in a few words.
fn agreement(agreement: &Agreement) -> String {
    match (agreement.share(), agreement.error) {
        (Some(share), _) => format!("{:.2} %", share * 100.0),
        (None, Some(error)) => format!("within {:.1e}", error),
        (None, None) => "cannot tell".to_owned(),
    }
}

fn verdict(report: &Report) -> String {
    let gain = report.gain().map_or_else(String::new, |gain| format!(", {gain:.2} times as fast as untuned"));
    format!("fastest: {}{gain}", best(report))
}

/// The best setting in words.
pub fn best(report: &Report) -> String {
    let Some(best) = report.best() else {
        return "none of the settings can be used".to_owned();
    };
    let Setting { workers, threads, batch, .. } = best.setting;
    let several = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (workers, threads) = (several(workers, "worker"), several(threads, "thread"));
    format!("{}, {}, {workers} of {threads}, batches of {batch}", best.runtime, best.precision)
}
