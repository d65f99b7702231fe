//! Names of probes for people, which differ wherever the probes of a study differ.

use serde_json::Value as Json;
use toml::Value;

use crate::compare::written;
use crate::study::Entry;

/// Options that are written whenever they are given: the first with its value alone.
const KINDS: [&str; 4] = ["decoder", "head", "network", "method"];

/// The command, with the decoder, head, network or method, with the blocks of adaptations and the control; and with those
/// options in which other probes of the study with the same name differ.
pub(super) fn label(entry: &Entry, all: &[&Entry]) -> String {
    let own = short(entry);
    let others: Vec<&&Entry> = all.iter().filter(|other| short(other) == own).collect();
    let differs = |option: &&String| {
        let mut others = others.iter();
        others.any(|other| other.options.get(*option) != entry.options.get(*option))
    };
    let options = entry.options.keys().filter(differs);
    let words = options.filter_map(|option| setting(entry, option));
    std::iter::once(own)
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn short(entry: &Entry) -> String {
    let kind = KINDS.iter().find_map(|key| entry.options.get(*key));
    let kind = kind.and_then(Value::as_str).map(str::to_owned);
    let blocks = Some("blocks").filter(|_| entry.name == "adapt");
    let more = [blocks, Some("control")];
    let more = more
        .into_iter()
        .flatten()
        .filter_map(|of| setting(entry, of));
    let words = [Some(entry.name.clone()), kind].into_iter().flatten();
    words.chain(more).collect::<Vec<_>>().join(" ")
}

/// `option=value` of a given option.
fn setting(entry: &Entry, option: &str) -> Option<String> {
    let value = entry.options.get(option)?;
    written(option, &serde_json::to_value(value).unwrap_or(Json::Null))
}
