//! Several labels of one image as one.

use cache::Labels;

use crate::dataset::label_table::Merge;

impl Merge {
    /// The label of an image with these labels, all of one kind and length.
    pub(super) fn merged(self, rows: &[Labels]) -> Labels {
        match rows {
            [] => Labels::Unlabelled,
            [only] => only.clone(),
            [Labels::Single(_), ..] => {
                let classes = rows.iter().filter_map(|row| match row {
                    Labels::Single(class) => *class,
                    _ => None,
                });
                let classes: Vec<u32> = classes.collect();
                Labels::Single(self.of(&classes, |class| class, None))
            }
            [first, ..] => Labels::Multi(
                (0..states(first).len())
                    .map(|k| self.state(rows, k))
                    .collect(),
            ),
        }
    }

    fn state(self, rows: &[Labels], class: usize) -> Option<i8> {
        let known: Vec<i8> = rows.iter().filter_map(|row| states(row)[class]).collect();
        self.of(&known, |state| (state != 0, state), Some(-1))
    }

    /// The label that `votes` give; `tie` if none has more than half of them.
    fn of<T: Copy + PartialEq, K: Ord>(
        self,
        votes: &[T],
        rank: impl Fn(T) -> K,
        tie: Option<T>,
    ) -> Option<T> {
        let count = |vote: &T| votes.iter().filter(|other| *other == vote).count();
        match self {
            Merge::Max => votes.iter().copied().max_by_key(|vote| rank(*vote)),
            Merge::Majority if votes.is_empty() => None,
            Merge::Majority => {
                let winner = votes.iter().find(|vote| 2 * count(vote) > votes.len());
                winner.copied().or(tie)
            }
        }
    }
}

fn states(labels: &Labels) -> &[Option<i8>] {
    match labels {
        Labels::Multi(states) => states,
        Labels::Single(_) | Labels::Unlabelled => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_wins_and_a_tie_is_uncertain() {
        let merged = |votes: &[Option<i8>]| {
            let rows: Vec<Labels> = votes.iter().map(|v| Labels::Multi(vec![*v])).collect();
            [Merge::Majority, Merge::Max].map(|rule| states(&rule.merged(&rows))[0])
        };
        assert_eq!(merged(&[Some(1), Some(0), Some(1)]), [Some(1), Some(1)]);
        assert_eq!(merged(&[Some(1), Some(0), Some(0)]), [Some(0), Some(1)]);
        assert_eq!(merged(&[Some(1), Some(0), None]), [Some(-1), Some(1)]);
        assert_eq!(merged(&[Some(0), Some(-1), None]), [Some(-1), Some(-1)]);
        assert_eq!(merged(&[None, None]), [None, None]);
        assert_eq!(merged(&[None, Some(0)]), [Some(0), Some(0)]);
    }

    #[test]
    fn a_class_without_a_majority_is_not_known() {
        let rows = |classes: &[u32]| -> Vec<Labels> {
            classes
                .iter()
                .map(|class| Labels::Single(Some(*class)))
                .collect()
        };
        assert_eq!(
            Merge::Majority.merged(&rows(&[2, 2, 1])),
            Labels::Single(Some(2))
        );
        assert_eq!(
            Merge::Majority.merged(&rows(&[2, 0, 1])),
            Labels::Single(None)
        );
        assert_eq!(
            Merge::Max.merged(&rows(&[0, 2, 1])),
            Labels::Single(Some(2))
        );
    }
}
