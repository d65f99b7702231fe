//! Reading and preparing images gives what nibabel, PIL, pydicom, PyTorch and torchvision give;
//! `scripts/dev/golden.py`, `scripts/dev/golden_dicom.py` and `scripts/dev/golden_views.py` wrote their answers
//! down.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use imaging::preprocess::{
    Bounds, Intensity, NonFinitePolicy, Preprocess, Rescale, Resize, Slicing, View,
};
use imaging::read::{self, Volume};
use ndarray::{Array3, ArrayD, Axis, Ix2, Ix3};
use serde_json::Value;

/// Interpolation sums four products of each axis in another order than PyTorch.
const TOLERANCE: f32 = 2e-5;

fn golden(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(file)
}

fn cases(index: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(golden(index)).unwrap()).unwrap();
    assert!(!cases.is_empty());
    cases
}

/// Reads a version 1 `.npy` in C order.
fn npy(file: &str) -> ArrayD<f64> {
    let bytes = fs::read(golden(file)).unwrap();
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let after = |key: &str| header.split_once(key).unwrap().1;
    let shape = after("'shape': (").split(')').next().unwrap().split(',');
    let shape: Vec<usize> = shape
        .filter_map(|length| length.trim().parse().ok())
        .collect();
    let number: fn(&[u8]) -> f64 = match after("'descr': '").split('\'').next().unwrap() {
        "|u1" => |b| b[0].into(),
        "<u2" => |b| u16::from_le_bytes([b[0], b[1]]).into(),
        "<i2" => |b| i16::from_le_bytes([b[0], b[1]]).into(),
        "<f4" => |b| f32::from_le_bytes(*b.first_chunk().unwrap()).into(),
        "<f8" => |b| f64::from_le_bytes(*b.first_chunk().unwrap()),
        other => panic!("{other}"),
    };
    let count: usize = shape.iter().product();
    let values = bytes[end..]
        .chunks_exact((bytes.len() - end) / count)
        .map(number)
        .collect();
    ArrayD::from_shape_vec(shape, values).unwrap()
}

/// An array `[H, W]` or `[H, W, C]` as `[C, H, W]`.
fn channels_first(image: ArrayD<f64>) -> Array3<f32> {
    let image = if image.ndim() == 2 {
        image.insert_axis(Axis(2))
    } else {
        image
    };
    let image = image
        .into_dimensionality::<Ix3>()
        .unwrap()
        .permuted_axes([2, 0, 1]);
    image.mapv(|value| value as f32)
}

fn read_case(case: &Value) -> (Volume, ArrayD<f64>) {
    let file = golden(case["file"].as_str().unwrap());
    (
        read::volume(&file).unwrap(),
        npy(case["values"].as_str().unwrap()),
    )
}

fn recipe(size: u64, intensity: &str) -> Preprocess {
    Preprocess {
        image_size: size as u32,
        slicing: Slicing::default(),
        intensity: intensity.parse::<Intensity>().unwrap(),
        resize: Resize::default(),
        rescale: Rescale::default(),
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        non_finite: NonFinitePolicy::Error,
        views: None,
    }
}

fn largest_difference(found: &Array3<f32>, expected: &ArrayD<f64>) -> f32 {
    assert_eq!(found.shape(), expected.shape());
    let differences = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f - *e as f32).abs());
    differences.fold(0.0, f32::max)
}

#[test]
fn nifti_equals_nibabel() {
    for case in cases("nifti.json") {
        let (volume, values) = read_case(&case);
        let shape = [values.shape()[0], values.shape()[1], volume.slices()];
        let values = values.into_shape_with_order(shape).unwrap();
        assert_eq!(
            [volume.shape(0)[1], volume.shape(0)[2], volume.slices()],
            shape,
            "{case}"
        );
        for (k, plane) in values.axis_iter(Axis(2)).enumerate() {
            let expected = plane.mapv(|value| value as f32);
            assert_eq!(volume.plane(k).index_axis(Axis(0), 0), expected, "{case}");
        }
        if let [row, column, slice] = &case["spacing_mm"].as_array().unwrap()[..] {
            let expected = [slice, row, column].map(|step| step.as_f64().unwrap() as f32);
            assert_eq!(volume.spacing_mm(), Some(expected), "{case}");
        }
    }
}

