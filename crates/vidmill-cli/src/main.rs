//! The `vidmill` command: arguments in, an exit code out.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the program that talks to people")]

mod args;
mod doctor;
mod exit_status;
mod inspect;
mod plan;
mod progress;
mod run;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    begin_log(matches!(&cli.command, Command::Run(args) if args.quiet));
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Doctor(args) => doctor::doctor(&args),
    }
    .into()
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
    eprintln!("vidmill: {error}");
}

/// The same, with what to do about it.
fn complain_with_hints(error: &dyn std::fmt::Display, hints: &[impl AsRef<str>]) {
    complain(error);
    for hint in hints {
        eprintln!("  hint: {}", hint.as_ref());
    }
}
