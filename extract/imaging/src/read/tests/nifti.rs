use ndarray::array;

use super::*;

#[test]
fn a_slice_has_rows_along_the_first_axis() {
    let volume = read_bytes("a.nii", &numbered()).unwrap();
    assert_eq!(
        (volume.slices(), volume.shape(0)[1], volume.shape(0)[2]),
        (2, 2, 3)
    );
    assert_eq!(
        volume.plane(1),
        array![[[6.0, 8.0, 10.0], [7.0, 9.0, 11.0]]]
    );
}

#[test]
fn members_are_joined_and_trailing_zeros_ignored() {
    let bytes = numbered();
    let (head, tail) = bytes.split_at(360);
    let joined = [gzip(head), gzip(tail), vec![0; 512]].concat();
    assert_eq!(
        read_bytes("a.nii.gz", &joined).unwrap().plane(1)[[0, 1, 2]],
        11.0
    );
}

#[test]
fn big_endian_gives_the_same_values() {
    let mut bytes = header([0; 8], 0);
    bytes[..4].copy_from_slice(&348i32.to_be_bytes());
    for (k, length) in [3i16, 2, 3, 2].iter().enumerate() {
        bytes[40 + 2 * k..][..2].copy_from_slice(&length.to_be_bytes());
    }
    bytes[70..72].copy_from_slice(&4i16.to_be_bytes());
    bytes[108..112].copy_from_slice(&352f32.to_be_bytes());
    (0..12i16).for_each(|voxel| bytes.extend(voxel.to_be_bytes()));
    let expected = read_bytes("a.nii", &numbered()).unwrap().plane(1);
    assert_eq!(read_bytes("b.nii", &bytes).unwrap().plane(1), expected);
}

#[test]
fn slope_and_intercept_are_applied_unless_the_slope_is_none() {
    let mut bytes = numbered();
    for (slope, expected) in [(2.0, -1002.0), (0.0, 11.0), (f32::NAN, 11.0)] {
        set_f32(&mut bytes, 112, slope);
        set_f32(&mut bytes, 116, -1024.0);
        assert_eq!(
            read_bytes("a.nii", &bytes).unwrap().plane(1)[[0, 1, 2]],
            expected
        );
    }
    set_f32(&mut bytes, 112, 1.0);
    set_f32(&mut bytes, 116, f32::NAN);
    assert!(refusal("a.nii", &bytes).contains("`scl_inter`"));
}

#[test]
fn every_voxel_type_reads_as_itself() {
    let types: [(i16, Vec<u8>, f32); 10] = [
        (2, vec![200], 200.0),
        (256, vec![0x80], -128.0),
        (4, (-1024i16).to_le_bytes().into(), -1024.0),
        (512, 65_535u16.to_le_bytes().into(), 65_535.0),
        (8, (-70_000i32).to_le_bytes().into(), -70_000.0),
        (768, 3_000_000_000u32.to_le_bytes().into(), 3e9),
        (1024, (-5i64).to_le_bytes().into(), -5.0),
        (1280, 5u64.to_le_bytes().into(), 5.0),
        (16, 0.5f32.to_le_bytes().into(), 0.5),
        (64, 0.25f64.to_le_bytes().into(), 0.25),
    ];
    for (datatype, voxel, expected) in types {
        let bytes = [header([2, 1, 1, 1, 1, 1, 1, 1], datatype), voxel].concat();
        assert_eq!(
            read_bytes("a.nii", &bytes).unwrap().plane(0),
            array![[[expected]]]
        );
    }
    assert!(refusal("rgb.nii", &header([3, 1, 1, 1, 1, 1, 1, 1], 128)).contains("`128`"));
}

#[test]
fn spacing_is_slice_row_column_in_mm() {
    let mut bytes = numbered();
    assert_eq!(read_bytes("a.nii", &bytes).unwrap().spacing_mm(), None);
    (0..3).for_each(|k| set_f32(&mut bytes, 80 + 4 * k, [0.5, -0.75, 3.0][k]));
    assert_eq!(
        read_bytes("a.nii", &bytes).unwrap().spacing_mm(),
        Some([3.0, 0.5, 0.75])
    );
    bytes[123] = 1;
    assert_eq!(
        read_bytes("a.nii", &bytes).unwrap().spacing_mm(),
        Some([3000.0, 500.0, 750.0])
    );
}

