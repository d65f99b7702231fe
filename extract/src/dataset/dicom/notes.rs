//! Warnings, counted by kind.

use std::collections::BTreeMap;

/// Number of examples in a warning.
const EXAMPLES: usize = 3;

/// Kinds of warnings with their samples or files.
#[derive(Default)]
pub(super) struct Notes(BTreeMap<&'static str, Vec<String>>);

impl Notes {
    /// Adds `example` to the kind `what` (a plural).
    pub(super) fn add(&mut self, what: &'static str, example: impl Into<String>) {
        self.0.entry(what).or_default().push(example.into());
    }

    /// One line per kind.
    pub(super) fn into_warnings(self) -> Vec<String> {
        let warning = |(what, mut examples): (&str, Vec<String>)| {
            let count = examples.len();
            examples.truncate(EXAMPLES);
            format!("{what}: {count}, for instance `{}`", examples.join("`, `"))
        };
        self.0.into_iter().map(warning).collect()
    }
}
