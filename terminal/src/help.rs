//! The form of the help of both programs: commands in groups, lines of 80 characters, and examples.
//!
//! `-h` gives each option a line or two and leaves out those that are rarely needed; `--help` gives everything.

use clap::{Arg, ArgAction, Command};

use crate::WIDTH;

/// Columns before the text of an option in `--help`.
const INDENT: usize = 10;
/// Stands for a space at which no line ends.
const TIED: char = '\u{a0}';
/// Columns around the name of an option in `-h`.
const AROUND: usize = 8;

/// A heading and the names of commands or options below it.
pub type Group = (&'static str, &'static [&'static str]);

/// A command as it is typed, and what it does.
pub type Example = (&'static str, &'static str);

/// A command's name, empty for the program itself, and its examples.
pub type Examples = (&'static str, &'static [Example]);

/// Form of a program's help.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Groups of commands. Commands in none follow below `Commands`.
    pub commands: &'static [Group],
    /// Groups of options, without `--`, for those that name no heading themselves.
    pub options: &'static [Group],
    /// Options that `-h` leaves out.
    pub rare: &'static [&'static str],
    /// Examples of each command.
    pub examples: &'static [Examples],
}

/// Placeholders of values, by those that clap derives from names of options.
const PLACEHOLDERS: &[(&str, &[&str])] = &[
    (
        "COUNT",
        &[
            "N",
            "V",
            "K",
            "THREADS",
            "LAYERS",
            "BATCH_SIZE",
            "EPOCHS",
            "EF",
            "BATCHES",
        ],
    ),
    ("COUNTS", &["SHOTS", "BLOCKS"]),
    ("DIR", &["CACHE", "ROOT", "RUNS"]),
    (
        "NAME",
        &["MODEL", "DATASET", "PROBE", "HEAD", "CHANNEL", "CACHE_NAME"],
    ),
    ("NAMES", &["LABEL_COLUMNS"]),
    ("NUMBER", &["SEED", "LAYER", "MOMENTUM", "TEMPERATURE"]),
    ("NUMBERS", &["C", "ALPHA"]),
    ("PIXELS", &["IMAGE_SIZE"]),
    ("RATES", &["LR"]),
    ("RANGE", &["INTENSITY"]),
    ("RULE", &["SPLIT"]),
    ("TOKENS", &["FEATURES"]),
    ("WHAT", &["UNNAMED_VALUES", "NON_FINITE", "CONTROL"]),
    ("WHETHER", &["BOOL", "EXCLUDE_SELF"]),
];

