//! The leading eigenvectors of a symmetric matrix.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Most vectors of a basis. Smaller matrices are diagonalised whole.
const MOST: usize = 72;
/// Vectors that a full basis is reduced to.
const KEPT: usize = 16;
/// Vectors that a basis grows by, beyond those that are asked for.
const SPARE: usize = 2;
/// Length of a residual, relative to the greatest eigenvalue, below which a pair is found.
const TOLERANCE: f64 = 1e-11;
/// Most times that a basis grows.
const ROUNDS: usize = 2000;
/// Most sweeps of Jacobi's method.
const SWEEPS: usize = 60;
/// A vector that is shorter than this share of its length once the basis is taken out is in the basis.
const DEPENDENT: f64 = 1e-9;

/// Eigenvalues in falling order, and their eigenvectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Eigen {
    /// `[K]`.
    pub(crate) values: Vec<f64>,
    /// `[K, N]`, rows of length 1.
    pub(crate) vectors: Array2<f64>,
}

/// The `count` greatest eigenvalues of a symmetric matrix `[N, N]` with their eigenvectors, `count` at most
/// `N`. The result does not depend on the number of threads.
///
/// A matrix of more than [`MOST`] rows is projected onto a growing basis of residuals, which spans a Krylov
/// space, and the basis is reduced to its best vectors when it is full (thick-restart Lanczos: Wu and Simon
/// 2000, in blocks).
pub(crate) fn leading(matrix: ArrayView2<'_, f64>, count: usize) -> Eigen {
    if matrix.nrows() <= MOST {
        return first(jacobi(matrix.to_owned()), count);
    }
    let mut basis = Basis::new(matrix);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for _ in 0..count + SPARE {
        basis.push(random(matrix.nrows(), &mut rng));
    }
    for _ in 0..ROUNDS {
        let mut ritz = basis.ritz(count + SPARE);
        let least = TOLERANCE * ritz.values[0].abs();
        let is_open = |residual: &Array1<f64>| residual.dot(residual).sqrt() > least;
        if !ritz.residuals[..count].iter().any(is_open) {
            return ritz.first(count);
        }
        if basis.vectors.len() + count + SPARE > MOST {
            basis.reduce();
        }
        let before = basis.vectors.len();
        for residual in ritz.residuals.drain(..).filter(is_open) {
            basis.push(residual);
        }
        if basis.vectors.len() == before {
            basis.push(random(matrix.nrows(), &mut rng));
        }
    }
    basis.ritz(count).first(count)
}

/// Orthonormal vectors, and the products of the matrix with them.
struct Basis<'a> {
    matrix: ArrayView2<'a, f64>,
    vectors: Vec<Array1<f64>>,
    products: Vec<Array1<f64>>,
}

/// The best approximations of eigenvectors in a basis.
struct Ritz {
    values: Vec<f64>,
    vectors: Vec<Array1<f64>>,
    residuals: Vec<Array1<f64>>,
}

impl Ritz {
    fn first(self, count: usize) -> Eigen {
        let width = self.vectors[0].len();
        let mut vectors = Array2::zeros((count, width));
        for (mut row, found) in vectors.outer_iter_mut().zip(&self.vectors) {
            row.assign(found);
        }
        Eigen {
            values: self.values[..count].to_vec(),
            vectors,
        }
    }
}

impl<'a> Basis<'a> {
    fn new(matrix: ArrayView2<'a, f64>) -> Basis<'a> {
        Basis {
            matrix,
            vectors: Vec::new(),
            products: Vec::new(),
        }
    }

    /// Adds the part of a vector that is orthogonal to the basis, unless rounding is all that is left of it.
    fn push(&mut self, mut vector: Array1<f64>) {
        let before = vector.dot(&vector).sqrt();
        // A second time for what rounding left (Giraud and others 2005).
        for _ in 0..2 {
            for known in &self.vectors {
                let share = dot(known.view(), vector.view());
                vector.scaled_add(-share, known);
            }
        }
        let length = dot(vector.view(), vector.view()).sqrt();
        if length <= DEPENDENT * before {
            return;
        }
        vector /= length;
        self.products.push(self.product(&vector));
        self.vectors.push(vector);
    }

    fn product(&self, vector: &Array1<f64>) -> Array1<f64> {
        let rows = self.matrix.axis_iter(Axis(0)).into_par_iter();
        let product: Vec<f64> = rows.map(|row| dot(row, vector.view())).collect();
        product.into()
    }

    /// Eigenvectors of the matrix projected onto the basis: the first `count`.
    fn ritz(&self, count: usize) -> Ritz {
        let size = self.vectors.len();
        let count = count.min(size);
        let upper: Vec<f64> = (0..size * size)
            .into_par_iter()
            .map(|at| match (at / size, at % size) {
                (i, j) if i <= j => dot(self.vectors[i].view(), self.products[j].view()),
                _ => 0.0,
            })
            .collect();
        let projected =
            Array2::from_shape_fn((size, size), |(i, j)| upper[i.min(j) * size + i.max(j)]);
        let found = first(jacobi(projected), count);
        let combined = |of: &[Array1<f64>], shares: ArrayView1<'_, f64>| {
            let mut sum = Array1::zeros(self.matrix.nrows());
            for (part, &share) in of.iter().zip(shares) {
                sum.scaled_add(share, part);
            }
            sum
        };
        let shares = || found.vectors.outer_iter();
        let vectors: Vec<_> = shares().map(|of| combined(&self.vectors, of)).collect();
        let products = shares().map(|of| combined(&self.products, of));
        let pairs = products.zip(&vectors).zip(&found.values);
        let residuals = pairs.map(|((product, vector), &value)| product - vector * value);
        Ritz {
            residuals: residuals.collect(),
            values: found.values,
            vectors,
        }
    }

