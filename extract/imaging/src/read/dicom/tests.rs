use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::uids;
use dicom_object::InMemDicomObject;
use ndarray::{Array3, array};

use super::made::Made;
use super::*;
use crate::orient::Geometry;
use crate::preprocess::{Bounds, Slicing};
use crate::read;

const SIX: [u16; 6] = [10, 11, 12, 13, 14, 15];

fn read_bytes(bytes: &[u8]) -> Result<Volume, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.dcm");
    std::fs::write(&path, bytes).unwrap();
    read::volume(&path)
}

fn opened(made: Made) -> Volume {
    read_bytes(&made.bytes()).unwrap()
}

/// The text of the error, which must name the file and have a hint.
fn refusal(bytes: &[u8]) -> String {
    let text = read_bytes(bytes).unwrap_err().to_string();
    assert!(
        text.contains("image.dcm") && text.contains("\nhint: "),
        "{text}"
    );
    text
}

fn six() -> Made {
    Made::slice([2, 3], &SIX)
}

fn as_stored() -> Array3<f32> {
    array![[[10.0, 11.0, 12.0], [13.0, 14.0, 15.0]]]
}

#[test]
fn rows_and_columns_are_as_a_viewer_shows_them() {
    let volume = opened(six());
    assert_eq!((volume.slices(), volume.plane(0)), (1, as_stored()));
    assert_eq!((volume.window(0), volume.spacing_mm()), (None, None));
}

#[test]
fn every_encoding_gives_the_same() {
    for syntax in [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.2",
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ] {
        assert_eq!(
            opened(six().with_syntax(syntax)).plane(0),
            as_stored(),
            "{syntax}"
        );
    }
}

#[test]
fn a_preamble_is_not_needed() {
    for syntax in [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
    ] {
        let bytes = six().with_syntax(syntax).bytes();
        assert_eq!(read_bytes(&bytes[132..]).unwrap().plane(0), as_stored());
        let class = bytes
            .windows(4)
            .rposition(|b| b == [8, 0, 0x16, 0])
            .unwrap();
        assert_eq!(read_bytes(&bytes[class..]).unwrap().plane(0), as_stored());
    }
}

#[test]
fn bits_above_and_below_the_value_are_dropped_and_the_sign_is_extended() {
    let bits = Made::slice([1, 2], &[0xf_7ff_u32 as u16, 0x8012])
        .with_short(tags::BITS_STORED, 10)
        .with_short(tags::HIGH_BIT, 11);
    assert_eq!(opened(bits.clone()).plane(0), array![[[511.0, 4.0]]]);
    let signed = bits.with_short(tags::PIXEL_REPRESENTATION, 1);
    assert_eq!(opened(signed).plane(0), array![[[511.0, 4.0]]]);
    let negative = Made::slice([1, 2], &[0x0fff, 0x0800])
        .with_short(tags::BITS_STORED, 12)
        .with_short(tags::HIGH_BIT, 11)
        .with_short(tags::PIXEL_REPRESENTATION, 1);
    assert_eq!(opened(negative).plane(0), array![[[-1.0, -2048.0]]]);
}

#[test]
fn slope_and_intercept_are_applied_and_the_first_window_is_in_their_units() {
    let volume = opened(
        six()
            .with_text(tags::RESCALE_SLOPE, VR::DS, "2")
            .with_text(tags::RESCALE_INTERCEPT, VR::DS, "-1024 ")
            .with_text(tags::WINDOW_CENTER, VR::DS, "40\\-600")
            .with_text(tags::WINDOW_WIDTH, VR::DS, "400\\1500"),
    );
    assert_eq!(volume.plane(0), as_stored() * 2.0 - 1024.0);
    let expected = Bounds {
        low: -160.0,
        high: 239.0,
    };
    assert_eq!(volume.window(0), Some(expected));
}

#[test]
fn windows_that_make_no_sense_are_none() {
    for (center, width) in [
        ("40", "0.5"),
        ("40", "0"),
        ("40", "-5"),
        ("x", "4"),
        ("nan", "4"),
    ] {
        let made = six()
            .with_text(tags::WINDOW_CENTER, VR::DS, center)
            .with_text(tags::WINDOW_WIDTH, VR::DS, width);
        assert_eq!(opened(made).window(0), None, "{center} {width}");
    }
}

