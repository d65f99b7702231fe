//! Files of embeddings by their format.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use common::files::entries;

use super::files::FileRows;
use super::hdf5::Hdf5;
use super::list_columns::{self, ListColumn};
use super::npy::{self, Npy};
use super::rows::Rows;
use super::torch::Torch;
use crate::Error;
use crate::dataset::files::{self, inner_path};
use crate::dataset::{TokenTable, TokenTableOptions};

/// Column of eva's manifest that names the files.
const EVA_FILES: &str = "embeddings";

/// Format of the files that are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An array of NumPy, `.npy`
    Npy,
    /// An archive of arrays of NumPy, `.npz`
    Npz,
    /// A column of lists in a Parquet file, with labels in other columns
    Parquet,
    /// An array in an HDF5 file
    Hdf5,
    /// A folder of HDF5 files, one for each sample, as TRIDENT writes it
    Trident,
    /// A folder of .pt files with `manifest.csv`, as eva writes it
    Eva,
}

impl Format {
    /// Name on the command line and in `meta.json`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Parquet => "parquet",
            Format::Hdf5 => "hdf5",
            Format::Trident => "trident",
            Format::Eva => "eva",
        }
    }

    /// The format that the name of a file tells, or the content of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Options`].
    fn of(path: &Path) -> Result<Format, Error> {
        if path.is_dir() && path.join("manifest.csv").is_file() {
            return Ok(Format::Eva);
        }
        if path.is_dir() && entries(path).iter().any(|file| is_h5(file)) {
            return Ok(Format::Trident);
        }
        let name = files::name(path).to_ascii_lowercase();
        let endings = [
            (".npy", Format::Npy),
            (".npz", Format::Npz),
            (".parquet", Format::Parquet),
            (".h5", Format::Hdf5),
            (".hdf5", Format::Hdf5),
        ];
        let found = endings.iter().find(|(ending, _)| name.ends_with(ending));
        found
            .map(|(_, format)| *format)
            .ok_or_else(|| Error::Options {
                found: format!("`{}`: its name does not tell its format", path.display()),
                hint: "name the format with `--from`".to_owned(),
            })
    }
}

/// What is imported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Option<Format>,
    /// Table of the rows, beside or in place of the one that the format has.
    pub(super) table: Option<&'a Path>,
    /// Name of the array of embeddings in the file.
    pub(super) array: Option<&'a str>,
    /// A file of patch tokens, or the name of their array in the file.
    pub(super) patches: Option<&'a str>,
}

/// Opened files of embeddings.
pub(super) struct Opened {
    pub(super) format: Format,
    /// One vector for each row; or patch tokens, if its rows have several.
    pub(super) tokens: Box<dyn Rows>,
    /// Patch tokens of the same rows.
    pub(super) patches: Option<Box<dyn Rows>>,
    /// All files of embeddings.
    pub(super) files: Vec<PathBuf>,
    /// Table of the rows.
    pub(super) table: Option<PathBuf>,
    /// Columns of the table that hold embeddings.
    pub(super) left_out: Vec<String>,
    /// Column of the table that names the file of each line.
    pub(super) file_column: Option<&'static str>,
    /// Relation of rows and lines of the table.
    pub(super) naming: Naming,
}

/// Relation of the rows of files and the lines of a table.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    /// A line for each row.
    Rows,
    /// A line for each of these samples, which have these numbers of rows.
    Samples(Vec<(String, u64)>),
    /// A line for each file, with these numbers of rows.
    Lines(Vec<u64>),
}

impl Opened {
    /// Opens what is asked for. Headers are read, and no tokens but those of `.pt` files.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the format is not known or an option does not fit it, and errors of its reader.
    pub(super) fn open(request: Request<'_>) -> Result<Opened, Error> {
        let path = request.path;
        let format = request.format.map_or_else(|| Format::of(path), Ok)?;
        check_options(format, request)?;
        match format {
            Format::Npy => npy_files(request),
            Format::Npz => archive(request),
            Format::Parquet => parquet(request),
            Format::Hdf5 => Ok(Opened {
                patches: match request.patches {
                    Some(name) => Some(Box::new(Hdf5::open(path, Some(name))?)),
                    None => None,
                },
                ..of_file(request, format, Box::new(Hdf5::open(path, request.array)?))
            }),
            Format::Trident => trident(request),
            Format::Eva => eva(request),
        }
    }
}

/// Refuses options that a format does not have.
fn check_options(format: Format, request: Request<'_>) -> Result<(), Error> {
    let has_names = !matches!(format, Format::Npy | Format::Eva);
    let has_patches = matches!(format, Format::Npy | Format::Npz | Format::Hdf5);
    let wrong = if request.array.is_some() && !has_names {
        "--array"
    } else if request.patches.is_some() && !has_patches {
        "--patches"
    } else {
        return Ok(());
    };
    Err(Error::Options {
        found: format!("`{wrong}` with the format `{}`", format.name()),
        hint: "leave it out: these files have no such arrays".to_owned(),
    })
}

