//! Names that stand for patients, series and paths in a cache.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;
use crate::dataset::Dataset;

/// The variable that names the file of the key.
const VARIABLE: &str = "SLICEBANK_ID_KEY";

/// Bytes of a key.
const KEY: usize = 32;

/// Bytes of a block of sha256.
const BLOCK: usize = 64;

/// Makes names of names: the same of the same, and without the key nobody can tell of which.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    key: [u8; KEY],
    /// Whether all parts of paths are replaced, not only UIDs.
    paths: bool,
}

impl Pseudonyms {
    /// Reads the user's key, which is made at the first time: the file that `SLICEBANK_ID_KEY` names,
    /// else `slicebank/id.key` in the folder of his settings. With `paths` all parts of paths are
    /// replaced, else UIDs.
    ///
    /// # Errors
    ///
    /// [`Error::IdKey`].
    pub fn of_user(paths: bool) -> Result<Pseudonyms, Error> {
        let file = key_file().ok_or_else(|| Error::IdKey {
            path: PathBuf::from("slicebank/id.key"),
            reason: "there is no folder of settings to keep it in".to_owned(),
        })?;
        Ok(Pseudonyms {
            key: key(&file)?,
            paths,
        })
    }

    /// Those of the user's key, of UIDs and of all parts of paths; none if there is no key that can be
    /// read.
    pub(crate) fn made() -> Vec<Pseudonyms> {
        let made = key_file().filter(|file| file.is_file());
        let key = made.and_then(|file| key(&file).ok());
        let of_key = |key| [false, true].map(|paths| Pseudonyms { key, paths });
        key.into_iter().flat_map(of_key).collect()
    }

    /// Replaces patients and ids of all samples; [`path`](Self::path) says what becomes of ids.
    pub fn hide(self, dataset: &mut Dataset) {
        for sample in &mut dataset.samples {
            sample.patient = sample.patient.as_deref().map(|patient| self.name(patient));
            sample.id = self.path(&sample.id);
        }
        dataset.pseudonyms = Some(self);
    }

    /// The path with names in the place of its parts, or of those that are UIDs.
    pub fn path(&self, path: &str) -> String {
        let part = |part: &str| match self.paths || is_uid(part) {
            true => self.name(part),
            false => part.to_owned(),
        };
        path.split('/').map(part).collect::<Vec<_>>().join("/")
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

/// Whether this is a DICOM UID: numbers with dots between them, at least three.
fn is_uid(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() > 3 && ["0", "1", "2"].contains(&parts[0]) && parts.into_iter().all(is_number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// The key in a file, which is made if it is not there.
fn key(file: &Path) -> Result<[u8; KEY], Error> {
    let wrong = |reason: String| Error::IdKey {
        path: file.to_path_buf(),
        reason,
    };
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(file).map_err(|error| wrong(error.to_string()))?;
            // Of two runs that begin at the same time both take what the first one wrote.
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

/// Writes a new key that only the user can read, unless there is one by then.
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
    // Unlike a renaming, a link does not replace a key.
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
        let names = Pseudonyms { key, paths: false };
        assert_eq!(names.name("p1"), "6e5e37ff6a45c8ec");
        assert_eq!(
            names.path("a/1.2.840.1/c.dcm"),
            format!("a/{}/c.dcm", names.name("1.2.840.1"))
        );
        let all = Pseudonyms { key, paths: true };
        assert_eq!(
            all.path("a/b"),
            format!("{}/{}", names.name("a"), names.name("b"))
        );
    }

    #[test]
    fn uids_are_told_from_versions_and_dates() {
        assert!(is_uid("1.2.840.113619.2.5"));
        for other in ["2020.01.02", "1.2.3", "1.2.3.a", "3.1.2.3", "1..2.3", ""] {
            assert!(!is_uid(other), "{other}");
        }
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
