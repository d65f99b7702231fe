//! Ranges of the values on a card.

use super::{Cls, ModelCard};

/// Largest input size, in pixels a side.
const MOST_PIXELS: u32 = 8192;

/// Most patches a side: attention grows with the fourth power.
const MOST_GRID: u32 = 256;

/// Most tokens before the patches.
const MOST_REGISTERS: u32 = 1024;

impl ModelCard {
    /// The first value that is out of range: its key, the value, and the expected values.
    pub(super) fn fault(&self) -> Option<String> {
        let faults = [
            self.name_fault(),
            self.size_fault(),
            self.number_fault(),
            self.vit_fault(),
        ];
        faults.into_iter().flatten().next()
    }

    /// Largest accepted input size, in pixels a side.
    pub(super) fn most_pixels(&self) -> u32 {
        MOST_PIXELS.min(MOST_GRID.saturating_mul(self.patch_size))
    }

    /// The name becomes a part of the names of files and folders.
    fn name_fault(&self) -> Option<String> {
        let plain = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
        let name = &self.name;
        let fits = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
        let expected = "letters, digits, `-`, `_`, `.` and `+`, no `.` first";
        (!fits).then(|| format!("`name` is `{name}`, expected {expected}"))
    }

    fn size_fault(&self) -> Option<String> {
        let sizes = [
            ("width", self.width, u32::MAX),
            ("depth", self.depth, u32::MAX),
            ("layers", self.layers, self.depth),
            ("patch_size", self.patch_size, MOST_PIXELS),
            ("native_size", self.native_size, MOST_PIXELS),
            ("image_size", self.image_size, MOST_PIXELS),
        ];
        let fault = |(key, found, most): (&str, u32, u32)| {
            let fits = (1..=most).contains(&found);
            (!fits).then(|| format!("`{key}` is `{found}`, expected 1 to {most}"))
        };
        sizes.into_iter().find_map(fault)
    }

    fn number_fault(&self) -> Option<String> {
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return Some(format!("`mean` is `{:?}`, expected numbers", self.mean));
        }
        if !self.std.iter().all(|std| std.is_normal() && *std > 0.0) {
            let expected = "numbers above 0";
            return Some(format!("`std` is `{:?}`, expected {expected}", self.std));
        }
        let plain = |tokens: &[f32]| {
            (1..=self.width as usize).contains(&tokens.len())
                && tokens.iter().all(|n| n.is_finite())
        };
        let bad = self.reference.iter().find(|r| !plain(&r.cls_1))?;
        let expected = format!("1 to {} numbers", self.width);
        Some(format!("`cls_1` is `{:?}`, expected {expected}", bad.cls_1))
    }

    fn vit_fault(&self) -> Option<String> {
        let vit = self.vit.as_ref()?;
        let (width, heads, patch) = (self.width, self.heads, self.patch_size);
        if heads == 0 || !width.is_multiple_of(heads) {
            let expected = format!("a divisor of `width`, {width}");
            return Some(format!("`heads` is `{heads}`, expected {expected}"));
        }
        if !self.native_size.is_multiple_of(patch) {
            let (found, expected) = (self.native_size, format!("a multiple of {patch}"));
            return Some(format!("`native_size` is `{found}`, expected {expected}"));
        }
        if !(vit.epsilon.is_finite() && vit.epsilon >= 0.0) {
            let found = vit.epsilon;
            return Some(format!("`epsilon` is `{found}`, expected 0 or more"));
        }
        if vit.registers > MOST_REGISTERS {
            let found = vit.registers;
            let expected = format!("0 to {MOST_REGISTERS}");
            return Some(format!("`registers` is `{found}`, expected {expected}"));
        }
        let lacks_cls = vit.cls == Cls::Token && !vit.tensors.has_cls();
        lacks_cls.then(|| "`cls` is `token`, expected `mean`: such checkpoints have none".into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn folder() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn tiny() -> String {
        std::fs::read_to_string(folder().join("tiny-vit.toml")).unwrap()
    }

    #[test]
    fn the_cards_of_the_project_have_no_fault() {
        let cards: Vec<ModelCard> = ModelCard::all(folder()).map(Result::unwrap).collect();
        assert!(cards.len() > 20);
        for card in cards {
            let library = card.python.map(|python| python.library);
            if library.is_some_and(|library| library == "torchvision") {
                assert_eq!(card.licence, "BSD-3-Clause", "{}", card.name);
            }
        }
    }

    #[test]
    fn numbers_with_which_nothing_can_be_computed_are_faults_that_name_the_key() {
        let changes = [
            ("name", "name = \"../up\""),
            ("name", "name = \"\""),
            ("name", "name = \"a/b\""),
            ("width", "width = 0"),
            ("depth", "depth = 0"),
            ("layers", "layers = 0"),
            ("layers", "layers = 7"),
            ("heads", "heads = 0"),
            ("heads", "heads = 3"),
            ("patch_size", "patch_size = 0"),
            ("native_size", "native_size = 57"),
            ("image_size", "image_size = 100000"),
            ("mean", "mean = [nan, 0.0, 0.0]"),
            ("std", "std = [1.0, 0.0, 1.0]"),
            ("std", "std = [1.0, inf, 1.0]"),
            ("cls_1", "cls_1 = []"),
            ("cls_1", "cls_1 = [nan]"),
            ("epsilon", "epsilon = nan"),
            ("epsilon", "epsilon = -1e-6"),
            ("registers", "registers = 4294967295"),
            ("cls", "tensors = \"siglip\""),
        ];
        for (key, change) in changes {
            let start = change.split_inclusive('=').next().unwrap();
            let lines = tiny();
            let kept = lines.lines().map(|line| {
                if line.starts_with(start) {
                    change
                } else {
                    line
                }
            });
            let mut text = kept.collect::<Vec<_>>().join("\n");
            if !text.contains(change) {
                text += &format!("\n{change}");
            }
            let fault = toml::from_str::<ModelCard>(&text).unwrap().fault();
            let fault = fault.unwrap_or_else(|| panic!("{change}"));
            assert!(fault.starts_with(&format!("`{key}` is")), "{fault}");
        }
    }
}
