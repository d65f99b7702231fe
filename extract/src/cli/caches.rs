//! Commands over finished caches: `extract ls`, `show`, `gc` and `rm`.

use std::path::{Path, PathBuf};

use cache::{CacheMeta, CacheName, CacheReader, History, LabelSet, Listed, Locked, Parts, Session};
use clap::Args;
use common::counted;
use common::text::{argument, printable, shown};
use serde_json::{Value, json};
use terminal::folded;

use super::{Format, Status, TableFormat, eprint_line, grid, print_line, tell_of_lock};
use crate::Error;

/// Arguments of `extract ls`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Show all columns of the table
    #[arg(long)]
    pub wide: bool,
    /// Output: a table, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: TableFormat,
}

/// Arguments of `extract show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Cache: `DATASET/MODEL@SIZE` below --cache, or its folder
    #[arg(value_name = "CACHE")]
    pub of: PathBuf,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Output: text, or one JSON object
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Arguments of `extract rm` and `extract gc`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Caches: `DATASET/MODEL@SIZE` below --cache, or their folders
    #[arg(value_name = "CACHE", required = true)]
    pub of: Vec<PathBuf>,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Lists all caches below a folder.
pub(super) fn list(args: &ListArgs) -> anyhow::Result<Status> {
    let caches = cache::list(&args.cache)?;
    let rows = caches.iter().map(|cache| cache.cells().to_vec()).collect();
    let columns = cache::COLUMNS.into_iter().zip(cache::RANKS);
    let table = grid(columns, rows, cache::TEXT_COLUMNS);
    match args.format.of(&table, args.wide)? {
        None => {
            for cache in &caches {
                print_line(&cache.json().to_string())?;
            }
        }
        Some(_) if caches.is_empty() && args.format == TableFormat::Text => {
            print_line(&format!("no caches in `{}`", shown(&args.cache)))?;
        }
        Some(text) => print_line(&text)?,
    }
    Ok(Status::Done)
}

/// Prints everything that `meta.json` says of a cache, but its shards.
pub(super) fn show(args: &ShowArgs) -> anyhow::Result<Status> {
    let dir = found(&args.cache, &args.of);
    let meta = CacheMeta::read(&dir)?;
    let sessions = History::read(&dir)?.sessions;
    let listed = Listed::of(dir);
    let mut facts = serde_json::to_value(&meta)?;
    if let Some(facts) = facts.as_object_mut() {
        facts.remove("shards");
        facts.insert("shards".into(), json!(meta.shards.len()));
        if !meta.complete {
            facts.insert("pending".into(), json!(meta.pending_rows()));
        }
        facts.insert("bytes".into(), json!(meta.bytes()));
        facts.insert("splits".into(), json!(listed.splits));
        facts.insert("labels".into(), labels(&listed));
        facts.insert("path".into(), json!(listed.dir.to_string_lossy()));
    }
    if args.format == Format::Json {
        facts["history"] = json!(sessions);
        print_line(&facts.to_string())?;
        return Ok(Status::Done);
    }
    let mut lines = Vec::new();
    outline("", &facts, &mut lines);
    if !sessions.is_empty() {
        lines.push("history:".to_owned());
        lines.extend(sessions.iter().map(session));
    }
    let lines: Vec<String> = lines.iter().map(|line| hanging(line)).collect();
    print_line(&lines.join("\n"))?;
    Ok(Status::Done)
}

/// A line that goes on with two more spaces than it begins with.
fn hanging(line: &str) -> String {
    let spaces = line.len() - line.trim_start_matches(' ').len();
    folded(line, spaces + 2)
}

/// A process that wrote to a cache, on one line.
fn session(of: &Session) -> String {
    let part = of.part.iter().map(|part| format!(" part {part}"));
    let rows = of.rows.saturating_sub(of.first_row);
    let mut words = vec![format!(
        "{} {}{}, {} in {:.1} s, Slicebank {}",
        of.started,
        of.action,
        part.collect::<String>(),
        counted(rows, "slice"),
        of.seconds,
        of.tool_version
    )];
    let runtime = of.onnxruntime_version.iter();
    words.extend(runtime.map(|version| format!("ONNX Runtime {version}")));
    words.extend([&of.provider, &of.precision].into_iter().flatten().cloned());
    let cosine = of
        .parity
        .as_ref()
        .and_then(|parity| parity["cosine_min"].as_f64());
    words.extend(cosine.map(|cosine| format!("cosine to the CPU in fp32 {cosine:.6}")));
    let named = [
        ("host", &of.host),
        ("user", &of.user),
        ("dataset", &of.root),
        ("cache", &of.cache),
    ];
    let named = named.iter();
    words.extend(named.filter_map(|(name, of)| Some(format!("{name} {}", of.as_ref()?))));
    format!("  {}", printable(&words.join(", ")))
}

/// The label sets of a cache by name.
fn labels(cache: &Listed) -> Value {
    let sets = cache.labels.iter().map(|name| {
        let about = match LabelSet::read(&cache.dir, name) {
            Ok((set, _)) => json!({
                "made_by": set.made_by,
                "task": set.task,
                "classes": set.classes,
                "masks": set.has_masks(),
            }),
            Err(error) => json!({"error": error.to_string()}),
        };
        (name.clone(), about)
    });
    Value::Object(sets.collect())
}

/// One line for each value of an object; objects within it are indented.
fn outline(indent: &str, facts: &Value, lines: &mut Vec<String>) {
    for (key, value) in facts.as_object().into_iter().flatten() {
        let key = printable(key);
        match value {
            Value::Null => {}
            Value::Object(_) => {
                lines.push(format!("{indent}{key}:"));
                outline(&format!("{indent}  "), value, lines);
            }
            Value::Array(values) if values.iter().all(|value| !value.is_object()) => {
                let values: Vec<_> = values.iter().map(plain).collect();
                lines.push(format!("{indent}{key}: {}", values.join(", ")));
            }
            Value::Array(values) => {
                lines.push(format!("{indent}{key}:"));
                lines.extend(values.iter().map(|v| format!("{indent}  {}", plain(v))));
            }
            value => lines.push(format!("{indent}{key}: {}", plain(value))),
        }
    }
}