#[test]
fn a_window_of_one_value_is_a_threshold() {
    let made = six()
        .with_text(tags::WINDOW_CENTER, VR::DS, "12.5")
        .with_text(tags::WINDOW_WIDTH, VR::DS, "1");
    // pydicom's `apply_windowing`: black up to 12, white above.
    let white = array![[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]];
    let volume = opened(made.clone());
    assert_eq!(volume.shown(0), white);
    let ends = Bounds {
        low: 0.0,
        high: 1.0,
    };
    assert_eq!(volume.window(0), Some(ends));
    let inverted = made.with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    assert_eq!(opened(inverted).shown(0), 1.0 - white);
}

#[test]
fn a_slope_of_0_is_left_out_and_told() {
    let slope = |text: &str| opened(six().with_text(tags::RESCALE_SLOPE, VR::DS, text));
    let volume = slope("0");
    assert_eq!((volume.plane(0), volume.odd().len()), (as_stored(), 1));
    assert!(volume.odd()[0].contains("RescaleSlope of 0"));
    assert!(slope("2").odd().is_empty());
    let stack = Volume::stacked(vec![slope("1"), slope("0"), slope("0")]);
    assert_eq!(stack.unwrap().odd(), volume.odd());
}

#[test]
fn monochrome1_is_inverted_and_its_window_too() {
    let made = six()
        .with_short(tags::BITS_STORED, 14)
        .with_short(tags::HIGH_BIT, 13)
        .with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1")
        .with_text(tags::WINDOW_CENTER, VR::DS, "12")
        .with_text(tags::WINDOW_WIDTH, VR::DS, "3");
    let plain = opened(made.clone());
    assert_eq!(plain.plane(0), 16383.0 - as_stored());
    // 10.5 to 12.5 before.
    let expected = Bounds {
        low: 16370.5,
        high: 16372.5,
    };
    assert_eq!(plain.window(0), Some(expected));
    // Slope and intercept come after; the window, in their units, still holds the same pixels.
    let scaled = opened(
        made.with_text(tags::RESCALE_SLOPE, VR::DS, "2")
            .with_text(tags::RESCALE_INTERCEPT, VR::DS, "1")
            .with_text(tags::WINDOW_CENTER, VR::DS, "24"),
    );
    assert_eq!(scaled.plane(0), (16383.0 - as_stored()) * 2.0 + 1.0);
    // 22.5 to 24.5 before, which is 10.75 to 11.75 as stored.
    let ends = [16383.0 - 11.75, 16383.0 - 10.75].map(|v| v * 2.0 + 1.0);
    let expected = Bounds {
        low: ends[0],
        high: ends[1],
    };
    assert_eq!(scaled.window(0), Some(expected));
}

#[test]
fn frames_are_slices() {
    let volume = opened(six().with_short(tags::ROWS, 1).with_text(
        tags::NUMBER_OF_FRAMES,
        VR::IS,
        "2",
    ));
    assert_eq!((volume.slices(), volume.shape(1)), (2, [1, 1, 3]));
    assert_eq!(volume.plane(1), array![[[13.0, 14.0, 15.0]]]);
}

