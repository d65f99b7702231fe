mod damaged;
mod frames;
mod tables;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use ndarray::{Array3, array};

use super::made::Made;
use crate::Error;
use crate::preprocess::Bounds;
use crate::read::{self, Volume};

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

/// An item of a sequence.
fn item(elements: &[(Tag, VR, PrimitiveValue)]) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(
        elements
            .iter()
            .map(|(tag, vr, value)| DataElement::new(*tag, *vr, value.clone())),
    )
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
