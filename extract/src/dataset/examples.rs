//! Lists of names in messages.

/// Number of names in a message.
const EXAMPLES: usize = 5;

/// The first of some names.
pub(crate) fn examples(names: &[String]) -> String {
    let first = &names[..names.len().min(EXAMPLES)];
    let more = if names.len() > EXAMPLES { ", …" } else { "" };
    format!("`{}`{more}", first.join("`, `"))
}
