//! The program `probe`.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use common::text::Printable;
use probe::cli::{self, Outcome};

fn main() -> ExitCode {
    let mut messages = terminal::messages();
    match probe::run(cli::parse(), &mut Printable(io::stdout()), &mut messages) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped) => ExitCode::from(1),
        Ok(Outcome::Nothing) => ExitCode::from(2),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the exit code remains.
            let _ = writeln!(messages, "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the reader of the output, such as `head`, has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
}
