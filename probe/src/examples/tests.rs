use ndarray::array;

use super::read::{members, views};
use super::*;

fn slice(sample: &str, number: u32, view: u16, label: u32) -> SliceMeta {
    SliceMeta {
        slice: number,
        view,
        split: Some(Split::Val),
        labels: Labels::Single(Some(label)),
        ..::tests::slice(sample)
    }
}

#[test]
fn slices_with_the_labels_of_their_sample_make_volumes() {
    let equal = [
        slice("a", 0, 0, 1),
        slice("a", 1, 0, 1),
        slice("b", 0, 0, 0),
    ];
    assert_eq!(Unit::of(&equal), Unit::Volume);
    let differing = [slice("a", 0, 0, 1), slice("a", 1, 0, 0)];
    assert_eq!(Unit::of(&differing), Unit::Slice);
    assert_eq!(
        Unit::of(&[slice("a", 0, 0, 1), slice("b", 0, 0, 0)]),
        Unit::Slice
    );
}

#[test]
fn views_of_an_example_stand_together_the_plain_one_first() {
    let slices = [
        slice("a", 0, 1, 1),
        slice("a", 0, 0, 1),
        slice("a", 1, 0, 1),
        slice("a", 1, 1, 1),
    ];
    let used = [0, 1, 2, 3];
    let slice_rows = members(&slices, Unit::Slice);
    assert_eq!(slice_rows, [[0], [1], [2], [3]]);
    assert_eq!(views(&slices, &used, Unit::Slice), [[1, 0], [2, 3]]);
    let volume_rows = members(&slices, Unit::Volume);
    assert_eq!(volume_rows, [[0, 3], [1, 2]]);
    assert_eq!(views(&slices, &[0, 1], Unit::Volume), [[1, 0]]);
}

#[test]
fn volumes_are_the_mean_or_the_largest_of_their_slices() {
    let tokens = array![[1.0, -4.0], [9.0, 9.0], [3.0, -2.0]];
    assert_eq!(Pool::Mean.rows(tokens.view(), &[0, 2]), array![2.0, -3.0]);
    assert_eq!(Pool::Max.rows(tokens.view(), &[0, 2]), array![3.0, -2.0]);
}

fn two() -> Examples {
    let case = |split| Case {
        sample: "s".into(),
        slice: None,
        patient: None,
        split,
    };
    let columns = Columns {
        cls: vec![2],
        mean: 0,
    };
    let features = array![[3.0, 4.0], [0.0, 0.0]].mapv(f16::from_f64);
    let cases = vec![case(Some(Split::Val)), case(None)];
    Examples::new(
        features,
        columns,
        Targets::Single(vec![1, 0]),
        cases,
        Unit::Slice,
    )
}

#[test]
fn normalised_rows_have_length_one_but_for_zeros() {
    assert_eq!(two().normalised(&[1, 0]), array![[0.0, 0.0], [0.6, 0.8]]);
}

#[test]
fn an_empty_split_says_where_the_examples_are() {
    assert_eq!(two().part(&[Split::Val]).unwrap(), [0]);
    let text = two()
        .part(&[Split::Train, Split::Test])
        .unwrap_err()
        .to_string();
    assert!(text.contains("`train+test`"), "{text}");
    let expected = "0 in `train`, 1 in `val`, 0 in `test`, 1 in none";
    assert!(text.contains(expected), "{text}");
}
