//! Choice of channels, and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::counted;
use imaging::read::Source;

use super::cases::{Case, Images};
use crate::Error;
use crate::dataset::examples::examples;
use crate::dataset::files::is_nifti;
use crate::dataset::missing::Gap;

/// The channels to read of each case.
pub(super) struct Channels<'a> {
    root: &'a Path,
    /// Names by number; blank if no names are known and no files are numbered.
    names: &'a BTreeMap<u32, String>,
    choice: Choice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The default: no channel was given.
    First,
    One(u32),
    All,
}

impl<'a> Channels<'a> {
    /// `word` is a number, a name or `all`.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if there is no such channel.
    pub(super) fn choose(
        root: &'a Path,
        names: &'a BTreeMap<u32, String>,
        word: Option<&str>,
    ) -> Result<Channels<'a>, Error> {
        let number = |word: &str| {
            let named = names
                .iter()
                .find(|(_, name)| name.eq_ignore_ascii_case(word));
            let number = word.parse().ok();
            let number = number.filter(|n| names.is_empty() || names.contains_key(n));
            number.or(named.map(|(number, _)| *number))
        };
        let choice = match word {
            None => Choice::First,
            Some("all") => Choice::All,
            Some(word) => Choice::One(number(word).ok_or_else(|| unknown(root, names, word))?),
        };
        Ok(Channels {
            root,
            names,
            choice,
        })
    }

    /// The images to take of a case: the channel's number, if several are taken, and where it is.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if a channel is asked for of a coloured image.
    pub(super) fn of(&self, case: &Case) -> Result<Vec<(Option<u32>, Source)>, Error> {
        match &case.images {
            Images::Channels(files) if self.is_coloured(files) => self.coloured(case),
            Images::Channels(files) => Ok(self.files(files)),
            Images::Whole(path) if is_nifti(path) => Ok(self.of_volume(path)),
            Images::Whole(_) => self.coloured(case),
        }
    }

    /// A warning if no channel was given and there are several.
    pub(super) fn warning(&self, cases: &[Case]) -> Option<String> {
        let coloured = |case: &Case| match &case.images {
            Images::Channels(files) => self.is_coloured(files),
            Images::Whole(path) => !is_nifti(path),
        };
        let several = self.names.len() > 1 && !cases.iter().all(coloured);
        (several && self.choice == Choice::First).then(|| {
            let names: Vec<&str> = self.names.values().map(String::as_str).collect();
            format!(
                "only `{1}` of the channels `{0}` is read; `--channel` selects another, or `all`",
                names.join("`, `"),
                names[0]
            )
        })
    }

    /// True if one image in colours stands for three channels.
    fn is_coloured(&self, files: &BTreeMap<u32, PathBuf>) -> bool {
        self.names.len() == 3 && files.len() == 1 && files.get(&0).is_some_and(|f| !is_nifti(f))
    }

    fn coloured(&self, case: &Case) -> Result<Vec<(Option<u32>, Source)>, Error> {
        let path = case.images.first();
        match self.choice {
            Choice::First | Choice::All => Ok(vec![(None, Source::File(path.to_path_buf()))]),
            Choice::One(channel) => Err(Error::Layout {
                path: self.root.join(path),
                found: format!("a coloured image and the choice of channel {channel}"),
                expected: "a file for each channel".to_owned(),
                hint: "leave `--channel` out: all three colours are taken".to_owned(),
            }),
        }
    }

    /// The cases that have a file for each channel that is taken, and the names of the files that
    /// others lack.
    pub(super) fn partition(&self, cases: Vec<Case>) -> (Vec<Case>, Vec<String>) {
        let mut absent = Vec::new();
        let (whole, _): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| {
            let before = absent.len();
            absent.extend(self.absent(case));
            absent.len() == before
        });
        (whole, absent)
    }

    fn absent(&self, case: &Case) -> Vec<String> {
        let Images::Channels(files) = &case.images else {
            return Vec::new();
        };
        let wanted = self.wanted().into_iter();
        let absent =
            wanted.filter(|number| !self.is_coloured(files) && !files.contains_key(number));
        let names = absent.map(|number| format!("{}_{number:04}", case.id));
        names.collect()
    }

    /// The numbers of the channels that are taken.
    fn wanted(&self) -> Vec<u32> {
        let all = self.names.keys().copied();
        match self.choice {
            Choice::All => all.collect(),
            Choice::One(channel) => vec![channel],
            Choice::First => all.take(1).collect(),
        }
    }

    fn files(&self, files: &BTreeMap<u32, PathBuf>) -> Vec<(Option<u32>, Source)> {
        let wanted = self.wanted();
        let several = wanted.len() > 1;
        let there = wanted
            .into_iter()
            .filter_map(|number| Some((number, files.get(&number)?)));
        let source = |file: &PathBuf| Source::File(file.clone());
        there
            .map(|(number, file)| (several.then_some(number), source(file)))
            .collect()
    }

    /// Channels along the fourth axis of one file.
    fn of_volume(&self, path: &Path) -> Vec<(Option<u32>, Source)> {
        let channel = |number: u32| Source::Channel(path.to_path_buf(), number);
        match (self.choice, self.names.len()) {
            (Choice::One(number), _) => vec![(None, channel(number))],
            (_, 0 | 1) => vec![(None, Source::File(path.to_path_buf()))],
            (Choice::First, _) => {
                let first = self.names.keys().next().copied().unwrap_or_default();
                vec![(None, channel(first))]
            }
            (Choice::All, _) => {
                let numbers = self.names.keys().copied();
                numbers.map(|n| (Some(n), channel(n))).collect()
            }
        }
    }
}

/// The files of channels that are not there.
pub(super) fn gap(absent: &[String]) -> Option<Gap> {
    let (count, names) = (absent.len(), examples(absent));
    (count > 0).then(|| Gap {
        found: format!("no file of {} ({names})", counted(count, "channel")),
        expected: "a file for each channel that is taken".to_owned(),
        hint: "unpack the download again, or choose another `--channel`".to_owned(),
    })
}

fn unknown(root: &Path, names: &BTreeMap<u32, String>, word: &str) -> Error {
    let known: Vec<String> = names
        .iter()
        .map(|(n, name)| format!("{n} (`{name}`)"))
        .collect();
    let known = if known.is_empty() {
        "a number".to_owned()
    } else {
        known.join(", ")
    };
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("no channel `{word}`"),
        expected: format!("{known} or `all`"),
        hint: "correct `--channel`, or `channel` in the card".to_owned(),
    }
}
