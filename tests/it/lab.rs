//! A temporary folder with small images in it, and the programs to run over them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use cache::CacheReader;
use common::Mask;
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, Luma};
use ndarray::ArrayD;
use tempfile::TempDir;

/// A folder that is deleted at the end of the test.
pub struct Lab {
    dir: TempDir,
}

impl Lab {
    pub fn new() -> Lab {
        Lab {
            dir: TempDir::new().unwrap(),
        }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes a file whose time of change is that of all others, so that caches of two labs are equal.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        changed_at(&path, 1_600_000_000);
        path
    }

    /// A grey PNG with a bright square whose place depends on `kind`, and noise after `seed`.
    pub fn png(&self, relative: &str, kind: u32, seed: u32) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        GrayImage::from_fn(40, 32, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let square = (8 + 16 * (kind % 2)..).take(8);
            let bright = square.clone().any(|c| c == x) && (8..24).contains(&y);
            Luma([(state >> 27) as u8 + if bright { 180 } else { 20 }])
        })
        .save(&path)
        .unwrap();
        changed_at(&path, 1_600_000_000);
        path
    }

    /// `n` PNGs and a manifest of them: class `left` or `right`, every third one in test.
    pub fn manifest(&self, n: u32) -> PathBuf {
        let mut csv = String::from("image,label,patient,split\n");
        for i in 0..n {
            let (class, split) = (
                ["left", "right"][i as usize % 2],
                ["train", "train", "test"],
            );
            let split = split[i as usize % 3];
            self.png(&format!("images/{i:04}.png"), i, i);
            csv += &format!("images/{i:04}.png,{class},p{i},{split}\n");
        }
        self.write("images.csv", csv)
    }

    /// Runs `extract` with the tiny backbone; its caches go to `cache/` of this folder.
    pub fn extract(&self, dataset: &str, root: &Path, more: &[&str]) -> Run {
        Run::of(self.extract_command(dataset, root).args(more))
    }

    pub fn extract_command(&self, dataset: &str, root: &Path) -> Command {
        self.extract_as("images", dataset, root)
    }

    /// The command that writes a cache under the dataset's `name`.
    pub fn extract_as(&self, name: &str, dataset: &str, root: &Path) -> Command {
        let mut command = program("extract");
        command
            .args(["--model", "tiny-vit", "--name", name])
            .args(["--dataset", dataset, "--root"])
            .arg(root)
            .arg("--cache")
            .arg(self.path("cache"));
        command
    }

    /// The command that splits the caches of `dataset`.
    pub fn split(&self, dataset: &str) -> Command {
        let mut command = program("extract");
        command.args(["split", "--dataset", dataset, "--cache"]);
        command.arg(self.path("cache"));
        command
    }

    /// The cache that [`extract`](Lab::extract) writes.
    pub fn cache(&self) -> PathBuf {
        self.path("cache/images/tiny-vit@56")
    }

    pub fn probe(&self, more: &[&str]) -> Run {
        self.probe_with("knn", more)
    }

    pub fn probe_with(&self, probe: &str, more: &[&str]) -> Run {
        let mut command = program("probe");
        command
            .arg(probe)
            .arg("--cache")
            .arg(self.path("cache"))
            .arg("--runs")
            .arg(self.path("runs"))
            .args(more);
        Run::of(&mut command)
    }

    /// Backbones by the scores that [`probe_with`](Lab::probe_with) has kept.
    pub fn compare(&self, more: &[&str]) -> Run {
        let mut command = program("probe");
        command.args(["compare", "--runs"]).arg(self.path("runs"));
        Run::of(command.args(more))
    }
}

/// Sets a file's time of change to `seconds` after 1970.
pub fn changed_at(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// Makes a finished cache one that a run has not finished, without the hash of its description.
pub fn unfinished(cache: &Path) {
    let path = cache.join("meta.json");
    let text = fs::read_to_string(&path).unwrap();
    let (text, _) = text.rsplit_once(",\n  \"sha256\"").unwrap();
    let text = text.replace("\"complete\": true", "\"complete\": false");
    fs::write(&path, text + "\n}\n").unwrap();
}

/// ONNX Runtime's library, for a project folder that has none.
pub fn runtime() -> PathBuf {
    let library = fs::read_dir(project().join("runtime/onnxruntime")).unwrap();
    let mut library = library.map(|entry| entry.unwrap().path());
    let library = library.find(|path| path.to_string_lossy().contains("onnxruntime.so."));
    library.unwrap()
}

/// The output and the exit status of a program.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Run {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Run {
            status: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn expect(self, status: i32) -> Run {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Expects an error message with `words`, among them the file, and a hint.
    #[track_caller]
    pub fn expect_error(self, status: i32, words: &[&str]) -> Run {
        let run = self.expect(status);
        for word in words.iter().chain(&["hint:"]) {
            assert!(run.stderr.contains(word), "no `{word}` in {run:#?}");
        }
        assert!(!run.stderr.contains("panicked"), "{run:#?}");
        run
    }
}

pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program of the workspace, to be run in the project's folder.
pub fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name(name);
    assert!(
        path.is_file(),
        "{} is missing: run the tests with `scripts/test`, or build the programs first",
        path.display()
    );
    let mut command = Command::new(path);
    command.current_dir(project());
    command.env_remove("SLICEBANK_CACHE");
    // Not the user's own.
    command.env("SLICEBANK_ID_KEY", test.with_file_name("test-id.key"));
    command
}

