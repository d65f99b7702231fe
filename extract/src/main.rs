//! The program `extract`.

use std::process::ExitCode;

fn main() -> ExitCode {
    extract::cli::main()
}
