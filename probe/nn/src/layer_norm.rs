//! A LayerNorm without weights.

use rayon::prelude::*;

/// The number that is added to the variance.
pub const EPSILON: f32 = 1e-6;

/// Brings each token of `tokens` `[.., width]` to mean 0 and variance 1, in place:
/// `(x - mean) / sqrt(variance + 1e-6)`, the variance being that of the token's own numbers (Ba et al.
/// 2016), as PyTorch's `LayerNorm(width, eps=1e-6)` does before it is trained.
///
/// # Panics
///
/// If `width` is 0.
pub fn layer_norm(tokens: &mut [f32], width: usize) {
    tokens.par_chunks_exact_mut(width).for_each(|token| {
        let mean = token.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
        let squares = token.iter().map(|&x| (f64::from(x) - mean).powi(2));
        let variance = squares.sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        for x in token {
            *x = ((f64::from(*x) - mean) * scale) as f32;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NumPy's `(x - x.mean()) / sqrt(x.var() + 1e-6)`; of the second token the epsilon is half of the sum.
    #[test]
    fn tokens_are_those_of_pytorch() {
        let mut tokens = [1.0, 2.0, 3.0, 6.0, 0.001, -0.001, 0.002, 0.0];
        layer_norm(&mut tokens, 4);
        let expected = [
            -1.069045, -0.534522, 0.0, 1.603567, 0.333333, -1.0, 1.0, -0.333333,
        ];
        for (found, expected) in tokens.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{tokens:?}");
        }
    }
}
