//! Options, and which of them the user gave.

use std::ops::Deref;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// Options, and the names of those that stood on the command line.
#[derive(Clone, Debug)]
pub(super) struct Given<T> {
    options: T,
    names: Vec<String>,
}

impl<T> Given<T> {
    /// The first option on the command line that is not one of `allowed`.
    pub(super) fn other_than(&self, allowed: &[&str]) -> Option<&str> {
        let mut names = self.names.iter().map(String::as_str);
        names.find(|name| !allowed.contains(name))
    }
}

impl<T> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.options
    }
}

impl<T: Args> FromArgMatches for Given<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given<T>, Error> {
        let is_given = |id: &str| {
            let source = matches.value_source(id);
            source.is_some_and(|source| source == ValueSource::CommandLine)
        };
        let all = T::augment_args(Command::new(""));
        let given = all
            .get_arguments()
            .filter(|arg| is_given(arg.get_id().as_str()));
        Ok(Given {
            names: given
                .filter_map(|arg| arg.get_long().map(Into::into))
                .collect(),
            options: T::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Given::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: Args> Args for Given<T> {
    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}
