//! `dataset.json` of nnU-Net 1 and 2 and of the Medical Segmentation Decathlon.
//!
//! Keys are matched by hand instead of deriving `Deserialize`: each key has two or three shapes, and the
//! error of an untagged enum names neither the key nor the value that is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cache::MaskClass;
use common::FileError;
use serde_json::{Map, Value};

use super::PARTS;
use crate::Error;
use crate::dataset::files::{inner_path, refuse_failed_download, refuse_link_out};
use crate::dataset::image_extension;

/// Name of the file in the dataset's folder.
pub(super) const FILE: &str = "dataset.json";

/// Largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// The used keys of the file; all blank if there is no file.
#[derive(Debug, Default)]
pub(in crate::dataset) struct Description {
    /// The channels' names by their numbers.
    pub(super) channels: BTreeMap<u32, String>,
    /// Names of the values in label maps, without background (0).
    pub(super) mask_classes: Vec<MaskClass>,
    /// Values of pixels in label maps that are not annotated.
    pub(super) ignored_values: Vec<u16>,
    /// Listed cases of each of [`PARTS`]; blank for a part without a list.
    pub(super) lists: [Vec<Listed>; 3],
    /// Warnings for the user.
    pub(super) warnings: Vec<String>,
}

/// A case in a list.
#[derive(Debug)]
pub(super) struct Listed {
    /// Name of the case, if it is not that of the image.
    pub(super) case: Option<String>,
    /// The image, or one for each channel.
    pub(super) images: Vec<PathBuf>,
    pub(super) label: Option<PathBuf>,
}

impl Description {
    /// Reads `dataset.json` in `root`, if there is one.
    ///
    /// Unknown and missing keys are fine.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`], [`FileError::Empty`] or [`FileError::WebPage`] if it is no JSON,
    /// [`Error::LinkOutside`], [`FileError::TooLarge`], and [`Error::Layout`] if the value of a used key
    /// has another type.
    pub(in crate::dataset) fn read(root: &Path) -> Result<Description, Error> {
        let path = root.join(FILE);
        if !path.exists() {
            return Ok(Description::default());
        }
        let json = Json {
            fields: fields(root)?,
            path,
        };
        json.check_ending()?;
        let mut warnings = Vec::new();
        let (mask_classes, ignored_values) = json.labels(&mut warnings)?;
        Ok(Description {
            channels: json.channels()?,
            mask_classes,
            ignored_values,
            lists: json.lists()?,
            warnings,
        })
    }

    /// The description without lists, so that cases are those in the folders.
    pub(in crate::dataset) fn without_lists(self) -> Description {
        let lists = Default::default();
        Description { lists, ..self }
    }
}

/// The key `name` of `dataset.json` in `root`; `None` if it cannot be read.
pub(super) fn name_in(root: &Path) -> Option<String> {
    let fields = fields(root).ok()?;
    Some(fields.get("name")?.as_str()?.trim().to_owned())
}

fn fields(root: &Path) -> Result<Map<String, Value>, Error> {
    let path = &root.join(FILE);
    refuse_link_out(root, path)?;
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    let size = metadata.len();
    if !metadata.is_file() {
        let path = path.to_path_buf();
        return Err(FileError::NotRegular { path }.into());
    }
    if size > MAX_BYTES {
        return Err(Error::too_large(
            path,
            format!("{size} bytes of JSON"),
            format!("{MAX_BYTES} bytes"),
        ));
    }
    let text = fs::read(path).map_err(Error::io(path))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    refuse_failed_download(path, text)?;
    serde_json::from_slice(text).map_err(|error| {
        if error.is_eof() {
            Error::damaged(path, format!("the download is not whole: {error}"))
        } else {
            Error::damaged(path, format!("it is no JSON object: {error}"))
        }
    })
}

struct Json {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Json {
    fn wrong(&self, found: String, expected: &str, hint: &str) -> Error {
        Error::Layout {
            path: self.path.clone(),
            found,
            expected: expected.to_owned(),
            hint: hint.to_owned(),
        }
    }

    fn bad_key(&self, key: &str, value: &Value, expected: &str) -> Error {
        let mut found: String = value.to_string().chars().take(60).collect();
        found.insert_str(0, &format!("`{key}` as `"));
        found.push('`');
        self.wrong(found, expected, "correct the file")
    }

    fn check_ending(&self) -> Result<(), Error> {
        let Some(ending) = self.fields.get("file_ending").and_then(Value::as_str) else {
            return Ok(());
        };
        if image_extension(ending) == Some(ending.to_ascii_lowercase().as_str()) {
            Ok(())
        } else {
            Err(self.wrong(
                format!("the `file_ending` `{ending}`"),
                "`.nii.gz`, `.nii`, `.png` or `.tif`",
                "convert the images and label maps, for instance with SimpleITK",
            ))
        }
    }

    /// `channel_names` or `modality`: `{"0": "CT"}`, or a list.
    fn channels(&self) -> Result<BTreeMap<u32, String>, Error> {
        let found = ["channel_names", "modality"]
            .into_iter()
            .find_map(|key| Some((key, self.fields.get(key)?)));
        let Some((key, value)) = found else {
            return Ok(BTreeMap::new());
        };
        let wrong = || {
            self.bad_key(
                key,
                value,
                "names by number, for instance `{\"0\": \"CT\"}`",
            )
        };
        match value {
            Value::Object(names) => names
                .iter()
                .map(|(number, name)| Ok((number.trim().parse().map_err(|_| wrong())?, text(name))))
                .collect(),
            Value::Array(names) => Ok((0..).zip(names.iter().map(text)).collect()),
            Value::Null => Ok(BTreeMap::new()),
            _ => Err(wrong()),
        }
    }

