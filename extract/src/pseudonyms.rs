//! Keyed hashes instead of patients, series and paths in a cache.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use common::hex;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::dataset::files::composed;

/// Environment variable with the path of the key.
const VARIABLE: &str = "SLICEBANK_ID_KEY";

/// Shortest identifier that is searched in longer names, in bytes; shorter ones are in too many names.
const TELLING: usize = 4;

/// Bytes of a key.
const KEY: usize = 32;

/// Bytes of a block of sha256.
const BLOCK: usize = 64;

/// Replaces names by keyed hashes: equal names get equal hashes, and without the key nobody can compute them.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    key: [u8; KEY],
    /// True if all parts of paths are replaced, not only identifiers.
    paths: bool,
    /// Identifiers of the dataset, as [`alike`] makes them.
    known: HashSet<String>,
}

impl Pseudonyms {
    /// Reads the user's key, or creates it at first use: the file `$SLICEBANK_ID_KEY`, else
    /// `slicebank/id.key` in the user's configuration folder. With `paths`, all parts of paths are replaced,
    /// else only identifiers.
    ///
    /// # Errors
    ///
    /// [`Error::IdKey`].
    pub fn of_user(paths: bool) -> Result<Pseudonyms, Error> {
        let file = key_file().ok_or_else(|| Error::IdKey {
            path: PathBuf::from("slicebank/id.key"),
            reason: "there is no configuration folder to store it in".to_owned(),
        })?;
        Ok(Pseudonyms {
            key: key(&file)?,
            paths,
            known: HashSet::new(),
        })
    }

    /// The hashes of the user's key, if there is a readable one.
    pub(crate) fn made() -> Option<Pseudonyms> {
        let made = key_file().filter(|file| file.is_file())?;
        Some(Pseudonyms {
            key: key(&made).ok()?,
            paths: false,
            known: HashSet::new(),
        })
    }

    /// The same, with the identifiers of a dataset.
    pub(crate) fn with_known<'a>(
        self,
        identifiers: impl Iterator<Item = &'a String>,
    ) -> Pseudonyms {
        Pseudonyms {
            known: identifiers.map(|name| alike(name)).collect(),
            ..self
        }
    }

    /// True if the identifier `name` is part of a longer name in `path`, where it is not replaced.
    pub(crate) fn is_left_in(&self, name: &str, path: &str) -> bool {
        let name = alike(name);
        name.len() >= TELLING
            && self.known.contains(&name)
            && alike(&self.path(path)).contains(&name)
    }

    /// The path with hashes instead of its parts; or instead of those that are, without their ending, an
    /// identifier of the dataset, and of everything that looks like a UID.
    pub fn path(&self, path: &str) -> String {
        let parts = path.split('/').map(|part| {
            let names = [part, split_ending(part).0];
            if self.paths {
                self.name(part)
            } else if names.iter().any(|name| self.known.contains(&alike(name))) {
                self.identifier(part)
            } else {
                self.without_uids(part)
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The path of a cache that stands for `path`, with some parts hashed: a finished cache does not say which
    /// parts are. `starts` holds the paths of the cache and their folders, as [`starts`] gives them.
    pub(crate) fn find(&self, path: &str, starts: &HashSet<String>) -> Option<String> {
        let mut parts = path.split('/').map(|part| self.forms(part));
        let is_start = |start: &String| starts.contains(start);
        let first: Vec<String> = parts.next()?.into_iter().filter(is_start).collect();
        let found = parts.fold(first, |starts, forms| {
            let longer = starts
                .iter()
                .flat_map(|start| forms.iter().map(move |form| format!("{start}/{form}")));
            let longer: HashSet<String> = longer.filter(is_start).collect();
            longer.into_iter().collect()
        });
        found.into_iter().next()
    }

    /// All forms of a part of a path in a cache, including itself.
    pub(crate) fn forms(&self, part: &str) -> [String; 4] {
        [
            part.to_owned(),
            self.identifier(part),
            self.without_uids(part),
            self.name(part),
        ]
    }

    /// The hash of an identifier, with the ending of `part`.
    fn identifier(&self, part: &str) -> String {
        let (stem, ending) = split_ending(part);
        self.name(stem) + ending
    }

    /// A part with hashes instead of everything that looks like a UID.
    fn without_uids(&self, part: &str) -> String {
        let mut text = String::new();
        let mut rest = part;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_ascii_digit() && c != '.');
            let run = &from[..end.unwrap_or(from.len())];
            let run = run.trim_end_matches('.');
            text += before;
            if is_uid(run) {
                text += &self.name(run);
            } else {
                text += run;
            }
            rest = &from[run.len()..];
        }
        text + rest
    }

    /// 16 hexadecimal digits: the first of HMAC-SHA256 (RFC 2104).
    pub(crate) fn name(&self, original: &str) -> String {
        let mut block = [0; BLOCK];
        block[..KEY].copy_from_slice(&self.key);
        let inner = Sha256::new()
            .chain_update(block.map(|byte| byte ^ 0x36))
            .chain_update(original)
            .finalize();
        let outer = Sha256::new()
            .chain_update(block.map(|byte| byte ^ 0x5c))
            .chain_update(inner)
            .finalize();
        hex(&outer[..8])
    }
}

/// True if a part of a path may be one of the hashes: 16 hexadecimal digits, but for an ending.
pub(crate) fn has_hash(path: &str) -> bool {
    let is_hash = |part: &str| {
        let stem = split_ending(part).0;
        stem.len() == 16 && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    path.split('/').any(is_hash)
}

/// A path and the folders that it lies in.
pub(crate) fn starts(path: &str) -> impl Iterator<Item = String> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    ends.chain([path.len()]).map(|end| path[..end].to_owned())
}

/// True if digits and dots look like a DICOM UID: at least three numbers with dots between them.
fn is_uid(text: &str) -> bool {
    let mut parts = text.split('.');
    parts.clone().count() > 2 && parts.all(|part| !part.is_empty())
}

/// A name in the form for comparison: Unicode form C, lower case.
fn alike(name: &str) -> String {
    composed(name).to_lowercase()
}

/// The name of a file and its ending, which has a letter, unlike the last number of a UID.
fn split_ending(name: &str) -> (&str, &str) {
    let is_ending = |ending: &str| {
        let is_plain = ending.bytes().all(|b| b.is_ascii_alphanumeric());
        is_plain && ending.len() <= 5 && ending.bytes().any(|b| b.is_ascii_alphabetic())
    };
    match name.rsplit_once('.') {
        Some((stem, ending)) if is_ending(ending) => name.split_at(stem.len()),
        _ => (name, ""),
    }
}

fn key_file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(file) = variable(VARIABLE) {
        return Some(file.into());
    }
    let settings = variable("XDG_CONFIG_HOME").or_else(|| variable("APPDATA"));
    let settings = settings.map(PathBuf::from);
    let settings = settings.or_else(|| Some(Path::new(&variable("HOME")?).join(".config")));
    Some(settings?.join("slicebank/id.key"))
}

