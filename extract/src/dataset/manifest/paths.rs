//! The files that a manifest names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::dataset::files::{composed, inner_path};

/// Finds files under a folder by the paths in a table.
pub(super) struct Paths<'a> {
    root: &'a Path,
    /// The folder without links.
    real_root: PathBuf,
    /// The folder as an absolute path, links as they are.
    absolute_root: PathBuf,
    /// For folders seen so far, true if they are in `real_root`.
    inside: HashMap<PathBuf, bool>,
    /// The names in folders seen so far, by their composed form.
    composed: HashMap<PathBuf, HashMap<String, PathBuf>>,
}

/// Meaning of a path in a table.
pub(super) enum Named {
    /// A file, relative to the folder.
    File(PathBuf),
    /// Nothing that is there.
    Missing,
    /// Something outside the folder.
    Outside,
}

impl<'a> Paths<'a> {
    pub(super) fn under(root: &'a Path) -> Result<Paths<'a>, Error> {
        Ok(Paths {
            root,
            real_root: root.canonicalize().map_err(Error::io(root))?,
            absolute_root: std::path::absolute(root).map_err(Error::io(root))?,
            inside: HashMap::new(),
            composed: HashMap::new(),
        })
    }

    /// The file that `value` names, relative to the folder or as an absolute path in it.
    ///
    /// A path with backslashes is that of Windows if there is no file with these in its name. Names
    /// that are written in another Unicode form than on disk, as macOS does, are found.
    pub(super) fn find(&mut self, value: &str) -> Named {
        let mut path = self.relative(value);
        let mut exists = self.exists(path.as_deref());
        if !exists && value.contains('\\') {
            path = self.relative(&value.replace('\\', "/"));
            exists = self.exists(path.as_deref());
        }
        let Some(path) = path else {
            return Named::Outside;
        };
        if !exists && value.is_ascii() {
            return Named::Missing;
        }
        let Some(path) = (if exists {
            Some(path)
        } else {
            self.recomposed(&path)
        }) else {
            return Named::Missing;
        };
        if self.is_inside(&self.root.join(&path)) {
            Named::File(path)
        } else {
            Named::Outside
        }
    }

    fn exists(&self, path: Option<&Path>) -> bool {
        path.is_some_and(|path| self.root.join(path).exists())
    }

    /// The path below the folder; `None` if it leads out of it.
    fn relative(&self, value: &str) -> Option<PathBuf> {
        let path = Path::new(value);
        if path.is_relative() {
            return inner_path(value);
        }
        let real = path.canonicalize().unwrap_or_default();
        let below = [
            path.strip_prefix(&self.absolute_root),
            path.strip_prefix(&self.real_root),
            real.strip_prefix(&self.real_root),
        ];
        // A path with `..` may still be below the folder, which only the last candidate shows.
        let below = below.into_iter().flatten();
        below.filter_map(Path::to_str).find_map(inner_path)
    }

    /// The path on disk that differs from `path` in nothing but the Unicode form of its names.
    fn recomposed(&mut self, path: &Path) -> Option<PathBuf> {
        let mut found = PathBuf::new();
        for part in path {
            let next = found.join(part);
            if self.exists(Some(&next)) {
                found = next;
                continue;
            }
            let folder = self.root.join(&found);
            let names = self.composed.entry(found.clone());
            let names = names.or_insert_with(|| composed_names(&folder));
            found.push(names.get(&composed(part.to_str()?))?);
        }
        Some(found)
    }

    /// True if `file` is in the folder even if links are followed; asks once for each parent.
    fn is_inside(&mut self, file: &Path) -> bool {
        let really_inside = |path: &Path| {
            path.canonicalize()
                .is_ok_and(|path| path.starts_with(&self.real_root))
        };
        let parent = file.parent().unwrap_or(self.root);
        if file.is_symlink() {
            return really_inside(file);
        }
        if let Some(inside) = self.inside.get(parent) {
            return *inside;
        }
        let inside = really_inside(parent);
        self.inside.insert(parent.to_path_buf(), inside);
        inside
    }
}

/// The names in a folder, by their composed form.
fn composed_names(folder: &Path) -> HashMap<String, PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let names = entries.map(|entry| PathBuf::from(entry.file_name()));
    names
        .filter_map(|name| Some((composed(name.to_str()?), name)))
        .collect()
}
