use dicom_core::value::DataSetSequence;

use super::*;
use crate::orient::Geometry;
use crate::preprocess::Slicing;

#[test]
fn geometry_is_from_left_and_posterior_to_right_and_anterior() {
    let volume = opened(Made::axial("1.2", -7.0).with_text(tags::SLICE_THICKNESS, VR::DS, "5"));
    assert_eq!(volume.spacing_mm(), Some([5.0, 0.5, 0.25]));
    let expected = [
        [0.0, -0.25, 0.0, 0.0],
        [-0.5, 0.0, 0.0, 0.0],
        [0.0, 0.0, 5.0, -7.0],
    ];
    assert_eq!(volume.geometry, Geometry::Known(expected));
    // Its columns run to the patient's left and its rows to posterior: as radiologists look at it.
    let plane = volume.plane(0);
    assert_eq!(volume.cut(Slicing::Axial).unwrap().plane(0), plane);
}

#[test]
fn a_radiograph_has_the_spacing_of_its_detector() {
    let made = six().with_text(tags::IMAGER_PIXEL_SPACING, VR::DS, "0.2\\0.1");
    let volume = opened(made);
    assert_eq!(volume.spacing_mm(), Some([1.0, 0.2, 0.1]));
    assert_eq!(volume.geometry, Geometry::Unknown);
}

#[test]
fn frames_with_one_position_follow_each_other_if_their_distance_is_known() {
    let made = Made::axial("1.2", 0.0).with_short(tags::ROWS, 1).with_text(
        tags::NUMBER_OF_FRAMES,
        VR::IS,
        "2",
    );
    assert_eq!(opened(made.clone()).geometry, Geometry::Unknown);
    let volume = opened(made.with_text(tags::SPACING_BETWEEN_SLICES, VR::DS, "2.5"));
    assert_eq!(volume.spacing_mm(), Some([2.5, 0.5, 0.25]));
    assert!(matches!(volume.geometry, Geometry::Known(_)));
}

/// A file of frames of one row, each at its place in mm.
fn enhanced(places: &[f64]) -> Made {
    let pixels: Vec<u16> = (0..places.len() as u16).collect();
    let frames = places.iter().map(|z| {
        let text = PrimitiveValue::from(format!("0\\0\\{z}"));
        let position = item(&[(tags::IMAGE_POSITION_PATIENT, VR::DS, text)]);
        let position = DataSetSequence::from(vec![position]);
        let element = DataElement::new(tags::PLANE_POSITION_SEQUENCE, VR::SQ, position);
        InMemDicomObject::from_element_iter([element])
    });
    Made::axial("1.2", 0.0)
        .with_short(tags::ROWS, 1)
        .with_short(tags::COLUMNS, 1)
        .with_text(tags::NUMBER_OF_FRAMES, VR::IS, &places.len().to_string())
        .with(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()))
        .with_items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.collect())
}

#[test]
fn frames_at_uneven_distances_are_told_apart_from_even_ones() {
    assert!(opened(enhanced(&[0.0, 2.0, 9.0])).is_uneven());
    assert!(!opened(enhanced(&[0.0, 2.0, 4.0])).is_uneven());
}

fn order(volume: &Volume) -> Vec<f32> {
    (0..volume.slices())
        .map(|k| volume.plane(k)[[0, 0, 0]])
        .collect()
}

#[test]
fn frames_are_ordered_by_where_they_lie() {
    let volume = opened(enhanced(&[4.0, 0.0, 2.0]));
    assert_eq!(order(&volume), [1.0, 2.0, 0.0]);
    assert_eq!(volume.spacing_mm(), Some([2.0, 0.5, 0.25]));
    assert!(matches!(volume.geometry, Geometry::Known(_)));
    // A missing frame.
    let volume = opened(enhanced(&[8.0, 0.0, 2.0, 4.0]));
    assert_eq!(order(&volume), [1.0, 2.0, 3.0, 0.0]);
    assert_eq!(volume.spacing_mm(), Some([2.0, 0.5, 0.25]));
    let text = volume.cut(Slicing::Coronal).unwrap_err().to_string();
    assert!(
        text.contains("(2 to 4 mm, with a median of 2 mm)"),
        "{text}"
    );
    // Two stacks, or times, stay as they are.
    let volume = opened(enhanced(&[2.0, 0.0, 2.0, 0.0]));
    assert_eq!(order(&volume), [0.0, 1.0, 2.0, 3.0]);
    let text = volume.cut(Slicing::Axial).unwrap_err().to_string();
    assert!(text.contains("go back and forth"), "{text}");
}

#[test]
fn series_with_missing_or_doubled_slices_are_cut_in_their_own_plane_only() {
    let stack = |places: &[f64]| {
        let thick =
            |z: &f64| opened(Made::axial("1.2", *z).with_text(tags::SLICE_THICKNESS, VR::DS, "7"));
        Volume::stacked(places.iter().map(thick).collect()).unwrap()
    };
    for (places, gaps) in [
        (&[0.0, 3.0, 9.0, 12.0][..], "3 to 6 mm"),
        (&[0.0, 3.0, 3.0, 6.0], "0 to 3 mm"),
    ] {
        let volume = stack(places);
        assert_eq!(volume.spacing_mm(), Some([3.0, 0.5, 0.25]), "{places:?}");
        assert_eq!(volume.placement(), None);
        let axial = volume.clone().cut(Slicing::Axial).unwrap();
        assert_eq!((axial.slices(), axial.plane(0)), (4, volume.plane(0)));
        let text = volume.cut(Slicing::Sagittal).unwrap_err().to_string();
        assert!(text.contains(gaps) && text.contains("`sagittal`"), "{text}");
    }
}
