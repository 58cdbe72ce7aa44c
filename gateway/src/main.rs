//! The `sallyport` program. What it does is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport::cli::run(std::env::args_os())
}
