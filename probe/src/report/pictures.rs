//! Pictures in the page: those that records name, and slices of caches.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cache::{CacheReader, SliceMeta};
use image::{GrayImage, ImageFormat, Luma};
use maud::{Markup, html};
use serde_json::Value;

use super::cells::{decoder, task};
use super::read::{Study, backbone};
use super::render::html as render;
use crate::examples::Case;
use crate::picture::Upright;
use crate::record::RunRecord;

/// Largest file of a picture that is put into a page, in bytes.
const LARGEST: u64 = 4 << 20;
/// Most memory of a decoded picture, in bytes.
const MOST_DECODED: u64 = 256 << 20;
/// Pictures of a record in a page; others stay files.
const MOST: usize = 12;
/// What a PNG begins with.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A picture as the source of an `<img>`.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// `data:image/png;base64,…`, or the same of an SVG.
    pub(super) data: String,
    /// Width and height in pixels, of a PNG.
    pub(super) size: Option<[u32; 2]>,
}

/// A picture with its title, if its file has a name for people.
type Titled = (Option<String>, Source);

/// Pictures of records that are no results: components, neighbours and maps. `None` without any.
pub(super) fn of_others(study: &Study, complaints: &mut Vec<String>) -> Option<Markup> {
    let mut others = study.others().filter(|record| !record.pictures.is_empty());
    others.clone().next()?;
    Some(of_records(study, &mut others, complaints))
}

/// Overlays and other pictures of some records, by record.
pub(super) fn of_records<'a>(
    study: &Study,
    records: impl Iterator<Item = &'a RunRecord>,
    complaints: &mut Vec<String>,
) -> Markup {
    let records = records.filter(|record| !record.pictures.is_empty());
    let found: Vec<(&RunRecord, Vec<Titled>)> = records
        .map(|record| (record, of_record(study, record, complaints)))
        .filter(|(_, pictures)| !pictures.is_empty())
        .collect();
    html! {
        @for (record, pictures) in found {
            figure .pictures {
                figcaption { b { (render::shown(&title(record))) } " " (render::shown(&about(record))) }
                @for (name, picture) in pictures {
                    div {
                        img src=(picture.data) width=[picture.size.map(|[width, _]| width)] height=[picture.size.map(|[_, height]| height)] alt={ (render::shown(&alternative(record, &name))) };
                        @if let Some(name) = &name { small { (render::shown(name)) } }
                    }
                }
            }
        }
    }
}

/// What the pictures of a record show: `Nearest neighbours: dinov2-s14@224 on brain`.
fn title(record: &RunRecord) -> String {
    let what = match record.probe.as_str() {
        "segment" => format!(
            "Figure 6 of the study: overlays, {} decoder",
            decoder(record).unwrap_or("linear")
        ),
        "pca" => "Figure 2 of the study: principal components of patch tokens".into(),
        "nearest" => "Nearest neighbours".into(),
        "map" => "Map of embeddings".into(),
        other => format!("Pictures of {other}"),
    };
    format!("{what}: {} on {}", backbone(record), task(record))
}
/// How the pictures of a record are read: layer and images of components, settings of others.
fn about(record: &RunRecord) -> String {
    match record.probe.as_str() {
        "segment" => format!(
            "Image, truth and prediction ({}, protocol {}).",
            record.setting, record.protocol
        ),
        "pca" => {
            let layer = record.params.get("layer").and_then(Value::as_u64);
            let layer = match layer {
                Some(1) | None => "the last block".to_owned(),
                Some(layer) => format!("block {layer} from the end"),
            };
            let images = record.params.get("images").and_then(Value::as_array);
            let images = images.into_iter().flatten().filter_map(Value::as_str);
            format!(
                "Tokens of {layer}; three components as red, green and blue, patches of the background in black. Images, line by line: {}.",
                images.collect::<Vec<_>>().join(", ")
            )
        }
        "map" => format!(
            "{}. Points are examples, near to others with similar tokens.",
            record.setting
        ),
        _ => format!("{}.", record.setting),
    }
}

/// The text of a picture for those who do not see it.
fn alternative(record: &RunRecord, name: &Option<String>) -> String {
    match name {
        Some(name) => format!("{name}: {}", title(record)),
        None => title(record),
    }
}

