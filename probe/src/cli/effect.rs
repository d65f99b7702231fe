//! Options that are given and have no effect: refused, or told of where they have one under another
//! protocol.

use std::io::Write;

use anyhow::{Result, bail};

use crate::protocol::Protocol;

/// Of options that have an effect under no protocol.
pub(super) const NEVER: fn(Protocol) -> bool = |_| false;

/// An option that may be given in vain.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    option: &'static str,
    is_given: bool,
    /// Why it has no effect, as a sentence without its end.
    why: &'static str,
    has_effect: fn(Protocol) -> bool,
}

impl Idle {
    pub(super) fn new(
        option: &'static str,
        is_given: bool,
        why: &'static str,
        has_effect: fn(Protocol) -> bool,
    ) -> Idle {
        Idle {
            option,
            is_given,
            why,
            has_effect,
        }
    }
}

/// Refuses the first option that is given and has an effect under none of these protocols, and warns of
/// those that have one under some of them.
pub(super) fn check(
    options: impl IntoIterator<Item = Idle>,
    protocols: &[Protocol],
    messages: &mut impl Write,
) -> Result<()> {
    for Idle {
        option,
        why,
        has_effect,
        ..
    } in options.into_iter().filter(|option| option.is_given)
    {
        let in_vain = protocols.iter().filter(|protocol| !has_effect(**protocol));
        let in_vain: Vec<&str> = in_vain.map(|protocol| protocol.name()).collect();
        if in_vain.len() == protocols.len() {
            bail!("`{option}` has no effect: {why}\nhint: leave it out");
        }
        if !in_vain.is_empty() {
            let under = in_vain.join(",");
            writeln!(
                messages,
                "warning: `{option}` has no effect with `--protocol {under}`: {why}"
            )?;
        }
    }
    Ok(())
}
