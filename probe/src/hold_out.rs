//! A random part of `train` in place of a missing `val`.

use std::collections::{BTreeMap, BTreeSet};

use common::counted;
use common::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

/// The part of `train` that replaces `val`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeldOut {
    /// Requested share of groups.
    pub(crate) share: f64,
    /// Number of taken groups: patients, or samples if no patients are known.
    pub(crate) taken: usize,
    /// Number of groups in `train` before.
    pub(crate) of: usize,
    /// Word for a group.
    pub(crate) word: &'static str,
}

impl HeldOut {
    /// Warning for the record.
    pub(crate) fn warning(&self) -> String {
        format!(
            "no `val`: {} of the {} in `train`, drawn at random, took its place (--val-share {})",
            counted(self.taken, self.word),
            self.of,
            self.share
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        let (word, share) = (format!("{}s", self.word), self.share);
        json!({"share": share, word: self.taken, "of": self.of})
    }
}

/// Draws about `share` of the `groups` (patients, or samples if no patients are known), at least one and not
/// all; `None` for a single group. The draw is stratified by the values of the map, such as sets of classes. If the
/// share is so small that all drawn groups have one value, a group of each other value with two groups or more is
/// added: no setting can be chosen by a `val` of one class. Equal seeds give equal draws. `word` is the word for a
/// group.
pub(crate) fn hold_out<'a, K: Ord>(
    groups: &BTreeMap<&'a str, K>,
    share: f64,
    seed: u64,
    word: &'static str,
) -> Option<(BTreeSet<&'a str>, HeldOut)> {
    let of = groups.len();
    let most = of.checked_sub(1).filter(|&most| most > 0)?;
    let taken = ((share * of as f64).round() as usize).clamp(1, most);
    let mut order: Vec<_> = groups.iter().collect();
    shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
    order.sort_by_key(|(_, kind)| *kind);
    // The middles of `taken` equal parts.
    let drawn = (0..taken).map(|k| (2 * k + 1) * of / (2 * taken));
    let mut drawn: Vec<_> = drawn.map(|place| order[place]).collect();
    let (first, last) = (drawn[0].1, drawn[taken - 1].1);
    if first == last {
        let others = order.chunk_by(|a, b| a.1 == b.1);
        let others = others.filter(|same| same.len() > 1 && same[0].1 != first);
        drawn.extend(others.map(|same| same[same.len() / 2]));
    }
    let held_out = HeldOut {
        share,
        taken: drawn.len(),
        of,
        word,
    };
    Some((drawn.iter().map(|group| *group.0).collect(), held_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_of_each_kind_the_same_again_and_never_all() {
        let names: Vec<String> = (0..100).map(|i| format!("p{i:03}")).collect();
        let kinds: BTreeMap<&str, bool> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), i % 10 == 0))
            .collect();
        let (drawn, told) = hold_out(&kinds, 0.2, 7, "patient").unwrap();
        assert_eq!((drawn.len(), told.taken, told.of), (20, 20, 100));
        assert_eq!(drawn.iter().filter(|name| kinds[*name]).count(), 2);
        assert_eq!(hold_out(&kinds, 0.2, 7, "patient").unwrap().0, drawn);
        assert_ne!(hold_out(&kinds, 0.2, 8, "patient").unwrap().0, drawn);
        let two: BTreeMap<&str, ()> = [("a", ()), ("b", ())].into();
        for share in [0.001, 0.999] {
            assert_eq!(hold_out(&two, share, 0, "patient").unwrap().0.len(), 1);
        }
        assert!(hold_out(&BTreeMap::from([("a", ())]), 0.5, 0, "patient").is_none());
    }

    #[test]
    fn a_small_share_still_has_each_class_that_can_be_shared() {
        let names: Vec<String> = (0..9).map(|i| format!("p{i}")).collect();
        let names = names.iter().map(String::as_str);
        // Four, four and one.
        let kinds: BTreeMap<&str, usize> = names.zip([0, 1, 0, 1, 2, 0, 1, 0, 1]).collect();
        let (drawn, told) = hold_out(&kinds, 0.1, 0, "patient").unwrap();
        let mut classes: Vec<usize> = drawn.iter().map(|name| kinds[*name]).collect();
        classes.sort_unstable();
        assert_eq!((classes, told.taken), (vec![0, 1], 2));
    }
}
