//! Arrays of NumPy, alone and in an archive.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};
use half::f16;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Common, Row, Sink};
use crate::Error;

/// Length that headers are padded to.
const ALIGNMENT: usize = 64;

/// Value of a state in a multi-label array that is not known.
const UNKNOWN_STATE: i8 = i8::MIN;

/// The header of an array in C order, version 1.
pub(crate) fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let tail = if shape.len() == 1 { "," } else { "" };
    let mut text = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}{tail}), }}",
        sides.join(", ")
    );
    let before = 10;
    while (before + text.len() + 1) % ALIGNMENT != 0 {
        text.push(' ');
    }
    text.push('\n');
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes()].concat()
}

/// Numbers in half precision, which the cache holds them in.
pub(super) fn halves(numbers: &[f32]) -> Vec<u8> {
    let numbers = numbers.iter();
    numbers
        .flat_map(|number| f16::from_f32(*number).to_le_bytes())
        .collect()
}

/// An array of half precision that is written row by row.
struct ArrayFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl ArrayFile {
    fn create(path: PathBuf, shape: &[usize]) -> Result<ArrayFile, Error> {
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut array = ArrayFile {
            file: BufWriter::with_capacity(1 << 20, file),
            path,
        };
        array.write(&header("<f2", shape))?;
        Ok(array)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::io(&self.path))
    }

    fn finish(mut self) -> Result<PathBuf, Error> {
        self.file.flush().map_err(Error::io(&self.path))?;
        Ok(self.path)
    }
}

/// `cls.npy`, and `patch.npy` if there are patch tokens.
pub(super) struct Arrays {
    cls: ArrayFile,
    patch: Option<ArrayFile>,
}

impl Arrays {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Arrays, Error> {
        let rows = common.rows as usize;
        let patch = common.patch.map(|[height, width, numbers]| {
            let path = folder.join("patch.npy");
            ArrayFile::create(path, &[rows, height, width, numbers])
        });
        Ok(Arrays {
            cls: ArrayFile::create(folder.join("cls.npy"), &[rows, common.width])?,
            patch: patch.transpose()?,
        })
    }
}

impl Sink for Arrays {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        self.cls.write(&halves(row.cls))?;
        match (&mut self.patch, row.patch) {
            (Some(array), Some(patch)) => array.write(&halves(patch)),
            _ => Ok(()),
        }
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, Error> {
        let files = [Some(self.cls), self.patch].into_iter().flatten();
        let files = files.map(|file| {
            let path = file.finish()?;
            Ok(crate::dataset::files::name(&path))
        });
        files.collect()
    }
}

/// `tokens.npz`: the same arrays, and what is known of each row.
pub(super) struct Archive {
    arrays: Box<Arrays>,
    folder: PathBuf,
    task: Task,
    classes: usize,
    samples: Vec<String>,
    patients: Vec<String>,
    splits: Vec<String>,
    slices: Vec<u8>,
    labels: Vec<u8>,
}

impl Archive {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Archive, Error> {
        Ok(Archive {
            arrays: Box::new(Arrays::create(folder, common)?),
            folder: folder.to_path_buf(),
            task: common.meta.task,
            classes: common.meta.classes.len(),
            samples: Vec::new(),
            patients: Vec::new(),
            splits: Vec::new(),
            slices: Vec::new(),
            labels: Vec::new(),
        })
    }

    /// The arrays of what is known of each row: names and content.
    fn columns(&self) -> Vec<(&'static str, Vec<u8>)> {
        let rows = self.samples.len();
        let numbers =
            |kind: &str, shape: &[usize], bytes: &[u8]| [&header(kind, shape), bytes].concat();
        let mut columns = vec![
            ("sample", texts(&self.samples)),
            ("patient", texts(&self.patients)),
            ("split", texts(&self.splits)),
            ("slice", numbers("<i8", &[rows], &self.slices)),
        ];
        match self.task {
            Task::Unlabelled => {}
            Task::SingleLabel => columns.push(("label", numbers("<i8", &[rows], &self.labels))),
            Task::MultiLabel => {
                columns.push((
                    "labels",
                    numbers("|i1", &[rows, self.classes], &self.labels),
                ));
            }
        }
        columns
    }
}

impl Sink for Archive {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let slice = row.slice;
        self.samples.push(slice.sample.clone());
        self.patients
            .push(slice.patient.clone().unwrap_or_default());
        let split = slice.split.map_or("", Split::name);
        self.splits.push(split.to_owned());
        self.slices.extend(i64::from(slice.slice).to_le_bytes());
        match &slice.labels {
            Labels::Unlabelled => {}
            Labels::Single(class) => {
                let class = class.map_or(-1, i64::from);
                self.labels.extend(class.to_le_bytes());
            }
            Labels::Multi(states) => {
                let states = states.iter().map(|state| state.unwrap_or(UNKNOWN_STATE));
                self.labels.extend(states.map(i8::cast_unsigned));
            }
        }
        self.arrays.add(row)
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, Error> {
        let columns = self.columns();
        let Archive { arrays, folder, .. } = *self;
        let name = "tokens.npz".to_owned();
        let path = folder.join(&name);
        let arrays = arrays.finish()?;
        let pack = || -> io::Result<()> {
            let mut archive = ZipWriter::new(File::create(&path)?);
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .large_file(true);
            for array in arrays {
                archive.start_file(&*array, options)?;
                io::copy(&mut File::open(folder.join(&array))?, &mut archive)?;
                fs::remove_file(folder.join(&array))?;
            }
            for (name, content) in columns {
                archive.start_file(format!("{name}.npy"), options)?;
                archive.write_all(&content)?;
            }
            archive.finish()?;
            Ok(())
        };
        pack().map_err(Error::io(&path))?;
        Ok(vec![name])
    }
}

/// An array of texts, each in UTF-32, padded by zeros to the length of the longest.
fn texts(texts: &[String]) -> Vec<u8> {
    let longest = texts.iter().map(|text| text.chars().count()).max();
    let longest = longest.unwrap_or(0).max(1);
    let mut bytes = header(&format!("<U{longest}"), &[texts.len()]);
    for text in texts {
        let units = text.chars().map(u32::from);
        let units = units.chain(std::iter::repeat(0)).take(longest);
        bytes.extend(units.flat_map(u32::to_le_bytes));
    }
    bytes
}