/// One file without patch tokens, with a line of the table for each row.
fn of_file(request: Request<'_>, format: Format, tokens: Box<dyn Rows>) -> Opened {
    Opened {
        format,
        tokens,
        patches: None,
        files: vec![request.path.to_path_buf()],
        table: request.table.map(Path::to_path_buf),
        left_out: Vec::new(),
        file_column: None,
        naming: Naming::Rows,
    }
}

fn npy_files(request: Request<'_>) -> Result<Opened, Error> {
    let path = request.path;
    let patches = request.patches.map(Path::new);
    let patches = patches.map(|path| Ok::<_, Error>((path, Npy::open(path)?)));
    let mut opened = of_file(request, Format::Npy, Box::new(Npy::open(path)?));
    if let Some((path, patches)) = patches.transpose()? {
        opened.files.push(path.to_path_buf());
        opened.patches = Some(Box::new(patches));
    }
    Ok(opened)
}

fn archive(request: Request<'_>) -> Result<Opened, Error> {
    let path = request.path;
    let name = npy::array_name(path, request.array)?;
    let patches = match request.patches {
        Some(name) => Some(npy::array_name(path, Some(name))?),
        None => npy::patch_name(path)?.filter(|patches| *patches != name),
    };
    let open = |name: String| -> Result<Box<dyn Rows>, Error> {
        Ok(Box::new(Npy::in_archive(path, &name)?))
    };
    Ok(Opened {
        patches: patches.map(open).transpose()?,
        ..of_file(request, Format::Npz, open(name)?)
    })
}

fn parquet(request: Request<'_>) -> Result<Opened, Error> {
    let path = request.path;
    let column = ListColumn::open(path, request.array)?;
    let opened = of_file(request, Format::Parquet, Box::new(column));
    if request.table.is_some() {
        return Ok(opened);
    }
    Ok(Opened {
        table: Some(path.to_path_buf()),
        left_out: list_columns::names(path)?,
        ..opened
    })
}

fn trident(request: Request<'_>) -> Result<Opened, Error> {
    let mut files = entries(request.path);
    files.retain(|file| is_h5(file));
    if files.is_empty() {
        return Err(Error::Layout {
            path: request.path.to_path_buf(),
            found: "no `.h5` file".to_owned(),
            expected: "a file for each slide, with the array `features`".to_owned(),
            hint: "name the folder `features_ENCODER` that TRIDENT made".to_owned(),
        });
    }
    let name = request.array.unwrap_or("features").to_owned();
    let open = move |path: &Path| -> Result<Box<dyn Rows>, Error> {
        Ok(Box::new(Hdf5::open(path, Some(&name))?))
    };
    let rows = FileRows::of(files.clone(), Box::new(open))?;
    let stem = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    let naming = Naming::Samples(files.iter().map(stem).zip(rows.counts()).collect());
    Ok(Opened {
        files,
        naming,
        ..of_file(request, Format::Trident, Box::new(rows))
    })
}

fn eva(request: Request<'_>) -> Result<Opened, Error> {
    let folder = request.path;
    let manifest = request.table.map(Path::to_path_buf);
    let manifest = manifest.unwrap_or_else(|| folder.join("manifest.csv"));
    let options = TokenTableOptions {
        file_column: Some(EVA_FILES),
        ..TokenTableOptions::default()
    };
    let table = TokenTable::read(&manifest, options)?;
    let files = table.files().map(|name| {
        let below = inner_path(name).filter(|path| !path.as_os_str().is_empty());
        let path = below.map(|path| folder.join(path));
        path.ok_or_else(|| Error::Layout {
            path: manifest.clone(),
            found: format!("`{name}` in the column `{EVA_FILES}`"),
            expected: "a file in the folder of the manifest".to_owned(),
            hint: "name the folder that holds the files and the manifest".to_owned(),
        })
    });
    let files = files.collect::<Result<Vec<_>, Error>>()?;
    let open = |path: &Path| -> Result<Box<dyn Rows>, Error> { Ok(Box::new(Torch::open(path)?)) };
    let rows = FileRows::of(files.clone(), Box::new(open))?;
    let naming = Naming::Lines(rows.counts().collect());
    Ok(Opened {
        files,
        naming,
        table: Some(manifest),
        file_column: Some(EVA_FILES),
        ..of_file(request, Format::Eva, Box::new(rows))
    })
}

fn is_h5(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ending == "h5")
}