impl Form {
    /// A program with this help.
    pub fn complete(&self, command: Command) -> Command {
        let names = names(&command);
        let mut command = self.finished("", command);
        for name in &names {
            command = command.mut_subcommand(name, |command| self.finished(name, command));
        }
        let template = format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}{{all-args}}{{after-help}}",
            listed(&command, self.commands)
        );
        // The template lists the commands.
        for name in &names {
            command = command.mut_subcommand(name, |command| command.hide(true));
        }
        command.help_template(template)
    }

    /// A program with its options in groups, for forms that fold text themselves.
    pub(crate) fn unfolded(&self, command: Command) -> Command {
        let names = names(&command);
        let mut command = command.mut_args(|arg| self.placed(arg));
        for name in &names {
            command =
                command.mut_subcommand(name, |command| command.mut_args(|arg| self.placed(arg)));
        }
        command
    }

    /// Examples of a command, by its name; the program's own by an empty one.
    pub(crate) fn examples_of(&self, name: &str) -> &'static [Example] {
        let mut examples = self.examples.iter().filter(|(of, _)| *of == name);
        examples
            .next()
            .map(|(_, examples)| *examples)
            .unwrap_or_default()
    }

    /// A command with its options in groups, folded texts, and examples.
    fn finished(&self, name: &str, command: Command) -> Command {
        let mut command = command.mut_args(|arg| self.brief(self.placed(arg)));
        if let Some(text) = command.get_long_about().map(ToString::to_string) {
            command = command.long_about(fold(&text, WIDTH));
        }
        with_examples(folded(command), self.examples_of(name))
    }

    /// An option in its group, with a placeholder.
    fn placed(&self, arg: Arg) -> Arg {
        let Some(long) = arg.get_long().map(str::to_owned) else {
            return arg;
        };
        let mut arg = arg;
        let mut groups = self.options.iter();
        let group = groups.find(|(_, of)| of.contains(&long.as_str()));
        if let (Some((heading, _)), None) = (group, arg.get_help_heading()) {
            arg = arg.help_heading(*heading);
        }
        let name = arg
            .get_value_names()
            .and_then(|names| names.first())
            .map(ToString::to_string);
        let derived = long.to_uppercase().replace('-', "_");
        let name = name.unwrap_or_else(|| {
            if takes_value(&arg) {
                derived
            } else {
                String::new()
            }
        });
        let mut words = PLACEHOLDERS.iter();
        if let Some((word, _)) = words.find(|(_, of)| of.contains(&name.as_str())) {
            arg = arg.value_name(*word);
        }
        arg
    }

    /// An option that `-h` leaves out if it is rarely needed.
    fn brief(&self, arg: Arg) -> Arg {
        let is_rare = arg.get_long().is_some_and(|long| self.rare.contains(&long));
        if is_rare {
            arg.hide_short_help(true)
        } else {
            arg
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Names of the commands of a program.
fn names(command: &Command) -> Vec<String> {
    let commands = command.get_subcommands().map(Command::get_name);
    commands.map(str::to_owned).collect()
}

/// The commands by groups, a line each.
fn listed(command: &Command, groups: &[Group]) -> String {
    let names = names(command);
    let grouped = |name: &String| groups.iter().any(|(_, of)| of.contains(&name.as_str()));
    let others: Vec<&str> = names
        .iter()
        .filter(|name| !grouped(name))
        .map(String::as_str)
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let mut text = String::new();
    for (heading, of) in groups.iter().copied().chain([("Commands", &others[..])]) {
        let commands = of.iter().filter_map(|name| command.find_subcommand(name));
        let lines: Vec<String> = commands
            .map(|command| {
                let about = command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                format!("  {:width$}  {about}\n", command.get_name())
            })
            .collect();
        if !lines.is_empty() {
            text += &format!("{heading}:\n{}\n", lines.concat());
        }
    }
    text
}

fn with_examples(command: Command, examples: &[Example]) -> Command {
    let width = examples.iter().map(|(line, _)| line.chars().count()).max();
    let longest = examples.iter().map(|(_, what)| what.chars().count()).max();
    let (width, longest) = (width.unwrap_or_default(), longest.unwrap_or_default());
    let lines: Vec<String> = examples
        .iter()
        .map(|(line, what)| {
            if width + longest + 4 <= WIDTH {
                format!("\n  {line:width$}  {what}")
            } else {
                format!("\n  {line}\n      {what}")
            }
        })
        .collect();
    if lines.is_empty() {
        return command;
    }
    command.after_help(format!("Examples:{}", lines.concat()))
}

/// A command with the texts of its options in lines of [`WIDTH`].
fn folded(command: Command) -> Command {
    let shown = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_short_help_set());
    let widths: Vec<(Option<String>, usize)> =
        shown.map(|arg| (heading(arg), name_width(arg))).collect();
    command.mut_args(|arg| {
        let same = widths.iter().filter(|(of, _)| *of == heading(&arg));
        let name = same.map(|(_, width)| *width).max().unwrap_or_default();
        let Some(brief) = arg.get_help().map(ToString::to_string) else {
            return arg;
        };
        let full = arg
            .get_long_help()
            .map_or_else(|| brief.clone(), ToString::to_string);
        let (values, facts) = (values(&arg), facts(&arg));
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        let names = match names.join(", ") {
            names if names.is_empty() => names,
            names => format!(" [possible values: {names}]"),
        };
        let short = fold(
            &format!("{brief}{names}{facts}"),
            WIDTH.saturating_sub(name + AROUND),
        );
        let is_described = values.iter().any(|(_, about)| !about.is_empty());
        let long = if is_described {
            fold(&(full + &facts), WIDTH - INDENT) + &described(&values)
        } else {
            fold(&(full + &names + &facts), WIDTH - INDENT)
        };
        arg.help(short)
            .long_help(long)
            .hide_possible_values(true)
            .hide_default_value(true)
            .hide_env(true)
    })
}

/// Values that an option may have, with their descriptions.
fn values(arg: &Arg) -> Vec<(String, String)> {
    if !takes_value(arg) || arg.is_hide_possible_values_set() {
        return Vec::new();
    }
    let values = arg.get_possible_values().into_iter();
    let values = values.filter(|value| !value.is_hide_set());
    values
        .map(|value| {
            let about = value.get_help().map(ToString::to_string);
            (value.get_name().to_owned(), about.unwrap_or_default())
        })
        .collect()
}

/// A line or more for each value.
fn described(values: &[(String, String)]) -> String {
    let longest = values.iter().map(|(name, _)| name.len()).max();
    let width = longest.unwrap_or_default();
    let lines = values.iter().map(|(name, about)| {
        let about = fold(about, WIDTH - INDENT - width - 4);
        let about = about.replace('\n', &format!("\n{}", " ".repeat(width + 4)));
        let line = format!("\n- {name:width$}  {about}");
        line.trim_end().to_owned()
    });
    lines.collect()
}

/// The environment variable and the default of an option.
fn facts(arg: &Arg) -> String {
    if !takes_value(arg) {
        return String::new();
    }
    let mut facts = String::new();
    if let Some(variable) = arg.get_env().filter(|_| !arg.is_hide_env_set()) {
        facts += &format!(" [env:{TIED}{}]", variable.to_string_lossy());
    }
    let defaults = arg.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() {
        facts += &format!(" [default:{TIED}{}]", defaults.join(","));
    }
    facts
}

fn heading(arg: &Arg) -> Option<String> {
    let place = if arg.is_positional() {
        Some("")
    } else {
        arg.get_help_heading()
    };
    place.map(str::to_owned)
}

/// Characters of an option with its placeholder.
fn name_width(arg: &Arg) -> usize {
    let name = arg.get_long().map_or(0, |long| "--".len() + long.len());
    if !takes_value(arg) {
        return name;
    }
    let placeholder = arg.get_value_names().and_then(|names| names.first());
    let placeholder = placeholder.map_or(arg.get_id().as_str().len(), |word| word.len());
    // Brackets of an optional value, and the dots of several.
    let is_open = arg
        .get_num_args()
        .is_some_and(|range| range.min_values() == 0 || range.max_values() > 1);
    name + " <>".len() + placeholder + if is_open { 3 } else { 0 }
}

/// Text in lines of at most `width` characters; blank lines stay.
fn fold(text: &str, width: usize) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let mut lines = vec![String::new()];
        for word in paragraph.split([' ', '\n']).filter(|word| !word.is_empty()) {
            let length = |line: &str| line.chars().count();
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(word),
                Some(line) if length(line) + 1 + length(word) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines.join("\n")
    });
    let folded = paragraphs.collect::<Vec<_>>().join("\n\n");
    folded.replace(TIED, " ")
}

