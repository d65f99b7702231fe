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
/// all; `None` for a single group. The draw is stratified by the values of the map, such as sets of classes.
/// Equal seeds give equal draws. `word` is the word for a group.
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
    let drawn = (0..taken).map(|k| *order[(2 * k + 1) * of / (2 * taken)].0);
    let held_out = HeldOut {
        share,
        taken,
        of,
        word,
    };
    Some((drawn.collect(), held_out))
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
}
