//! Parts of the messages of errors: names, and advice.

use std::path::Path;

use common::similar;
use common::text::{argument, shown};

use crate::folder::{part_numbers, parts_around};
use crate::{Holder, is_in_bucket};

/// The message of a Parquet error without the name of its variant for errors of others.
pub(super) fn cause(message: &str) -> &str {
    message.strip_prefix("External: ").unwrap_or(message)
}

/// The process that holds a lock.
pub(super) fn named(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), Holder::to_string)
}

/// The names that a cache has.
pub(super) fn known_names(known: &[String], those: &str) -> String {
    if known.is_empty() {
        format!(", it has none besides {those} of its extraction")
    } else {
        format!(", it has `{}`", shown(&known.join("`, `")))
    }
}

/// The name that was probably meant.
pub(super) fn did_you_mean(name: &str, known: &[String]) -> String {
    let meant = similar(name, known.iter().map(String::as_str));
    meant.map_or_else(String::new, |meant| {
        format!("; did you mean `{}`?", shown(meant))
    })
}

/// The command that makes a split for the cache `dir`.
pub(super) fn split_command(dir: &Path) -> String {
    let of = dir.parent();
    let root = of.and_then(Path::parent).map(argument).unwrap_or_default();
    let dataset = of.and_then(Path::file_name).map(Path::new);
    let dataset = dataset.map(argument).unwrap_or_default();
    format!("extract split --cache {root} --dataset {dataset}")
}

/// Steps that are left to do with parts.
pub(super) fn parts_left(path: &Path, missing: &[u32]) -> String {
    if missing.is_empty() {
        let path = argument(path);
        return format!(" are done, but not joined\nhint: run `extract merge {path}`");
    }
    format!(
        " are done; missing: {}\nhint: run the `extract` command of each missing part, with its `--shard`; to extract all in one run, delete `parts` in that folder",
        crate::parts::ranges(missing)
    )
}

/// Advice for the damaged file `path` of a cache, or of a part of one.
pub(super) fn anew(path: &Path) -> String {
    let part = path.ancestors().find(|dir| parts_around(dir).is_some());
    match part.and_then(|dir| Some((dir, part_numbers(dir)?))) {
        Some((dir, (index, of))) => format!(
            "delete the folder `{}` and extract that part again, with `--shard {index}/{of}`",
            shown(dir)
        ),
        None if path.ends_with("meta.json") => "delete the cache and extract again".to_owned(),
        None => "`extract verify` names all damaged files, and with `--repair` extracts them again"
            .to_owned(),
    }
}

/// Advice for a failed access to `path`.
pub(super) fn hint(path: &Path, source: &std::io::Error) -> &'static str {
    if is_in_bucket(path) {
        bucket_hint(source)
    } else {
        disk_hint(source)
    }
}

fn bucket_hint(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::InvalidInput => {
            "\nhint: look at the names of bucket and folder"
        }
        ErrorKind::PermissionDenied => {
            "\nhint: give credentials that may do this, for S3 as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; docs/object-storage.md lists the variables"
        }
        ErrorKind::InvalidData => "\nhint: the object was damaged or replaced",
        _ => {
            "\nhint: look at the network, and at the variables in docs/object-storage.md, for S3 `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`"
        }
    }
}

fn disk_hint(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "\nhint: make room and run the same command again; what is saved stays"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "\nhint: make the folder writable, or give another one"
        }
        _ => "\nhint: look at the path, or give another one",
    }
}

/// Advice for a run whose `field` is another than that of the cache.
pub(super) fn of_splits(field: &str) -> &'static str {
    match field {
        "split" => "; a finished cache gets another split from `extract split`",
        _ => "",
    }
}
