//! Resizing of planes along both axes, and its adjoint, which carries a gradient back.

use crate::matrix::vectorised;
use crate::scratch::Pool;
use crate::taps::{Taps, weighted_sum};

/// The taps of both axes, forwards and back.
pub(crate) struct Resize {
    pub(crate) rows: Taps,
    pub(crate) columns: Taps,
    pub(crate) rows_back: Taps,
    pub(crate) columns_back: Taps,
}

/// The place of a plane within a slice: its first number, and the distance of its rows.
#[derive(Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) start: usize,
    pub(crate) stride: usize,
}

impl Plane {
    /// The place of a plane of `width` that is all of its slice.
    pub(crate) fn whole(width: usize) -> Self {
        Self {
            start: 0,
            stride: width,
        }
    }
}

impl Resize {
    pub(crate) fn new(rows: Taps, columns: Taps) -> Self {
        Self {
            rows_back: rows.adjoint(),
            columns_back: columns.adjoint(),
            rows,
            columns,
        }
    }

    /// Resizes a plane `[h, w]` to `[H, W]`: `out = R · from · Cᵀ`, along the rows first, which makes the
    /// columns contiguous.
    pub(crate) fn plane(&self, from: &[f32], at: Plane, out: &mut [f32], to: Plane, pool: &Pool) {
        let width = self.columns.outputs();
        pool.with(self.rows.inputs() * width, |wide| {
            vectorised(
                #[inline(always)]
                || {
                    for (row, wide) in wide.chunks_exact_mut(width).enumerate() {
                        self.columns
                            .along(&from[at.start + row * at.stride..], 1, wide, 1);
                    }
                    for row in 0..self.rows.outputs() {
                        let out = &mut out[to.start + row * to.stride..][..width];
                        weighted_sum(
                            self.rows.of(row),
                            #[inline(always)]
                            |from| &wide[from * width..][..width],
                            out,
                        );
                    }
                },
            );
        });
    }

    /// The gradient of a plane, from `[H, W]` back to `[h, w]`: `out = Rᵀ · from · C`.
    pub(crate) fn plane_back(
        &self,
        from: &[f32],
        at: Plane,
        out: &mut [f32],
        to: Plane,
        pool: &Pool,
    ) {
        let width = self.columns.outputs();
        pool.with(width, |wide| {
            vectorised(
                #[inline(always)]
                || {
                    for row in 0..self.rows.inputs() {
                        weighted_sum(
                            self.rows_back.of(row),
                            #[inline(always)]
                            |row| &from[at.start + row * at.stride..][..width],
                            wide,
                        );
                        self.columns_back
                            .along(wide, 1, &mut out[to.start + row * to.stride..], 1);
                    }
                },
            );
        });
    }
}