/// The key in a file, which is created if it is missing.
fn key(file: &Path) -> Result<[u8; KEY], Error> {
    let wrong = |reason: String| Error::IdKey {
        path: file.to_path_buf(),
        reason,
    };
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(file).map_err(|error| wrong(error.to_string()))?;
            // Two runs that start at the same time both use the key that the first one wrote.
            fs::read_to_string(file)
        }
        read => read,
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let (digits, rest) = text.trim().as_bytes().as_chunks::<2>();
    let bytes = digits.iter().map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    let bytes = bytes.filter(|_| rest.is_empty());
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| wrong(format!("it does not hold {} hexadecimal digits", 2 * KEY)))
}

/// Writes a new key that only the user can read, unless another process has written one.
fn create(file: &Path) -> std::io::Result<()> {
    let mut key = [0; KEY];
    getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = file.with_extension(format!("part-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&part)?
        .write_all(format!("{}\n", hex(&key)).as_bytes())?;
    // Unlike a rename, a link does not replace an existing key.
    let linked = fs::hard_link(&part, file);
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hmac_sha256() {
        // RFC 4231, test case 6 has a longer key; this is `hmac.digest(bytes(range(32)), b"p1", "sha256")`.
        let key = std::array::from_fn(|k| k as u8);
        let known = HashSet::from(["miller".to_owned()]);
        let names = Pseudonyms {
            key,
            paths: false,
            known: known.clone(),
        };
        assert_eq!(names.name("p1"), "6e5e37ff6a45c8ec");
        let hash = |name| names.name(name);
        for (path, expected) in [
            (
                "a/1.2.840.1/c.dcm",
                format!("a/{}/c.dcm", hash("1.2.840.1")),
            ),
            ("1.2.3", hash("1.2.3")),
            ("1.2.3.dcm", hash("1.2.3") + ".dcm"),
            ("CT.1.2.3.dcm", format!("CT.{}.dcm", hash("1.2.3"))),
            ("1.2/1..2.3/a1.5", "1.2/1..2.3/a1.5".to_owned()),
            ("Miller/b.IMA", hash("Miller") + "/b.IMA"),
            ("miller.IMA", hash("miller") + ".IMA"),
            ("miller_2", "miller_2".to_owned()),
        ] {
            assert_eq!(names.path(path), expected, "{path}");
            let parts = path.split('/').zip(expected.split('/'));
            parts.for_each(|(part, hash)| {
                assert!(names.forms(part).iter().any(|form| form == hash), "{part}");
            });
        }
        let all = Pseudonyms {
            key,
            paths: true,
            known,
        };
        assert_eq!(all.path("a/b.dcm"), hash("a") + "/" + &hash("b.dcm"));
    }

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings/id.key");
        let first = key(&file).unwrap();
        assert_eq!(key(&file).unwrap(), first);
        assert_ne!(key(&folder.path().join("other.key")).unwrap(), first);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        for text in ["", "12", &"g".repeat(64), &"ab".repeat(33)] {
            fs::write(&file, text).unwrap();
            let text = key(&file).unwrap_err().to_string();
            assert!(
                text.contains("id.key") && text.contains("--keep-ids"),
                "{text}"
            );
        }
    }
}
