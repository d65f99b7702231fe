//! An HDF5 file, and a folder of them as TRIDENT has.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cache::{SliceMeta, Split, Task};
use common::disk::size;
use hdf5_pure::{Datatype, DatatypeByteOrder, FileBuilder, FloatingPointLayout};

use super::npy::halves;
use super::table::quoted;
use super::{Common, Row, Sink, class_of};
use crate::Error;

/// Most bytes of numbers of a file, which is made in memory.
const MOST_BYTES: u64 = 4 << 30;

/// Longest name of a file made of that of a sample, in characters.
const MOST_NAME: usize = 100;

/// `tokens.h5` in the making: `cls`, and `patch` if there are patch tokens.
pub(super) struct OneFile {
    path: PathBuf,
    rows: usize,
    width: usize,
    patch: Option<[usize; 3]>,
    cls: Vec<u8>,
    patches: Vec<u8>,
}

impl OneFile {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<OneFile, Error> {
        let patch = common.patch.map_or(0, |shape| shape.iter().product());
        let bytes = 2 * common.rows * (common.width + patch) as u64;
        if bytes > MOST_BYTES {
            return Err(Error::Options {
                found: format!("`--to hdf5` of {} of numbers", size(bytes)),
                hint: format!(
                    "files of at most {} are written: choose `--to npy` or `--to webdataset`",
                    size(MOST_BYTES)
                ),
            });
        }
        Ok(OneFile {
            path: folder.join("tokens.h5"),
            rows: common.rows as usize,
            width: common.width,
            patch: common.patch,
            cls: Vec::new(),
            patches: Vec::new(),
        })
    }
}

impl Sink for OneFile {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        self.cls.extend(halves(row.cls));
        self.patches
            .extend(row.patch.map(halves).unwrap_or_default());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, Error> {
        let mut file = FileBuilder::new();
        array(&mut file, "cls", self.cls, &[self.rows, self.width]);
        if let Some([height, width, numbers]) = self.patch {
            array(
                &mut file,
                "patch",
                self.patches,
                &[self.rows, height, width, numbers],
            );
        }
        let written = file.write(&self.path);
        written.map_err(|error| refused(&self.path, &error))?;
        Ok(vec!["tokens.h5".to_owned()])
    }
}

/// Files of TRIDENT in the making: one for each sample, with the array `features` `[n, D]`, and `coords` `[n, 2]` with
/// the number of the slice and 0; and `slides.csv`.
pub(super) struct Slides {
    folder: PathBuf,
    table: BufWriter<File>,
    task: Task,
    classes: Vec<String>,
    width: usize,
    names: HashSet<String>,
    /// The sample that is collected, and its rows.
    sample: Option<SliceMeta>,
    numbers: Vec<f32>,
    slices: Vec<i64>,
}

impl Slides {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Slides, Error> {
        if common.patch.is_some() {
            return Err(Error::Options {
                found: "`--patches` with `--to trident`, whose files hold a vector for each row"
                    .to_owned(),
                hint: "leave it out, or choose another format".to_owned(),
            });
        }
        let path = folder.join("slides.csv");
        let mut table = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
        writeln!(table, "slide_id,case_id,label,split").map_err(Error::io(&path))?;
        let features = folder.join("features");
        fs::create_dir_all(&features).map_err(Error::io(&features))?;
        Ok(Slides {
            folder: folder.to_path_buf(),
            table,
            task: common.meta.task,
            classes: common.meta.classes.clone(),
            width: common.width,
            names: HashSet::new(),
            sample: None,
            numbers: Vec::new(),
            slices: Vec::new(),
        })
    }

    /// Writes the sample that was collected.
    fn flush(&mut self) -> Result<(), Error> {
        let Some(slice) = self.sample.take() else {
            return Ok(());
        };
        let name = self.name(&slice.sample);
        let path = self.folder.join("features").join(format!("{name}.h5"));
        let mut file = FileBuilder::new();
        let rows = self.slices.len();
        let numbers = std::mem::take(&mut self.numbers);
        let coords = std::mem::take(&mut self.slices);
        let coords: Vec<i64> = coords.into_iter().flat_map(|slice| [slice, 0]).collect();
        let shape = [rows as u64, self.width as u64];
        file.create_dataset("features")
            .with_f32_data(&numbers)
            .with_shape(&shape);
        let coordinates = file.create_dataset("coords");
        coordinates
            .with_i64_data(&coords)
            .with_shape(&[rows as u64, 2]);
        file.write(&path).map_err(|error| refused(&path, &error))?;
        let class = match self.task {
            Task::Unlabelled => None,
            task => class_of(&slice, task, "trident")?,
        };
        let class = class.and_then(|class| self.classes.get(class as usize));
        let cells = [
            name.as_str(),
            slice.patient.as_deref().unwrap_or_default(),
            class.map_or("", String::as_str),
            slice.split.map_or("", Split::name),
        ];
        let written = writeln!(self.table, "{}", cells.map(quoted).join(","));
        written.map_err(Error::io(&self.folder))
    }

    /// A name for the file of a sample that no other has.
    fn name(&mut self, sample: &str) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = sample.chars().map(plain).take(MOST_NAME).collect();
        let others = (1..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.clone()).chain(others);
        let names = names.find(|name| self.names.insert(name.clone()));
        names.unwrap_or(name)
    }
}

impl Sink for Slides {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let slice = row.slice;
        match &self.sample {
            Some(first) if first.sample == slice.sample => {
                if first.labels != slice.labels {
                    return Err(Error::Options {
                        found: format!(
                            "`--to trident` of a cache in which slices of `{}` have different labels",
                            slice.sample
                        ),
                        hint: "choose another format: a file of TRIDENT has one label".to_owned(),
                    });
                }
            }
            _ => {
                self.flush()?;
                self.sample = Some(slice.clone());
            }
        }
        self.numbers.extend(row.cls);
        self.slices.push(slice.slice.into());
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Error> {
        self.flush()?;
        self.table.flush().map_err(Error::io(&self.folder))?;
        Ok(vec!["features".to_owned(), "slides.csv".to_owned()])
    }
}

/// Adds an array of half precision to a file.
fn array(file: &mut FileBuilder, name: &str, bytes: Vec<u8>, shape: &[usize]) {
    let half = Datatype::FloatingPoint {
        size: 2,
        byte_order: DatatypeByteOrder::LittleEndian,
        layout: FloatingPointLayout {
            bit_offset: 0,
            bit_precision: 16,
            exponent_location: 10,
            exponent_size: 5,
            mantissa_location: 0,
            mantissa_size: 10,
            exponent_bias: 15,
        },
    };
    let shape: Vec<u64> = shape.iter().map(|side| *side as u64).collect();
    let count = shape.iter().product();
    let array = file.create_dataset(name);
    array.with_raw_data(half, bytes, count).with_shape(&shape);
}

fn refused(path: &Path, error: &hdf5_pure::Error) -> Error {
    Error::io(path)(std::io::Error::other(error.to_string()))
}
