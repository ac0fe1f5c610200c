//! The `vidmill` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    vidmill_cli::main(std::env::args_os(), None)
}
