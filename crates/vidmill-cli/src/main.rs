//! The `vidmill` command: arguments in, an exit code out.

/// A line on standard error. When nobody can hear it, the work goes on.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// A line on standard output; a failure is told by [`show_failed`].
macro_rules! show {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        if writeln!(std::io::stdout(), $($text)*).is_err() {
            $crate::SHOW_FAILED.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }};
}

mod args;
mod doctor;
mod exit_status;
mod inspect;
mod plan;
mod progress;
mod run;
mod signals;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit_status::ExitStatus;

fn main() -> ExitCode {
    if vidmill::is_worker() {
        begin_log(false);
        return vidmill::serve_worker();
    }
    let cli = Cli::parse();
    begin_log(matches!(&cli.command, Command::Run(args) if args.quiet));
    let status = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Doctor(args) => doctor::doctor(&args),
    };
    if show_failed() && status == ExitStatus::Ok { ExitStatus::Failed.into() } else { status.into() }
}

static SHOW_FAILED: AtomicBool = AtomicBool::new(false);

/// Whether some of what was to be shown on standard output could not be.
fn show_failed() -> bool {
    SHOW_FAILED.load(Ordering::Relaxed)
}

/// Warnings and errors go to standard error; `VIDMILL_LOG` asks for more or less. What FFmpeg says of damaged files, packet
/// by packet, is left to those who ask: the run tells the sum.
fn begin_log(quiet: bool) {
    let usual = if quiet { "error,ffmpeg=off" } else { "warn,ffmpeg=off" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("VIDMILL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
}

/// Says on standard error why the command ends.
fn complain(error: &dyn std::fmt::Display) {
    say!("vidmill: {error}");
}

/// The same, with what to do about it.
fn complain_with_hints(error: &dyn std::fmt::Display, hints: &[impl AsRef<str>]) {
    complain(error);
    for hint in hints {
        say!("  hint: {}", hint.as_ref());
    }
}