#[test]
fn colours_become_channels_however_they_lie() {
    let pixels = |bytes: &[u8]| PrimitiveValue::U8(bytes.into());
    let colour = |name: &str| {
        Made::slice([1, 2], &[])
            .with_short(tags::SAMPLES_PER_PIXEL, 3)
            .with_short(tags::BITS_ALLOCATED, 8)
            .with_short(tags::BITS_STORED, 8)
            .with_short(tags::HIGH_BIT, 7)
            .with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, name)
    };
    let expected = array![[[1.0, 4.0]], [[2.0, 5.0]], [[3.0, 6.0]]];
    let by_pixel = colour("RGB").with(tags::PIXEL_DATA, VR::OB, pixels(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(opened(by_pixel).plane(0), expected);
    let by_plane = colour("RGB")
        .with_short(tags::PLANAR_CONFIGURATION, 1)
        .with(tags::PIXEL_DATA, VR::OB, pixels(&[1, 4, 2, 5, 3, 6]));
    assert_eq!(opened(by_plane).plane(0), expected);
    let red = array![[[254.0, 254.0]], [[0.0, 0.0]], [[0.0, 0.0]]];
    let ybr = colour("YBR_FULL").with(
        tags::PIXEL_DATA,
        VR::OB,
        pixels(&[76, 85, 255, 76, 85, 255]),
    );
    assert_eq!(opened(ybr).plane(0), red);
    let shared = colour("YBR_FULL_422").with(tags::PIXEL_DATA, VR::OB, pixels(&[76, 76, 85, 255]));
    assert_eq!(opened(shared).plane(0), red);
}

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

/// An item of a sequence.
fn item(elements: &[(Tag, VR, PrimitiveValue)]) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(
        elements
            .iter()
            .map(|(tag, vr, value)| DataElement::new(*tag, *vr, value.clone())),
    )
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

/// Descriptor and data of a table.
fn table(descriptor: [u16; 3], values: &[u16]) -> InMemDicomObject {
    item(&[
        (
            tags::LUT_DESCRIPTOR,
            VR::US,
            PrimitiveValue::U16(descriptor.as_slice().into()),
        ),
        (tags::LUT_DATA, VR::OW, PrimitiveValue::U16(values.into())),
    ])
}

#[test]
fn a_modality_table_stands_for_slope_and_intercept() {
    // Pixels are 10 to 15.
    let values = [100, 90, 80, 70];
    let made = six().with_items(
        tags::MODALITY_LUT_SEQUENCE,
        vec![table([4, 11, 16], &values)],
    );
    let expected = array![[[100.0, 100.0, 90.0], [80.0, 70.0, 70.0]]];
    assert_eq!(opened(made.clone()).plane(0), expected);
    let white = made
        .clone()
        .with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    assert_eq!(opened(white).plane(0), 65535.0 - expected);
    let implicit = made.with_syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    assert_eq!(opened(implicit).plane(0)[[0, 0, 2]], 90.0);
    let signed = Made::slice([1, 2], &[0xffff, 0])
        .with_short(tags::PIXEL_REPRESENTATION, 1)
        .with_items(
            tags::MODALITY_LUT_SEQUENCE,
            vec![table([2, 0xffff, 12], &[7, 8])],
        );
    assert_eq!(opened(signed).plane(0), array![[[7.0, 8.0]]]);
    let short = six().with_items(
        tags::MODALITY_LUT_SEQUENCE,
        vec![table([5, 0, 16], &values)],
    );
    let text = refusal(&short.bytes());
    assert!(
        text.contains("a Modality LUT that is missing in part"),
        "{text}"
    );
}

#[test]
fn a_table_or_a_curve_says_how_values_are_shown() {
    let made = six().with_items(
        tags::VOILUT_SEQUENCE,
        vec![table([4, 11, 8], &[0, 9, 200, 255])],
    );
    let volume = opened(made.clone());
    assert_eq!(volume.plane(0), as_stored());
    let expected = array![[[0.0, 0.0, 9.0], [200.0, 255.0, 255.0]]];
    assert_eq!(volume.shown(0), expected);
    let whole = Bounds {
        low: 0.0,
        high: 255.0,
    };
    assert_eq!(volume.window(0), Some(whole));
    let white = made
        .clone()
        .with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    assert_eq!(opened(white).shown(0), 255.0 - expected);
    let window = |made: Made, function| {
        made.with_text(tags::WINDOW_CENTER, VR::DS, "12")
            .with_text(tags::WINDOW_WIDTH, VR::DS, "4")
            .with_text(tags::VOILUT_FUNCTION, VR::CS, function)
    };
    // Of a window and a table the window is taken.
    assert_eq!(opened(window(made, "LINEAR")).shown(0), as_stored());
    let curve = opened(window(six(), "SIGMOID"));
    let expected = as_stored().mapv(|v| 1.0 / (1.0 + (-(v - 12.0)).exp()));
    assert_eq!(curve.shown(0), expected);
    let unit = Bounds {
        low: 0.0,
        high: 1.0,
    };
    assert_eq!(curve.window(0), Some(unit));
    let white =
        window(six(), "SIGMOID").with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    let difference = opened(white).shown(0) + expected - 1.0;
    assert!(difference.iter().all(|d| d.abs() < 1e-2), "{difference}");
}

#[test]
fn sequences_that_hold_compressed_pixels_or_explicit_items_are_passed_over() {
    let undefined = [0xff; 4];
    let begin = [&[0xfe, 0xff, 0, 0xe0][..], &undefined].concat();
    let (item_end, sequence_end) = (
        [0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0],
        [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0],
    );
    // A fragment whose bytes would be an element of no sense.
    let fragments = [
        &[0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0][..],
        &[
            0xfe, 0xff, 0, 0xe0, 10, 0, 0, 0, 0xff, 0xd8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xd9,
        ],
        &sequence_end,
    ]
    .concat();
    let rows = [0x28, 0, 0x10, 0, b'U', b'S', 2, 0, 9, 0];
    let pixels = |vr: &[u8; 2]| {
        [
            &[0xe0, 0x7f, 0x10, 0][..],
            vr,
            &[0, 0],
            &undefined,
            &fragments,
        ]
        .concat()
    };
    let sequence = |vr: &[u8; 2], content: &[u8]| {
        [
            &[0x09, 0, 0x01, 0x10][..],
            vr,
            &[0, 0],
            &undefined,
            &begin,
            content,
            &item_end,
            &sequence_end,
        ]
        .concat()
    };
    let plain = six().bytes();
    let at = plain.windows(4).position(|b| b == [0x28, 0, 2, 0]).unwrap();
    for inserted in [
        sequence(b"SQ", &[&rows[..], &pixels(b"OB")].concat()),
        sequence(b"SQ", &pixels(b"OW")),
        sequence(b"UN", &[&rows[..], &pixels(b"OB")].concat()),
        sequence(b"UN", &rows),
        // Implicit, as the standard has it.
        sequence(b"UN", &[0x28, 0, 0x10, 0, 2, 0, 0, 0, 9, 0]),
        sequence(b"SQ", &sequence(b"UN", &rows)),
        [
            &[0x09, 0, 0x01, 0x10, b'O', b'B', 0, 0][..],
            &undefined,
            &fragments,
        ]
        .concat(),
    ] {
        let bytes = [&plain[..at], &inserted, &plain[at..]].concat();
        let volume = read_bytes(&bytes).unwrap_or_else(|e| panic!("{e}: {inserted:x?}"));
        assert_eq!(volume.plane(0), as_stored(), "{inserted:x?}");
    }
}

#[test]
fn padding_behind_the_pixels_is_ignored_if_it_is_blank_and_less_than_a_frame() {
    let padded = |rest: &[u16]| {
        let pixels = [&SIX[..], rest].concat();
        six().with(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()))
    };
    for rest in [&[7, 8][..], &[0; 3], &[0; 5]] {
        assert_eq!(opened(padded(rest)).plane(0), as_stored(), "{rest:?}");
    }
    for rest in [&[7, 8, 9][..], &[0; 6]] {
        let text = refusal(&padded(rest).bytes());
        assert!(text.contains("more"), "{text}");
    }
}

