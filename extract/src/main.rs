//! The program `extract`.

use std::io::Write;
use std::process::ExitCode;

use extract::cli::{self, Status};

fn main() -> ExitCode {
    match cli::run(&cli::parse()) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Skipped) => ExitCode::from(1),
        Ok(Status::Stopped(code)) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(terminal::messages(), "error: {error}");
            ExitCode::from(2)
        }
    }
}
