//! Arrays of NumPy: `.npy` files, and those in `.npz` archives.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use common::FileError;
use common::text::clipped;
use imaging::read::npz::{self, Entry};

use super::numbers::{Encoding, Kind};
use super::rows::{Rows, row_numbers, within};
use crate::Error;

/// Names of arrays of embeddings in archives, most specific first.
const NAMES: [&str; 9] = [
    "cls",
    "embeddings",
    "embedding",
    "features",
    "feats",
    "X",
    "x",
    "emb",
    "arr_0",
];

/// Names of arrays of patch tokens in archives.
pub(super) const PATCH_NAMES: [&str; 3] = ["patch", "patches", "patch_tokens"];

/// Bytes that are read from a file at once.
const BUFFER: usize = 1 << 20;

/// An array that is read from front to back.
pub(super) struct Npy {
    path: PathBuf,
    /// Name in the archive, if it is in one.
    name: Option<String>,
    shape: Vec<usize>,
    encoding: Encoding,
    input: Input,
    /// Bytes of a row.
    row_bytes: usize,
    bytes: Vec<u8>,
    next: u64,
}

enum Input {
    File(BufReader<File>),
    Archive(Entry),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::File(file) => file.read(buffer),
            Input::Archive(entry) => entry.read(buffer),
        }
    }
}

impl Npy {
    /// Opens an `.npy` file.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`] if the file is not as long as its header says, and [`Error::Layout`] if it holds
    /// anything but floating-point numbers in C order.
    pub(super) fn open(path: &Path) -> Result<Npy, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            let path = path.to_path_buf();
            return Err(FileError::NotRegular { path }.into());
        }
        let mut counted = Counted {
            input: BufReader::with_capacity(BUFFER, file),
            bytes: 0,
        };
        let text = npz::header_text(&mut counted).map_err(|why| Error::damaged(path, why))?;
        let Counted { input, bytes } = counted;
        let array = Npy::of(path, None, &text, Input::File(input))?;
        let (found, expected) = (metadata.len() - bytes.min(metadata.len()), array.size());
        if found == expected {
            return Ok(array);
        }
        let shape = &array.shape;
        Err(Error::damaged(
            path,
            format!("the header says {shape:?}, {expected} bytes, and {found} follow"),
        ))
    }

    /// Opens the array `name` of an archive.
    ///
    /// # Errors
    ///
    /// As [`open`](Npy::open).
    pub(super) fn in_archive(path: &Path, name: &str) -> Result<Npy, Error> {
        let mut entry = Entry::open(path, name)?;
        let text = npz::header_text(&mut entry)
            .map_err(|why| Error::damaged(path, format!("`{name}`: {why}")))?;
        let array = Npy::of(path, Some(name), &text, Input::Archive(entry))?;
        if let Input::Archive(entry) = &array.input {
            entry.check_size(path, name, (&array.shape, array.size()))?;
        }
        Ok(array)
    }

    fn of(path: &Path, name: Option<&str>, text: &str, input: Input) -> Result<Npy, Error> {
        let shape = npz::shape(text).ok_or_else(|| {
            let header = clipped(text.trim());
            Error::damaged(
                path,
                format!("no shape in the header `{header}`{}", within(name)),
            )
        })?;
        let encoding = encoding(path, name, text)?;
        if shape.len() < 2 {
            return Err(Error::Layout {
                path: path.to_path_buf(),
                found: format!("an array of the shape {shape:?}{}", within(name)),
                expected: "`[N, D]`, or patch tokens `[N, P, D]` or `[N, rows, columns, D]`".to_owned(),
                hint: "save it with an axis of images or slices in front: `np.save(path, np.atleast_2d(array))` if \
                       it is one vector"
                    .to_owned(),
            });
        }
        if text.contains("'fortran_order': True") && shape.len() > 1 {
            return Err(Error::Layout {
                path: path.to_path_buf(),
                found: format!("an array {shape:?} in Fortran order{}", within(name)),
                expected: "C order, in which a row is in one piece".to_owned(),
                hint: "save it again: `np.save(path, np.ascontiguousarray(array))`".to_owned(),
            });
        }
        let row_bytes = row_numbers(path, name, &shape[1..])? * encoding.kind.bytes();
        Ok(Npy {
            path: path.to_path_buf(),
            name: name.map(str::to_owned),
            shape,
            encoding,
            input,
            row_bytes,
            bytes: Vec::new(),
            next: 0,
        })
    }

    /// Bytes of all rows.
    fn size(&self) -> u64 {
        (self.shape[0] as u64).saturating_mul(self.row_bytes as u64)
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(
            &self.path,
            format!("{reason}{}", within(self.name.as_deref())),
        )
    }
}