    /// `labels`: `{"1": "liver"}` (value to name) or `{"liver": 1}` (name to value or values).
    ///
    /// Gives the classes and the values named `ignore`. Regions (several values under one name) are not
    /// classes.
    fn labels(&self, warnings: &mut Vec<String>) -> Result<(Vec<MaskClass>, Vec<u16>), Error> {
        let labels = match self.fields.get("labels") {
            None | Some(Value::Null) => return Ok(Default::default()),
            Some(Value::Object(labels)) => labels,
            Some(other) => {
                let expected = "names by value, for instance `{\"1\": \"liver\"}`";
                return Err(self.bad_key("labels", other, expected));
            }
        };
        let (mut names, mut ignored) = (BTreeMap::new(), Vec::new());
        let mut regions = Vec::new();
        for (key, value) in labels {
            let (values, name) = self.label(key, value)?;
            match values[..] {
                [value] if name == "ignore" => {
                    ignored.push(value);
                    warnings.push(format!(
                        "pixels labelled `ignore` ({value}) are excluded from training and measurement"
                    ));
                }
                [value] => self.add_name(&mut names, value, name)?,
                _ => regions.push((name, values)),
            }
        }
        if !regions.is_empty() {
            name_the_rest(&mut names, &regions);
            warnings.push(about(&regions));
        }
        let classes = names.into_iter().filter(|(value, _)| *value != 0);
        let classes = classes.map(|(value, name)| MaskClass { value, name });
        Ok((classes.collect(), ignored))
    }

    /// The values and the name of an entry of `labels`.
    fn label(&self, key: &str, value: &Value) -> Result<(Vec<u16>, String), Error> {
        let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
        let label = match value {
            Value::String(name) => key.trim().parse().ok().map(|n| (vec![n], name.clone())),
            Value::Array(values) => {
                let values: Option<Vec<u16>> = values.iter().map(number).collect();
                let values = values.filter(|values| !values.is_empty());
                values.map(|values| (values, key.to_owned()))
            }
            value => number(value).map(|n| (vec![n], key.to_owned())),
        };
        label.ok_or_else(|| {
            let expected = "a name for a value in 0..=65535, or a value for a name";
            self.bad_key(&format!("labels.{key}"), value, expected)
        })
    }

    fn add_name(
        &self,
        names: &mut BTreeMap<u16, String>,
        value: u16,
        name: String,
    ) -> Result<(), Error> {
        match names.insert(value, name) {
            None => Ok(()),
            Some(_) => Err(self.wrong(
                format!("two names for the value {value}"),
                "each value in `labels` once",
                "correct the file",
            )),
        }
    }

    fn lists(&self) -> Result<[Vec<Listed>; 3], Error> {
        let mut lists: [Vec<Listed>; 3] = Default::default();
        for (list, part) in lists.iter_mut().zip(&PARTS) {
            match self.fields.get(part.key) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(entries)) => {
                    let entries = entries.iter();
                    let entries = entries.map(|entry| self.listed(part.key, None, entry));
                    *list = entries.collect::<Result<_, _>>()?;
                }
                Some(other) => return Err(self.bad_key(part.key, other, "a list of cases")),
            }
        }
        if let Some(Value::Object(cases)) = self.fields.get("dataset") {
            let entries = cases.iter();
            let entries = entries.map(|(case, entry)| self.listed("dataset", Some(case), entry));
            lists[0] = entries.collect::<Result<_, _>>()?;
        }
        Ok(lists)
    }

    /// `"a.nii.gz"`, `{"image": "a.nii.gz", "label": "b.nii.gz"}` or
    /// `{"images": ["a.nii.gz"], "label": "b.nii.gz"}`.
    fn listed(&self, key: &str, case: Option<&String>, entry: &Value) -> Result<Listed, Error> {
        let wrong = || self.bad_key(key, entry, "`{\"image\": PATH, \"label\": PATH}` or a path");
        let image = entry.get("image").or(entry.get("images")).unwrap_or(entry);
        let images = match image {
            Value::Array(images) if !images.is_empty() => images.iter().collect(),
            image => vec![image],
        };
        let images = images.into_iter().map(|image| image.as_str());
        let images: Option<Vec<&str>> = images.collect();
        let images = images.ok_or_else(wrong)?.into_iter();
        let label = match entry.get("label") {
            None | Some(Value::Null) => None,
            Some(label) => Some(self.inner_path(label.as_str().ok_or_else(wrong)?)?),
        };
        Ok(Listed {
            case: case.cloned(),
            images: images
                .map(|path| self.inner_path(path))
                .collect::<Result<_, _>>()?,
            label,
        })
    }

    fn inner_path(&self, path: &str) -> Result<PathBuf, Error> {
        inner_path(path).ok_or_else(|| {
            self.wrong(
                format!("the path `{path}`"),
                "paths below the folder of `dataset.json`, relative to it",
                "copy the files there and correct the path",
            )
        })
    }
}

/// Names the values that only regions have.
fn name_the_rest(names: &mut BTreeMap<u16, String>, regions: &[(String, Vec<u16>)]) {
    for value in regions.iter().flat_map(|(_, values)| values) {
        names
            .entry(*value)
            .or_insert_with(|| format!("label {value}"));
    }
}

fn about(regions: &[(String, Vec<u16>)]) -> String {
    let sum = |(name, values): &(String, Vec<u16>)| {
        let values: Vec<String> = values.iter().map(u16::to_string).collect();
        format!("`{name}` = {}", values.join(" + "))
    };
    let sums: Vec<String> = regions.iter().map(sum).collect();
    format!(
        "label maps keep their values; regions are not classes: {}",
        sums.join(", ")
    )
}

fn text(value: &Value) -> String {
    value.as_str().map_or(value.to_string(), str::to_owned)
}