/// PNG and SVG files that a record names, below the folder of records. An SVG in an `<img>` runs no scripts.
fn of_record(study: &Study, record: &RunRecord, complaints: &mut Vec<String>) -> Vec<Titled> {
    let omitted = record.pictures.len().saturating_sub(MOST);
    if omitted > 0 {
        complaints.push(format!(
            "{}: {omitted} pictures are not in the page, which has {MOST} of a record",
            record.name
        ));
    }
    let mut found = Vec::new();
    // Pictures of a map are in the order of its columns.
    let colours = record.params.get("colours").and_then(Value::as_array);
    let colours = colours.filter(|of| of.len() == record.pictures.len());
    for (at, name) in record.pictures.iter().enumerate().take(MOST) {
        let path = study.file(Some(name));
        let read = path.ok_or_else(|| "there is no such file below the folder of records".into());
        match read.and_then(|path| file(&path)) {
            Ok(source) => {
                let stem = Path::new(name).file_stem().unwrap_or_default();
                let colour = colours.and_then(|of| of[at].as_str());
                let title = match colour {
                    Some(colour) => Some(format!("coloured by {colour}")),
                    // The name of the file is a hash.
                    None if record.probe == "pca" => None,
                    None => Some(stem.to_string_lossy().into_owned()),
                };
                found.push((title, source));
            }
            Err(reason) => complaints.push(format!("{}: picture `{name}`: {reason}", record.name)),
        }
    }
    found
}

fn file(path: &Path) -> Result<Source, String> {
    let size = path.metadata().map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("{size} bytes, more than {LARGEST}"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.trim_ascii_start().starts_with(b"<svg") {
        if !bytes.trim_ascii_end().ends_with(b"</svg>") {
            return Err("the SVG has no end".into());
        }
        return Ok(Source {
            data: format!(
                "data:image/svg+xml;base64,{}",
                BASE64_STANDARD.encode(&bytes)
            ),
            size: None,
        });
    }
    if !bytes.starts_with(PNG) {
        return Err("it is neither PNG nor SVG".into());
    }
    // A browser shows a damaged picture in part, or not at all, and says nothing.
    let mut reader = image::ImageReader::with_format(Cursor::new(&bytes), ImageFormat::Png);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MOST_DECODED);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| error.to_string())?;
    Ok(source(&bytes, picture.width(), picture.height()))
}

fn source(png: &[u8], width: u32, height: u32) -> Source {
    Source {
        data: format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)),
        size: Some([width, height]),
    }
}

/// Pictures of the slices of a cache.
pub(super) struct CachePictures {
    reader: CacheReader,
    slices: Vec<SliceMeta>,
    /// Rows by sample, views left out.
    rows: HashMap<String, Vec<usize>>,
}

impl CachePictures {
    /// The cache of a record below `caches`; an error if it is another one or has no pictures.
    pub(super) fn of(caches: &Path, record: &RunRecord) -> Result<CachePictures, cache::Error> {
        let folder = caches.join(&record.dataset).join(backbone(record));
        let reader = CacheReader::open(&folder)?;
        let slices = reader.slices()?;
        let mut rows: HashMap<String, Vec<usize>> = HashMap::new();
        for (row, slice) in slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| slice.view == 0)
        {
            rows.entry(slice.sample.clone()).or_default().push(row);
        }
        if reader.sha256() != record.cache_sha256 || !reader.meta().has_pictures {
            rows.clear();
        }
        Ok(CachePictures {
            reader,
            slices,
            rows,
        })
    }

    /// The slice of a case, of a volume the one in the middle.
    pub(super) fn picture(&self, case: &Case) -> Option<Source> {
        let rows = self.rows.get(&case.sample)?;
        let row = match case.slice {
            Some(slice) => *rows.iter().find(|&&row| self.slices[row].slice == slice)?,
            None => *rows.get(rows.len() / 2)?,
        };
        let pixels = self.reader.picture(row).ok()?;
        let side = pixels.shape()[0];
        let upright = Upright::of(&self.slices[row], side);
        let [height, width] = upright
            .size()
            .map(|length| u32::try_from(length).unwrap_or(1));
        let flat: Vec<u8> = pixels.iter().copied().collect();
        let picture = GrayImage::from_fn(width, height, |x, y| Luma([flat[upright.place(y, x)]]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
        Some(source(bytes.get_ref(), width, height))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn components_are_named_by_dataset_model_layer_and_images() {
        let params = json!({"layer": 2, "images": ["a.png", "b.nii:7"]});
        let record = RunRecord {
            probe: "pca".into(),
            params: params.as_object().cloned().unwrap_or_default(),
            pictures: vec!["pictures/pca-0123abcd.png".into()],
            ..crate::record::tests::record()
        };
        let text = format!("{} {}", title(&record), about(&record));
        for words in ["m@224 on d", "block 2 from the end", "a.png, b.nii:7"] {
            assert!(text.contains(words), "no `{words}` in {text}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pictures")).unwrap();
        let picture = GrayImage::from_pixel(2, 2, Luma([9]));
        picture
            .save(folder.path().join(&record.pictures[0]))
            .unwrap();
        let study = Study {
            runs: folder.path().into(),
            records: vec![record],
            ..Study::default()
        };
        let page = of_others(&study, &mut Vec::new()).unwrap().into_string();
        assert!(
            page.contains("b.nii:7") && !page.contains("0123abcd"),
            "{page}"
        );
    }
}
