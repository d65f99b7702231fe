//! Names that were meant.

/// Similarity (Jaro–Winkler) from which on a name may have been meant.
const ALIKE: f64 = 0.8;

/// The name that is most similar to `word`, whatever the case; `None` where none is similar.
pub fn similar<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let names = names.into_iter();
    let rated = names.map(|name| (strsim::jaro_winkler(&word, &name.to_lowercase()), name));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(rating, _)| *rating >= ALIKE)
        .map(|(_, name)| name)
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