#[test]
fn attributes_that_lie_or_are_missing_are_named() {
    for (made, part) in [
        (six().without(tags::ROWS), "Rows is missing"),
        (six().without(tags::COLUMNS), "Columns is missing"),
        (
            six().without(tags::BITS_ALLOCATED),
            "BitsAllocated is missing",
        ),
        (
            six().without(tags::PHOTOMETRIC_INTERPRETATION),
            "PhotometricInterpretation is missing",
        ),
        (
            six().without(tags::PIXEL_DATA),
            "without pixels (modality `CT`)",
        ),
        (
            six().with_short(tags::ROWS, 3),
            "18 bytes of voxels, the file holds 12",
        ),
        (
            six().with_short(tags::ROWS, 1),
            "6 bytes of voxels, the file holds over 5 more",
        ),
        (six().with_short(tags::ROWS, 0), "1 frame of 0 rows"),
        (six().with_short(tags::ROWS, 65535), "65535 rows"),
        (
            six().with_short(tags::BITS_ALLOCATED, 64),
            "a sample of 64 bits",
        ),
        (six().with_short(tags::BITS_STORED, 17), "BitsStored 17"),
        (six().with_short(tags::HIGH_BIT, 16), "HighBit 16"),
        (
            six().with_short(tags::SAMPLES_PER_PIXEL, 3),
            "SamplesPerPixel is 3, expected 1",
        ),
        (
            six().with_text(tags::NUMBER_OF_FRAMES, VR::IS, "4000000000"),
            "4000000000 frames",
        ),
        (
            six().with_text(tags::NUMBER_OF_FRAMES, VR::IS, "-1"),
            "NumberOfFrames is missing or wrong",
        ),
        (
            six().with_text(tags::RESCALE_SLOPE, VR::DS, "1,5"),
            "RescaleSlope is `1,5`",
        ),
        (
            six().with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "CMYK"),
            "the photometric interpretation CMYK",
        ),
        (
            six().with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR"),
            "a palette whose tables are missing",
        ),
    ] {
        let text = refusal(&made.bytes());
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn transfer_syntaxes_that_are_not_read_are_named() {
    let jpeg_xl = six().with_fragments(uids::JPEGXL, &[&[0xff, 0x0a]]);
    let text = refusal(&jpeg_xl.bytes());
    assert!(text.contains("1.2.840.10008.1.2.4.112 (JPEG XL)"), "{text}");
    let mut bytes = six().bytes();
    let known = uids::EXPLICIT_VR_LITTLE_ENDIAN.as_bytes();
    let at = bytes.windows(known.len()).position(|b| b == known).unwrap();
    bytes[at..at + known.len()].copy_from_slice(b"1.2.840.10008.1.7.7");
    let text = refusal(&bytes);
    assert!(text.contains("1.2.840.10008.1.7.7 (unknown)"), "{text}");
}

#[test]
fn compressed_frames_that_lie_are_refused() {
    for (syntax, frame, part) in [
        (uids::RLE_LOSSLESS, &[0xff; 64][..], "RLE table"),
        (
            uids::JPEG_BASELINE8_BIT,
            &[0xff, 0xd8, 0xff, 0xd9],
            "no JPEG",
        ),
        (uids::JPEG2000, &[0xff, 0x4f, 0xff, 0x51], "no JPEG 2000"),
    ] {
        let text = refusal(&six().with_fragments(syntax, &[frame]).bytes());
        assert!(text.contains(part), "{part}: {text}");
    }
    // The size in the JPEG itself is another one: 2 rows and 9 columns.
    let jpeg = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 2, 0, 9, 1, 1, 0x11, 0];
    let text = refusal(
        &six()
            .with_fragments(uids::JPEG_BASELINE8_BIT, &[&jpeg])
            .bytes(),
    );
    assert!(text.contains("[2, 9, 1], expected [2, 3, 1]"), "{text}");
    let two = six().with_fragments(uids::RLE_LOSSLESS, &[]);
    let text = refusal(&two.bytes());
    assert!(text.contains("1 frame in 0 fragments"), "{text}");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let bytes = Made::axial("1.2", 3.0).bytes();
    for length in 0..bytes.len() {
        refusal(&bytes[..length]);
    }
}