/// A script of the project, to be run in the tests' own Python.
pub fn python(script: &str) -> Command {
    let python = project().join(".venv-test/bin/python");
    let what = ".venv-test is missing: run the tests with `scripts/test`, which makes it";
    assert!(python.exists(), "{what}");
    let scripts = project().join("scripts");
    let mut command = Command::new(python);
    // As `scripts/dev/run` does.
    let path = std::env::join_paths([scripts.clone(), scripts.join("dev")]).unwrap();
    command.env("PYTHONPATH", path);
    command.arg(scripts.join(script));
    command
}

/// A `.npy` file (version 1) of f64 in C order.
pub fn npy(path: &Path) -> ArrayD<f64> {
    let bytes = fs::read(path).unwrap();
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    let is_plain = header.contains("'<f8'") && header.contains("'fortran_order': False");
    assert!(is_plain, "{header}");
    let shape = header.split_once("'shape': (").unwrap().1;
    let shape = shape.split_once(')').unwrap().0.split(',').map(str::trim);
    let shape: Vec<usize> = shape.filter_map(|length| length.parse().ok()).collect();
    let values = bytes[end..].as_chunks::<8>().0.iter();
    let values = values.map(|bytes| f64::from_le_bytes(*bytes)).collect();
    ArrayD::from_shape_vec(shape, values).unwrap()
}

/// A NIfTI-1 file of f32 voxels `[x, y, z]`, x fastest, 1 x 2 x 3 mm.
pub fn nifti(shape: [i16; 3], voxels: &[f32]) -> Vec<u8> {
    let mut header = vec![0; 352];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348_i32.to_le_bytes());
    put(40, &3_i16.to_le_bytes());
    for (axis, length) in shape.iter().enumerate() {
        put(42 + 2 * axis, &length.to_le_bytes());
        put(80 + 4 * axis, &(axis as f32 + 1.0).to_le_bytes());
    }
    for axis in 4..8 {
        put(40 + 2 * axis, &1_i16.to_le_bytes());
    }
    put(70, &16_i16.to_le_bytes());
    put(72, &32_i16.to_le_bytes());
    put(108, &352_f32.to_le_bytes());
    put(344, b"n+1\0");
    header.extend(voxels.iter().flat_map(|voxel| voxel.to_le_bytes()));
    header
}

/// An affine whose axes run mostly to posterior, superior and left.
pub const OBLIQUE: [[f32; 4]; 3] = [
    [0.25, 0.1, -2.5, 40.0],
    [-1.5, 0.2, -0.1, 30.5],
    [0.1, 0.75, 0.3, -120.0],
];

/// The same, placed by an affine from voxels to mm (its sform).
pub fn nifti_at(shape: [i16; 3], voxels: &[f32], affine: [[f32; 4]; 3]) -> Vec<u8> {
    let mut bytes = nifti(shape, voxels);
    bytes[254..256].copy_from_slice(&1_i16.to_le_bytes());
    for (k, value) in affine.as_flattened().iter().enumerate() {
        bytes[280 + 4 * k..][..4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Voxels that differ everywhere.
pub fn ramp(shape: [i16; 3]) -> Vec<f32> {
    let count: usize = shape.iter().map(|&n| n as usize).product();
    (0..count).map(|i| (i * 37 % 101) as f32).collect()
}

/// The masks of a cache of one shard.
pub fn masks(reader: &CacheReader) -> Vec<Option<Mask>> {
    let parts = reader.masks(0).unwrap();
    parts.flat_map(Result::unwrap).collect()
}

/// Every file under `dir`, with its content, but the lock, and `history.json`, which has times.
pub fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".lock") && !path.ends_with("history.json") {
                let name = path.strip_prefix(dir).unwrap().to_path_buf();
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
