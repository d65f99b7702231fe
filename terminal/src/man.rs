//! Man pages: one of the program, and one of each command.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use common::files::write_whole;
use common::text::shown;

use crate::{Example, Form};

/// Arguments of the command `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Write the pages of the program and of all commands into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManArgs {
    /// Prints the page of `program` to `out`, or writes all pages into a folder.
    ///
    /// # Errors
    ///
    /// If a page cannot be written; the text names it.
    pub fn run(&self, form: &Form, program: Command, out: &mut impl Write) -> io::Result<()> {
        let pages = pages(form, program);
        let Some(folder) = &self.out else {
            return write!(out, "{}", pages[0].text);
        };
        fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
        for page in &pages {
            let path = folder.join(&page.file);
            write_whole(&path, page.text.as_bytes()).map_err(|error| about(&path, &error))?;
        }
        writeln!(out, "{} pages in {}", pages.len(), shown(folder))
    }
}

/// `error` with the path that it is about, and what to do.
fn about(path: &Path, error: &io::Error) -> io::Error {
    let text = format!(
        "`{}`: {error}\nhint: give a folder that you may write to",
        shown(path)
    );
    io::Error::new(error.kind(), text)
}

/// A man page in roff.
#[derive(Clone, Debug)]
struct Page {
    /// File name, such as `extract-plan.1`.
    file: String,
    text: String,
}

/// The pages of a program and of its commands, the program's first.
fn pages(form: &Form, program: Command) -> Vec<Page> {
    let mut program = form
        .unfolded(program)
        .disable_help_subcommand(true)
        .subcommand_help_heading("COMMANDS");
    program.build();
    let name = program.get_name().to_owned();
    let source = format!("{name} {}", program.get_version().unwrap_or_default());
    let page = |command: &Command, of: &str, above: Option<&str>| {
        let man = Man::new(command.clone());
        let man = man.source(source.clone()).manual("Slicebank");
        Page {
            file: man.get_filename(),
            text: text(&man, command, form.examples_of(of), above),
        }
    };
    let commands = program.get_subcommands();
    let commands = commands.map(|command| page(command, command.get_name(), Some(&name)));
    [page(&program, "", None)]
        .into_iter()
        .chain(commands)
        .collect()
}

/// The page of a command with its examples and the page `above` it.
fn text(man: &Man, command: &Command, examples: &[Example], above: Option<&str>) -> String {
    let mut text = Vec::new();
    let mut more = Roff::new();
    if !examples.is_empty() {
        more.control("SH", ["EXAMPLES"]);
    }
    for (line, what) in examples {
        more.control("TP", []);
        more.text([bold(*line)]);
        more.text([roman(*what)]);
    }
    if let Some(name) = above {
        more.control("SH", ["SEE ALSO"]);
        more.text([bold(name), roman("(1)")]);
    }
    let parts = [
        man.render_title(&mut text),
        man.render_name_section(&mut text),
        man.render_synopsis_section(&mut text),
        man.render_description_section(&mut text),
        man.render_options_section(&mut text),
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)
        } else {
            Ok(())
        },
        more.to_writer(&mut text),
    ];
    for part in parts {
        part.expect("memory can be written to");
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn each_command_has_a_page_with_its_options_and_examples() {
        let count = Arg::new("count").long("count").value_name("COUNT");
        let rare = Arg::new("rare").long("rare").help("Rarely needed.");
        let run = Command::new("run").about("Run things").args([count, rare]);
        let program = Command::new("it").version("1.2").about("Does it");
        let form = Form {
            commands: &[("Work", &["run"])],
            options: &[("Many", &["count"])],
            rare: &["rare"],
            examples: &[("run", &[("it run --count 3", "run three")])],
        };
        let pages = pages(&form, program.subcommand(run));
        let files: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(files, ["it.1", "it-run.1"]);
        assert!(pages[0].text.contains("it\\-run(1)\nRun things\n"));
        for part in [
            ".TH it-run 1  \"it 1.2\" Slicebank\n",
            ".SH MANY\n",
            "Rarely needed.",
            ".SH EXAMPLES\n.TP\n\\fBit run \\-\\-count 3\\fR\nrun three\n",
            ".SH \"SEE ALSO\"\n\\fBit\\fR(1)\n",
        ] {
            assert!(pages[1].text.contains(part), "{part}: {}", pages[1].text);
        }
    }
}
