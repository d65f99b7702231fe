//! t-SNE (van der Maaten and Hinton 2008) by Barnes and Hut's approximation (van der Maaten 2014).

use bhtsne::{Neighbor, tSNE};
use ndarray::Array2;

use super::search::Neighbours;

/// Accuracy of the approximation; smaller is slower and closer to the exact gradient.
const THETA: f32 = 0.5;
/// Standard deviation of the first coordinate at the beginning (Kobak and Berens 2019).
const BEGIN: f64 = 1e-4;

/// Greatest perplexity for `points` points: each needs three times as many neighbours.
pub(crate) fn most_perplexity(points: usize) -> usize {
    points.saturating_sub(1) / 3
}

/// A map of `N` points in two dimensions, from their nearest neighbours and a first map `[N, 2]`, its principal
/// components. The similarities are cosines of rows of length 1, and distances those of the rows.
///
/// It runs on one thread: the crate adds numbers up in an order that depends on the number of threads. Its
/// random numbers are not used.
///
/// # Panics
///
/// If the perplexity is above [`most_perplexity`], or there are fewer neighbours than points of the first map.
pub(crate) fn tsne(found: &Neighbours, first: &Array2<f64>, perplexity: usize) -> Array2<f32> {
    let rows = found.index.outer_iter().zip(found.similarity.outer_iter());
    let neighbour = |(&key, &similarity): (&u32, &f32)| Neighbor {
        index: key as usize,
        distance: (2.0 - 2.0 * similarity).max(0.0).sqrt(),
    };
    let neighbours: Vec<Vec<Neighbor<f32>>> = rows
        .map(|(keys, similarities)| keys.iter().zip(similarities).map(neighbour).collect())
        .collect();
    let deviation = first.column(0).std(0.0);
    let scale = if deviation > 0.0 {
        BEGIN / deviation
    } else {
        0.0
    };
    let begin: Vec<f32> = first.iter().map(|&value| (value * scale) as f32).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let run = || {
        let points = vec![(); neighbours.len()];
        let mut map: tSNE<'_, f32, ()> = tSNE::new(&points);
        map.perplexity(perplexity as f32).initial_embedding(begin);
        map.barnes_hut_with_neighbors(THETA, &neighbours);
        map.embedding()
    };
    // Without another thread, this one does: it is one of as many as the caller chose.
    let map = match pool {
        Ok(pool) => pool.install(run),
        Err(_) => run(),
    };
    Array2::from_shape_vec(first.dim(), map).expect("two coordinates of each point")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::search::neighbours;

    /// Points near one of three directions.
    fn points() -> Array2<f32> {
        let mut points = Array2::from_shape_fn((90, 5), |(i, j)| {
            let noise = ((i * 37 + j * 11) % 23) as f32 / 100.0;
            noise + if i % 3 == j { 1.0 } else { 0.0 }
        });
        for mut row in points.outer_iter_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        points
    }

    fn map(threads: usize) -> Array2<f32> {
        let points = points();
        let found = neighbours(points.view(), points.view(), 31).without_self(0);
        let first = Array2::from_shape_fn((90, 2), |(i, j)| f64::from(points[[i, j]]));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| tsne(&found, &first, 10))
    }

    #[test]
    fn a_map_is_the_same_on_any_number_of_threads_and_keeps_heaps_apart() {
        let one = map(1);
        assert_eq!(one, map(3));
        let near = neighbours_in(&one);
        assert!(near > 0.95, "{near}");
    }

    /// Share of points whose nearest point on the map is of the same heap.
    fn neighbours_in(map: &Array2<f32>) -> f64 {
        let distance = |a: usize, b: usize| (&map.row(a) - &map.row(b)).mapv(|x| x * x).sum();
        let nearest = |a: usize| {
            let others = (0..map.nrows()).filter(|&b| b != a);
            others
                .min_by(|&b, &c| distance(a, b).total_cmp(&distance(a, c)))
                .unwrap()
        };
        let alike = (0..map.nrows())
            .filter(|&a| nearest(a) % 3 == a % 3)
            .count();
        alike as f64 / map.nrows() as f64
    }
}
