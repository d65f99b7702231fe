use nn::IGNORE;

use super::*;
use crate::segment::stack::Stack;

/// A row of six pixels, 2 mm apart, in one slice.
fn volume(truth: [u16; 6], predicted: [u16; 6]) -> Volume {
    let mut stack = Stack::default();
    stack.push(0, [1, 6], &truth, &predicted);
    let mut counts = Confusion::new(3);
    counts.add(&truth, &predicted);
    Volume {
        sample: format!("{truth:?}"),
        patient: None,
        counts,
        distances: stack.distances(3, Some([3.0, 2.0, 2.0])),
    }
}

fn names() -> Vec<String> {
    ["background", "a", "b"].map(String::from).to_vec()
}

#[test]
fn a_missed_structure_costs_the_diagonal_and_is_counted() {
    let volumes = [
        volume([1, 0, 0, 0, 2, 2], [0, 0, 1, 0, 2, 2]),
        volume([0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]),
    ];
    let found = measures_by_volume(&VolumeTable::of(&volumes, &names()), None)
        .unwrap()
        .values;
    // 4 mm in the first volume; the diagonal of 3 x 2 x 12 mm in the second.
    let diagonal = 157.0_f64.sqrt();
    assert_eq!(found["hd95_mm_per_class"]["a"], 4.0);
    assert_eq!(
        found["hd95_penalised_mm_per_class"]["a"],
        (4.0 + diagonal) / 2.0
    );
    assert_eq!(found["hd95_penalised_mm_per_class"]["b"], 0.0);
    assert_eq!(found["hd95_undefined"], 1);
    assert_eq!(without_distances(&volumes), None);
}

#[test]
fn a_structure_that_is_only_predicted_counts_0() {
    let volumes = [volume([0; 6], [0, 1, 0, 0, 0, 0]), volume([0; 6], [0; 6])];
    let found = measures_by_volume(&VolumeTable::of(&volumes, &names()), None)
        .unwrap()
        .values;
    assert_eq!(found["dice_per_class"]["a"], 0.0);
    assert_eq!(found["dice_per_class"]["b"], Value::Null);
    assert_eq!(found["hd95_undefined"], 1);
}

#[test]
fn ignored_pixels_change_neither_overlaps_nor_distances() {
    let ignored = volume([0, 1, 1, IGNORE, IGNORE, 0], [0, 1, 0, 1, 2, 0]);
    let cut = volume([0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]);
    assert_eq!(ignored.distances, cut.distances);
    assert_eq!(ignored.counts.dice(1), cut.counts.dice(1));
    assert_eq!(ignored.counts.dice(2), None);
}

#[test]
fn structures_that_are_never_predicted_are_told() {
    let told = |predicted| {
        let volumes = [volume([1, 2, 0, 0, 0, 0], predicted)];
        never_predicted(&volumes, &names(), "train longer")
    };
    assert_eq!(told([1, 2, 0, 0, 0, 0]), None);
    assert_eq!(told([1, 1, 0, 0, 0, 0]).unwrap(), "never predicted: `b`");
    let nothing = "no structure is predicted anywhere: train longer";
    assert_eq!(told([0; 6]).unwrap(), nothing);
    // Of many, a few are named.
    let mut counts = Confusion::new(10);
    counts.add(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1; 9]);
    let volume = Volume {
        counts,
        ..volume([0; 6], [0; 6])
    };
    let names: Vec<String> = (0..10).map(|class| format!("c{class}")).collect();
    assert_eq!(
        never_predicted(&[volume], &names, "").unwrap(),
        "never predicted: `c2`, `c3`, `c4`, `c5`, `c6` and 3 more"
    );
}

#[test]
fn volumes_without_spacing_have_no_distances() {
    let without = Volume {
        distances: None,
        ..volume([1; 6], [1; 6])
    };
    let text = without_distances(&[without]).unwrap();
    assert!(text.contains("1 volume:"), "{text}");
}
