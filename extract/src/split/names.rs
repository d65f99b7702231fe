//! Names of samples, images and patients in tables, and in caches where they may be hashed.

use std::collections::HashSet;

use crate::dataset::files::composed;
use crate::pseudonyms::{self, Pseudonyms};

/// Kind of names in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Sample,
    Image,
    Patient,
}

/// Matching of names in a table with those of members.
pub(crate) struct Names {
    key: Key,
    /// Names of members, and of skipped samples, as [`alike`] makes them.
    known: HashSet<String>,
    /// Those names, and their folders.
    starts: HashSet<String>,
    pseudonyms: Option<Pseudonyms>,
}

impl Names {
    /// Names of the kind `key`, all of which are `known` in the form of [`alike`].
    pub(crate) fn new(key: Key, known: HashSet<String>) -> Names {
        let pseudonyms = Pseudonyms::made();
        let starts = known.iter().filter(|_| pseudonyms.is_some());
        let starts = starts.flat_map(|name| pseudonyms::starts(name));
        Names {
            key,
            starts: starts.collect(),
            known,
            pseudonyms,
        }
    }

    /// The known name for `name`: itself, or its hash in a cache; else `name`.
    pub(crate) fn meant(&self, name: &str) -> String {
        let plain = alike(name);
        if self.known.contains(&plain) {
            return plain;
        }
        let hidden = self.pseudonyms.as_ref().and_then(|hashes| match self.key {
            Key::Patient => Some(hashes.name(&plain)).filter(|hash| self.known.contains(hash)),
            Key::Sample | Key::Image => {
                let found = hashes.find(&plain, &self.starts);
                found.filter(|name| self.known.contains(name))
            }
        });
        hidden.unwrap_or(plain)
    }
}

/// A name in the form for comparison: Unicode form C, with `/` instead of backslashes.
pub(crate) fn alike(name: &str) -> String {
    composed(name).replace('\\', "/")
}
