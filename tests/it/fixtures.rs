//! Small datasets in the layouts of the real ones, written by nibabel, pydicom, h5py and Pillow,
//! and compared with what those read in them.

mod datasets;
mod images;
mod refusals;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use ndarray::ArrayD;
use serde_json::Value;

use crate::lab::{Run, npy, python};

/// The fixtures, and what independent programs read in them.
struct Fixtures {
    root: PathBuf,
    expected: Value,
}

impl Fixtures {
    /// Makes them, once for all tests of a run.
    fn get() -> &'static Fixtures {
        static FIXTURES: LazyLock<Fixtures> = LazyLock::new(Fixtures::made);
        &FIXTURES
    }

    fn made() -> Fixtures {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fixtures");
        let _ = fs::remove_dir_all(&root);
        for script in ["dev/make_fixtures.py", "dev/read_fixtures.py"] {
            Run::of(python(script).arg(&root)).expect(0);
        }
        let expected = fs::read(root.join("expected.json")).unwrap();
        Fixtures {
            expected: serde_json::from_slice(&expected).unwrap(),
            root,
        }
    }

    /// The array that `name`, a value in `expected.json`, stands for.
    fn array(&self, name: &Value) -> ArrayD<f64> {
        npy(&self.root.join(name.as_str().unwrap()))
    }
}
