//! Suggestions for misspelt names.

use crate::text::shown;

/// Least Jaro–Winkler similarity of a suggestion.
const LEAST_SIMILARITY: f64 = 0.8;

/// The name most similar to `word`, ignoring case; `None` if no name is similar enough.
pub fn similar<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let names = names.into_iter();
    let rated = names.map(|name| (strsim::jaro_winkler(&word, &name.to_lowercase()), name));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(rating, _)| *rating >= LEAST_SIMILARITY)
        .map(|(_, name)| name)
}

/// The end of a message about the unknown name `word`: a suggestion, or blank if no name is similar.
pub fn did_you_mean(word: &str, names: &[String]) -> String {
    let similar = similar(word, names.iter().map(String::as_str));
    similar.map_or_else(String::new, |name| {
        format!(", did you mean `{}`?", shown(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_something_else_is_not() {
        let names = ["dinov2-vitb14", "dinov2-vits14", "clip-vitb16", "Amos"];
        for (word, expected) in [
            ("dinov2-vitb41", Some("dinov2-vitb14")),
            ("dinov2_vits14", Some("dinov2-vits14")),
            ("amos", Some("Amos")),
            ("resnet50", None),
        ] {
            assert_eq!(similar(word, names), expected, "{word}");
        }
        assert_eq!(similar("any", []), None);
    }
}
