use super::*;

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
