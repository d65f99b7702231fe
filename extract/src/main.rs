//! The program `extract`.

use std::io::Write;
use std::process::ExitCode;

use common::text::printable_lines;
use extract::cli::{self, Status};

fn main() -> ExitCode {
    match cli::run(&cli::parse()) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Skipped) => ExitCode::from(1),
        Ok(Status::Stopped(code)) => ExitCode::from(code),
        Err(error) => {
            let error = format!("error: {error}");
            let _ = writeln!(std::io::stderr(), "{}", printable_lines(&error));
            ExitCode::from(2)
        }
    }
}
