use super::*;
use crate::read::dicom::header;

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
