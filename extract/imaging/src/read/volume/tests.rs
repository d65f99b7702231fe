use ndarray::Array3;
use serde_json::Value;

use super::*;
use crate::orient::Affine;
use crate::preprocess::Slicing;
use crate::read::voxels::Voxel;

const SPACED: Affine = [
    [2.0, 0.0, 0.0, 5.0],
    [0.0, 3.0, 0.0, 6.0],
    [0.0, 0.0, 4.0, 7.0],
];

#[test]
fn cuts_lie_where_nibabel_says_and_go_back_to_what_was_stored() {
    let golden = include_str!("../../../../../tests/golden/orientations.json");
    let cases: Vec<Value> = serde_json::from_str(golden).unwrap();
    let affine = |value: &Value| -> Affine { serde_json::from_value(value.clone()).unwrap() };
    let close = |a: &Affine, b: &Affine| {
        let mut pairs = a.as_flattened().iter().zip(b.as_flattened());
        pairs.all(|(a, b)| (a - b).abs() < 1e-9)
    };
    let stored = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (12 * i + 4 * j + k) as f32);
    let mut compared = 0;
    for case in cases {
        let source = affine(&case["affine"]);
        for (slicing, expected) in case["cuts"].as_object().into_iter().flatten() {
            let volume = volume(&stored, Geometry::Known(source));
            let slicing: Slicing = serde_json::from_value(slicing.as_str().into()).unwrap();
            let cut = volume.cut(slicing).unwrap();
            let placement = cut.placement().unwrap();
            assert!(
                close(&placement.affine, &affine(&expected["affine"])),
                "{slicing}"
            );
            let planes: Vec<_> = (0..cut.slices())
                .map(|k| cut.plane(k).index_axis_move(ndarray::Axis(0), 0))
                .collect();
            let views: Vec<_> = planes.iter().map(|plane| plane.view()).collect();
            let slices = ndarray::stack(ndarray::Axis(0), &views).unwrap();
            let nested: Vec<Vec<Vec<f32>>> =
                serde_json::from_value(expected["voxels"].clone()).unwrap();
            assert!(
                slices.iter().eq(nested.iter().flatten().flatten()),
                "{slicing}"
            );
            assert_eq!(placement.as_stored(slices.view()), stored, "{slicing}");
            let (s, h, w) = slices.dim();
            assert!(
                close(&placement.stored_affine([s, h, w]), &source),
                "{slicing}"
            );
            compared += 1;
        }
    }
    assert!(compared > 50);
}

#[test]
fn nothing_is_placed_that_is_not_known_or_of_several_sizes() {
    let stored = Array3::zeros((2, 3, 4));
    for geometry in [
        Geometry::Unknown,
        Geometry::Transposed,
        Geometry::Assumed(SPACED),
    ] {
        assert_eq!(volume(&stored, geometry).placement(), None);
    }
    let slices = [2, 3].map(|height| {
        let mut affine = SPACED;
        affine[2][3] = height as f64;
        volume(&Array3::zeros((height, 3, 1)), Geometry::Known(affine))
    });
    let stack = Volume::stacked(slices.to_vec()).unwrap();
    assert!(matches!(stack.geometry, Geometry::Known(_)));
    assert_eq!(stack.placement(), None);
}

/// A volume whose file stores `[i, j, k]`.
fn volume(stored: &Array3<f32>, geometry: Geometry) -> Volume {
    let slices = stored.clone().permuted_axes([2, 0, 1]);
    let block = Block {
        path: "a.nii".into(),
        voxels: Voxel::wrap(slices.insert_axis(ndarray::Axis(1))),
        scale: None,
        shown: None,
    };
    Volume::of_block(block, geometry)
}
