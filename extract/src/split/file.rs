//! Splits from a table.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use cache::Split;
use common::counted;

use super::member::Member;
use super::names::{Key, Names, alike};
use crate::Error;
use crate::dataset::table::Table;

/// Number of samples in a message.
const EXAMPLES: usize = 5;

/// The names of a member that may be in the table.
fn names_of(key: Key, member: &Member) -> &[String] {
    match key {
        Key::Sample => std::slice::from_ref(&member.sample),
        Key::Image => &member.images,
        Key::Patient => member.patient.as_slice(),
    }
}

/// The split of each member, by the table's column `sample`, else `image`, else `patient`. If names in the
/// cache are hashed with the user's key, the table may have the original names.
///
/// # Errors
///
/// Those of [`Table::read`], [`Error::MissingColumn`], [`Error::BadCell`] for an unknown split and for a name
/// with two splits, and [`Error::Layout`] if members are not in the table or names of the table are neither
/// of members nor in `skipped`.
pub(super) fn assign(
    path: &Path,
    members: &[Member],
    skipped: &[&str],
) -> Result<Vec<Option<Split>>, Error> {
    let table = Table::read(path)?;
    let (key, column) = key_column(&table)?;
    let known = members.iter().flat_map(|member| names_of(key, member));
    let known = known.map(String::as_str).chain(skipped.iter().copied());
    let names = Names::new(key, known.map(alike).collect());
    let said = read_splits(&table, column, &names)?;
    let mut splits = Vec::with_capacity(members.len());
    let (mut missing, mut used) = (Vec::new(), HashSet::new());
    for member in members {
        let its = names_of(key, member).iter().map(|name| alike(name));
        let its: Vec<String> = its.filter(|name| said.contains_key(name)).collect();
        let found: HashSet<Option<Split>> = its.iter().map(|name| said[name]).collect();
        used.extend(its);
        match found.len() {
            0 => missing.push(member.sample.as_str()),
            1 => {}
            _ => return Err(torn(path, member)),
        }
        splits.push(found.into_iter().next().flatten());
    }
    if !missing.is_empty() {
        return Err(not_all(path, "does not name", &missing));
    }
    if key == Key::Sample {
        used.extend(skipped.iter().map(|name| alike(name)));
    }
    let cells = table.rows.iter().map(|row| &row.cells[column]);
    let unknown: Vec<&str> = cells
        .filter(|cell| !used.contains(&names.meant(cell)))
        .collect();
    // Image and patient of a skipped sample are unknown.
    if unknown.is_empty() || key != Key::Sample && !skipped.is_empty() {
        Ok(splits)
    } else {
        Err(not_all(path, "names, and the dataset lacks,", &unknown))
    }
}

fn key_column(table: &Table) -> Result<(Key, usize), Error> {
    let keys = [
        (Key::Sample, "sample"),
        (Key::Image, "image"),
        (Key::Patient, "patient"),
    ];
    for (key, name) in keys {
        if let Some(column) = table.column(&[name])? {
            return Ok((key, column));
        }
    }
    table
        .required(&keys.map(|(_, name)| name))
        .map(|column| (Key::Sample, column))
}

/// The split of each name in a column; a blank is no split.
fn read_splits(
    table: &Table,
    key: usize,
    names: &Names,
) -> Result<HashMap<String, Option<Split>>, Error> {
    let column = table.required(&["split"])?;
    let mut said = HashMap::new();
    for row in &table.rows {
        let split = match &row.cells[column] {
            "" => None,
            word => Some(
                Split::parse(word)
                    .ok_or_else(|| table.bad_cell(row, column, "train, val, test or blank"))?,
            ),
        };
        let before = said.insert(names.meant(&row.cells[key]), split);
        if before.is_some_and(|before| before != split) {
            return Err(table.bad_cell(row, key, "one that is in no other split above"));
        }
    }
    Ok(said)
}

fn not_all(path: &Path, what: &str, names: &[&str]) -> Error {
    let examples: Vec<&str> = names.iter().take(EXAMPLES).copied().collect();
    Error::Layout {
        path: path.to_path_buf(),
        found: format!(
            "that the table {what} {}, for instance `{}`",
            counted(names.len(), "sample"),
            examples.join("`, `")
        ),
        expected: "each sample of the dataset, and no other".to_owned(),
        hint: "compare it with the columns `sample`, `image` and `patient` of the cache's `slices`, in \
               which hashes stand for identifiers of DICOM (their originals are understood where \
               the key of the hashes is); a blank `split` is no split"
            .to_owned(),
    }
}

