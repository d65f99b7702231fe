//! Shards of WebDataset: archives with a few files for each row.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use cache::{Labels, SliceMeta, Split};
use common::Picture;
use image::{GrayImage, ImageFormat};
use serde_json::{Value, json};
use tar::{Builder, Header};

use super::npy::{halves, header};
use super::{Common, Row, Sink};
use crate::Error;

/// Approximate size of a shard in bytes.
const SHARD_BYTES: u64 = 1 << 30;

/// Most rows of a shard.
const SHARD_ROWS: u64 = 10_000;

/// Shards in the making.
pub(super) struct Shards {
    folder: PathBuf,
    classes: Vec<String>,
    patch: Option<[usize; 3]>,
    /// Names of the shards so far.
    names: Vec<String>,
    shard: Option<Builder<BufWriter<File>>>,
    rows: u64,
    bytes: u64,
}

impl Shards {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Shards, Error> {
        Ok(Shards {
            folder: folder.to_path_buf(),
            classes: common.meta.classes.clone(),
            patch: common.patch,
            names: Vec::new(),
            shard: None,
            rows: 0,
            bytes: 0,
        })
    }

    /// The file of the shard that is written.
    fn path(&self) -> PathBuf {
        let name = self.names.last().map_or("", String::as_str);
        self.folder.join(name)
    }

    /// Ends a shard that is full, and begins the next.
    fn turn(&mut self) -> Result<(), Error> {
        if self.shard.is_some() && self.rows < SHARD_ROWS && self.bytes < SHARD_BYTES {
            return Ok(());
        }
        self.close()?;
        self.names
            .push(format!("shard-{:06}.tar", self.names.len()));
        (self.rows, self.bytes) = (0, 0);
        let path = self.path();
        let file = File::create(&path).map_err(Error::io(&path))?;
        self.shard = Some(Builder::new(BufWriter::with_capacity(1 << 20, file)));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(shard) = self.shard.take() else {
            return Ok(());
        };
        let written = shard.into_inner().and_then(|mut file| file.flush());
        written.map_err(Error::io(&self.path()))
    }

    fn append(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = self.path();
        let shard = self.shard.as_mut().ok_or(Error::Broken)?;
        let written = shard.append_data(&mut header, name, content);
        self.bytes += content.len() as u64;
        written.map_err(Error::io(&path))
    }
}

impl Sink for Shards {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        self.turn()?;
        let key = format!("{:09}", row.number);
        let about = about(row.slice, &self.classes).to_string();
        let cls = [header("<f2", &[row.cls.len()]), halves(row.cls)].concat();
        self.append(&format!("{key}.json"), about.as_bytes())?;
        self.append(&format!("{key}.cls.npy"), &cls)?;
        if let (Some(patch), Some(shape)) = (row.patch, self.patch) {
            let patch = [header("<f2", &shape), halves(patch)].concat();
            self.append(&format!("{key}.patch.npy"), &patch)?;
        }
        if let Some(picture) = row.picture {
            let png = png(picture).map_err(Error::io(&self.path()))?;
            self.append(&format!("{key}.png"), &png)?;
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Error> {
        self.close()?;
        Ok(self.names)
    }
}

/// What is known of a row.
fn about(slice: &SliceMeta, classes: &[String]) -> Value {
    let mut about = json!({
        "sample": slice.sample,
        "image": slice.image,
        "slice": slice.slice,
        "patient": slice.patient,
        "split": slice.split.map(Split::name),
    });
    match &slice.labels {
        Labels::Unlabelled => {}
        Labels::Single(class) => {
            about["label"] = json!(class);
            about["class"] = json!(class.and_then(|class| classes.get(class as usize)));
        }
        Labels::Multi(states) => {
            let states = classes
                .iter()
                .cloned()
                .zip(states.iter().map(|state| json!(state)));
            about["labels"] = Value::Object(states.collect());
        }
    }
    about
}

fn png(picture: &Picture) -> io::Result<Vec<u8>> {
    let (height, width) = picture.dim();
    let pixels = picture.iter().copied().collect();
    let image = GrayImage::from_raw(width as u32, height as u32, pixels);
    let image = image.ok_or_else(|| io::Error::other("no pixels"))?;
    let mut bytes = Cursor::new(Vec::new());
    let written = image.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(io::Error::other)?;
    Ok(bytes.into_inner())
}
