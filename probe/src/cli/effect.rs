//! Options without effect: errors, or warnings if they have an effect under another given protocol.

use std::io::Write;

use anyhow::Result;

use crate::protocol::Protocol;

/// For options that have an effect under no protocol.
pub(super) const NEVER: fn(Protocol) -> bool = |_| false;

/// An option that may have no effect.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    option: &'static str,
    is_given: bool,
    /// Reason why it has no effect, without a full stop.
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

/// A given option that has no effect.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct NoEffect {
    /// The option without `--`.
    pub(super) option: String,
    /// The message with a hint.
    text: String,
}

impl NoEffect {
    /// `option` has `--`; `text` says why it has no effect, and what to do.
    pub(super) fn new(option: &str, text: String) -> NoEffect {
        NoEffect {
            option: option.trim_start_matches('-').into(),
            text,
        }
    }
}

/// Rejects the first given option that has an effect under none of these protocols, and warns of those that
/// have an effect under some of them. The error is a [`NoEffect`].
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
            let text = format!("`{option}` has no effect: {why}\nhint: leave it out");
            return Err(NoEffect::new(option, text).into());
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