#[test]
fn extra_axes_are_dropped_if_they_are_one_long() {
    let mut bytes = numbered();
    bytes[40..42].copy_from_slice(&5i16.to_le_bytes());
    assert_eq!(read_bytes("a.nii", &bytes).unwrap().slices(), 2);
    bytes[48..50].copy_from_slice(&2i16.to_le_bytes());
    bytes[50..52].copy_from_slice(&2i16.to_le_bytes());
    assert!(refusal("a.nii", &bytes).contains("[2, 3, 2, 2, 2]"));
}

#[test]
fn one_channel_of_several_is_read() {
    let mut bytes = header([4, 2, 3, 1, 2, 1, 1, 1], 4);
    (0..12i16).for_each(|voxel| bytes.extend(voxel.to_le_bytes()));
    for name in ["a.nii", "a.nii.gz"] {
        let packed = if name.ends_with("gz") {
            gzip(&bytes)
        } else {
            bytes.clone()
        };
        let (folder, _path) = file(name, &packed);
        let reader = Reader::new(folder.path());
        let channel = |k| reader.volume(&Source::Channel(name.into(), k));
        let second = channel(1).unwrap();
        assert_eq!((second.slices(), second.plane(0)[[0, 1, 2]]), (1, 11.0));
        assert_eq!(channel(0).unwrap().plane(0)[[0, 1, 2]], 5.0);
        assert!(
            channel(2)
                .unwrap_err()
                .to_string()
                .contains("the volume has 2")
        );
        assert!(refusal(name, &packed).contains("2 channels"));
    }
}

#[test]
fn impossible_headers_are_refused_before_memory_is_taken() {
    for dim in [
        [3, 0, 3, 2, 1, 1, 1, 1],
        [3, -2, 3, 2, 1, 1, 1, 1],
        [0; 8],
        [9; 8],
    ] {
        assert!(
            refusal("a.nii", &header(dim, 4)).contains("`dim`"),
            "{dim:?}"
        );
    }
    let most = [3, 32_767, 32_767, 32_767, 1, 1, 1, 1];
    assert!(refusal("a.nii.gz", &gzip(&header(most, 64))).contains("bytes for voxels"));
    let much = [3, 1000, 1000, 4000, 1, 1, 1, 1];
    let text = refusal("a.nii.gz", &gzip(&header(much, 4)));
    assert!(
        text.contains("8000000000 bytes of voxels, the file holds 0"),
        "{text}"
    );
    let mut bytes = numbered();
    set_f32(&mut bytes, 108, f32::INFINITY);
    assert!(refusal("a.nii", &bytes).contains("`vox_offset`"));
}

/// The voxels of [`numbered`] behind a header of NIfTI-2, in mm by its sform.
fn second() -> Vec<u8> {
    let mut bytes = vec![0; 544];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &540i32.to_le_bytes());
    put(4, b"n+2\0\r\n\x1a\n");
    put(12, &4i16.to_le_bytes());
    for (k, length) in [3i64, 2, 3, 2, 1, 1, 1, 1].into_iter().enumerate() {
        put(16 + 8 * k, &length.to_le_bytes());
        put(104 + 8 * k, &(k as f64).to_le_bytes());
    }
    put(168, &544i64.to_le_bytes());
    put(348, &1i32.to_le_bytes());
    for row in 0..3 {
        put(400 + 40 * row, &2f64.to_le_bytes());
    }
    (0..12i16).for_each(|voxel| bytes.extend(voxel.to_le_bytes()));
    bytes
}

#[test]
fn nifti_2_is_read_as_nifti_1_is() {
    let expected = read_bytes("a.nii", &numbered()).unwrap().plane(1);
    for bytes in [second(), gzip(&second())] {
        let volume = read_bytes("a.nii", &bytes).unwrap();
        assert_eq!(volume.plane(1), expected);
        assert_eq!(volume.spacing_mm(), Some([3.0, 1.0, 2.0]));
        let placement = volume.placement().unwrap();
        assert_eq!(placement.affine[0], [0.0, 2.0, 0.0, 0.0]);
    }
    let mut as_text = second();
    as_text[8] = b'\n';
    assert!(refusal("a.nii", &as_text).contains("`magic`"));
}

