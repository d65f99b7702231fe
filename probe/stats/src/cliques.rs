//! Groups of models that cannot be told apart.

/// All maximal groups, of at least two models, in which no pair differs. Two models that do not differ are
/// together in at least one group; a model that differs from all others is in none.
///
/// `differ(i, j)` says whether a test tells two of `models` apart; it is asked with `i < j`. Models in a group
/// are in increasing order; groups are sorted. Groups of Nemenyi's test are runs of neighbouring mean ranks;
/// those of pairwise tests need not be.
///
/// The algorithm is that of Bron and Kerbosch (1973) with a pivot.
pub fn cliques(models: usize, differ: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let is_alike = |i: usize, j: usize| i != j && !differ(i.min(j), i.max(j));
    let alike: Vec<Vec<bool>> = (0..models)
        .map(|i| (0..models).map(|j| is_alike(i, j)).collect())
        .collect();
    let mut found = Vec::new();
    extend(
        &alike,
        &mut Vec::new(),
        (0..models).collect(),
        Vec::new(),
        &mut found,
    );
    found.retain(|group| group.len() > 1);
    found.iter_mut().for_each(|group| group.sort_unstable());
    found.sort_unstable();
    found
}

/// Adds all maximal groups that contain `group`, some of `candidates`, and none of `done`.
fn extend(
    alike: &[Vec<bool>],
    group: &mut Vec<usize>,
    mut candidates: Vec<usize>,
    mut done: Vec<usize>,
    found: &mut Vec<Vec<usize>>,
) {
    if candidates.is_empty() && done.is_empty() {
        found.push(group.clone());
        return;
    }
    let both = || candidates.iter().chain(&done).copied();
    let known = |at: usize| candidates.iter().filter(|&&other| alike[at][other]).count();
    let Some(pivot) = both().max_by_key(|&at| known(at)) else {
        return;
    };
    let open: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|&at| !alike[pivot][at])
        .collect();
    for at in open {
        let among = |of: &[usize]| {
            of.iter()
                .copied()
                .filter(|&other| alike[at][other])
                .collect()
        };
        let (next, known) = (among(&candidates), among(&done));
        group.push(at);
        extend(alike, group, next, known, found);
        group.pop();
        candidates.retain(|&other| other != at);
        done.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_near_ranks_are_groups() {
        let rank = [1.0, 1.4, 2.1, 4.0];
        let found = cliques(4, |i, j| f64::abs(rank[i] - rank[j]) > 1.0);
        assert_eq!(found, [[0, 1], [1, 2]]);
    }

    #[test]
    fn every_pair_that_does_not_differ_is_in_a_group_without_a_pair_that_does() {
        // 0 and 2 do not differ, though 1 lies between them and differs from both.
        let found = cliques(3, |i, j| (i, j) != (0, 2));
        assert_eq!(found, [[0, 2]]);
        let differ = |i: usize, j: usize| (i * 7 + j * 13).is_multiple_of(3);
        let found = cliques(12, differ);
        for (i, j) in (0..12).flat_map(|j| (0..j).map(move |i| (i, j))) {
            let together = found.iter().any(|g| g.contains(&i) && g.contains(&j));
            assert_eq!(together, !differ(i, j), "{i} {j}");
        }
    }

    #[test]
    fn models_that_all_differ_are_in_no_group() {
        assert!(cliques(3, |_, _| true).is_empty());
        assert_eq!(cliques(3, |_, _| false), [[0, 1, 2]]);
        assert!(cliques(0, |_, _| true).is_empty());
    }
}
