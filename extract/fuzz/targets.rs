//! What is fuzzed: each target makes a file of some bytes and opens it as `extract` would.
//!
//! Whatever the bytes are, it must return: with a result or an error, in bounded time and memory.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use extract::dataset::{self, DatasetCard};
use extract::export::{self, Exporter};
use extract::interchange::Import;
use extract::split::{self, Member, SplitRule};
use imaging::preprocess::Slicing;
use imaging::read::{Reader, Source};
use onnx_models::{Flavour, ModelCard};

/// Makes a file of the bytes in the folder, and opens it.
pub(crate) type Target = fn(&Path, &[u8]);

/// The targets by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("nifti", nifti),
    ("raster", raster),
    ("mat", mat),
    ("npz", npz),
    ("dicom", dicom),
    ("table", table),
    ("json", json),
    ("card", card),
    ("checkpoint", checkpoint),
    ("vectors-npy", vectors_npy),
    ("vectors-npz", vectors_npz),
    ("vectors-hdf5", vectors_hdf5),
    ("vectors-parquet", vectors_parquet),
    ("vectors-torch", vectors_torch),
];

/// Lets the readers contain panics of foreign decoders: libFuzzer's hook would end the process before they do. Others
/// still end it.
#[allow(dead_code, reason = "tests have no such hook")]
pub(crate) fn contain_panics() {
    drop(std::panic::take_hook());
}

/// Runs a target in a folder that is deleted afterwards.
///
/// # Panics
///
/// If there is no such target, or no folder can be made; and if the reader does.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, target) = found.expect("the target is listed");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    target(folder.path(), bytes);
}

/// NIfTI-1, plain or gzipped.
fn nifti(folder: &Path, bytes: &[u8]) {
    let file = Source::File(write(folder, "image.nii.gz", bytes).into());
    image(folder, &file);
    for channel in [0, 1, u32::MAX] {
        image(folder, &Source::Channel("image.nii.gz".into(), channel));
    }
}

/// PNG and JPEG.
fn raster(folder: &Path, bytes: &[u8]) {
    image(
        folder,
        &Source::File(write(folder, "image.png", bytes).into()),
    );
}

/// HDF5 as MATLAB writes it.
fn mat(folder: &Path, bytes: &[u8]) {
    let file = write(folder, "1.mat", bytes);
    for array in ["image", "cjdata/image", "cjdata/tumorMask"] {
        image(folder, &Source::Array(file.into(), array));
    }
    write(folder, "cvind.mat", bytes);
    list("brain-tumor", folder);
}

/// Arrays of images in an archive.
fn npz(folder: &Path, bytes: &[u8]) {
    let file = write(folder, "breastmnist.npz", bytes);
    for index in [0, 1, u32::MAX] {
        image(
            folder,
            &Source::Item(file.into(), "train_images".to_owned(), index),
        );
    }
    list("medmnist", folder);
}

/// DICOM, alone and as a slice of a series.
fn dicom(folder: &Path, bytes: &[u8]) {
    let files: [PathBuf; 2] = ["1.dcm", "2.dcm"].map(|name| write(folder, name, bytes).into());
    image(folder, &Source::File(files[0].clone()));
    image(folder, &Source::Stack(files.to_vec()));
    list("dicom", folder);
}

/// Tables as CSV, or as Parquet or gzipped CSV if they begin like that, and lists of names.
fn table(folder: &Path, bytes: &[u8]) {
    let name = match bytes {
        [b'P', b'A', b'R', b'1', ..] => "manifest.parquet",
        [0x1f, 0x8b, ..] => "manifest.csv.gz",
        _ => "manifest.csv",
    };
    let path = folder.join(write(folder, name, bytes));
    list("manifest", &path);
    let rule: Result<SplitRule, _> = format!("file:{}", path.display()).parse();
    let _ = black_box(rule.map(|rule| split::assign(&rule, &[] as &[Member], &[]).is_ok()));
    for (card, names) in [
        (
            "manifest",
            ["classes.txt", "classes.csv", "train_val_list.txt"],
        ),
        (
            "nih-chest-xray",
            ["Data_Entry_2017.csv", "train_val_list.txt", "test_list.txt"],
        ),
        ("chexpert", ["train.csv", "valid.csv", "test_labels.csv"]),
    ] {
        for name in names {
            write(folder, name, bytes);
        }
        list(card, folder);
    }
}

/// `dataset.json`.
fn json(folder: &Path, bytes: &[u8]) {
    write(folder, "dataset.json", bytes);
    for file in ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"] {
        write(folder, file, b"");
    }
    list("nnunet", folder);
    list("msd-spleen", folder);
}

