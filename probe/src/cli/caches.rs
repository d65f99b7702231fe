//! The caches that a command runs on.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cache::{CacheName, CacheReader};
use clap::Args;
use common::similar;
use common::text::{printable, shown};

use super::typed::Typed;

/// Maximum number of names that a message lists.
const LISTED: usize = 12;

/// Caches to run on.
#[derive(Clone, Debug, Args)]
pub(super) struct Caches {
    /// Folder of caches, also in a bucket (`s3://`, `gs://`, `az://`)
    #[arg(
        long,
        value_name = "DIR",
        env = "SLICEBANK_CACHE",
        default_value = "embeddings"
    )]
    pub(super) cache: PathBuf,
    /// Folder for copies of caches in a bucket, which are read from there
    #[arg(long, value_name = "DIR")]
    local_copy: Option<PathBuf>,
    /// Only this backbone
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Only this dataset
    #[arg(long)]
    dataset: Option<String>,
    /// Only this input size in pixels
    #[arg(long)]
    pub(super) image_size: Option<u32>,
    /// Labels made by `extract relabel` [default: `original`, those of the extraction]
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,
    /// Name of the labels that are used without `labels` where a cache has them, those of a head's training, and
    /// their sha256.
    #[arg(skip)]
    pub(super) labels_of_head: Option<(String, Option<String>)>,
    /// The command, for the records of its results.
    #[arg(skip)]
    pub(super) typed: Typed,
    /// Do not compare what is read with its checksums: damage may pass as a result
    #[arg(long)]
    no_verify: bool,
}

impl Caches {
    /// Opens a cache with the selected labels, and tells which labels are used if none are selected and the cache
    /// has several.
    pub(super) fn open(&self, path: &Path) -> Result<(CacheReader, Option<String>), cache::Error> {
        let reader = self.open_with(path, self.labels.as_deref())?;
        if self.labels.is_some() {
            return Ok((reader, None));
        }
        let (sets, of_head) = (reader.label_sets()?, self.labels_of_head.as_ref());
        if let Some((name, sha256)) = of_head.filter(|(name, _)| sets.contains(name)) {
            let reader = reader.with_labels(name)?;
            let found = reader.labels().map(|set| &set.sha256);
            let relation = match sha256 {
                Some(_) if sha256.as_ref() == found => "as in the training of the head",
                _ => "which have the name of those in the training of the head, and other content",
            };
            let told = format!(
                "`{}`: labels `{name}`, {relation}; `--labels` names others",
                shown(path)
            );
            return Ok((reader, Some(told)));
        }
        if let Some((name, _)) = of_head {
            let told = format!(
                "`{}`: labels of the extraction; the head was trained on labels `{}`, which this cache does not have",
                shown(path),
                printable(name)
            );
            return Ok((reader, Some(told)));
        }
        let told = (!sets.is_empty()).then(|| {
            let (path, sets) = (shown(path), listed(&sets));
            format!("`{path}`: labels of the extraction; `--labels` names others: {sets}")
        });
        Ok((reader, told))
    }

    /// Opens a cache with a label set, or the labels of the extraction.
    pub(super) fn open_with(
        &self,
        path: &Path,
        labels: Option<&str>,
    ) -> Result<CacheReader, cache::Error> {
        let reader = if self.no_verify {
            CacheReader::open_unverified(path)?
        } else {
            CacheReader::open(path)?
        };
        match labels {
            Some(name) => reader.with_labels(name),
            None => Ok(reader),
        }
    }

    pub(super) fn find(&self) -> Result<Vec<PathBuf>> {
        let all = CacheReader::find(&self.cache)?;
        let wanted = all.iter().filter(|path| self.wants(path));
        let wanted: Vec<PathBuf> = wanted.cloned().collect();
        if wanted.is_empty() {
            let size = self.size();
            let named = [&self.dataset, &self.model, &size].map(Option::as_deref);
            let hint = self.hint(&all);
            if named == [None; 3] {
                bail!("no cache in `{}`\nhint: {hint}", shown(&self.cache));
            }
            let [dataset, model, size] = named.map(|word| word.unwrap_or("*"));
            bail!(
                "`{}`: no cache of {} here\nhint: {hint}",
                shown(&self.cache),
                printable(&format!("`{dataset}/{model}@{size}`"))
            );
        }
        let copies = self.local_copy.as_deref();
        let copies = copies.filter(|_| cache::is_in_bucket(&self.cache));
        let Some(copies) = copies else {
            return Ok(wanted);
        };
        wanted.iter().map(|path| copy_of(path, copies)).collect()
    }

    /// The size that is asked for.
    pub(super) fn size(&self) -> Option<String> {
        self.image_size.map(|size| size.to_string())
    }

    /// Similar names, and the caches that exist.
    fn hint(&self, all: &[PathBuf]) -> String {
        if all.is_empty() {
            return "run `extract` first, or name another folder with --cache".into();
        }
        let names: Vec<CacheName> = all.iter().filter_map(|path| CacheName::of(path)).collect();
        let known = |part: fn(&CacheName) -> &str| names.iter().map(part);
        let unknown = [
            ("dataset", &self.dataset, known(|name| &name.dataset)),
            ("model", &self.model, known(|name| &name.model)),
            ("image size", &self.size(), known(|name| &name.size)),
        ]
        .into_iter()
        .filter_map(|(what, word, known)| unknown(what, word.as_ref()?, known))
        .map(|unknown| unknown + "; ")
        .collect::<String>();
        let found = |name: &CacheName| format!("`{}/{}@{}`", name.dataset, name.model, name.size);
        let caches: Vec<String> = names.iter().map(found).collect();
        format!("{unknown}there is {}", listed(&caches))
    }

    /// Whether the folder `…/DATASET/MODEL@SIZE` is selected.
    pub(super) fn wants(&self, path: &Path) -> bool {
        let size = self.size();
        let [dataset, model, size] = [&self.dataset, &self.model, &size].map(Option::as_deref);
        CacheName::of(path).is_some_and(|name| name.matches(dataset, model, size))
    }
}

/// A copy of the cache below `copies`, where it has the same name.
fn copy_of(path: &Path, copies: &Path) -> Result<PathBuf> {
    let to = copies.join(name_of(path));
    cache::download(path, &to)?;
    Ok(to)
}

/// `DATASET/MODEL@SIZE`, the last two parts of the path.
pub(super) fn name_of(path: &Path) -> PathBuf {
    let mut name: Vec<_> = path.iter().rev().take(2).collect();
    name.reverse();
    name.iter().collect()
}

/// Message that `word` is not among the `known`, with a similar one; `None` if it is.
pub(super) fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    if known.clone().any(|known| known == word) {
        return None;
    }
    let meant = similar(word, known);
    let meant = meant.map(|meant| format!(" (did you mean `{}`?)", printable(meant)));
    let word = printable(word);
    Some(format!("no {what} `{word}`{}", meant.unwrap_or_default()))
}

/// The first [`LISTED`] names on one line, and the number of the others.
pub(super) fn listed(names: &[String]) -> String {
    let first = names[..names.len().min(LISTED)].join(", ");
    let first = printable(&first);
    match names.len().saturating_sub(LISTED) {
        0 => first.into_owned(),
        more => format!("{first} and {more} more"),
    }
}