/// A value on one line.
pub(super) fn plain(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    printable(&text).into_owned()
}

/// Deletes caches to which nobody writes.
pub(super) fn remove(args: &RemoveArgs) -> anyhow::Result<Status> {
    let dirs = args.of.iter().map(|of| found(&args.cache, of));
    // All are locked before one is deleted.
    let locked = dirs.map(|dir| {
        tell_of_lock(&dir);
        refuse_newer(&dir)?;
        Ok((Listed::of(dir.clone()), Locked::of(&dir)?))
    });
    for (cache, locked) in locked.collect::<anyhow::Result<Vec<_>>>()? {
        let bytes = cache.meta.as_ref().map_or(0, CacheMeta::bytes);
        let size = format!("{}: {:.1} MB", shown(&cache.dir), bytes as f64 / 1e6);
        if args.dry_run {
            print_line(&format!("would delete {size}"))?;
        } else {
            locked.delete()?;
            print_line(&format!("deleted {size}"))?;
        }
    }
    Ok(Status::Done)
}

/// Refuses to delete a cache, or parts of one, of a newer format: what belongs to it, and whether it is finished, is not
/// known here.
fn refuse_newer(dir: &Path) -> anyhow::Result<()> {
    match CacheMeta::read(dir).and_then(|_| Parts::of(dir)) {
        Err(cache::Error::Version {
            path,
            found,
            expected,
        }) if found > expected => anyhow::bail!(
            "`{}`: cache format {found}, this program knows formats up to {expected} and deletes no other\nhint: delete it by the version that wrote it, or by the tools of the file system",
            shown(&path)
        ),
        _ => Ok(()),
    }
}

/// Deletes files that stopped runs left in caches.
pub(super) fn collect_garbage(args: &RemoveArgs) -> anyhow::Result<Status> {
    let verb = if args.dry_run {
        "would delete"
    } else {
        "deleted"
    };
    // All is read before anything is deleted.
    let found = args.of.iter().map(|of| {
        let dir = found(&args.cache, of);
        tell_of_lock(&dir);
        let locked = Locked::of(&dir)?;
        let left = locked.leftovers()?;
        Ok((dir, locked, left))
    });
    for (path, locked, left) in found.collect::<Result<Vec<_>, cache::Error>>()? {
        let dir = shown(&path);
        if let Some(holder) = locked.left_by() {
            print_line(&format!(
                "{dir}: `.lock` named {holder}, which has ended; it names no process now"
            ))?;
        }
        if !args.dry_run {
            locked.delete_files(&left)?;
        }
        for (file, bytes) in &left.files {
            print_line(&format!("{verb} {}: {bytes} bytes", shown(file)))?;
        }
        if left.has_parts {
            print_line(&format!(
                "{dir}: parts are left, which `extract merge {}` deletes",
                argument(&path)
            ))?;
        } else if left.files.is_empty() {
            print_line(&format!("{dir}: nothing to delete"))?;
        }
    }
    Ok(Status::Done)
}

/// A cache below the folder of caches, or else the path itself. If caches are in a bucket that cannot be read, it is the
/// first, so that the error is that of the bucket.
pub(super) fn found(root: &Path, of: &Path) -> PathBuf {
    let below = root.join(of);
    let is_here = || cache::is_in_bucket(of) || cache::is_cache(of);
    let is_below = || cache::is_cache(&below) || below.is_dir();
    if is_below() || cache::is_in_bucket(root) && !is_here() {
        below
    } else {
        of.to_path_buf()
    }
}

/// The caches of a dataset, or of `all`, below the folder of caches.
pub(super) fn of_dataset(
    root: &Path,
    dataset: &str,
    model: Option<&str>,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut caches = CacheReader::find(root)?;
    let wanted = Some(dataset).filter(|name| *name != "all");
    caches.retain(|dir| CacheName::of(dir).is_some_and(|name| name.matches(wanted, model, None)));
    if caches.is_empty() {
        let what = match (wanted, model) {
            (None, None) => String::new(),
            (_, model) => format!(
                " of `{}/{}@*`",
                printable(wanted.unwrap_or("*")),
                model.unwrap_or("*")
            ),
        };
        anyhow::bail!(
            "`{}`: no cache{what} here\nhint: run `extract --model … --dataset …` first, or give another folder with --cache; if the cache was extracted with --name, give that name as --cache-name",
            shown(root)
        );
    }
    Ok(caches)
}

/// Runs `command` on each cache, and returns its results. Caches for which it fails are skipped with a warning; if it
/// fails for all, that is an error, with the word `done` for what was to be done.
pub(super) fn for_each<T>(
    caches: Vec<PathBuf>,
    done: &str,
    command: impl Fn(&Path) -> Result<T, Error>,
) -> anyhow::Result<(Vec<T>, Status)> {
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    for dir in caches {
        match command(&dir) {
            Ok(result) => results.push(result),
            Err(error) => failed.push(error),
        }
    }
    if results.is_empty() && failed.len() == 1 {
        anyhow::bail!(failed.remove(0));
    }
    for error in &failed {
        eprint_line(&format!("warning: {error}"));
    }
    if results.is_empty() {
        anyhow::bail!("no cache was {done}\nhint: see the warnings above");
    }
    let status = if failed.is_empty() {
        Status::Done
    } else {
        Status::Skipped
    };
    Ok((results, status))
}