impl Rows for Npy {
    fn count(&self) -> u64 {
        self.shape[0] as u64
    }

    fn shape(&self) -> &[usize] {
        &self.shape[1..]
    }

    fn place(&self) -> (&Path, u64) {
        (&self.path, self.next)
    }

    fn read(&mut self, scale: f64, out: &mut Vec<f32>) -> Result<(), Error> {
        self.bytes.clear();
        let wanted = self.row_bytes as u64;
        let mut row = (&mut self.input).take(wanted);
        // The memory grows with the bytes that are there.
        let read = row.read_to_end(&mut self.bytes);
        match read {
            Ok(found) if found == self.row_bytes => {}
            Ok(_) => return Err(self.damaged("it ends too early")),
            Err(error) => return Err(self.damaged(&error.to_string())),
        }
        self.next += 1;
        self.encoding.decode(&self.bytes, scale, out);
        let is_last = self.next == self.count();
        match &mut self.input {
            Input::Archive(entry) if is_last => {
                let end = entry.finish();
                end.map_err(|reason| self.damaged(&reason))
            }
            _ => Ok(()),
        }
    }
}

/// Counts the bytes that pass.
struct Counted<R> {
    input: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// The name of the array of embeddings in an archive.
///
/// # Errors
///
/// As [`one_of`].
pub(super) fn array_name(path: &Path, wanted: Option<&str>) -> Result<String, Error> {
    one_of(path, &npz::names(path)?, wanted)
}

/// The name of the array of embeddings among `names`: `wanted`, else a usual one, else the only one.
///
/// # Errors
///
/// [`Error::Layout`] if there is none, or several could be meant.
pub(super) fn one_of(path: &Path, names: &[String], wanted: Option<&str>) -> Result<String, Error> {
    let is_there = |name: &str| names.iter().any(|known| known == name);
    let usual = || NAMES.into_iter().find(|name| is_there(name));
    let name = match (wanted, names) {
        (Some(wanted), _) => Some(wanted).filter(|name| is_there(name)),
        (None, [only]) => Some(only.as_str()),
        (None, _) => usual(),
    };
    name.map(str::to_owned).ok_or_else(|| Error::Layout {
        path: path.to_path_buf(),
        found: format!("the arrays `{}`", names.join("`, `")),
        expected: wanted.map_or_else(
            || format!("one named `{}`", NAMES.join("`, `")),
            |name| format!("one named `{name}`"),
        ),
        hint: "name the array of embeddings with `--array`".to_owned(),
    })
}

/// The name of the array of patch tokens in an archive, if there is a usual one.
pub(super) fn patch_name(path: &Path) -> Result<Option<String>, Error> {
    let names = npz::names(path)?;
    let mut usual = PATCH_NAMES.iter();
    let usual = usual.find(|name| names.iter().any(|known| known == **name));
    Ok(usual.map(|name| (*name).to_owned()))
}

/// The type of the numbers, from the header.
fn encoding(path: &Path, name: Option<&str>, text: &str) -> Result<Encoding, Error> {
    let after = text.split_once("'descr':").map(|(_, after)| after.trim());
    let word = after.and_then(|after| after.strip_prefix('\''));
    let word = word.and_then(|after| after.split_once('\''));
    let word = word.map_or("", |(word, _)| word);
    if word.contains('O') {
        return Err(Error::Layout {
            path: path.to_path_buf(),
            found: format!(
                "Python objects (a pickle){}, which are not read",
                within(name)
            ),
            expected: "an array of numbers".to_owned(),
            hint: "save it again: `np.save(path, np.stack(list_of_vectors).astype(np.float32))`"
                .to_owned(),
        });
    }
    let kind = match word.trim_start_matches(['<', '>', '=', '|']) {
        "f2" => Kind::F16,
        "f4" => Kind::F32,
        "f8" => Kind::F64,
        "bfloat16" => Kind::Bf16,
        _ => {
            return Err(refused(
                path,
                name,
                &format!("numbers of the type `{}`", clipped(word)),
            ));
        }
    };
    Ok(Encoding {
        kind,
        is_big_endian: word.starts_with('>'),
    })
}

fn refused(path: &Path, name: Option<&str>, found: &str) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: format!("{found}{}", within(name)),
        expected: "an array of float16, float32 or float64".to_owned(),
        hint: "save it again: `np.save(path, array.astype(np.float32))`".to_owned(),
    }
}
