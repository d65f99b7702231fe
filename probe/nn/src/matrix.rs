//! Matrix products, and the choice of vector instructions.

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
    /// A matrix whose rows are `stride` numbers apart.
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

    /// The transposed matrix.
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

/// Computes `out = left · right`, or `out += left · right` if `accumulate` is set, on the calling
/// thread. The rows of `out` are `stride` numbers apart.
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

/// Runs `task` compiled for the widest vectors that the processor has.
#[inline(always)]
pub(crate) fn vectorised<R>(task: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(task)
}

/// Cuts every plane of `plane` numbers into pieces of `chunk`, and groups the pieces by their place:
/// item `i` holds piece `i` of every plane.
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
