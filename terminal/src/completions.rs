//! Completions of shells.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Arguments of the command `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to complete commands in
    shell: Shell,
}

impl CompletionsArgs {
    /// A script for the shell that completes the commands, options and values of `program`.
    #[must_use]
    pub fn script(self, mut program: Command) -> String {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        generate(self.shell, &mut program, name, &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}
