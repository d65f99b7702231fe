//! Cases and their files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use cache::Split;

use super::json::{Description, Listed};
use super::{PARTS, Part};
use crate::Error;
use crate::dataset::examples::examples;
use crate::dataset::files::{Tree, is_image, name};
use crate::dataset::id_of;
use crate::dataset::missing::Gap;

/// Channel numbers that are looked for.
const MAX_CHANNELS: u32 = 32;

/// A case and its files.
#[derive(Debug)]
pub(in crate::dataset) struct Case {
    pub(in crate::dataset) id: String,
    pub(in crate::dataset) split: Split,
    pub(super) images: Images,
    pub(super) label: Option<PathBuf>,
}

/// The images of a case.
#[derive(Clone, Debug)]
pub(super) enum Images {
    /// One file with all channels.
    Whole(PathBuf),
    /// A file for each channel, by number.
    Channels(BTreeMap<u32, PathBuf>),
}

impl Images {
    pub(super) fn first(&self) -> &Path {
        match self {
            Images::Whole(path) => path,
            Images::Channels(files) => files.values().next().map_or(Path::new(""), |path| path),
        }
    }

    /// The channels' numbers; none for one file.
    pub(super) fn numbers(&self) -> Vec<u32> {
        match self {
            Images::Whole(_) => Vec::new(),
            Images::Channels(files) => files.keys().copied().collect(),
        }
    }

    /// Adds a file of the same case; the error is the other file of a conflict.
    fn add(&mut self, channel: Option<u32>, path: PathBuf) -> Result<(), PathBuf> {
        match (self, channel) {
            (Images::Channels(files), Some(channel)) => match files.insert(channel, path) {
                None => Ok(()),
                Some(other) => Err(other),
            },
            (images, _) => Err(images.first().to_path_buf()),
        }
    }
}

/// Finds the cases under a root.
pub(super) struct Finder<'a> {
    tree: &'a Tree,
    /// The files by their paths without the extension.
    by_stem: HashMap<String, &'a PathBuf>,
    /// True if images are named `CASE_0000`, with the number of the channel.
    numbered: bool,
    /// True if test images without label maps are wanted.
    unlabelled: bool,
    /// Listed files that are missing.
    missing: Vec<String>,
    /// Warnings for the user.
    pub(super) warnings: Vec<String>,
}

