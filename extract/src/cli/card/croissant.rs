//! A Croissant description (JSON-LD), version 1.0.

use cache::{CacheMeta, Task};
use serde_json::{Value, json};

use super::{Facts, description};

/// The context of Croissant 1.0.
const CONTEXT: &str = include_str!("croissant.json");

/// The encoding of Parquet files as `mlcroissant` reads it.
const PARQUET: &str = "application/x-parquet";

/// Columns of the table `slices` that every cache has, and those of a position are left out: `affine` is a list of
/// numbers, which Croissant 1.0 cannot describe.
const COLUMNS: [(&str, &str, &str); 13] = [
    (
        "row",
        "sc:Integer",
        "Number of the row, which all tables share",
    ),
    ("sample", "sc:Text", "Id of the sample"),
    ("image", "sc:Text", "Path of the file in the dataset"),
    ("patient", "sc:Text", "Patient, if known"),
    (
        "slice",
        "sc:Integer",
        "Position along the slicing axis, from 0",
    ),
    (
        "view",
        "sc:Integer",
        "0 for the plain image, from 1 for augmented views",
    ),
    ("split", "sc:Text", "`train`, `val` or `test`, if in one"),
    ("height", "sc:Integer", "Height of the slice in pixels"),
    ("width", "sc:Integer", "Width of the slice in pixels"),
    (
        "spacing_slice_mm",
        "sc:Float",
        "Distance between slices in mm, if known",
    ),
    (
        "spacing_row_mm",
        "sc:Float",
        "Distance between rows in mm, if known",
    ),
    (
        "spacing_column_mm",
        "sc:Float",
        "Distance between columns in mm, if known",
    ),
    (
        "stored_axes",
        "sc:Text",
        "Axes of the stored array, if it has a position",
    ),
];

/// Describes each Parquet file with its size and hash, and the rows of the table `slices`. Tokens, masks and pictures
/// are bytes, of which Croissant 1.0 cannot say what they mean: `docs/cache-format.md` does.
pub(super) fn of(meta: &CacheMeta, facts: &Facts) -> anyhow::Result<Value> {
    let shards = meta.shards.iter().enumerate();
    let files = shards.flat_map(|(index, shard)| {
        shard.tables.iter().map(move |(table, file)| {
            let path = format!("{table}/{index:05}.parquet");
            json!({
                "@type": "cr:FileObject",
                "@id": path,
                "name": path,
                "contentUrl": path,
                "contentSize": format!("{} B", file.bytes),
                "encodingFormat": PARQUET,
                "sha256": file.sha256,
            })
        })
    });
    let slices = json!({
        "@type": "cr:FileSet",
        "@id": "slices-files",
        "name": "slices-files",
        "description": "The shards of the table `slices`",
        "encodingFormat": PARQUET,
        "includes": "slices/*.parquet",
    });
    let classes = (meta.task == Task::SingleLabel).then(|| classes(meta));
    let record_sets = classes.into_iter().chain([rows(meta)]);
    Ok(json!({
        "@context": serde_json::from_str::<Value>(CONTEXT)?,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": format!("{}-{}-{}", meta.dataset, meta.model.name, meta.image_size),
        "description": description(meta),
        "license": facts.licence,
        "url": facts.url,
        "version": "1.0.0",
        "distribution": files.chain([slices]).collect::<Vec<_>>(),
        "recordSet": record_sets.collect::<Vec<_>>(),
    }))
}

/// The record set of the table `slices`.
fn rows(meta: &CacheMeta) -> Value {
    let columns = COLUMNS.iter();
    let columns = columns.filter(|(name, ..)| meta.has_placement || *name != "stored_axes");
    let mut fields: Vec<Value> = columns
        .map(|(name, kind, text)| field(name, name, kind, text))
        .collect();
    match meta.task {
        Task::Unlabelled => {}
        Task::SingleLabel => {
            let mut label = field("label", "label", "sc:Integer", "Class, if known");
            label["references"] = json!({"field": {"@id": "classes/index"}});
            fields.push(label);
        }
        Task::MultiLabel => fields.extend(meta.classes.iter().enumerate().map(|(k, class)| {
            let text = format!("{class}: 1 present, 0 absent, -1 uncertain, if known");
            let column = format!("label_{class}");
            field(&format!("label_{k}"), &column, "sc:Integer", &text)
        })),
    }
    json!({
        "@type": "cr:RecordSet",
        "@id": "slices",
        "name": "slices",
        "description": "A row for each slice and view; the other tables have the same rows in the same order",
        "key": {"@id": "slices/row"},
        "field": fields,
    })
}

/// The names of the classes by their indices.
fn classes(meta: &CacheMeta) -> Value {
    let fields = [("index", "sc:Integer"), ("name", "sc:Text")].map(|(name, kind)| {
        json!({
            "@type": "cr:Field",
            "@id": format!("classes/{name}"),
            "name": name,
            "dataType": kind,
        })
    });
    let data = meta.classes.iter().enumerate();
    let data = data.map(|(index, name)| json!({"classes/index": index, "classes/name": name}));
    json!({
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/index"},
        "field": fields,
        "data": data.collect::<Vec<_>>(),
    })
}

/// A column of the table `slices`. `id` has no letters but those of a web address.
fn field(id: &str, column: &str, kind: &str, text: &str) -> Value {
    json!({
        "@type": "cr:Field",
        "@id": format!("slices/{id}"),
        "name": id,
        "description": text,
        "dataType": kind,
        "source": {"fileSet": {"@id": "slices-files"}, "extract": {"column": column}},
    })
}
