//! The program `probe`.

use std::process::ExitCode;

fn main() -> ExitCode {
    probe::cli::main()
}
