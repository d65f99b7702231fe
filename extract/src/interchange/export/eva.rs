//! A `.pt` file for each row and a manifest, as eva's writer makes them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cache::{Split, Task};

use super::pt::list_of_vector;
use super::table::quoted;
use super::{Common, Row, Sink, class_of};
use crate::Error;

/// Rows of which a folder holds the files.
const FOLDER_ROWS: u64 = 10_000;

/// Files and manifest in the making.
pub(super) struct Files {
    folder: PathBuf,
    manifest: BufWriter<File>,
    task: Task,
}

impl Files {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Files, Error> {
        if common.patch.is_some() {
            return Err(Error::Options {
                found: "`--patches` with `--to eva`, whose files hold a vector each".to_owned(),
                hint: "leave it out, or choose another format".to_owned(),
            });
        }
        let path = folder.join("manifest.csv");
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut manifest = BufWriter::new(file);
        writeln!(manifest, "origin,embeddings,target,split,wsi_id,patient")
            .map_err(Error::io(&path))?;
        Ok(Files {
            folder: folder.to_path_buf(),
            manifest,
            task: common.meta.task,
        })
    }
}

impl Sink for Files {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let slice = row.slice;
        let class = class_of(slice, self.task, "eva")?;
        let below = format!("embeddings/{:04}", row.number / FOLDER_ROWS);
        let name = format!("{below}/{:09}.pt", row.number);
        let path = self.folder.join(&name);
        if row.number.is_multiple_of(FOLDER_ROWS) {
            let below = self.folder.join(below);
            fs::create_dir_all(&below).map_err(Error::io(&below))?;
        }
        let bytes = list_of_vector(row.cls).and_then(|bytes| fs::write(&path, bytes));
        bytes.map_err(Error::io(&path))?;
        let target = class.map_or(String::new(), |class| class.to_string());
        let split = slice.split.map_or("", Split::name);
        let patient = slice.patient.as_deref().unwrap_or_default();
        let cells = [&slice.image, &*name, &target, split, &slice.sample, patient].map(quoted);
        let written = writeln!(self.manifest, "{}", cells.join(","));
        written.map_err(Error::io(&self.folder))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Error> {
        self.manifest.flush().map_err(Error::io(&self.folder))?;
        Ok(vec!["manifest.csv".to_owned()])
    }
}
