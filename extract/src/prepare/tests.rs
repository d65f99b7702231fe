use std::io::Write;

use cache::Labels;
use flate2::Compression;
use flate2::Crc;
use flate2::write::ZlibEncoder;
use image::{GrayImage, Luma};
use ndarray::{Array2, array};
use tempfile::TempDir;

use super::*;
use crate::dataset::{self, DatasetCard, IGNORED, LayoutOptions, UnnamedValues};

/// A manifest of images of 4 by 2 pixels with masks.
struct Lab {
    folder: TempDir,
    csv: String,
    options: LayoutOptions,
}

impl Lab {
    fn new() -> Lab {
        Lab {
            folder: TempDir::new().unwrap(),
            csv: "image,mask\n".to_owned(),
            options: LayoutOptions::default(),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn image(&self, name: &str) {
        let pixel = |x, y| Luma([(x * 7 + y * 31) as u8]);
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = GrayImage::from_fn(4, 2, pixel);
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        self.write(name, bytes.get_ref());
    }

    /// A sample whose mask is one file, or several with bars between them.
    fn sample(mut self, mask: &str) -> Lab {
        self.image("image.png");
        self.csv += &format!("image.png,{mask}\n");
        self
    }

    fn named(self, classes: &str) -> Lab {
        self.write("classes.csv", format!("value,name\n{classes}").as_bytes());
        self
    }

    fn dataset(&self, layout: &str) -> Dataset {
        let mut card = DatasetCard::find(layout).unwrap();
        card.options = self.options.clone();
        dataset::open(&card, self.folder.path()).unwrap()
    }

    /// The first slice of the only sample with its labels, or the error.
    fn mask(&self, layout: &str) -> Result<(Mask, Labels), String> {
        if layout == "manifest" {
            self.write("manifest.csv", self.csv.as_bytes());
        }
        let dataset = self.dataset(layout);
        let reader = Reader::new(&dataset.root);
        let recipe = preprocess(&Recipe::default(), 14, [0.0; 3], [1.0; 3]);
        let opened = open(&reader, 0, &dataset, &dataset.samples[0], &recipe);
        let slice = opened.and_then(|opened| {
            let labels = opened.sample_labels()?;
            Ok((opened.slice(0, 0)?.mask.unwrap(), labels))
        });
        slice.map_err(|error| error.to_string())
    }

    fn refused(&self, words: &[&str]) {
        let text = self.mask("manifest").unwrap_err();
        for word in words.iter().chain(&["hint:"]) {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}

/// A grey PNG of 4 columns, `bits` a pixel.
fn png(bits: u8, rows: &Array2<u8>) -> Vec<u8> {
    let mut packed = Vec::new();
    for row in rows.outer_iter() {
        packed.push(0);
        let all = row
            .iter()
            .fold(0_u32, |all, value| all << bits | u32::from(*value));
        // From the highest bit of the first byte on.
        let bytes = (all << (32 - 4 * u32::from(bits))).to_be_bytes();
        packed.extend(&bytes[..(usize::from(bits) * 4).div_ceil(8)]);
    }
    let mut data = ZlibEncoder::new(Vec::new(), Compression::fast());
    data.write_all(&packed).unwrap();
    let size = [4_u32, rows.nrows() as u32].map(u32::to_be_bytes).concat();
    let header = [&size[..], &[bits, 0, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [
        (b"IHDR", header),
        (b"IDAT", data.finish().unwrap()),
        (b"IEND", Vec::new()),
    ] {
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(&content);
        file.extend((content.len() as u32).to_be_bytes());
        file.extend(name);
        file.extend(&content);
        file.extend(crc.sum().to_be_bytes());
    }
    file
}

fn bytes(rows: Array2<u8>) -> Vec<u8> {
    png(8, &rows)
}

#[test]
fn grey_pngs_of_few_bits_keep_their_values() {
    for (bits, most) in [(1, 1), (2, 3), (4, 15), (8, 200)] {
        let stored = array![[0, most, 0, 1], [1, 0, most, most]];
        let classes: String = (1..256).map(|value| format!("{value},{value}\n")).collect();
        let lab = Lab::new().sample("mask.png").named(&classes);
        lab.write("mask.png", &png(bits, &stored));
        let (mask, _) = lab.mask("manifest").unwrap();
        assert_eq!(mask, stored.mapv(u16::from), "{bits} bits");
    }
}

#[test]
fn masks_that_are_joined_are_binary_whatever_value_says_so() {
    let lab = Lab::new().sample("a.png|b.png").named("1,a\n2,b\n");
    lab.write("a.png", &bytes(array![[0, 255, 255, 0], [0, 0, 0, 0]]));
    lab.write("b.png", &bytes(array![[0, 0, 3, 3], [0, 0, 0, 0]]));
    let (mask, _) = lab.mask("manifest").unwrap();
    assert_eq!(mask, array![[0, 1, 2, 2], [0, 0, 0, 0]]);
    lab.write("b.png", &bytes(array![[0, 0, 3, 3], [0, 0, 4, 0]]));
    lab.refused(&["b.png", "binary", "3 and 4"]);
}

#[test]
fn values_without_a_name_are_refused_or_ignored() {
    let mut lab = Lab::new().sample("mask.png").named("1,a\n2,b\n");
    lab.write("mask.png", &bytes(array![[0, 1, 7, 0], [0, 0, 9, 1]]));
    lab.refused(&[
        "mask.png",
        "`7`, `9`",
        "classes.csv",
        "--unnamed-values ignore",
    ]);
    lab.options.unnamed_values = UnnamedValues::Ignore;
    let (mask, labels) = lab.mask("manifest").unwrap();
    assert_eq!(mask, array![[0, 1, IGNORED, 0], [0, 0, IGNORED, 1]]);
    // Whether `b` is where pixels are ignored is not known.
    assert_eq!(labels, Labels::Multi(vec![Some(1), None]));
    lab.write("mask.png", &bytes(array![[0, 1, 0, 0], [0, 0, 0, 1]]));
    let (_, labels) = lab.mask("manifest").unwrap();
    assert_eq!(labels, Labels::Multi(vec![Some(1), Some(0)]));
}

#[test]
fn what_nnu_net_ignores_is_ignored() {
    let lab = Lab::new();
    lab.image("imagesTr/case_0000.png");
    lab.write(
        "labelsTr/case.png",
        &bytes(array![[0, 1, 3, 0], [0, 0, 3, 1]]),
    );
    let labels = r#"{"background": 0, "liver": 1, "spleen": 2, "ignore": 3}"#;
    let json = format!(r#"{{"channel_names": {{"0": "x"}}, "labels": {labels}}}"#);
    lab.write("dataset.json", json.as_bytes());
    let (mask, labels) = lab.mask("nnunet").unwrap();
    assert_eq!(mask, array![[0, 1, IGNORED, 0], [0, 0, IGNORED, 1]]);
    assert_eq!(labels, Labels::Multi(vec![Some(1), None]));
    let dataset = lab.dataset("nnunet");
    assert_eq!(dataset.ignored_mask_value(), Some(IGNORED));
    assert_eq!(dataset.mask_classes.len(), 2);
}

#[test]
fn a_jpeg_is_no_label_map() {
    let mut lab = Lab::new().sample("mask.jpg").named("255,a\n");
    let mask = GrayImage::from_fn(4, 2, |x, y| Luma([if x > y { 255 } else { 0 }]));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    mask.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    lab.write("mask.jpg", jpeg.get_ref());
    lab.refused(&["mask.jpg", "JPEG", "PNG"]);
    lab.options.unnamed_values = UnnamedValues::Ignore;
    lab.mask("manifest").unwrap();
}

#[test]
fn windows_that_are_missing_and_uneven_frames_are_told() {
    use crate::made_dicom::Made;
    use dicom_core::VR;
    use dicom_dictionary_std::tags;

    let folder = TempDir::new().unwrap();
    let windowed = |made: Made| {
        made.with_text(tags::WINDOW_CENTER, VR::DS, "3")
            .with_text(tags::WINDOW_WIDTH, VR::DS, "4")
    };
    let slice = |series, z| Made::axial(series, z);
    for (name, made) in [
        ("all/1", windowed(slice("1.2", 0.0))),
        ("all/2", windowed(slice("1.2", 1.0))),
        ("none/1", slice("1.3", 0.0)),
        ("none/2", slice("1.3", 1.0)),
        ("some/1", slice("1.4", 0.0)),
        ("some/2", windowed(slice("1.4", 1.0))),
    ] {
        made.save(&folder.path().join(name));
    }
    let card = DatasetCard::find("dicom").unwrap();
    let dataset = dataset::open(&card, folder.path()).unwrap();
    let reader = Reader::new(folder.path());
    let recipe = |word: &str| {
        let recipe = Recipe {
            intensity: word.parse().unwrap(),
            ..Recipe::default()
        };
        preprocess(&recipe, 8, [0.5; 3], [0.5; 3])
    };
    let mut budget = 0..;
    let mut told = |sample: &Sample, word: &str| {
        let recipe = recipe(word);
        let opened = open(&reader, budget.next().unwrap(), &dataset, sample, &recipe);
        opened.unwrap().oddities().kinds.concat()
    };
    let [all, none, some] = &dataset.samples[..] else {
        panic!("{:?}", dataset.samples)
    };
    assert_eq!(told(all, "voi"), "");
    assert!(told(none, "voi").contains("name no window"));
    assert!(told(some, "voi").contains("some slices name a window"));
    assert_eq!(told(some, "minmax"), "");
}

#[test]
fn the_error_for_values_that_are_not_finite_names_file_and_option() {
    let source = imaging::preprocess::NonFinite { count: 2, total: 9 };
    let text = SampleError::NonFinite {
        path: "a.nii".into(),
        slice: 4,
        source,
    }
    .to_string();
    let expected = "`a.nii`: slice 4: not finite: 2 of 9 values\nhint: `--non-finite zero`";
    assert!(text.starts_with(expected), "{text}");
}
