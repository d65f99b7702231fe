mod nifti;
mod raster;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, GrayImage, Luma};
use tempfile::TempDir;

use super::*;
use crate::Error;

/// A single-file NIfTI-1 header.
fn header(dim: [i16; 8], datatype: i16) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    for (k, length) in dim.iter().enumerate() {
        bytes[40 + 2 * k..][..2].copy_from_slice(&length.to_le_bytes());
    }
    bytes[70..72].copy_from_slice(&datatype.to_le_bytes());
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes
}

/// `[2, 3, 2]` voxels of 16 bits, numbered as stored.
fn numbered() -> Vec<u8> {
    let mut bytes = header([3, 2, 3, 2, 1, 1, 1, 1], 4);
    (0..12i16).for_each(|voxel| bytes.extend(voxel.to_le_bytes()));
    bytes
}

fn set_f32(bytes: &mut [u8], at: usize, value: f32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read_bytes(name: &str, bytes: &[u8]) -> Result<Volume, Error> {
    volume(&file(name, bytes).1)
}

/// The text of the error, which must name the file and have a hint.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let text = read_bytes(name, bytes).unwrap_err().to_string();
    assert!(text.contains(name) && text.contains("\nhint: "), "{text}");
    text
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image
        .into()
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn jpeg() -> Vec<u8> {
    let image = GrayImage::from_fn(64, 48, |x, y| Luma([(x * 3 + y) as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn compression_is_told_by_content_not_by_name() {
    let plain = read_bytes("a.nii.gz", &numbered()).unwrap();
    let zipped = read_bytes("a.nii", &gzip(&numbered())).unwrap();
    assert_eq!(plain.plane(0), zipped.plane(0));
}

#[test]
fn a_stack_may_hold_slices_of_several_sizes() {
    let (folder, _) = file(
        "1.png",
        &png(GrayImage::from_fn(4, 3, |x, _| Luma([x as u8]))),
    );
    fs::write(folder.path().join("2.png"), png(GrayImage::new(2, 5))).unwrap();
    let paths = ["1.png", "2.png", "1.png"].map(PathBuf::from).to_vec();
    let stack = Reader::new(folder.path())
        .volume(&Source::Stack(paths))
        .unwrap();
    let shapes = [0, 1, 2].map(|k| stack.shape(k));
    assert_eq!(shapes, [[1, 3, 4], [1, 5, 2], [1, 3, 4]]);
    assert_eq!(stack.plane(2)[[0, 2, 3]], 3.0);
    assert!(!stack.is_constant(0..3) && stack.is_constant(1..2));
}

#[test]
fn what_is_no_image_is_called_by_its_name() {
    assert!(refusal("empty.nii.gz", b"").contains("empty"));
    assert!(refusal("page.png", b"\n<!DOCTYPE html><html>").contains("web page"));
    assert!(refusal("._a.nii.gz", &[0, 5, 0x16, 7, 0, 2]).contains("AppleDouble"));
    assert!(refusal("a.nii", b"PK\x03\x04zip").contains("`50 4b 03 04`"));
    let meta = b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\n";
    for (start, name) in [(&b"NRRD0004\n"[..], "NRRD"), (meta, "MetaImage")] {
        let text = refusal("a.mha", start);
        assert!(
            text.contains(name) && text.contains("hint: convert"),
            "{text}"
        );
    }
    let text = volume(Path::new("nowhere.png")).unwrap_err().to_string();
    assert!(text.contains("`nowhere.png`"), "{text}");
}

#[test]
fn a_folder_named_like_a_file_stands_for_the_one_in_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("scan.nii.gz");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("._scan.nii"), "x").unwrap();
    fs::write(folder.join("scan.nii"), numbered()).unwrap();
    assert_eq!(volume(&folder).unwrap().slices(), 2);
    fs::write(folder.join("other.nii"), numbered()).unwrap();
    let text = volume(&folder).unwrap_err().to_string();
    assert!(
        text.contains("2 NIfTI files") && text.contains("hint:"),
        "{text}"
    );
}
