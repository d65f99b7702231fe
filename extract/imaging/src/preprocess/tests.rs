use ndarray::{Array, Array3, array};

use super::*;

fn recipe(intensity: &str, non_finite: NonFinitePolicy) -> Preprocess {
    Preprocess {
        image_size: 2,
        slicing: Slicing::default(),
        intensity: intensity.parse().unwrap(),
        resize: Resize::default(),
        rescale: Rescale::default(),
        mean: [0.5, 0.25, 0.0],
        std: [0.5, 1.0, 2.0],
        non_finite,
        views: None,
    }
}

fn plain() -> Preprocess {
    recipe("minmax", NonFinitePolicy::Error)
}

fn applied(recipe: &Preprocess, plane: Array3<f32>) -> Array3<f32> {
    recipe.apply(plane, None, &View::default()).unwrap()
}

#[test]
fn bounds_keep_equal_intensities_equal_from_slice_to_slice() {
    let mut recipe = recipe("window:0:100", NonFinitePolicy::Error);
    (recipe.rescale, recipe.mean, recipe.std) = (Rescale::Bounds, [0.0; 3], [1.0; 3]);
    let dark = applied(&recipe, array![[[10.0, 20.0], [30.0, 50.0]]]);
    let bright = applied(&recipe, array![[[10.0, 20.0], [30.0, 900.0]]]);
    assert_eq!(dark[[0, 0, 0]], 0.1);
    assert_eq!(bright[[0, 0, 0]], 0.1);
    assert_eq!(bright[[0, 1, 1]], 1.0);
}

#[test]
fn a_crop_is_the_middle_of_a_slice_resized_to_eight_sevenths() {
    let mut recipe = recipe("window:0:100", NonFinitePolicy::Error);
    (recipe.rescale, recipe.mean, recipe.std) = (Rescale::Bounds, [0.0; 3], [1.0; 3]);
    let plane = Array3::from_shape_fn((1, 40, 30), |(_, y, x)| ((y * 7 + x * 13) % 101) as f32);
    (recipe.image_size, recipe.resize) = (64, Resize::BicubicSquash);
    let whole = applied(&recipe, plane.clone());
    (recipe.image_size, recipe.resize) = (56, Resize::BicubicSquashCrop);
    let middle = applied(&recipe, plane);
    assert_eq!(middle, whole.slice(s![.., 4..60, 4..60]));
}

fn grey() -> Array3<f32> {
    array![[[10.0, 20.0], [30.0, 50.0]]]
}

#[test]
fn grey_is_scaled_to_one_and_normalised_per_channel() {
    let pixels = applied(&plain(), grey());
    let expected = array![
        [[-1.0, -0.5], [0.0, 1.0]],
        [[-0.25, 0.0], [0.25, 0.75]],
        [[0.0, 0.125], [0.25, 0.5]]
    ];
    assert_eq!(pixels, expected);
}

#[test]
fn channels_are_scaled_each_by_its_own_range() {
    let colours = Array::from_shape_fn((3, 2, 2), |(c, i, j)| ((i * 2 + j) * (c + 1) * 7) as f32);
    let mut recipe = plain();
    (recipe.mean, recipe.std) = ([0.0; 3], [1.0; 3]);
    let pixels = applied(&recipe, colours);
    for channel in pixels.outer_iter() {
        assert_eq!(channel, pixels.index_axis(ndarray::Axis(0), 0));
        assert_eq!((channel[[0, 0]], channel[[1, 1]]), (0.0, 1.0));
    }
}

#[test]
fn a_window_is_applied_before_scaling() {
    let recipe = recipe("window:0:30", NonFinitePolicy::Error);
    let pixels = applied(&recipe, grey());
    assert_eq!(pixels[[0, 0, 1]], 0.0);
    assert_eq!((pixels[[0, 1, 0]], pixels[[0, 1, 1]]), (1.0, 1.0));
}

#[test]
fn a_constant_slice_becomes_zeros_before_normalisation() {
    let mut recipe = plain();
    recipe.image_size = 5;
    let pixels = applied(&recipe, Array3::from_elem((1, 9, 7), -1023.7));
    assert!(
        pixels
            .index_axis(ndarray::Axis(0), 0)
            .iter()
            .all(|v| *v == -1.0)
    );
}

#[test]
fn a_slice_that_only_looks_constant_after_resizing_is_not_blown_up() {
    let mut plane = Array3::from_elem((1, 64, 64), 0.1);
    plane[[0, 0, 0]] = 9.0;
    let pixels = applied(&plain(), plane);
    let zero = |channel: usize| -plain().mean[channel] / plain().std[channel];
    assert!(pixels.indexed_iter().all(|((c, ..), v)| *v == zero(c)));
}

#[test]
fn values_that_are_not_finite_are_counted() {
    let mut plane = grey();
    plane[[0, 0, 0]] = f32::NAN;
    plane[[0, 1, 0]] = f32::INFINITY;
    let error = plain()
        .apply(plane.clone(), None, &View::default())
        .unwrap_err();
    assert_eq!(error, NonFinite { count: 2, total: 4 });
    assert!(error.to_string().contains("hint: `--non-finite zero`"));
    let zeroed = applied(&recipe("minmax", NonFinitePolicy::Zero), plane);
    assert_eq!((zeroed[[0, 0, 0]], zeroed[[0, 1, 0]]), (-1.0, -1.0));
}

#[test]
fn meta_json_names_every_choice() {
    let recipe = plain();
    let json = serde_json::to_value(&recipe).unwrap();
    assert_eq!(json["slicing"], "stored-k-xy");
    assert_eq!(json["resize"], "bicubic-squash");
    assert_eq!(json["rescale"], "min-max-per-channel");
    assert_eq!(json["non_finite"], "error");
    assert_eq!(serde_json::from_value::<Preprocess>(json).unwrap(), recipe);
}

#[test]
fn a_picture_is_grey_before_normalisation_and_cut_to_a_byte() {
    let recipe = plain();
    let pixels = applied(&recipe, grey());
    assert_eq!(recipe.picture(pixels.view()), array![[0, 64], [128, 255]]);
    let colours = array![[[1.0, 1.0]], [[-0.25, 0.75]], [[0.0, 0.2]]];
    // Channels of 1, 0 and 0, and of 1, 1 and 0.4.
    assert_eq!(recipe.picture(colours.view()), array![[85, 204]]);
    let outside = array![[[-3.0, 3.0]], [[0.0, 0.0]], [[-1.0, 1.0]]];
    assert_eq!(recipe.picture(outside.view()), array![[0, 255]]);
}
