//! Matrix products, a pool of scratch buffers, and the choice of vector instructions.

use std::sync::{Mutex, PoisonError};

/// A view of numbers as `rows` × `columns`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row, `stride` numbers apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || data.len() >= (rows - 1) * stride + columns);
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// Columns and rows exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `out = left · right`, or `out += left · right` where `accumulate` is set. The rows of `out` are
/// `stride` numbers apart. On the calling thread only.
pub(crate) fn multiply(
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
    left: Matrix<'_>,
    right: Matrix<'_>,
) {
    let (rows, columns) = (left.rows, right.columns);
    assert_eq!(left.columns, right.rows);
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(stride >= columns && out.len() >= (rows - 1) * stride + columns);
    // SAFETY: `Matrix::new` and the assertion above hold every element of the three matrices
    // inside its slice, `out` is borrowed mutably so that it overlaps neither input, and its
    // strides address each of its elements once.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Buffers that tasks borrow, so that none is allocated twice.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<f32>>>);

impl Pool {
    /// Calls `task` with `length` numbers of unspecified value.
    pub(crate) fn with<R>(&self, length: usize, task: impl FnOnce(&mut [f32]) -> R) -> R {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = {
            let mut free = free();
            // The smallest that is large enough; else the largest is given up for a larger one.
            let fit = |(_, buffer): &(usize, &Vec<f32>)| {
                let short = buffer.len() < length;
                (
                    short,
                    if short {
                        usize::MAX - buffer.len()
                    } else {
                        buffer.len()
                    },
                )
            };
            match free.iter().enumerate().min_by_key(fit) {
                Some((index, _)) => free.swap_remove(index),
                None => Vec::new(),
            }
        };
        if buffer.len() < length {
            // Not `resize`: the old content need not be copied.
            drop(buffer);
            buffer = vec![0.0; length];
        }
        let result = task(&mut buffer[..length]);
        free().push(buffer);
        result
    }
}

/// Runs `task` compiled for the widest vectors that the processor has.
#[inline(always)]
pub(crate) fn vectorised<R>(task: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(task)
}

/// The `chunk`-long pieces of several planes of `plane` numbers each, gathered by their place: item
/// `i` holds piece `i` of every plane.
pub(crate) fn across(planes: &mut [f32], plane: usize, chunk: usize) -> Vec<Vec<&mut [f32]>> {
    let mut pieces: Vec<Vec<&mut [f32]>> = Vec::new();
    for one in planes.chunks_exact_mut(plane) {
        for (place, piece) in one.chunks_mut(chunk).enumerate() {
            if pieces.len() == place {
                pieces.push(Vec::new());
            }
            pieces[place].push(piece);
        }
    }
    pieces
}