impl<'a> Finder<'a> {
    /// # Errors
    ///
    /// [`Error::Layout`] if two files have the same name but for the extension.
    pub(super) fn new(tree: &'a Tree, unlabelled: bool) -> Result<Finder<'a>, Error> {
        let mut by_stem = HashMap::new();
        for file in tree.files.iter().filter(|file| is_image(file)) {
            let is_used = PARTS.iter().any(|part| part.holds(file));
            match by_stem.insert(id_of(file), file) {
                Some(other) if is_used => return Err(twice(&tree.root, other, file)),
                _ => {}
            }
        }
        let numbered = are_numbered(&by_stem);
        Ok(Finder {
            tree,
            by_stem,
            numbered,
            unlabelled,
            missing: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// All cases, in the order of the bytes of their images' names.
    ///
    /// Cases are those listed in `dataset.json`, else those in the folder.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if files of a case contradict one another.
    pub(super) fn cases(&mut self, description: &Description) -> Result<Vec<Case>, Error> {
        let mut cases = Vec::new();
        for (part, list) in PARTS.iter().zip(&description.lists) {
            let in_folder = self.in_folder(part)?;
            if list.is_empty() {
                cases.extend(in_folder);
                continue;
            }
            let found = list.iter().filter_map(|listed| self.listed(part, listed));
            let found: Vec<Case> = found.collect();
            self.compare(part, &found, &in_folder);
            cases.extend(found);
        }
        self.find_orphans(&cases);
        cases.sort_by_cached_key(|case| {
            let path = case.images.first();
            (name(path), path.to_path_buf())
        });
        Ok(cases)
    }

    /// The missing files, whose cases [`cases`](Self::cases) leaves out.
    pub(super) fn gap(&self) -> Option<Gap> {
        let (count, names) = (self.missing.len(), examples(&self.missing));
        (count > 0).then(|| Gap {
            found: format!("no file for {count} of its entries ({names})"),
            expected: "every file that `dataset.json` lists".to_owned(),
            hint: "unpack the download again, or delete the entries of these cases".to_owned(),
        })
    }

    /// The cases of which there are images in the part's folder.
    fn in_folder(&self, part: &Part) -> Result<Vec<Case>, Error> {
        let mut found: BTreeMap<String, Images> = BTreeMap::new();
        let folder = format!("images{}", part.ending);
        let files = self.tree.in_folder(Path::new(&folder));
        for file in files.filter(|file| is_image(file)) {
            let stem = id_of(Path::new(&name(file)));
            let (case, channel) = match split_number(&stem).filter(|_| self.numbered) {
                Some((case, channel)) => (case.to_owned(), Some(channel)),
                None => (stem, None),
            };
            match found.get_mut(&case) {
                Some(images) => images
                    .add(channel, file.clone())
                    .map_err(|other| twice(&self.tree.root, &other, file))?,
                None => {
                    let images = match channel {
                        Some(channel) => Images::Channels([(channel, file.clone())].into()),
                        None => Images::Whole(file.clone()),
                    };
                    found.insert(case, images);
                }
            }
        }
        Ok(found
            .into_iter()
            .map(|(id, images)| Case {
                label: self.label(part, &id),
                split: part.split,
                id,
                images,
            })
            .collect())
    }

    /// The case that a list names; `None` if a file of it is missing, which is noted.
    fn listed(&mut self, part: &Part, listed: &Listed) -> Option<Case> {
        let missing = self.missing.len();
        let images = match &listed.images[..] {
            [image] => self.images(image),
            images => {
                let files = (0..).zip(images.iter().map(|path| self.file(path)));
                let files = files.filter_map(|(channel, file)| Some((channel, file?)));
                Some(Images::Channels(files.collect()))
            }
        };
        let label = match &listed.label {
            Some(label) => self.file(label),
            None => None,
        };
        let Some(images) = images.filter(|_| self.missing.len() == missing) else {
            if listed.label.is_none() && !self.is_wanted(part) {
                self.missing.truncate(missing);
            }
            return None;
        };
        let id = match (&listed.case, &images) {
            (Some(case), _) => case.clone(),
            (None, Images::Whole(path)) => id_of(Path::new(&name(path))),
            (None, images) => {
                let stem = id_of(Path::new(&name(images.first())));
                split_number(&stem).map_or(stem.clone(), |(case, _)| case.to_owned())
            }
        };
        Some(Case {
            label: label.or_else(|| self.label(part, &id)),
            split: part.split,
            id,
            images,
        })
    }

    /// True if a case of this part is wanted if it has no label map.
    fn is_wanted(&self, part: &Part) -> bool {
        self.unlabelled || part.split != Split::Test
    }

    /// The image of this name, or those of its channels: nnU-Net 1 lists `a.nii.gz` and has
    /// `a_0000.nii.gz`.
    fn images(&mut self, path: &Path) -> Option<Images> {
        let stem = id_of(path);
        let file = self.by_stem.get(&stem).map(|file| file.to_path_buf());
        let case = match (file, split_number(&stem)) {
            (Some(_), Some((case, _))) if self.numbered => case,
            (Some(file), _) => return Some(Images::Whole(file)),
            (None, _) => &stem,
        };
        let files = (0..MAX_CHANNELS).filter_map(|channel| {
            let file = self.by_stem.get(&format!("{case}_{channel:04}"))?;
            Some((channel, file.to_path_buf()))
        });
        let files: BTreeMap<u32, PathBuf> = files.collect();
        if files.is_empty() {
            self.missing.push(path.display().to_string());
            return None;
        }
        Some(Images::Channels(files))
    }

    /// The file of this name, whatever its extension; noted if it is missing.
    fn file(&mut self, path: &Path) -> Option<PathBuf> {
        let found = self.by_stem.get(&id_of(path));
        if found.is_none() {
            self.missing.push(path.display().to_string());
        }
        found.map(|file| file.to_path_buf())
    }

    fn label(&self, part: &Part, case: &str) -> Option<PathBuf> {
        let stem = format!("labels{}/{case}", part.ending);
        self.by_stem.get(&stem).map(|file| file.to_path_buf())
    }

    /// Warns of cases in the folder that are not in the list.
    fn compare(&mut self, part: &Part, listed: &[Case], in_folder: &[Case]) {
        let listed: BTreeSet<&Path> = listed.iter().map(|case| case.images.first()).collect();
        let others = in_folder
            .iter()
            .filter(|case| case.label.is_some() || self.is_wanted(part))
            .map(|case| case.images.first())
            .filter(|image| !listed.contains(image));
        let others: Vec<String> = others.map(|image| image.display().to_string()).collect();
        if !others.is_empty() {
            let text = "skipped, not in the list";
            let (key, others) = (part.key, examples(&others));
            let text = format!("{text} `{key}` of `dataset.json`: {others}");
            self.warnings.push(text);
        }
    }

    /// Notes label maps that belong to no case.
    fn find_orphans(&mut self, cases: &[Case]) {
        let used: BTreeSet<&PathBuf> = cases.iter().filter_map(|c| c.label.as_ref()).collect();
        let folders = PARTS.map(|part| format!("labels{}", part.ending));
        let labels = folders
            .iter()
            .flat_map(|folder| self.tree.in_folder(Path::new(folder)));
        let orphans = labels.filter(|file| is_image(file) && !used.contains(file));
        let orphans: Vec<String> = orphans.map(|file| file.display().to_string()).collect();
        if !orphans.is_empty() {
            let text = format!("label maps without an image: {}", examples(&orphans));
            self.warnings.push(text);
        }
    }
}

/// The name of a case and the channel, from `CASE_0000`.
fn split_number(stem: &str) -> Option<(&str, u32)> {
    let (case, number) = stem.rsplit_once('_')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((case, number.parse().ok().filter(|_| is_number)?))
}

/// True if names of images end in channel numbers. `amos_0001` is a whole name, so the label maps decide,
/// whose names are those of cases; without label maps, each image must have a first channel.
fn are_numbered(by_stem: &HashMap<String, &PathBuf>) -> bool {
    let in_folders = |kind: &'static str| {
        let folders = PARTS.map(|part| format!("{kind}{}/", part.ending));
        let names = by_stem.keys();
        names.filter(move |name| folders.iter().any(|folder| name.starts_with(folder)))
    };
    let as_image = |label: &String| label.replacen("labels", "images", 1);
    let (mut whole, mut numbered) = (0, 0);
    for label in in_folders("labels") {
        let image = as_image(label);
        let has_channel = |number: u32| by_stem.contains_key(&format!("{image}_{number:04}"));
        whole += usize::from(by_stem.contains_key(&image));
        numbered += usize::from((0..MAX_CHANNELS).any(has_channel));
    }
    if whole + numbered > 0 {
        return numbered >= whole;
    }
    let has_first = |image: &String| {
        split_number(image).is_some_and(|(case, _)| by_stem.contains_key(&format!("{case}_0000")))
    };
    in_folders("images").all(has_first)
}

fn twice(root: &Path, one: &Path, other: &Path) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("`{}` and `{}`", one.display(), other.display()),
        expected: "one file for each image and each label map".to_owned(),
        hint: "move one of them away".to_owned(),
    }
}