#[test]
fn rasters_equal_pil() {
    for case in cases("raster.json") {
        let (volume, values) = read_case(&case);
        let found = volume.plane(0);
        let expected = channels_first(values);
        let tolerance = if volume.path().extension().unwrap() == "jpeg" {
            1.0
        } else {
            0.0
        };
        assert_eq!(found.shape(), expected.shape(), "{case}");
        assert!(
            (found - expected).iter().all(|d| d.abs() <= tolerance),
            "{case}"
        );
    }
}

#[test]
fn dicom_equals_pydicom() {
    for case in cases("dicom.json") {
        let (volume, values) = read_case(&case);
        let tolerance = case["tolerance"].as_f64().unwrap() as f32;
        assert_eq!(volume.slices(), values.shape()[0], "{case}");
        for (k, expected) in values.axis_iter(Axis(0)).enumerate() {
            let difference = largest_difference(&volume.plane(k), &expected.to_owned());
            assert!(difference <= tolerance, "{case}: {difference}");
            let ends: Option<[f32; 2]> =
                serde_json::from_value(case["windows"][k].clone()).unwrap();
            let window = ends.map(|[low, high]| Bounds { low, high });
            assert_eq!(volume.window(k), window, "{case}");
        }
        if let Some(shown) = case["shown"].as_str() {
            let expected = channels_first(npy(shown));
            assert_eq!(volume.shown(0), expected, "{case}");
        }
        let spacing: Option<[f32; 3]> = serde_json::from_value(case["spacing_mm"].clone()).unwrap();
        assert_eq!(volume.spacing_mm(), spacing, "{case}");
    }
}

#[test]
fn pixels_equal_pytorch() {
    for case in cases("preprocess.json") {
        let input = channels_first(npy(case["input"].as_str().unwrap()));
        let size = case["size"].as_u64().unwrap();
        let recipe = recipe(size, case["intensity"].as_str().unwrap());
        let pixels = recipe.apply(input, None, &View::default()).unwrap();
        let difference = largest_difference(&pixels, &npy(case["output"].as_str().unwrap()));
        assert!(difference < TOLERANCE, "{case}: {difference}");
    }
}

fn view(case: &Value) -> View {
    let view = &case["view"];
    View {
        crop: serde_json::from_value(view["crop"].clone()).unwrap(),
        flip_rows: view["flip_rows"].as_bool().unwrap(),
        flip_columns: view["flip_columns"].as_bool().unwrap(),
        degrees: view["degrees"].as_f64().unwrap() as f32,
    }
}

#[test]
fn views_equal_torchvision() {
    for case in cases("views.json") {
        let [input, output] = ["input", "output"].map(|key| npy(case[key].as_str().unwrap()));
        if case["is_mask"] == true {
            let mask = input.into_dimensionality::<Ix2>().unwrap();
            let moved = view(&case).of_mask(&mask.mapv(|label| label as u16));
            assert_eq!(moved.mapv(f64::from).into_dyn(), output, "{case}");
            continue;
        }
        let recipe = recipe(case["size"].as_u64().unwrap(), "minmax");
        let pixels = recipe.apply(channels_first(input), None, &view(&case));
        let difference = largest_difference(&pixels.unwrap(), &output);
        assert!(difference < TOLERANCE, "{case}: {difference}");
    }
}

#[test]
fn a_radiograph_gives_the_pixels_that_the_model_was_given() {
    let plane = read::volume(&golden("tokens/xray.png")).unwrap().plane(0);
    let pixels = recipe(56, "minmax")
        .apply(plane, None, &View::default())
        .unwrap();
    let difference = largest_difference(&pixels, &npy("tokens/pixels.npy"));
    assert!(difference < TOLERANCE, "{difference}");
}
