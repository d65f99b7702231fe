use std::fs;

use tempfile::TempDir;

use super::made::{archive_of, array_file, npy};
use super::*;

fn saved(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// 600 images of 2 by 3 pixels that do not compress.
fn pixels() -> Vec<u8> {
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*state >> 24) as u8)
    };
    std::iter::repeat_with({
        let mut state = 1;
        move || next(&mut state).unwrap()
    })
    .take(3600)
    .collect()
}

fn opened(bytes: &[u8]) -> Result<NpzArray, Error> {
    let (_folder, path) = saved(bytes);
    NpzArray::open(&path, "x")
}

fn refusal(bytes: &[u8]) -> String {
    let text = match opened(bytes) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    };
    assert!(
        text.contains("a.npz") && text.contains("\nhint: "),
        "{text}"
    );
    text
}

/// `archive` with the bytes of `field` replaced where the directory says something of its only
/// entry: 16 the checksum, 20 the packed size, 24 the size.
fn with_field(mut archive: Vec<u8>, field: usize, value: u32) -> Vec<u8> {
    let entry = archive
        .windows(4)
        .position(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    archive[entry + field..][..4].copy_from_slice(&value.to_le_bytes());
    archive
}

#[test]
fn images_come_in_any_order() {
    let values = pixels();
    let (_folder, path) = saved(&archive_of(&[("x", npy(&[600, 2, 3], &values))]));
    let mut array = NpzArray::open(&path, "x").unwrap();
    for k in [0, 5, 3, 599, 500, 0, 599, 1] {
        let plane = array.image(k).unwrap().plane(0);
        let expected: Vec<f32> = values[6 * k..][..6].iter().map(|v| f32::from(*v)).collect();
        assert_eq!(plane.into_raw_vec_and_offset().0, expected, "{k}");
    }
    assert!(
        array
            .image(600)
            .unwrap_err()
            .to_string()
            .contains("no image 600")
    );
    assert_eq!(names(&path).unwrap(), ["x"]);
}

#[test]
fn colours_and_volumes_are_told_by_the_shape() {
    let shape_of = |shape: &[usize], size| {
        let archive = archive_of(&[("x", npy(shape, &vec![7; size]))]);
        let (_folder, path) = saved(&archive);
        let volume = NpzArray::open(&path, "x").unwrap().image(0).unwrap();
        (volume.slices(), volume.shape(0))
    };
    assert_eq!(shape_of(&[2, 4, 5], 40), (1, [1, 4, 5]));
    assert_eq!(shape_of(&[2, 4, 5, 3], 120), (1, [3, 4, 5]));
    assert_eq!(shape_of(&[2, 6, 4, 5], 240), (6, [1, 4, 5]));
}

#[test]
fn a_wrong_checksum_is_told_by_the_last_image() {
    let archive = archive_of(&[("x", npy(&[600, 2, 3], &pixels()))]);
    let (_folder, path) = saved(&with_field(archive, 16, 7));
    let mut array = NpzArray::open(&path, "x").unwrap();
    assert!(array.image(598).is_ok());
    for _ in 0..2 {
        let text = array.image(599).unwrap_err().to_string();
        assert!(text.contains("its checksum is wrong"), "{text}");
    }
    let text = NpzArray::open(&path, "x").unwrap().all().unwrap_err();
    assert!(text.to_string().contains("its checksum is wrong"));
}

#[test]
fn nothing_after_a_failure_is_read() {
    let archive = archive_of(&[("x", npy(&[600, 2, 3], &pixels()))]);
    let (_folder, path) = saved(&with_field(archive, 20, 2000));
    let mut array = NpzArray::open(&path, "x").unwrap();
    assert!(array.image(10).is_ok());
    for k in [599, 400, 500] {
        let text = array.image(k).unwrap_err().to_string();
        assert!(text.contains("it ends too early"), "{text}");
    }
}

#[test]
fn sizes_that_cannot_be_true_are_refused() {
    let lying = |shape: &[usize]| archive_of(&[("x", npy(shape, &pixels()))]);
    for shape in [
        &[601, 2, 3][..],
        &[599, 2, 3],
        &[usize::MAX, 2, 3],
        &[1 << 40, 2, 3],
    ] {
        assert!(refusal(&lying(shape)).contains("the archive that it has"));
    }
    let huge = with_field(lying(&[0xffff_0000, 2, 3]), 24, u32::MAX - 1);
    refusal(&huge);
    assert!(refusal(&lying(&[600, 0, 3])).contains("[600, 0, 3]"));
    assert!(refusal(&lying(&[1, 40_000, 3])).contains("32767"));
    assert!(refusal(&lying(&[])).contains("shape"));
}

#[test]
fn what_is_no_array_of_bytes_is_refused() {
    let file = |header: &str| archive_of(&[("x", array_file(header, &[0; 8]))]);
    let text = refusal(&file(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
    ));
    assert!(text.contains("`<f8`") || text.contains("'<f8'"), "{text}");
    let text = refusal(&file(
        "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 4), }",
    ));
    assert!(text.contains("in C order"), "{text}");
    let text = refusal(&file(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4), }",
    ));
    assert!(text.contains("(-1, 4)"), "{text}");
    assert!(refusal(&archive_of(&[("x", b"text of some length".to_vec())])).contains("NumPy"));
    assert!(refusal(&archive_of(&[("x", b"te".to_vec())])).contains("too early"));
    assert!(refusal(&archive_of(&[("y", npy(&[1, 2, 3], &[0; 6]))])).contains("`x.npy`"));
    refusal(b"no archive");
    refusal(&archive_of(&[("x", npy(&[1, 2, 3], &[0; 6]))])[..60]);
}
