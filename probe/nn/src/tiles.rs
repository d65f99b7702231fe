//! Tiles of the Winograd convolutions and their transforms by the matrices of F(4×4, 3×3) (Lavin and
//! Gray 2016, section 4.3), over as many channels at once as a vector holds.
//!
//! ```text
//!       ⎡ 4  0 -5  0  1  0 ⎤         ⎡ 1  1  1  1  1  0 ⎤
//!       ⎢ 0 -4 -4  1  1  0 ⎥    Aᵀ = ⎢ 0  1 -1  2 -2  0 ⎥
//!  Bᵀ = ⎢ 0  4 -4 -1  1  0 ⎥         ⎢ 0  1  1  4  4  0 ⎥
//!       ⎢ 0 -2 -1  2  1  0 ⎥         ⎣ 0  1 -1  8 -8  1 ⎦
//!       ⎢ 0  2 -1 -2  1  0 ⎥
//!       ⎣ 0  4  0 -5  0  1 ⎦
//! ```
//!
//! A map is cut into tiles of 4×4 pixels; tiles at the right and the bottom may stick out. Transformed
//! tiles lie as 36 planes (one for each point of a transformed tile) of `[tiles, C]`.

use crate::extent::Extent;
use pulp::{Simd, WithSimd};

/// Points of a transformed tile.
pub(crate) const POINTS: usize = 36;

impl Extent {
    /// Rows of tiles of all images.
    pub(crate) fn tile_rows(self) -> usize {
        self.batch * self.height.div_ceil(4)
    }

    /// Tiles of a row of tiles.
    pub(crate) fn tile_columns(self) -> usize {
        self.width.div_ceil(4)
    }

    /// The image of a row of tiles, its first row of pixels within the image, and how many there are.
    pub(crate) fn tile_row(self, row: usize) -> (usize, usize, usize) {
        let per_image = self.height.div_ceil(4);
        let (image, y) = (row / per_image, row % per_image * 4);
        (image, y, (self.height - y).min(4))
    }
}

/// Transforms a row of tiles to 36 planes: windows of 6×6 of an input (`Bᵀ d B`), or tiles of 4×4 of
/// a gradient (`A y Aᵀ`).
pub(crate) struct Points<'a, 'b, const WINDOWS: bool> {
    pub(crate) input: &'a [f32],
    pub(crate) extent: Extent,
    pub(crate) row: usize,
    pub(crate) planes: &'a mut [&'b mut [f32]],
    /// The start of the row in each plane.
    pub(crate) at: usize,
}

impl<const WINDOWS: bool> WithSimd for Points<'_, '_, WINDOWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Extent {
            height,
            width,
            channels,
            ..
        } = self.extent;
        let (image, top, _) = self.extent.tile_row(self.row);
        let (side, border) = if WINDOWS { (6, 1) } else { (4, 0) };
        for tile in 0..self.extent.tile_columns() {
            let mut offsets = [usize::MAX; POINTS];
            for y in 0..side {
                for x in 0..side {
                    let (row, column) = (top + y, tile * 4 + x);
                    if (border..height + border).contains(&row)
                        && (border..width + border).contains(&column)
                    {
                        offsets[y * 6 + x] =
                            ((image * height + row - border) * width + column - border) * channels;
                    }
                }
            }
            let to = self.at + tile * channels;
            let whole = channels / S::F32_LANES * S::F32_LANES;
            for channel in (0..whole).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES;
                points::<S, WINDOWS>(simd, self.input, &offsets, channel, lanes, self.planes, to);
            }
            if whole < channels {
                let lanes = channels - whole;
                points::<S, WINDOWS>(simd, self.input, &offsets, whole, lanes, self.planes, to);
            }
        }
    }
}

/// Transforms `lanes` channels of a tile. `offsets` are those of its pixels, 6 to a row, or the largest
/// number for a pixel beyond the border, which is zero.
#[inline(always)]
fn points<S: Simd, const WINDOWS: bool>(
    simd: S,
    input: &[f32],
    offsets: &[usize; POINTS],
    channel: usize,
    lanes: usize,
    planes: &mut [&mut [f32]],
    to: usize,
) {
    let window = Window {
        input,
        offsets,
        channel,
        lanes,
    };
    // Array literals: an array that is filled element by element is first cleared by a call.
    let first = [
        window.column::<S, WINDOWS>(simd, 0),
        window.column::<S, WINDOWS>(simd, 1),
        window.column::<S, WINDOWS>(simd, 2),
        window.column::<S, WINDOWS>(simd, 3),
    ];
    let last = if WINDOWS {
        [
            window.column::<S, WINDOWS>(simd, 4),
            window.column::<S, WINDOWS>(simd, 5),
        ]
    } else {
        [first[0]; 2]
    };
    for y in 0..6 {
        let [a, b, c, d] = [first[0][y], first[1][y], first[2][y], first[3][y]];
        let made = if WINDOWS {
            input_points(simd, [a, b, c, d, last[0][y], last[1][y]])
        } else {
            output_points(simd, [a, b, c, d])
        };
        for x in 0..6 {
            let plane = &mut planes[y * 6 + x][to + channel..][..lanes];
            store(simd, plane, made[x]);
        }
    }
}

/// The pixels of a tile that a transform reads.
struct Window<'a> {
    input: &'a [f32],
    offsets: &'a [usize; POINTS],
    channel: usize,
    lanes: usize,
}