#[test]
fn lengths_beyond_the_file_are_not_believed() {
    let bytes = six()
        .with(
            Tag(9, 0x1001),
            VR::OB,
            PrimitiveValue::U8([1, 2].as_slice().into()),
        )
        .bytes();
    let at = bytes.windows(4).position(|b| b == [9, 0, 1, 0x10]).unwrap();
    for (length, part) in [
        (0x7fff_fff0u32, "2147483632 bytes"),
        (u32::MAX, "out of place"),
    ] {
        let mut bytes = bytes.clone();
        bytes[at + 8..at + 12].copy_from_slice(&length.to_le_bytes());
        let text = refusal(&bytes);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn sequences_nested_without_end_do_not_exhaust_the_stack() {
    let mut bytes = six().bytes();
    let at = bytes.windows(4).position(|b| b == [0x28, 0, 2, 0]).unwrap();
    bytes.truncate(at);
    // A sequence and an item, each of undefined length.
    let level = [
        &[9, 0, 1, 0x10, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff][..],
        &[0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff],
    ];
    for _ in 0..100_000 {
        bytes.extend(level.concat());
    }
    let text = refusal(&bytes);
    assert!(text.contains("nested over 32 deep"), "{text}");
}

#[test]
fn what_is_not_dicom_is_no_dicom() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["", "not dicom\n", "\u{8}\0\u{8}\0some other file"] {
        std::fs::write(&path, text).unwrap();
        assert!(header(&path).unwrap().is_none(), "{text}");
        assert!(read::volume(&path).is_err());
    }
    assert!(header(&folder.path().join("missing")).is_err());
}

#[test]
fn a_header_is_read_without_the_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.dcm");
    // A private value that is longer than what is read at first.
    let long = PrimitiveValue::U8(vec![7; 200_000].into());
    let made = Made::axial("1.2.3", 4.0)
        .with(Tag(9, 0x1001), VR::OB, long)
        .with_text(tags::PATIENT_ID, VR::LO, " M\u{fc}ller ");
    let bytes = made.bytes();
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let found = header(&path).unwrap().unwrap();
    assert_eq!(found.patient.as_deref(), Some("M\u{fc}ller"));
    assert_eq!(found.series.as_deref(), Some("1.2.3"));
    assert_eq!(
        (found.size, found.frames, found.is_image),
        ([2, 3], 1, true)
    );
    assert!(found.placement.is_some());
    assert!(read::volume(&path).is_err());
}
