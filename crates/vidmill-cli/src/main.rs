//! The `vidmill` program.

use std::process::ExitCode;

use vidmill_cli::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    vidmill_cli::main(std::env::args_os(), None)
}
