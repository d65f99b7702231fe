//! Tensors in files of `torch.save`, read without running the pickle in them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use imaging::read::contained;
use pytorch_reader::{DType, PytorchReader};
use zip::ZipArchive;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::numbers::{Encoding, Kind};
use super::rows::{Rows, row_numbers};
use crate::Error;

/// Longest pickle of a file, in bytes: a tensor takes about 200.
const MOST_PICKLE: u64 = 4 << 20;

/// Greatest size of a file in bytes: all of it is read at once.
const MOST_BYTES: u64 = 1 << 30;

/// Rows of a file: of a tensor `[D]`, of a tensor `[N, D]`, or of a list of such.
pub(super) struct Torch {
    path: PathBuf,
    tensors: Vec<Loaded>,
    shape: Vec<usize>,
    count: u64,
    /// The tensor that rows are read from, and the next of its rows.
    at: usize,
    row: usize,
    next: u64,
}

/// A tensor in memory.
struct Loaded {
    kind: Kind,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Torch {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if it cannot be read, and [`Error::Layout`] if it holds
    /// anything but vectors of one width.
    pub(super) fn open(path: &Path) -> Result<Torch, Error> {
        let size = path.metadata().map_err(Error::io(path))?.len();
        if size > MOST_BYTES {
            let found = format!("{size} bytes");
            return Err(Error::too_large(path, found, format!("{MOST_BYTES} bytes")));
        }
        let read = contained(|| tensors(path));
        let tensors = read.unwrap_or_else(|| Err(Error::damaged(path, "its parser broke down")))?;
        let (mut width, mut count) = (None, 0);
        for tensor in &tensors {
            let (rows, own) = match tensor.shape[..] {
                [own] => (1, own),
                [rows, own] => (rows, own),
                _ => return Err(odd(path, &tensor.shape)),
            };
            if *width.get_or_insert(own) != own {
                return Err(odd(path, &tensor.shape));
            }
            count += rows as u64;
        }
        let width = width.ok_or_else(|| odd(path, &[]))?;
        row_numbers(path, None, &[width])?;
        Ok(Torch {
            path: path.to_path_buf(),
            tensors,
            shape: vec![width],
            count,
            at: 0,
            row: 0,
            next: 0,
        })
    }
}

impl Rows for Torch {
    fn count(&self) -> u64 {
        self.count
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn place(&self) -> (&Path, u64) {
        (&self.path, self.next)
    }

    fn read(&mut self, scale: f64, out: &mut Vec<f32>) -> Result<(), Error> {
        loop {
            let tensor = self.tensors.get(self.at).ok_or(Error::Broken)?;
            let size = self.shape[0] * tensor.kind.bytes();
            let start = self.row * size;
            let Some(row) = tensor.bytes.get(start..start + size) else {
                (self.at, self.row) = (self.at + 1, 0);
                continue;
            };
            let encoding = Encoding {
                kind: tensor.kind,
                is_big_endian: cfg!(target_endian = "big"),
            };
            encoding.decode(row, scale, out);
            self.row += 1;
            self.next += 1;
            return Ok(());
        }
    }
}

/// The tensors of a file, in the order of the list that they are in.
fn tensors(path: &Path) -> Result<Vec<Loaded>, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(path))?;
    let named = folder.path().join("named.pt");
    let is_wrapped = wrap(path, &named).map_err(|error| Error::damaged(path, error))?;
    let reader = PytorchReader::new(if is_wrapped { &named } else { path });
    let reader = reader.map_err(|error| Error::damaged(path, error))?;
    let mut tensors: Vec<(Vec<usize>, _)> = Vec::with_capacity(reader.len());
    for (name, tensor) in reader.into_tensors() {
        let places = name.split('.').filter_map(|part| part.parse().ok());
        tensors.push((places.collect(), tensor));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
    let loaded = tensors.into_iter().map(|(_, tensor)| {
        let kind = match tensor.dtype() {
            DType::F16 => Kind::F16,
            DType::BF16 => Kind::Bf16,
            DType::F32 => Kind::F32,
            DType::F64 => Kind::F64,
            _ => return Err(odd(path, tensor.shape())),
        };
        let bytes = tensor.read();
        Ok(Loaded {
            kind,
            shape: tensor.shape().to_vec(),
            bytes: bytes.map_err(|error| Error::damaged(path, error))?,
        })
    });
    loaded.collect()
}

/// Copies an archive of `torch.save` with the saved object as the only value of a dictionary: the reader takes
/// nothing else, and eva saves a list. False for files that are no such archive.
fn wrap(path: &Path, to: &Path) -> io::Result<bool> {
    let file = BufReader::new(File::open(path)?);
    let Ok(mut archive) = ZipArchive::new(file) else {
        return Ok(false);
    };
    let mut copy = ZipWriter::new(File::create(to)?);
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let name = entry.name().unwrap_or_default().into_owned();
        if !name.ends_with("/data.pkl") {
            drop(entry);
            copy.raw_copy_file(archive.by_index_raw(index)?)?;
            continue;
        }
        let mut pickle = Vec::new();
        entry.take(MOST_PICKLE).read_to_end(&mut pickle)?;
        copy.start_file(name, SimpleFileOptions::default())?;
        io::Write::write_all(&mut copy, &in_dictionary(&pickle))?;
    }
    copy.finish()?;
    Ok(true)
}

/// A pickle of `{"x": OBJECT}` from that of an object.
fn in_dictionary(pickle: &[u8]) -> Vec<u8> {
    const PROTOCOL: u8 = 0x80;
    let (protocol, object) = match pickle {
        [PROTOCOL, version, object @ ..] => ([PROTOCOL, *version], object),
        object => ([PROTOCOL, 2], object),
    };
    let object = object.strip_suffix(b".").unwrap_or(object);
    // An empty dictionary, the string "x", the object; then the item is set, and the pickle ends.
    [&protocol[..], b"}X\x01\x00\x00\x00x", object, b"s."].concat()
}

fn odd(path: &Path, shape: &[usize]) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: if shape.is_empty() {
            "no tensor".to_owned()
        } else {
            format!("a tensor of the shape {shape:?}")
        },
        expected: "floating-point vectors `[D]` or `[N, D]` of one width".to_owned(),
        hint: "masks and feature maps are not imported".to_owned(),
    }
}
