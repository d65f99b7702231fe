//! Numbers of things in messages.

use std::fmt::Display;

/// A number with its noun: `1 file`, `2 files`, `0 classes`.
///
/// `thing` is a noun in the singular, or words that end with one; the plural adds `s`, or `es`
/// after an `s`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, thing: &str) -> String {
    let ending = if count == N::from(1) {
        ""
    } else if thing.ends_with('s') {
        "es"
    } else {
        "s"
    };
    format!("{count} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular_and_all_other_numbers_are_plural() {
        assert_eq!(counted(1u64, "NIfTI file"), "1 NIfTI file");
        assert_eq!(counted(0usize, "slice"), "0 slices");
        assert_eq!(counted(21u32, "class"), "21 classes");
        assert_eq!(counted(1u8, "class"), "1 class");
    }
}
