//! `extract doctor`: checks of the machine.

use std::path::PathBuf;

use clap::Args;
use terminal::folded;

use super::{Format, Status, print_line};
use crate::doctor::{self, State};

/// Arguments of `extract doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Folder of caches, whose disk is checked
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Do not ask the hub for an answer
    #[arg(long)]
    pub offline: bool,
    /// Output: text, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Prints a line for each check; ends with 1 if there is a fault.
pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<Status> {
    let findings = doctor::examine(&args.cache, args.offline);
    for finding in &findings {
        if args.format == Format::Json {
            print_line(&serde_json::to_string(finding)?)?;
            continue;
        }
        let state = match finding.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Fault => "FAULT",
        };
        let line = format!("{state:<8} {:<13} {}", finding.check, finding.found);
        print_line(&folded(&line, 23))?;
        if let Some(remedy) = &finding.remedy {
            print_line(&folded(&format!("{:23}-> {remedy}", ""), 26))?;
        }
    }
    let is_faulty = findings.iter().any(|finding| finding.state == State::Fault);
    Ok(if is_faulty {
        Status::Skipped
    } else {
        Status::Done
    })
}
