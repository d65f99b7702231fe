//! What looks odd, counted.

use std::collections::BTreeMap;

/// How many examples a warning names.
const EXAMPLES: usize = 3;

/// Odd things by kind, with the samples or files that they were seen in.
#[derive(Default)]
pub(super) struct Notes(BTreeMap<&'static str, Vec<String>>);

impl Notes {
    /// Notes something of the kind `what` (in the plural) about `example`.
    pub(super) fn add(&mut self, what: &'static str, example: impl Into<String>) {
        self.0.entry(what).or_default().push(example.into());
    }

    /// A line for each kind.
    pub(super) fn into_warnings(self) -> Vec<String> {
        let warning = |(what, mut examples): (&str, Vec<String>)| {
            let count = examples.len();
            examples.truncate(EXAMPLES);
            format!("{what}: {count}, for instance `{}`", examples.join("`, `"))
        };
        self.0.into_iter().map(warning).collect()
    }
}
