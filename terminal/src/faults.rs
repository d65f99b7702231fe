//! What is wrong with the help of a program.

use clap::Command;

use crate::{Form, WIDTH};

/// Least number of examples of a command.
const EXAMPLES: usize = 2;

impl Form {
    /// Faults of the help of a `program` with this form: commands without a group or with fewer than two examples,
    /// examples that are not of their command or that it does not take, and short help with lines of more than
    /// [`WIDTH`] characters or of more than `lines` lines.
    pub fn faults(&self, program: &Command, lines: usize) -> Vec<String> {
        let commands = program.get_subcommands().map(Command::get_name);
        let of_commands = commands.flat_map(|name| {
            let few =
                (self.examples_of(name).len() < EXAMPLES).then(|| format!("{name}: examples"));
            let is_grouped = self.commands.iter().any(|(_, of)| of.contains(&name));
            let apart = (!is_grouped).then(|| format!("{name}: no group"));
            let long = short_help(program, &[program.get_name(), name, "-h"], lines);
            [few, apart, long]
        });
        let own = short_help(program, &[program.get_name(), "-h"], lines);
        let examples = self.examples.iter().flat_map(|(name, examples)| {
            examples
                .iter()
                .map(move |(line, _)| example(program, name, line))
        });
        of_commands.chain([own]).chain(examples).flatten().collect()
    }
}

/// The fault of an example of a command.
fn example(program: &Command, name: &str, line: &str) -> Option<String> {
    if !line.starts_with(format!("{} {name}", program.get_name()).trim_end()) {
        return Some(format!("{line}: another command"));
    }
    let parsed = program
        .clone()
        .try_get_matches_from(line.split_whitespace());
    // Help that is asked for is no error.
    let error = parsed.err().filter(clap::Error::use_stderr);
    error.map(|error| format!("{line}: {error}"))
}

/// The fault of the short help that some words print.
fn short_help(program: &Command, words: &[&str], lines: usize) -> Option<String> {
    let parsed = program.clone().try_get_matches_from(words);
    let text = parsed
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    // The names of commands and options in the usage have a line each.
    let mut shown = text.lines().filter(|line| !line.starts_with("Usage: "));
    let is_wide = shown.any(|line| line.chars().count() > WIDTH);
    let is_long = text.is_empty() || text.lines().count() > lines;
    (is_wide || is_long).then(|| format!("{}: {text}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn faults_are_found() {
        let run = Command::new("run")
            .about("Run")
            .arg(Arg::new("count").long("count"));
        let program = Command::new("it").subcommands([run, Command::new("ls")]);
        let form = Form {
            commands: &[("Work", &["run"])],
            options: &[],
            rare: &[],
            examples: &[
                (
                    "run",
                    &[("it run --count 3", "three"), ("it run --help", "help")],
                ),
                ("ls", &[("it run", "another"), ("it ls --all", "all")]),
            ],
        };
        let faults = form.faults(&program, 40);
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, words) in
            faults
                .iter()
                .zip(["ls: no group", "it run: another", "it ls --all: "])
        {
            assert!(fault.starts_with(words), "{fault}");
        }
        assert_eq!(form.faults(&program, 2).len(), 6);
    }
}
