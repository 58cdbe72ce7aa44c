//! The `sallyport` program. What it does is in the library, where tests reach it.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// An eighth of what a call costs: docs/performance.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    sallyport::cli::run(std::env::args_os())
}
