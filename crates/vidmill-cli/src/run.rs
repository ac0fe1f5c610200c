//! `vidmill run`.

use std::ffi::OsString;
use std::sync::Arc;

use vidmill::sink::SinkError;
use vidmill::video::Damage;
use vidmill::{Manifest, Progress, RunError};

use crate::args::{ProgressMode, RunArgs};
use crate::exit_status::ExitStatus;
use crate::progress::Display;
use crate::signals::Signals;
use crate::{Programs, complain, complain_with_hints, plan, tune};

/// `typed` is the command line, for the manifest; `programs` what worker processes run, unless it is this program.
pub fn run(args: &RunArgs, typed: &[OsString], programs: Option<Programs>) -> ExitStatus {
    let options = match plan::options(args, typed, programs) {
        Ok(options) => options,
        Err(error) => {
            complain(&error);
            return ExitStatus::Usage;
        }
    };
    let (stop, signals) = match Signals::begin() {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let progress = Arc::new(Progress::default());
    let tuned = tune::before_run(args, &options, &stop);
    let display = Display::begin(args.progress, args.quiet, &progress);
    let result = tuned.and_then(|()| vidmill::run(&options, &stop, &progress));
    display.end();
    match result {
        Ok(manifest) => {
            tell(args, &manifest);
            ExitStatus::of_manifest(&manifest, signals.last())
        }
        // `vidmill run ... | head`: the reader has what it wanted.
        Err(RunError::Sink(SinkError::Closed { .. })) => ExitStatus::Failed,
        Err(error) => {
            complain_with_hints(&error, &error.hints());
            ExitStatus::of_stopped(&error, signals.last())
        }
    }
}

fn tell(args: &RunArgs, manifest: &Manifest) {
    if args.progress == ProgressMode::Json {
        // The manifest holds all that is told below, and is the last line.
        match serde_json::to_string(manifest) {
            Ok(line) => say!("{line}"),
            Err(error) => complain(&error),
        }
        return;
    }
    for source in &manifest.sources {
        if let Some(error) = &source.error {
            complain(&format!("{}: {error}", source.source));
        }
    }
    if args.quiet {
        return;
    }
    for source in &manifest.sources {
        if let Some(summary) = damage(&source.damage) {
            say!("{}: {summary}", source.source);
        }
    }
    say!("{}", summary(manifest));
    for failure in manifest.failures.iter().take(3) {
        say!(
            "  {} frame {}: {}",
            failure.source,
            failure.frame,
            failure.error.lines().next().unwrap_or_default()
        );
    }
    if manifest.failures.len() > 3 {
        say!("  ...; the records hold all of them");
    }
}

fn summary(manifest: &Manifest) -> String {
    let ledger = manifest.ledger;
    let settled = ledger.ok + ledger.failed + ledger.dropped;
    let run = settled.saturating_sub(manifest.resumed);
    if manifest.resumed > 0 && run == 0 && !manifest.interrupted {
        return format!("nothing left to do: all {settled} frames have their records");
    }
    let rate = run as f64 / manifest.wall_seconds.max(1e-9);
    let state = if manifest.interrupted { "interrupted after" } else { "ran" };
    let counts = [(ledger.failed, "failed"), (ledger.dropped, "dropped"), (ledger.skipped, "skipped")];
    let others: String =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
    let earlier = if manifest.resumed > 0 {
        format!(" ({} were done before)", manifest.resumed)
    } else {
        String::new()
    };
    format!(
        "{state} {run} frames{earlier} in {:.1} s ({rate:.1} frames/s) on {}{}: {} ok{others}",
        manifest.wall_seconds,
        manifest.runtime.provider,
        if manifest.tuned {
            format!(" ({}, {}, as tuned)", manifest.runtime.name, manifest.runtime.precision)
        } else {
            String::new()
        },
        ledger.ok
    )
}

/// What a damaged source lost, in one line.
fn damage(damage: &Damage) -> Option<String> {
    let counts = [
        (damage.corrupt_packets, "damaged packets"),
        (damage.decode_errors, "decode errors"),
        (damage.concealed_frames, "concealed frames"),
        (damage.read_errors, "read errors"),
    ];
    let mut told: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    told.extend(damage.truncated.iter().map(|text| format!("truncated: {text}")));
    (!told.is_empty()).then(|| format!("damaged: {}", told.join(", ")))
}
