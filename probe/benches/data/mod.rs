//! Numbers that look random and are the same in every run and in the scripts that time a peer.

use ndarray::Array2;

/// Draw `counter` of stream `seed`, from -0.5 to 0.5, by splitmix64.
pub(crate) fn uniform(seed: u64, counter: usize) -> f32 {
    let mut z = ((seed << 40) + counter as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
}

/// `[rows, width]`, each row of length 1.
#[allow(dead_code, reason = "not every bench searches")]
pub(crate) fn unit_rows(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut matrix = Array2::from_shape_fn((rows, width), |(i, j)| uniform(seed, i * width + j));
    for mut row in matrix.rows_mut() {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    matrix
}

/// `[rows, width]`, each row of length 1 and near one of 1,000 centres, which are the same for every
/// `seed`.
#[allow(dead_code, reason = "one bench searches approximately")]
pub(crate) fn clustered_rows(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut matrix = Array2::from_shape_fn((rows, width), |(i, j)| {
        uniform(9, i % 1000 * width + j) + 0.7 * uniform(seed, i * width + j)
    });
    for mut row in matrix.rows_mut() {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    matrix
}

/// The numbers among the words of the command line.
#[allow(dead_code, reason = "`scale` takes a folder")]
pub(crate) fn numbers() -> Vec<usize> {
    std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect()
}
