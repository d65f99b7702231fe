use ndarray::Array2;
use proptest::prelude::*;

use super::*;

fn brute_force(keys: &Array2<f32>, queries: &Array2<f32>, k: usize) -> Neighbours {
    let all = queries.dot(&keys.t());
    let mut index = Array2::zeros((queries.nrows(), k));
    let mut similarity = Array2::zeros((queries.nrows(), k));
    for (row, values) in all.axis_iter(Axis(0)).enumerate() {
        let mut order: Vec<usize> = (0..keys.nrows()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        for (i, &key) in order[..k].iter().enumerate() {
            index[[row, i]] = key as u32;
            similarity[[row, i]] = values[key];
        }
    }
    Neighbours { index, similarity }
}

/// Small whole numbers: inner products are exact in any order and many are equal.
fn matrix(rows: usize, width: usize) -> impl Strategy<Value = Array2<f32>> {
    prop::collection::vec(1..4_u8, rows * width).prop_map(move |values| {
        let values = values.into_iter().map(|v| f32::from(v) - 2.5).collect();
        Array2::from_shape_vec((rows, width), values).unwrap()
    })
}

fn case() -> impl Strategy<Value = (Array2<f32>, Array2<f32>, usize)> {
    (1..150_usize, 0..40_usize, 1..12_usize).prop_flat_map(|(keys, queries, width)| {
        (matrix(keys, width), matrix(queries, width), 1..=keys)
    })
}

proptest! {
    #[test]
    fn search_equals_brute_force((keys, queries, k) in case()) {
        let found = neighbours(keys.view(), queries.view(), k);
        prop_assert_eq!(found, brute_force(&keys, &queries, k));
    }

    #[test]
    fn codes_are_ordered_as_similarity_then_lower_key(
        a in -2.0..2.0_f32, b in -2.0..2.0_f32, i in any::<u32>(), j in any::<u32>(),
    ) {
        let expected = a.total_cmp(&b).then(j.cmp(&i));
        prop_assert_eq!(encode(a, i).cmp(&encode(b, j)), expected);
        prop_assert_eq!(decode(encode(a, i)), (i, a));
    }
}

fn spread(rows: usize, width: usize, seed: u32) -> Array2<f32> {
    Array2::from_shape_fn((rows, width), |(i, j)| {
        let x = (i * width + j) as u32 ^ seed.wrapping_mul(0x9e37_79b9);
        (x.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5
    })
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (keys, queries) = (spread(3000, 37, 1), spread(700, 37, 2));
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| neighbours(keys.view(), queries.view(), 50))
    };
    assert_eq!(with_threads(1), with_threads(5));
}

#[test]
fn equal_keys_come_in_order_of_index() {
    let keys = Array2::ones((1000, 9));
    let found = neighbours(keys.view(), Array2::ones((1, 9)).view(), 70);
    assert_eq!(found.index.row(0).to_vec(), (0..70).collect::<Vec<u32>>());
}

#[test]
fn opposite_zeros_are_equal() {
    let keys = ndarray::array![[-0.0_f32], [0.0], [-0.0]];
    let found = neighbours(keys.view(), ndarray::array![[-1.0]].view(), 3);
    assert_eq!(found.index.row(0).to_vec(), [0, 1, 2]);
}

#[test]
fn k_is_cut_to_the_number_of_keys() {
    let keys = spread(5, 3, 1);
    assert_eq!(neighbours(keys.view(), keys.view(), 9).index.dim(), (5, 5));
}

#[test]
fn without_self_drops_the_own_key_or_the_last() {
    let found = Neighbours {
        index: ndarray::array![[7, 4, 5], [1, 2, 3]],
        similarity: ndarray::array![[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]],
    };
    let rest = found.without_self(4);
    assert_eq!(rest.index, ndarray::array![[7, 5], [1, 2]]);
    assert_eq!(rest.similarity, ndarray::array![[0.9, 0.7], [0.6, 0.5]]);
}

#[test]
fn wide_rows_are_summed_over_all_dimensions() {
    for width in [BLOCK, BLOCK + 1, 1024] {
        let whole = |seed| spread(40, width, seed).mapv(|x| (4.0 * x).round());
        let (keys, queries) = (whole(1), whole(2));
        let found = neighbours(keys.view(), queries.view(), 7);
        assert_eq!(found, brute_force(&keys, &queries, 7));
    }
}