#[test]
fn a_pair_of_header_and_voxels_is_read_by_either_name() {
    let mut header = numbered();
    let voxels = header.split_off(352);
    header[344..348].copy_from_slice(b"ni1\0");
    set_f32(&mut header, 108, 0.0);
    assert!(refusal("a.hdr", &header).contains("there is no .img"));
    let expected = read_bytes("a.nii", &numbered()).unwrap().plane(1);
    for (names, packed) in [
        (["a.hdr", "a.img"], [false; 2]),
        (["a.hdr.gz", "a.img.gz"], [true; 2]),
        (["a.hdr", "a.img.gz"], [false, true]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for ((name, packed), bytes) in names.into_iter().zip(packed).zip([&header, &voxels]) {
            let bytes = if packed { gzip(bytes) } else { bytes.clone() };
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        for name in names {
            let volume = volume(&folder.path().join(name)).unwrap();
            assert_eq!(volume.plane(1), expected, "{name}");
        }
        fs::write(folder.path().join(names[1]), &voxels[..20]).unwrap();
        let text = volume(&folder.path().join(names[0]))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(names[1]) && text.contains("holds 20"),
            "{text}"
        );
    }
    let mut analyze = header.clone();
    analyze[344..348].fill(0);
    let text = refusal("a.hdr", &analyze);
    assert!(
        text.contains("Analyze 7.5") && text.contains("convert it to NIfTI"),
        "{text}"
    );
    assert!(refusal("a.tar.gz", &gzip(&[b'x'; 600])).contains("no NIfTI image"));
}

#[test]
fn metres_and_micrometres_become_mm_in_the_affine_too() {
    let mut bytes = numbered();
    bytes[254..256].copy_from_slice(&1i16.to_le_bytes());
    for (row, at) in [280, 296, 312].into_iter().enumerate() {
        set_f32(&mut bytes, at + 4 * row, 0.5);
        set_f32(&mut bytes, at + 12, 3.0);
    }
    for (unit, factor) in [(0, 1.0), (2, 1.0), (1, 1000.0), (3, 0.001)] {
        bytes[123] = unit;
        let volume = read_bytes("a.nii", &bytes).unwrap();
        let expected = [0.0, 0.5 * factor, 0.0, 3.0 * factor];
        assert_eq!(volume.placement().unwrap().affine[0], expected, "{unit}");
    }
}

#[test]
fn a_file_cut_short_says_how_many_bytes_it_holds() {
    let bytes = numbered();
    let text = refusal("a.nii", &bytes[..bytes.len() - 3]);
    assert!(
        text.contains("24 bytes of voxels, the file holds 21"),
        "{text}"
    );
    assert!(refusal("a.nii", &bytes[..100]).contains("ends too early"));
}

#[test]
fn damaged_gzip_is_refused_even_if_all_voxels_unpack() {
    let whole = gzip(&numbered());
    let end = whole.len();
    assert!(refusal("cut.nii.gz", &whole[..end - 6]).contains("ends too early"));
    assert!(refusal("half.nii.gz", &whole[..end / 2]).contains("hint: download"));
    let mut wrong = whole.clone();
    wrong[end - 8..end - 4].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    assert!(refusal("crc.nii.gz", &wrong).contains("damaged"));
}

#[test]
fn a_gzip_bomb_is_not_unpacked() {
    let bomb = gzip(&[numbered(), vec![0; 64 << 20]].concat());
    assert!(refusal("bomb.nii.gz", &bomb).contains("more\nhint:"));
    let harmless = [numbered(), vec![0; 511]].concat();
    assert!(read_bytes("a.nii", &harmless).is_ok());
    let one_more = [numbered(), vec![0; 512]].concat();
    assert!(read_bytes("a.nii", &one_more).is_err());
}
