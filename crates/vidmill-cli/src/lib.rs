//! The `vidmill` command: arguments in, an exit code out. The `vidmill` program and the Python package's script both call
//! [`main`].

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

#[expect(unsafe_code, reason = "an allocator that counts is unsafe to implement")]
pub mod allocations;
mod args;
mod bench;
mod doctor;
mod exit_status;
mod inspect;
mod plan;
mod progress;
mod python;
mod run;
mod signals;
mod svg;
mod tune;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use vidmill::pool::Program;

use crate::args::{Cli, Command};
use crate::exit_status::ExitStatus;

/// What worker processes run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Calls [`vidmill::serve_worker`].
    pub native: Program,
    /// For models that run in Python: calls [`vidmill::serve_foreign`].
    pub python: Program,
}

impl Default for Programs {
    /// This program, and the Python that is found.
    fn default() -> Self {
        Self { native: Program::this(Vec::new()), python: python::program() }
    }
}

/// Runs the command to its end. To be called once in a process.
///
/// `args` begin with the program's name. `programs` are what worker processes run, where that is not the running program itself.
pub fn main(args: impl IntoIterator<Item = OsString>, programs: Option<Programs>) -> ExitCode {
    if vidmill::is_worker() {
        begin_log(false);
        return vidmill::serve_worker();
    }
    let typed: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&typed) {
        Ok(cli) => cli,
        Err(error) => {
            // As clap itself does before it exits.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    begin_log(matches!(&cli.command, Command::Run(args) if args.quiet));
    let status = match cli.command {
        Command::Run(args) => run::run(&args, &typed, programs),
        Command::Inspect(args) => inspect::inspect(&args, programs.unwrap_or_default()),
        Command::Tune(args) => tune::tune(&args),
        Command::Bench(args) => bench::bench(&args, &typed, programs),
        Command::Doctor(args) => doctor::doctor(&args, &programs.unwrap_or_default()),
    };
    if show_failed() && status == ExitStatus::Ok { ExitStatus::Failed.into() } else { status.into() }
}

/// What `vidmill run` with these arguments is asked to do; `args` begin with the program's name.
///
/// # Errors
/// What the command would say about arguments that cannot be used.
pub fn run_options(
    args: impl IntoIterator<Item = OsString>,
    programs: Option<Programs>,
) -> Result<vidmill::Options, String> {
    let typed: Vec<OsString> = args.into_iter().collect();
    let cli = Cli::try_parse_from(&typed).map_err(|error| {
        let text = error.to_string();
        let text = text.split("\n\nUsage:").next().and_then(|text| text.split("\n\nFor more").next());
        text.unwrap_or_default().trim_start_matches("error: ").to_owned()
    })?;
    match cli.command {
        Command::Run(args) => plan::options(&args, &typed, programs),
        _ => Err("only `vidmill run` has options of a run".to_owned()),
    }
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