    /// Keeps the best [`KEPT`] directions.
    fn reduce(&mut self) {
        let kept = self.ritz(KEPT);
        (self.vectors, self.products) = (Vec::new(), Vec::new());
        for vector in kept.vectors {
            self.push(vector);
        }
    }
}

/// Uniform numbers from -1 to 1.
fn random(length: usize, rng: &mut ChaCha8Rng) -> Array1<f64> {
    let uniform = |_| (rng.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
    (0..length).map(uniform).collect()
}

/// An inner product, summed in eight lanes: the same on every machine.
fn dot(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    let (Some(a), Some(b)) = (a.to_slice(), b.to_slice()) else {
        return a.iter().zip(b).map(|(x, y)| x * y).sum();
    };
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += x * y;
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(x, y)| x * y);
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}

/// The greatest `count` of all pairs.
fn first((values, vectors): (Vec<f64>, Array2<f64>), count: usize) -> Eigen {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    Eigen {
        values: order.iter().map(|&at| values[at]).collect(),
        vectors: vectors.select(Axis(0), &order),
    }
}

/// All eigenvalues and eigenvectors (rows) of a small symmetric matrix, by Jacobi's method (Golub and Van Loan
/// 2013, section 8.5).
fn jacobi(mut a: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let size = a.nrows();
    let mut vectors = Array2::eye(size);
    let total = a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..SWEEPS {
        let outside: f64 = (0..size)
            .flat_map(|i| (i + 1..size).map(move |j| (i, j)))
            .map(|at| a[at] * a[at])
            .sum();
        if outside <= 1e-32 * total {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                if a[[p, q]] != 0.0 {
                    rotate(&mut a, &mut vectors, p, q);
                }
            }
        }
    }
    (a.diag().to_vec(), vectors)
}

/// The rotation of rows and columns `p` and `q` after which `a[p, q]` is 0.
fn rotate(a: &mut Array2<f64>, vectors: &mut Array2<f64>, p: usize, q: usize) {
    let half = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let tangent = half.signum() / (half.abs() + half.hypot(1.0));
    let tangent = if tangent.is_finite() { tangent } else { 1.0 };
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |x: f64, y: f64| (cosine * x - sine * y, sine * x + cosine * y);
    for k in 0..a.nrows() {
        (a[[k, p]], a[[k, q]]) = turn(a[[k, p]], a[[k, q]]);
    }
    for k in 0..a.nrows() {
        (a[[p, k]], a[[q, k]]) = turn(a[[p, k]], a[[q, k]]);
    }
    for k in 0..vectors.ncols() {
        (vectors[[p, k]], vectors[[q, k]]) = turn(vectors[[p, k]], vectors[[q, k]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Q diag(values) Q'` with a random rotation `Q`, whose rows are returned too.
    fn with_values(values: &[f64]) -> (Array2<f64>, Array2<f64>) {
        let size = values.len();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let zeros = Array2::zeros((size, size));
        let mut basis = Basis::new(zeros.view());
        while basis.vectors.len() < size {
            basis.push(random(size, &mut rng));
        }
        let rows = Array2::from_shape_fn((size, size), |(i, j)| basis.vectors[i][j]);
        let scaled = Array2::from_shape_fn((size, size), |(i, j)| values[i] * rows[[i, j]]);
        (rows.t().dot(&scaled), rows)
    }

    #[track_caller]
    fn check(values: &[f64], count: usize) {
        let (matrix, rows) = with_values(values);
        let found = leading(matrix.view(), count);
        for k in 0..count {
            assert!(
                (found.values[k] - values[k]).abs() < 1e-10 * values[0],
                "{k}: {found:?}"
            );
            let cosine = rows.row(k).dot(&found.vectors.row(k)).abs();
            assert!((cosine - 1.0).abs() < 1e-9, "{k}: {cosine}");
        }
    }

    #[test]
    fn eigenvectors_of_small_and_large_matrices_are_found() {
        check(&[9.0, 4.0, 1.0, 0.5], 3);
        let falling = |n: usize| (0..n).map(|k| 100.0 / (1.0 + k as f64).powi(2));
        check(&falling(40).collect::<Vec<_>>(), 3);
        check(&falling(200).collect::<Vec<_>>(), 3);
    }

    #[test]
    fn flat_spectra_and_matrices_without_full_rank_are_no_trap() {
        let flat: Vec<f64> = (0..150).map(|k| 2.0 - 0.005 * f64::from(k)).collect();
        check(&flat, 3);
        let mut two = vec![0.0; 120];
        (two[0], two[1]) = (5.0, 3.0);
        check(&two, 2);
        let found = leading(with_values(&two).0.view(), 3);
        assert!(found.values[2].abs() < 1e-9, "{:?}", found.values);
        let same = leading(Array2::<f64>::eye(100).view(), 3);
        assert!(same.values.iter().all(|value| (value - 1.0).abs() < 1e-12));
        let none = leading(Array2::zeros((100, 100)).view(), 3);
        assert_eq!(none.values, [0.0; 3]);
    }
}