impl Window<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::f32s {
        match self.offsets[y * 6 + x] {
            usize::MAX => simd.splat_f32s(0.0),
            offset => load(simd, &self.input[offset + self.channel..][..self.lanes]),
        }
    }

    /// The transform of a column.
    #[inline(always)]
    fn column<S: Simd, const WINDOWS: bool>(&self, simd: S, x: usize) -> [S::f32s; 6] {
        let a = self.pixel(simd, 0, x);
        let b = self.pixel(simd, 1, x);
        let c = self.pixel(simd, 2, x);
        let d = self.pixel(simd, 3, x);
        if WINDOWS {
            let e = self.pixel(simd, 4, x);
            let f = self.pixel(simd, 5, x);
            input_points(simd, [a, b, c, d, e, f])
        } else {
            output_points(simd, [a, b, c, d])
        }
    }
}

/// Turns a row of products of 36 planes into a row of output tiles (`Aᵀ m A`).
pub(crate) struct Tiles<'a> {
    pub(crate) products: &'a [f32],
    pub(crate) plane: usize,
    /// The start of the row in each plane.
    pub(crate) at: usize,
    pub(crate) channels: usize,
    /// `[rows, width, channels]`
    pub(crate) out: &'a mut [f32],
    pub(crate) width: usize,
    pub(crate) rows: usize,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.channels;
        for (tile, left) in (0..self.width).step_by(4).enumerate() {
            let from = &self.products[self.at + tile * channels..];
            let tile = Tile {
                plane: self.plane,
                channels,
                width: self.width,
                left,
                rows: self.rows,
                columns: (self.width - left).min(4),
            };
            let whole = channels / S::F32_LANES * S::F32_LANES;
            for channel in (0..whole).step_by(S::F32_LANES) {
                tile.pixels(simd, from, channel, S::F32_LANES, self.out);
            }
            if whole < channels {
                tile.pixels(simd, from, whole, channels - whole, self.out);
            }
        }
    }
}

/// A tile of the output.
struct Tile {
    plane: usize,
    channels: usize,
    width: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl Tile {
    /// The transform of a column.
    #[inline(always)]
    fn column<S: Simd>(&self, simd: S, products: &[f32], lanes: usize, x: usize) -> [S::f32s; 4] {
        let a = load(simd, &products[x * self.plane..][..lanes]);
        let b = load(simd, &products[(6 + x) * self.plane..][..lanes]);
        let c = load(simd, &products[(12 + x) * self.plane..][..lanes]);
        let d = load(simd, &products[(18 + x) * self.plane..][..lanes]);
        let e = load(simd, &products[(24 + x) * self.plane..][..lanes]);
        let f = load(simd, &products[(30 + x) * self.plane..][..lanes]);
        tile_pixels(simd, [a, b, c, d, e, f])
    }

    /// Transforms `lanes` channels of the tile.
    #[inline(always)]
    fn pixels<S: Simd>(
        &self,
        simd: S,
        products: &[f32],
        channel: usize,
        lanes: usize,
        out: &mut [f32],
    ) {
        let products = &products[channel..];
        let columns = [
            self.column(simd, products, lanes, 0),
            self.column(simd, products, lanes, 1),
            self.column(simd, products, lanes, 2),
            self.column(simd, products, lanes, 3),
            self.column(simd, products, lanes, 4),
            self.column(simd, products, lanes, 5),
        ];
        for y in 0..4 {
            let [a, b, c, d, e, f] = columns;
            let made = tile_pixels(simd, [a[y], b[y], c[y], d[y], e[y], f[y]]);
            for (x, made) in made.into_iter().enumerate() {
                if y < self.rows && x < self.columns {
                    let offset = (y * self.width + self.left + x) * self.channels + channel;
                    store(simd, &mut out[offset..][..lanes], made);
                }
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    match S::as_simd_f32s(from).0 {
        [vector] => *vector,
        _ => simd.partial_load_f32s(from),
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, to: &mut [f32], vector: S::f32s) {
    if to.len() == S::F32_LANES {
        S::as_mut_simd_f32s(to).0[0] = vector;
    } else {
        simd.partial_store_f32s(to, vector);
    }
}

/// `factor · a + b`
#[inline(always)]
fn fused<S: Simd>(simd: S, factor: f32, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b)
}

/// `Bᵀ d`, by sums that rows share.
#[inline(always)]
fn input_points<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
    let far = fused(simd, -4.0, d[2], d[4]);
    let near = fused(simd, -4.0, d[1], d[3]);
    let even = simd.sub_f32s(d[4], d[2]);
    let odd = simd.sub_f32s(d[3], d[1]);
    [
        fused(simd, 4.0, d[0], fused(simd, -5.0, d[2], d[4])),
        simd.add_f32s(far, near),
        simd.sub_f32s(far, near),
        fused(simd, 2.0, odd, even),
        fused(simd, -2.0, odd, even),
        fused(simd, 4.0, d[1], fused(simd, -5.0, d[3], d[5])),
    ]
}

/// `Aᵀ m`
#[inline(always)]
fn tile_pixels<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
    let (even, odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (far_even, far_odd) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(even, far_even)),
        fused(simd, 2.0, far_odd, odd),
        fused(simd, 4.0, far_even, even),
        fused(simd, 8.0, far_odd, simd.add_f32s(odd, m[5])),
    ]
}

/// `A y`
#[inline(always)]
fn output_points<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
    let (even, odd) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
    let far_even = fused(simd, 4.0, y[2], y[0]);
    let far_odd = fused(simd, 8.0, y[3], simd.add_f32s(y[1], y[1]));
    [
        y[0],
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(far_even, far_odd),
        simd.sub_f32s(far_even, far_odd),
        y[3],
    ]
}
