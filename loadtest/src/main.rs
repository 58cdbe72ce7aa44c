//! The program: arguments in, a report out, and whether it says anything as exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadtest::cli::main()
}
