use ndarray::{Array2, ArrayView1};
use proptest::prelude::*;

use super::*;

fn brute_force(keys: &Array2<f32>, queries: &Array2<f32>, k: usize) -> Neighbours {
    let dot = kernel::dot();
    let mut index = Array2::zeros((queries.nrows(), k));
    let mut similarity = Array2::zeros((queries.nrows(), k));
    for (row, query) in queries.outer_iter().enumerate() {
        let value = |key: ArrayView1<f32>| dot(query.to_slice().unwrap(), key.to_slice().unwrap());
        let values: Vec<f32> = keys.outer_iter().map(value).collect();
        let mut order: Vec<usize> = (0..keys.nrows()).collect();
        order.sort_by(|&a, &b| (values[b] + 0.0).total_cmp(&(values[a] + 0.0)));
        for (i, &key) in order[..k].iter().enumerate() {
            index[[row, i]] = key as u32;
            similarity[[row, i]] = values[key] + 0.0;
        }
    }
    Neighbours { index, similarity }
}

/// Small whole numbers: many inner products are equal.
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

/// Rows of any length, around any point, some of them equal or nearly so.
fn floats(rows: usize, width: usize) -> impl Strategy<Value = Array2<f32>> {
    let nearly = prop_oneof![Just(0.0_f32), Just(1e-7), Just(1e-4)];
    (
        prop::collection::vec(-1.0..1.0_f32, rows * width),
        prop_oneof![Just(0.0_f32), Just(1.0), Just(1000.0)],
        prop_oneof![Just(1.0_f32), Just(1e-20), Just(1e-10), Just(1e15),],
        nearly,
    )
        .prop_map(move |(values, point, scale, nearly)| {
            Array2::from_shape_fn((rows, width), |(i, j)| {
                let own = values[i * width + j] * if i % 3 == 0 { 1.0 } else { nearly };
                (point + values[i % 7 % rows * width + j] + own) * scale
            })
        })
}

proptest! {
    #[test]
    fn what_whole_numbers_do_not_tell_apart_is_ranked_all_the_same(
        (keys, queries, k) in (1..300_usize, 1..20_usize, 1..90_usize).prop_flat_map(
            |(keys, queries, width)| (floats(keys, width), floats(queries, width), 1..=keys),
        ),
    ) {
        let found = neighbours(keys.view(), queries.view(), k);
        prop_assert_eq!(found, brute_force(&keys, &queries, k));
    }

    #[test]
    fn every_kernel_gives_the_same_products(
        queries in prop::collection::vec(any::<[[i8; 2]; ROWS]>(), 0..50),
        keys in prop::collection::vec(any::<[[i8; 2]; 16]>(), 50),
    ) {
        let wide = |pair: [i8; 2]| pair.map(|x| 30 * i16::from(x));
        let queries: Vec<_> = queries.into_iter().map(|query| query.map(wide)).collect();
        let keys: Vec<_> = keys.into_iter().map(|key| Lanes(key.map(wide))).collect();
        let mut expected = [[1; 16]; ROWS];
        kernel::products(&queries, &keys, &mut expected);
        match kernel::best() {
            Kernels::Columns16(kernel) => {
                let mut tile = [[1; 16]; ROWS];
                kernel(&queries, &keys, &mut tile);
                prop_assert_eq!(tile, expected);
            }
            Kernels::Columns32(kernel) => {
                let twice = keys.iter().map(|Lanes(key)| {
                    Lanes(std::array::from_fn(|lane| key[lane % 16]))
                });
                let mut tile = [[1; 32]; ROWS];
                kernel(&queries, &twice.collect::<Vec<_>>(), &mut tile);
                for (row, expected) in tile.iter().zip(&expected) {
                    prop_assert_eq!(&row[..16], expected);
                    prop_assert_eq!(&row[16..], expected);
                }
            }
        }
    }
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
fn nothing_is_found_in_nothing() {
    let found = |keys, queries, width| {
        let (keys, queries) = (spread(keys, width, 1), spread(queries, width, 2));
        neighbours(keys.view(), queries.view(), 2).index
    };
    assert_eq!(found(0, 3, 4).dim(), (3, 0));
    assert_eq!(found(3, 0, 4).dim(), (0, 2));
    assert_eq!(found(3, 1, 0), ndarray::array![[0, 1]]);
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
    for width in [768, 769, 2048] {
        let whole = |seed| spread(40, width, seed).mapv(|x| (4.0 * x).round());
        let (keys, queries) = (whole(1), whole(2));
        let found = neighbours(keys.view(), queries.view(), 7);
        assert_eq!(found, brute_force(&keys, &queries, 7));
    }
}