#[cfg(test)]
mod tests {
    use clap::builder::PossibleValue;

    use super::*;

    fn program() -> Command {
        let text =
            "Numbers of things that are counted, of which there may be very many in some cases";
        let count = Arg::new("count")
            .long("count")
            .value_name("COUNT")
            .help(text)
            .default_value("10");
        let rare = Arg::new("rare").long("rare").help("Rarely needed");
        let one = PossibleValue::new("one").help("Only one");
        let which = Arg::new("which")
            .long("which")
            .help("Which")
            .value_parser([one, PossibleValue::new("two")]);
        let threads = Arg::new("threads").long("threads").help("Threads");
        let run = Command::new("run")
            .about("Run things")
            .args([count, rare, which, threads]);
        let commands = [
            run,
            Command::new("ls").about("List"),
            Command::new("new").about("Make"),
        ];
        let command = Command::new("it").about("Does it").subcommands(commands);
        let form = Form {
            commands: &[("Work", &["run"]), ("Look", &["ls"])],
            options: &[("Many", &["threads"])],
            rare: &["rare"],
            examples: &[("run", &[("it run --count 3", "run three")])],
        };
        form.complete(command)
    }

    fn help(words: &[&str]) -> String {
        program()
            .try_get_matches_from(words)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn commands_are_in_their_groups_and_others_follow() {
        let text = help(&["it", "--help"]);
        let commands = "Work:\n  run  Run things\n\nLook:\n  ls   List\n\nCommands:\n  new  Make\n";
        assert!(text.contains(commands), "{text}");
    }

    #[test]
    fn short_help_is_folded_and_leaves_out_what_is_rarely_needed() {
        let [short, long] = ["-h", "--help"].map(|word| help(&["it", "run", word]));
        let option =
            "  --count <COUNT>  Numbers of things that are counted, of which there may be\n";
        assert!(short.contains(option), "{short}");
        assert!(short.lines().all(|line| line.len() <= WIDTH), "{short}");
        assert!(
            !short.contains("--rare") && long.contains("--rare"),
            "{long}"
        );
        assert!(
            short.contains("\nMany:\n      --threads <COUNT>  Threads\n"),
            "{short}"
        );
        for text in [short, long] {
            assert!(
                text.ends_with("Examples:\n  it run --count 3  run three\n"),
                "{text}"
            );
        }
    }
}
