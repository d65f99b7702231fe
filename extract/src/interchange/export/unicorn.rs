//! Features and labels as the evaluation of UNICORN reads them.
//!
//! It knows the tasks of its challenge only, so all rows are cases of one of them, a classification of images; its
//! adaptors read nothing but numbers of classes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cache::{Split, Task};
use serde_json::json;

use super::{Common, Row, Sink, class_of};
use crate::Error;

/// The task whose cases the rows are.
const TASK: &str = "Task02_classifying_lung_nodule_malignancy_in_ct";

/// Its input, its features and its label.
const IMAGE: &str = "chest-ct-region-of-interest-cropout";
const FEATURES: &str = "image-neural-representation";
const LABEL: &str = "lung-nodule-malignancy-risk.json";

/// Files in the making.
pub(super) struct Cases {
    folder: PathBuf,
    jobs: BufWriter<File>,
    mapping: BufWriter<File>,
    task: Task,
    /// Number of cases so far.
    cases: u64,
}

impl Cases {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Cases, Error> {
        if common.patch.is_some() {
            return Err(Error::Options {
                found: "`--patches` with `--to unicorn`, which has a vector for each row"
                    .to_owned(),
                hint: "leave it out, or choose another format".to_owned(),
            });
        }
        let create = |name: &str| {
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
            let file = File::create(&path).map_err(Error::io(&path))?;
            Ok::<_, Error>(BufWriter::new(file))
        };
        let mut cases = Cases {
            jobs: create("input/predictions.json")?,
            mapping: create("ground_truth/mapping.csv")?,
            folder: folder.to_path_buf(),
            task: common.meta.task,
            cases: 0,
        };
        let header = "case_id,task_name,task_type,domain,modality,split";
        let begun = writeln!(cases.mapping, "{header}").and_then(|()| write!(cases.jobs, "["));
        begun.map_err(Error::io(folder))?;
        Ok(cases)
    }

    fn file(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content));
        written.map_err(Error::io(&path))
    }
}

impl Sink for Cases {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let class = class_of(row.slice, self.task, "unicorn")?;
        let (Some(class), Some(split)) = (class, row.slice.split) else {
            // Neither a shot nor a case.
            return Ok(());
        };
        let case = format!("case{:09}", row.number);
        let split = match split {
            Split::Train | Split::Val => "shot",
            Split::Test => "case",
        };
        let features = json!([{"title": row.slice.sample, "features": row.cls}]);
        self.file(
            &format!("input/{case}/output/{FEATURES}.json"),
            &features.to_string(),
        )?;
        self.file(
            &format!("ground_truth/{TASK}/{case}/{LABEL}"),
            &class.to_string(),
        )?;
        let job = json!({
            "pk": case,
            "inputs": [{"interface": {"slug": IMAGE}, "image": {"name": format!("{case}.mha")}}],
            "outputs": [{
                "interface": {"slug": FEATURES, "relative_path": format!("{FEATURES}.json")},
            }],
        });
        let comma = if self.cases > 0 { ",\n" } else { "\n" };
        let line = format!("{case},{TASK},classification,CT,vision,{split}");
        let written = writeln!(self.mapping, "{line}");
        let written = written.and_then(|()| write!(self.jobs, "{comma}{job}"));
        self.cases += 1;
        written.map_err(Error::io(&self.folder))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Error> {
        let ended = writeln!(self.jobs, "\n]").and_then(|()| self.jobs.flush());
        let ended = ended.and_then(|()| self.mapping.flush());
        ended.map_err(Error::io(&self.folder))?;
        Ok(vec!["input".to_owned(), "ground_truth".to_owned()])
    }
}