/// Dataset cards.
fn card(folder: &Path, bytes: &[u8]) {
    let path = folder.join(write(folder, "mine.toml", bytes));
    if let Ok(card) = DatasetCard::find(&path.to_string_lossy()) {
        let _ = black_box(dataset::open(&card, folder).is_ok());
        let _ = black_box(card.recipe(None).is_ok());
    }
}

/// Weights in a safetensors file, and ONNX files.
fn checkpoint(folder: &Path, bytes: &[u8]) {
    write(folder, "onnx_models/tiny-vit.safetensors", bytes);
    let card = ModelCard::read(folder, "tiny-vit").expect("the card is built in");
    let mut exporter = Exporter {
        home: folder,
        tell: &mut |_| {},
    };
    for flavour in [Flavour::Fused, Flavour::Int8] {
        let _ = black_box(exporter.ensure(&card, card.image_size, flavour).is_ok());
    }
    let graph = folder.join(write(folder, "onnx_models/other.onnx", bytes));
    let _ = black_box(export::exported(&card, &graph).is_ok());
}

/// Embeddings in an array of NumPy, alone and as patch tokens of another.
fn vectors_npy(folder: &Path, bytes: &[u8]) {
    vectors(folder, write(folder, "x.npy", bytes), Some("x.npy"));
}

/// Embeddings in an archive of NumPy.
fn vectors_npz(folder: &Path, bytes: &[u8]) {
    vectors(folder, write(folder, "x.npz", bytes), None);
}

/// Embeddings in an HDF5 file, alone and as one of a folder.
fn vectors_hdf5(folder: &Path, bytes: &[u8]) {
    vectors(folder, write(folder, "x.h5", bytes), Some("features"));
    write(folder, "slides/x.h5", bytes);
    vectors(folder, "slides", None);
}

/// Embeddings in a Parquet file, which is its own table.
fn vectors_parquet(folder: &Path, bytes: &[u8]) {
    vectors(folder, write(folder, "x.parquet", bytes), None);
}

/// Embeddings in a file of `torch.save`.
fn vectors_torch(folder: &Path, bytes: &[u8]) {
    write(folder, "eva/x.pt", bytes);
    write(
        folder,
        "eva/manifest.csv",
        b"origin,embeddings,target,split\nx.png,x.pt,0,train\n",
    );
    vectors(folder, "eva", None);
}

/// Imports embeddings, alone and with patch tokens.
fn vectors(folder: &Path, source: &str, patches: Option<&str>) {
    let source = folder.join(source);
    let beside = patches.map(|name| folder.join(name).to_string_lossy().into_owned());
    for (model, patches) in [
        ("alone", None),
        ("file", beside.as_deref()),
        ("name", patches),
    ] {
        let import = Import {
            source: &source,
            format: None,
            table: None,
            label_columns: &[],
            row_column: None,
            array: None,
            patches,
            grid: None,
            scale: 1.0,
            model,
            dataset: "d",
            image_size: 224,
            caches: &folder.join("caches"),
            allow_patient_overlap: false,
        };
        let _ = black_box(import.run(&mut |_| {}).is_ok());
    }
}

/// Writes a file and returns its name.
fn write<'a>(folder: &Path, name: &'a str, bytes: &[u8]) -> &'a str {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).expect("a temporary folder can be written to");
    fs::write(path, bytes).expect("a temporary folder can be written to");
    name
}

/// Reads an image and asks for all that `extract` asks for.
fn image(folder: &Path, source: &Source) {
    let Ok(volume) = Reader::new(folder).volume(source) else {
        return;
    };
    black_box((volume.spacing_mm(), volume.is_constant(0..volume.slices())));
    use Slicing::{Axial, Coronal, Sagittal, StoredIYz, StoredJXz, StoredKXy};
    for slicing in [StoredKXy, StoredJXz, StoredIYz, Axial, Coronal, Sagittal] {
        let Ok(cut) = volume.clone().cut(slicing) else {
            continue;
        };
        for k in [0, cut.slices() - 1] {
            black_box(cut.placement());
            black_box((cut.plane(k), cut.label_plane(k).is_ok(), cut.window(k)));
            black_box(cut.count_unusable(k, 1e30));
        }
    }
}

fn list(card: &str, root: &Path) {
    let card = DatasetCard::find(card).expect("it is built in");
    let _ = black_box(dataset::open(&card, root).is_ok());
}
