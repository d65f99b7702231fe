//! The fuzz targets over files that are changed at random: values or errors, and no panic.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn changed_files_give_values_or_errors() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    tests::run_changed(&targets::seeds(), &corpus, |target, bytes| {
        targets::run(target, bytes);
    })
    .unwrap();
}