fn torn(path: &Path, member: &Member) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: format!("images of the sample `{}` in several splits", member.sample),
        expected: "all in the same".to_owned(),
        hint: "name the sample instead of its images, in a column `sample`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{member, samples};
    use super::*;

    /// A table in a folder of its own.
    struct TableFile(tempfile::TempDir);

    impl TableFile {
        fn new(csv: &str) -> TableFile {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("splits.csv"), csv).unwrap();
            TableFile(folder)
        }

        fn assign(
            &self,
            members: &[Member],
            skipped: &[&str],
        ) -> Result<Vec<Option<Split>>, Error> {
            assign(&self.0.path().join("splits.csv"), members, skipped)
        }

        #[track_caller]
        fn refused(&self, members: &[Member], words: &[&str]) {
            let text = self.assign(members, &[]).unwrap_err().to_string();
            for word in words.iter().chain(&["splits.csv", "hint:"]) {
                assert!(text.contains(word), "no `{word}` in {text}");
            }
        }
    }

    #[test]
    fn a_table_names_samples_images_or_patients() {
        let members = [
            member("a", Some("p"), None),
            member("b", Some("p"), None),
            member("c", Some("q"), None),
        ];
        let expected = [Some(Split::Test), Some(Split::Test), None];
        for csv in [
            "sample,split\nc,\na,test\nb,testing\n",
            "split,Image\ntest,a.png\ntest,b.png\n,c.png\n",
            "patient,split\np,test\nq,\np,test\n",
        ] {
            assert_eq!(TableFile::new(csv).assign(&members, &[]).unwrap(), expected);
        }
    }

    #[test]
    fn names_may_be_written_as_windows_and_macos_do() {
        let members = samples(["Bj\u{f6}rn/1", "b/2"].map(str::to_owned));
        let table = TableFile::new("sample,split\nBjo\u{308}rn/1,val\nb\\2,test\n");
        let expected = [Some(Split::Val), Some(Split::Test)];
        assert_eq!(table.assign(&members, &[]).unwrap(), expected);
    }

    #[test]
    fn a_table_that_leaves_a_doubt_is_refused() {
        let members = samples(["a", "b"].map(str::to_owned));
        let refused = |csv: &str, words: &[&str]| TableFile::new(csv).refused(&members, words);
        refused(
            "sample,split\na,test\n",
            &["does not name 1 sample,", "`b`"],
        );
        let more = "sample,split\na,test\nb,val\nc,val\nd,val\n";
        refused(
            more,
            &["names, and the dataset lacks, 2 samples", "`c`, `d`"],
        );
        refused("sample,split\na,test\nb,val\na,val\n", &["line 4", "`a`"]);
        refused("sample,split\na,test\nb,tset\n", &["line 3", "`tset`"]);
        refused("sample\na\n", &["`split`"]);
        refused(
            "name,split\na,test\n",
            &["`sample` or `image` or `patient`"],
        );
        let by_patient = "patient,split\np,test\n";
        refused(by_patient, &["does not name 2 samples"]);
    }

    #[test]
    fn samples_that_were_skipped_may_be_in_a_table() {
        let members = samples(["a".to_owned()]);
        let table = TableFile::new("sample,split\na,test\nb,val\n");
        assert_eq!(table.assign(&members, &["b"]).unwrap(), [Some(Split::Test)]);
        assert!(table.assign(&members, &["c"]).is_err());
    }

    #[test]
    fn images_of_a_series_must_agree() {
        let mut members = samples(["a".to_owned()]);
        members[0].images = vec!["1.dcm".to_owned(), "2.dcm".to_owned()];
        let table = TableFile::new("image,split\n1.dcm,val\n2.dcm,val\n");
        assert_eq!(table.assign(&members, &[]).unwrap(), [Some(Split::Val)]);
        let torn = TableFile::new("image,split\n1.dcm,val\n2.dcm,test\n");
        torn.refused(&members, &["`a`", "several splits"]);
    }
}
